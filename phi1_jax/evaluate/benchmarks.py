"""Benchmarks as tasks: what a model is shown, what program a completion makes, how it is examined.

Four formats: HumanEval's JSON lines, MBPP's (974 rows, or the sanitized list), and EvalPlus's of
both, told apart by their keys.
"""

import ast
import builtins
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from phi1_jax import unconventional
from phi1_jax.corpus.problems import Problem, parse_problems
from phi1_jax.corpus.records import read_records
from phi1_jax.corpus.syntax import UNPARSABLE, parse_quietly
from phi1_jax.errors import UserError, did_you_mean
from phi1_jax.evaluate.evalplus import examiner_of
from phi1_jax.evaluate.problem_files import PUBLIC
from phi1_jax.evaluate.saved import sha256

# Where a completion of a function's body ends: at the next thing on the top level.
HUMANEVAL_STOP = ("\ndef ", "\nclass ", "\nif ", "\nprint", "\n#", "\n@", "\n>>>")
MBPP_DOCSTRING_STOP = ("\nclass ", "\nassert ", '\n"""', "\nprint", "\nif ", "\n```", "\n>>>")
MBPP_3_SHOT_STOP = ("[DONE]",)
MBPP_FORMS = ("docstring", "3-shot")
NAMES = (*PUBLIC, unconventional.NAME)
_MBPP_TEST = range(11, 511)
_MBPP_SHOTS = (2, 3, 4)
_MBPP_TEXTS = ("text", "code", "test_setup_code", "test")

# Problems that cannot be tested with the candidate in a process of its own; reported, not scored.
NOT_EXECUTABLE = {
    "MBPP/367": "its tests build objects of a class that the candidate itself must define",
}


@dataclass(frozen=True)
class Task:
    """One problem."""

    task_id: str
    prompt: str  # what the model completes
    prefix: str  # what stands before a completion in the program: the prompt, or nothing
    solution: str  # a right answer, as it follows the prompt
    entry_point: str  # the function that the tests call
    reference: str  # a whole program that solves it
    examiner: str  # the tests, which call `remote(entry_point)`; see `Sandbox.examine`


@dataclass(frozen=True)
class Benchmark:
    """Tasks that are scored together, and the choices that move the score."""

    name: str
    template: str  # the name of the prompt form
    stop: tuple[str, ...]  # ends a generated completion
    truncation: str  # where a completion ends, one of `samples.TRUNCATIONS`
    tasks: tuple[Task, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)  # task ids, with the reason
    problems: tuple[Problem, ...] = ()  # as they were read; none of another format than HumanEval's

    @property
    def fingerprint(self) -> str:
        return sha256(repr((self.template, self.stop, self.truncation, self.tasks)))

    def require_problems(self) -> tuple[Problem, ...]:
        """`problems`; raises UserError where there are none."""
        if not self.problems:
            raise UserError(f"--benchmark={self.name}: here it must be one in HumanEval's format")
        return self.problems


def read_benchmark(name: str, path: Path | str | None = None, form: str = "docstring") -> Benchmark:
    """Reads "humaneval" or "mbpp" from `path`, or "unconventional", which comes with the package.

    Any other name is itself a path to problems in any of the formats.

    Args:
      form: of MBPP's prompts, one of `MBPP_FORMS`.
    Raises:
      UserError: no such file, or not the named benchmark's format.
    """
    if name == unconventional.NAME:
        return humaneval(unconventional.read_unconventional(), name)
    any_format = name not in PUBLIC
    if any_format:
        if not Path(name).is_file():
            near = did_you_mean(name.lower(), NAMES)
            raise UserError(
                f"benchmark {name}: no such file, and not one of {', '.join(NAMES)}{near}"
            )
        name, path = Path(name).name, Path(name)
    if path is None:
        raise UserError(
            f"--benchmark={name} needs --problems=FILE, your copy, or --download=DIR; or give your"
            f" copy, --benchmark={PUBLIC[name].name}"
        )
    path = Path(path)
    rows = list(read_records(path))
    if rows and "base_input" in rows[0]:
        if form != MBPP_FORMS[0]:
            raise UserError(
                f"--prompt_form={form}: {path} is EvalPlus's, which has its own prompts"
            )
        return _evalplus(rows, path)
    if name == "mbpp" or (any_format and rows and "test_list" in rows[0]):
        return _mbpp(rows, path, form, name)
    return humaneval(parse_problems(rows, path), name)


def read_for_comparison(name: str) -> list[Problem]:
    """The problems of a file, or "unconventional": each a task in words and a whole program.

    Of MBPP the task's sentence is the prompt, without its tests. Task ids are those that a
    `--split` of launch/evaluate.py names.

    Raises:
      UserError: no such file, or none of the formats.
    """
    if name != unconventional.NAME:
        if not Path(name).is_file():
            raise UserError(f"--benchmark={name}: no such file, nor {unconventional.NAME}")
        name = str(Path(name).absolute())  # a file may be called mbpp
    benchmark = read_benchmark(name)
    if benchmark.problems:
        return list(benchmark.problems)  # with the chains that they may state
    problems = []
    for task in benchmark.tasks:
        words = ""
        if task.prompt.startswith('"""'):
            words = task.prompt.strip().strip('"').split("\nassert ")[0].strip()
        prompt = f"{words!r}\n" if words else ""
        problems.append(Problem(task.task_id, prompt, task.entry_point, task.reference, ""))
    return problems


def humaneval(problems: Sequence[Problem], name: str) -> Benchmark:
    """Problems in HumanEval's format; `test` defines `check(candidate)`."""
    tasks = []
    for problem in problems:
        entry, prompt, solution = problem.entry_point, problem.prompt, problem.canonical_solution
        try:
            helpers = helpers_of(prompt, solution, entry)
        except UNPARSABLE as error:
            raise UserError(
                f"{problem.task_id}: its canonical solution cannot be parsed: {error or 'too deep'}"
            ) from None
        examiner = f"{helpers}\n{entry} = remote({entry!r})\n{problem.test}\ncheck({entry})\n"
        reference = prompt + solution
        tasks.append(Task(problem.task_id, prompt, prompt, solution, entry, reference, examiner))
    return Benchmark(
        name, "humaneval", HUMANEVAL_STOP, "body", tuple(tasks), problems=tuple(problems)
    )


def helpers_of(prompt: str, solution: str, entry_point: str) -> str:
    """The prompt without the function to write: its imports, and what it defines beside.

    Raises:
      one of UNPARSABLE: prompt and solution are no program.
    """
    tree = parse_quietly(prompt + solution)
    end = len(prompt.removesuffix("\n").split("\n"))  # as ast counts lines
    kept = [
        node
        for node in tree.body
        if node.lineno <= end and getattr(node, "name", None) != entry_point
    ]
    return ast.unparse(ast.Module(kept, []))


def _evalplus(rows: Sequence[Mapping[str, Any]], path: Path) -> Benchmark:
    """HumanEval+ or MBPP+."""
    of_mbpp = "assertion" in rows[0]
    tasks: list[Task] = []
    for number, row in enumerate(rows, start=1):
        keys = ("task_id", "prompt", "canonical_solution", "entry_point")
        if bad := [key for key in keys if not isinstance(row.get(key), str)]:
            raise UserError(
                f"{path}, row {number}: no text under {bad[0]!r}; it has {', '.join(row)}; "
                "not EvalPlus's format"
            )
        task_id, prompt, code, entry = (row[key] for key in keys)
        if any(task.task_id == task_id for task in tasks):
            raise UserError(f"{path}, row {number}: task_id {task_id!r} occurs twice")
        try:
            examiner = examiner_of(row, prompt + code)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{path}, row {number}: {task_id}: not EvalPlus's format ({error!r})"
            ) from None
        tasks.append(Task(task_id, prompt, prompt, code, entry, prompt + code, examiner))
    stop = MBPP_DOCSTRING_STOP if of_mbpp else HUMANEVAL_STOP
    name = "mbpp+" if of_mbpp else "humaneval+"
    truncation = "stop" if of_mbpp else "body"
    return Benchmark(name, f"evalplus {name}", stop, truncation, tuple(tasks))


def _mbpp(rows: Sequence[Mapping[str, Any]], path: Path, form: str, name: str) -> Benchmark:
    """MBPP's test split (task ids 11 to 510), or all rows of a file in its format.

    Args:
      rows: of mbpp.jsonl or sanitized-mbpp.json, or one's own.
      name: "mbpp" asks for the test split, and so does the published file under any name.
      form: "docstring" shows the task and its tests in a docstring, zero-shot; "3-shot" is the
        prompt of Austin et al. 2021 with task ids 2, 3, 4 as examples.
    """
    if form not in MBPP_FORMS:
        raise UserError(f"--prompt_form={form!r}: must be one of {', '.join(MBPP_FORMS)}")
    # The sanitized rows, of which the split lacks some, say where they are from; so do MBPP+'s.
    is_sanitized = rows and "source_file" in rows[0] and "test" not in rows[0]
    by_number = {}
    for at, given in enumerate(rows, start=1):
        # The sanitized file calls the text `prompt`.
        row = {"text": given.get("prompt"), "test_setup_code": "", **given}
        row |= {"test_imports": row.get("test_imports") or [], "test": row.get("test") or ""}
        task_id = str(row.get("task_id")).rpartition("/")[2]
        good = {key: isinstance(row.get(key), str) for key in _MBPP_TEXTS}
        good |= {key: _is_texts(row.get(key)) for key in ("test_list", "test_imports")}
        good["task_id"] = task_id.isdecimal() and len(task_id) < 10
        for key in (key for key in good if not good[key]):
            raise UserError(
                f"{path}, row {at}: not MBPP's format: {key!r} is {row.get(key)!r:.80}; "
                f"the row has {', '.join(given)}"
            )
        if int(task_id) in by_number:
            raise UserError(f"{path}, row {at}: task_id {task_id} occurs twice")
        row["tests"] = "\n".join(row["test_list"])
        texts = {key: row[key].replace("\r\n", "\n") for key in (*_MBPP_TEXTS, "tests")}
        by_number[int(task_id)] = row | texts
    shots = ""
    if form == "3-shot":
        if missing := [i for i in _MBPP_SHOTS if i not in by_number]:
            raise UserError(
                f"{path}: the 3-shot prompt needs task_id {missing[0]}, not in the file"
            )
        examples = [by_number[i] for i in _MBPP_SHOTS]
        shots = "".join(f"{_question(row)}{row['code']}\n[DONE]\n\n" for row in examples)
    if by_number.keys() >= set(_MBPP_TEST) or is_sanitized:
        name = "mbpp"
    numbers = [n for n in _MBPP_TEST if n in by_number] if name == "mbpp" else by_number
    tasks, left_out = [], {}
    for number in numbers:
        try:
            task = _mbpp_task(f"MBPP/{number}", by_number[number], shots)
        except UNPARSABLE as error:
            raise UserError(f"{path}, MBPP/{number}: {error or 'too deep to parse'}") from None
        if name == "mbpp" and (reason := NOT_EXECUTABLE.get(task.task_id)):
            left_out[task.task_id] = reason
        elif shots and number in _MBPP_SHOTS:
            left_out[task.task_id] = "it is an example in the prompt"
        else:
            tasks.append(task)
    if not tasks:
        raise UserError(f"{path}: holds no task_id of the test split, 11 to 510")
    stop = MBPP_3_SHOT_STOP if form == "3-shot" else MBPP_DOCSTRING_STOP
    return Benchmark(name, f"mbpp {form}", stop, "stop", tuple(tasks), left_out)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _mbpp_task(task_id: str, row: Mapping[str, Any], shots: str) -> Task:
    # The Hub's MBPP+ has a program of more tests beside MBPP's.
    parts = [*row["test_imports"], row["test_setup_code"], row["test"] or row["tests"]]
    tests = "\n".join(parts) + "\n"
    code = row["code"]
    names = _called(tests, code)
    if not names:
        raise ValueError("its tests call no function of its code")
    examiner = "".join(f"{name} = remote({name!r})\n" for name in names) + tests
    prompt = f'"""\n{row["text"]}\n{row["tests"]}\n"""\n'
    if shots:
        prompt = shots + _question(row)
    # The answer is a whole program. A docstring before it adds nothing, and does not parse where
    # the tests hold three quotes or an escape such as \\U.
    return Task(task_id, prompt, "", code.strip() + "\n", names[0], code, examiner)


def _question(row: Mapping[str, Any]) -> str:
    """As Austin et al. 2021 ask."""
    return (
        f"You are an expert Python programmer, and here is your task: {row['text']} "
        f"Your code should pass these tests:\n\n{row['tests']}\n[BEGIN]\n"
    )


def _called(tests: str, code: str) -> list[str]:
    """Names that the tests use and the reference code defines, or that nothing here does."""
    nodes = list(ast.walk(parse_quietly(tests)))
    defined = {node.name for node in parse_quietly(code).body if isinstance(node, ast.FunctionDef)}
    own = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    imports = [n for n in nodes if isinstance(n, ast.Import | ast.ImportFrom)]
    own |= {a.asname or a.name.partition(".")[0] for n in imports for a in n.names}
    own |= {n.name for n in nodes if isinstance(n, ast.FunctionDef)}
    own |= {n.arg for n in nodes if isinstance(n, ast.arg)}
    used = [n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)]
    names = [n for n in used if n in defined or (n not in own and not hasattr(builtins, n))]
    return list(dict.fromkeys(names))
