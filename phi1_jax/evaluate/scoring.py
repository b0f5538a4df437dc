"""From samples to pass@k: executed, resumed, counted, reported with every choice behind it."""

import json
import platform
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from itertools import chain, product
from pathlib import Path
from typing import Any

from tqdm import tqdm

import phi1_jax
from phi1_jax.corpus.records import read_records
from phi1_jax.errors import UserError
from phi1_jax.evaluate import saved
from phi1_jax.evaluate.benchmarks import Benchmark, Task
from phi1_jax.evaluate.executor import TestExecutor
from phi1_jax.evaluate.pass_at_k import score
from phi1_jax.evaluate.samples import (
    TRUNCATIONS,
    Completes,
    Sample,
    SamplingPlan,
    generate_samples,
    program,
    truncate,
)
from phi1_jax.files import parse_json, read_json_if_whole, write_json
from phi1_jax.sandbox import Verdict

DEFAULT_KS = (1, 10, 100)
# Match rate of syntax trees, tau -> ids of tasks with a similar document in the corpus (Table 3).
Splits = Mapping[float, frozenset[str]]


def evaluate_model(
    generator: Completes,
    benchmark: Benchmark,
    executor: TestExecutor,
    output: Path | str,
    plan: SamplingPlan = SamplingPlan(),  # noqa: B008 (frozen)
    *,
    model: str = "",
    ks: Sequence[int] = DEFAULT_KS,
    sensitivity: bool = False,
    splits: Splits | None = None,
) -> dict[str, Any]:
    """Draws completions, saves them, executes them, and returns what `summary.json` holds.

    Args:
      output: gets samples.jsonl (before any is executed), results.jsonl and summary.json; a run
        that was interrupted goes on from what lies there.
      model: identifies the weights; by default the generator's `fingerprint`, if it has one.
      ks: for pass@k; those above `plan.n_samples` are left out.
      sensitivity: also score the same samples under the other rules; see `sensitivity_report`.
      splits: also score the two parts of the problems at each tau; see `read_splits`.
    Raises:
      UserError: the self-check fails on the benchmark, or the output is of another model, benchmark
        or plan.
    """
    output = Path(output)
    model = model or getattr(generator, "fingerprint", "")
    executor.self_check(benchmark)
    start = time.perf_counter()
    samples = generate_samples(generator, benchmark, plan, output, model)
    choices = {"model": model, **asdict(plan), "generate_s": _since(start)}
    return score_samples(
        samples, benchmark, executor, output, truncation=benchmark.truncation, ks=ks,
        choices=choices, sensitivity=sensitivity, strip_prompt=plan.strip_prompt, splits=splits,
    )  # fmt: skip


def score_samples(
    samples: Sequence[Sample],
    benchmark: Benchmark,
    executor: TestExecutor,
    output: Path,
    *,
    truncation: str = "none",
    ks: Sequence[int] = DEFAULT_KS,
    strip_prompt: bool = False,
    choices: Mapping[str, Any] | None = None,
    sensitivity: bool = False,
    splits: Splits | None = None,
) -> dict[str, Any]:
    """Executes given samples into `output/results.jsonl`, and returns what `summary.json` holds.

    What is not named here is as in `evaluate_model`.

    Args:
      output: programs that were executed there are not executed again, unless the sandbox failed.
      truncation: where a completion ends, one of `samples.TRUNCATIONS`.
      choices: further choices that moved the score, reported with it.
    """
    if truncation not in TRUNCATIONS:
        raise UserError(f"--truncation={truncation!r}: must be one of {', '.join(TRUNCATIONS)}")
    executor.self_check(benchmark)
    output.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    used = versions()
    settings = {
        "benchmark": benchmark.fingerprint,
        "limits": asdict(executor.sandbox.limits),
        "backend": executor.sandbox.backend,
        "versions": {name: used[name] for name in ("python", "phi1_jax")},
    }
    path = output / saved.RESULTS
    if path.exists() and read_json_if_whole(output / saved.EXECUTION) != settings:
        print(f"{path} is of other problems, limits or versions: all samples are executed again")
        for name in saved.SCORED:
            (output / name).unlink(missing_ok=True)
    write_json(output / saved.EXECUTION, settings)
    rows = _execute(samples, benchmark, executor, path, truncation, strip_prompt)
    verdicts: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        verdicts[row["task_id"]].append(row["verdict"])
    summary = {
        "benchmark": benchmark.name,
        **score(verdicts.values(), ks),
        "verdicts": dict(Counter(row["verdict"] for row in rows)),
        "not_scored": sorted(t for t, v in verdicts.items() if set(v) == {Verdict.INFRA}),
        "left_out": dict(benchmark.left_out),
        "choices": {
            "problems": benchmark.fingerprint,
            "template": benchmark.template,
            "stop": list(benchmark.stop),
            "truncation": truncation,
            "strip_prompt": strip_prompt,
            "n_samples": len(samples) / len(benchmark.tasks),
            "imports": "standard library only",
            **(choices or {}),
        },
        "self_check": executor.self_check(benchmark),
        "sandbox": {"backend": executor.sandbox.backend, **asdict(executor.sandbox.limits)},
        "versions": used,
        "execution_s": _since(start),
    }
    if splits:
        summary["splits"] = [_score_parts(verdicts, *split, ks) for split in splits.items()]
    if sensitivity:
        summary["sensitivity"] = sensitivity_report(samples, benchmark, executor, strip_prompt)
    write_json(output / saved.SUMMARY, summary)
    return summary


def task_scores(path: Path) -> dict[str, float]:
    """Of a results.jsonl: task id -> share of its samples that passed; INFRA ones do not count."""
    verdicts: dict[str, list[bool]] = defaultdict(list)
    for row in read_records(path):
        if row["verdict"] != Verdict.INFRA:
            verdicts[row["task_id"]].append(row["verdict"] == Verdict.PASS)
    return {task_id: sum(passed) / len(passed) for task_id, passed in verdicts.items()}


def _score_parts(
    verdicts: Mapping[str, Sequence[str]], tau: float, similar: frozenset[str], ks: Sequence[int]
) -> dict[str, Any]:
    tasks = sorted(verdicts)
    return {
        "tau": tau,
        "similar": score([verdicts[t] for t in tasks if t in similar], ks),
        "non_similar": score([verdicts[t] for t in tasks if t not in similar], ks),
    }


def sensitivity_report(
    samples: Sequence[Sample], benchmark: Benchmark, executor: TestExecutor, strip_prompt: bool
) -> dict[str, Any]:
    """pass@1 of the same samples under every rule for truncation and stripping, and the spread."""
    tasks = {task.task_id: task for task in benchmark.tasks}
    strips: dict[str, Callable[[str], str]] = {
        "no strip": lambda text: text,
        "strip": str.strip,
        "strip newlines": lambda text: text.strip("\n"),
    }
    programs: dict[str, list[tuple[Task, str]]] = defaultdict(list)
    for truncation, (name, strip), sample in product(TRUNCATIONS, strips.items(), samples):
        task, stripped = tasks[sample.task_id], replace(sample, text=strip(sample.text))
        code = program(task, stripped, truncation, benchmark.stop, strip_prompt)
        programs[f"truncation {truncation}, {name}"].append((task, code))
    # Most rules make the same program of most samples: each is executed once.
    distinct = list(dict.fromkeys(chain.from_iterable(programs.values())))
    verdicts = {
        each: outcome.verdict
        for each, outcome in zip(distinct, executor.execute(distinct), strict=True)
    }
    scores: dict[str, float] = {}
    n_infra = 0
    for rule, made in programs.items():
        by_task: dict[str, list[str]] = defaultdict(list)
        for task, code in made:
            by_task[task.task_id].append(verdicts[task, code])
        found = score(by_task.values(), [1])
        n_infra += found["n_infra"]
        if "1" in found["pass_at_k"]:
            scores[rule] = found["pass_at_k"]["1"]["value"]
    spread = max(scores.values(), default=0.0) - min(scores.values(), default=0.0)
    return {"pass_at_1": scores, "spread": spread, "n_infra": n_infra}


def _execute(
    samples: Sequence[Sample],
    benchmark: Benchmark,
    executor: TestExecutor,
    path: Path,
    truncation: str,
    strip_prompt: bool,
) -> list[dict[str, Any]]:
    """The row of each sample; those in `path` are not executed again, unless the sandbox failed.

    A row is known by its task and the hash of its whole program.
    """
    tasks = {task.task_id: task for task in benchmark.tasks}
    jobs, rows = [], []
    for s in samples:
        task = tasks[s.task_id]
        code = program(task, s, truncation, benchmark.stop, strip_prompt)
        text = {"solution": s.text} if s.whole else {
            "completion": truncate(s.text, truncation, benchmark.stop)
        }  # fmt: skip
        jobs.append((task, code))
        rows.append({"task_id": s.task_id, **text, "program_sha256": saved.sha256(code)})
    finished = defaultdict(list)
    for row in saved.read_rows(path):
        if row.get("verdict") in [verdict for verdict in Verdict if verdict != Verdict.INFRA]:
            finished[str(row.get("task_id")), str(row.get("program_sha256"))].append(row)
    left = []
    for at, row in enumerate(rows):
        known = finished[row["task_id"], row["program_sha256"]]
        if known:
            rows[at] = {**known.pop(0), **row}
        else:
            left.append(at)
    saved.write_rows(path, [row for row in rows if "verdict" in row])
    outcomes = executor.execute([jobs[at] for at in left])
    bar = tqdm(outcomes, f"testing {benchmark.name}", len(rows), initial=len(rows) - len(left))
    with path.open("a", encoding="utf-8") as file:
        for at, outcome in zip(left, bar, strict=True):
            rows[at] |= {
                "verdict": str(outcome.verdict),
                "seconds": round(outcome.seconds, 4),
                "message": outcome.message,
            }
            file.write(json.dumps(rows[at]) + "\n")
            file.flush()
    saved.write_rows(path, rows)  # in the samples' order
    return rows


def versions() -> dict[str, str]:
    """Of what a score depends on."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "phi1_jax": phi1_jax.__version__,
        "jax": version("jax"),
        "flax": version("flax"),
    }


def _since(start: float) -> float:
    return round(time.perf_counter() - start, 2)


def read_splits(path: Path, benchmark: Benchmark) -> Splits:
    """The splits that `launch/decontaminate.py` wrote.

    Raises:
      UserError: another format, or a task of the benchmark that is not in exactly one part.
    """
    try:
        rows = parse_json(path.read_text(encoding="utf-8"))["splits"]
        splits = [(float(r["tau"]), frozenset(r["similar"]), set(r["non_similar"])) for r in rows]
    except OSError as error:
        raise UserError(f"--split={path}: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"--split={path}: not the splits.json of launch/decontaminate.py ({error!r})"
        ) from None
    for tau, similar, others in splits:
        for task in benchmark.tasks:
            if (task.task_id in similar) == (task.task_id in others):
                raise UserError(
                    f"--split={path}: {task.task_id} of {benchmark.name} is not in one of the two "
                    f"parts at tau {tau}; the split is of other problems"
                )
    return {tau: similar for tau, similar, _ in splits}
