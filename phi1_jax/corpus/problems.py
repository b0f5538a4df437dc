"""Benchmark problems in HumanEval's format."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from phi1_jax.corpus.records import read_records, write_records
from phi1_jax.errors import UserError


@dataclass(frozen=True)
class Problem:
    """One problem, as in HumanEval's JSON lines.

    Attributes:
      task_id: unique in the benchmark, e.g. "HumanEval/0"; in a file it may be a number.
      prompt: what the model completes: imports, signature and docstring.
      entry_point: the function's name.
      canonical_solution: the body; `prompt + canonical_solution` is a program.
      test: defines `check(candidate)`.
      composition: the primitives that solve it, in order; empty when they are not stated.
    """

    task_id: str
    prompt: str
    entry_point: str
    canonical_solution: str
    test: str
    composition: tuple[str, ...] = ()


def read_problems(path: Path) -> list[Problem]:
    """Reads .jsonl, .jsonl.gz or .jsonl.zst; see `parse_problems`."""
    return parse_problems(read_records(Path(path)), path)


def parse_problems(records: Iterable[Mapping[str, Any]], path: Path) -> list[Problem]:
    """Problems from the records of a file, with lines that end in "\\n"; other keys are ignored.

    Raises:
      UserError: a missing key, a value that is not text, a task_id given twice, no problem at all.
    """
    problems: dict[str, Problem] = {}
    required = [f.name for f in fields(Problem) if f.name != "composition"]
    for row, record in enumerate(records, start=1):
        if type(record.get("task_id")) is int:
            record = {**record, "task_id": str(record["task_id"])}
        if bad := [key for key in required if not isinstance(record.get(key), str)]:
            what = (
                f"no text under {bad[0]!r}; it has {', '.join(record)}, and needs "
                f"{', '.join(required)}"
            )
            if bad[0] in record:
                what = f"{bad[0]!r} is {type(record[bad[0]]).__name__}, not text"
            raise UserError(f"{path}, problem {row}: {what}")
        composition = record.get("composition") or []
        if not isinstance(composition, list) or not all(isinstance(p, str) for p in composition):
            raise UserError(
                f"{path}, problem {row}: composition={composition!r} must be a list of names"
            )
        texts = {key: record[key].replace("\r\n", "\n") for key in required}
        problem = Problem(**texts, composition=tuple(composition))
        if problem.task_id in problems:
            raise UserError(f"{path}, problem {row}: task_id {problem.task_id!r} occurs twice")
        problems[problem.task_id] = problem
    if not problems:
        raise UserError(f"{path}: holds no problem; give a file in HumanEval's format")
    return list(problems.values())


def write_problems(path: Path, problems: Iterable[Problem]) -> int:
    """Writes HumanEval's JSON lines plus `composition`; returns the number of problems."""
    return write_records(path, (asdict(problem) for problem in problems))
