"""From samples to a score: judged, resumed, counted, and reported with every choice behind it."""

import json
import platform
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tqdm import tqdm

import phi1_jax
from phi1_jax.corpus.records import read_records
from phi1_jax.errors import UserError
from phi1_jax.evaluate.benchmarks import Benchmark
from phi1_jax.evaluate.executor import TestExecutor
from phi1_jax.evaluate.pass_at_k import estimate, score
from phi1_jax.evaluate.samples import (
    CUTS,
    Completes,
    Sample,
    SamplingPlan,
    cut_completion,
    generate_samples,
    program,
)
from phi1_jax.evaluate.saved import (
    DRAWN,
    JUDGED,
    note_settings,
    read_rows,
    set_aside,
    sha256,
    write_rows,
)
from phi1_jax.evaluate.split import Split
from phi1_jax.files import write_json
from phi1_jax.sandbox import Verdict

DEFAULT_KS = (1, 10, 100)


def evaluate_model(
    generator: Completes,
    benchmark: Benchmark,
    executor: TestExecutor,
    output: Path,
    plan: SamplingPlan = SamplingPlan(),  # noqa: B008 (frozen)
    *,
    model: str = "",
    ks: Sequence[int] = DEFAULT_KS,
    sensitivity: bool = False,
    splits: Sequence[Split] = (),
) -> dict[str, Any]:
    """Draws completions, saves them, judges them, and returns what `summary.json` holds.

    Args:
      output: gets samples.jsonl (before any is judged), results.jsonl and summary.json; a run
        that was interrupted goes on from what lies there.
      model: identifies the weights.
      ks: for pass@k; those above `plan.n_samples` are left out.
      sensitivity: also score the same samples under the other rules; see `sensitivity_report`.
      splits: score the two parts of each too.
    Raises:
      UserError: the self-check fails on the benchmark.
    """
    executor.self_check(benchmark)
    start = time.perf_counter()
    samples = generate_samples(generator, benchmark, plan, output, model)
    choices = {"model": model, **asdict(plan), "generate_s": _since(start)}
    cut = "body" if benchmark.cut_to_body else "stop"
    return score_samples(
        samples, benchmark, executor, output, cut=cut, ks=ks, choices=choices,
        sensitivity=sensitivity, strip_prompt=plan.strip_prompt, splits=splits,
    )  # fmt: skip


def score_samples(
    samples: Sequence[Sample],
    benchmark: Benchmark,
    executor: TestExecutor,
    output: Path,
    *,
    cut: str = "none",
    ks: Sequence[int] = DEFAULT_KS,
    strip_prompt: bool = False,
    choices: Mapping[str, Any] | None = None,
    sensitivity: bool = False,
    splits: Sequence[Split] = (),
) -> dict[str, Any]:
    """Judges samples into `output/results.jsonl`, and returns what `summary.json` holds.

    Args:
      cut: how a completion is cut before it is judged, one of `samples.CUTS`.
      choices: further choices that moved the score, reported with it.
      splits: score the two parts of each too.
    """
    if cut not in CUTS:
        raise UserError(f"--cut={cut!r}: must be one of {', '.join(CUTS)}")
    self_check = executor.self_check(benchmark)
    output.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    versions = _versions()
    settings = {
        "benchmark": benchmark.fingerprint,
        "samples": sha256("\0".join(map(repr, samples))),
        "cut": cut,
        "strip_prompt": strip_prompt,
        "limits": asdict(executor.sandbox.limits),
        "backend": executor.sandbox.backend,
        "versions": {name: versions[name] for name in ("python", "phi1_jax")},
    }
    if not _were_drawn(samples, output):
        set_aside(output, DRAWN + JUDGED, "another run")
    note_settings(output / "judging.json", settings, JUDGED)
    rows = _judge(samples, benchmark, executor, output / "results.jsonl", cut, strip_prompt)
    verdicts: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        verdicts[row["task_id"]].append(row["verdict"])
    summary = {
        "benchmark": benchmark.name,
        **score(verdicts.values(), ks),
        "verdicts": dict(Counter(row["verdict"] for row in rows)),
        "not_scored": sorted(t for t, v in verdicts.items() if set(v) == {Verdict.INFRA}),
        "unjudged": dict(benchmark.unjudged),
        "choices": {
            "template": benchmark.template,
            "stop": list(benchmark.stop),
            "cut": cut,
            "strip_prompt": strip_prompt,
            "n_samples": len(samples) / len(benchmark.tasks),
            "imports": "standard library only",
            **(choices or {}),
        },
        "self_check": self_check,
        "sandbox": {"backend": executor.sandbox.backend, **asdict(executor.sandbox.limits)},
        "versions": versions,
        "judge_s": _since(start),
    }
    if splits:
        summary["splits"] = [_score_parts(verdicts, split, ks) for split in splits]
    if sensitivity:
        summary["sensitivity"] = sensitivity_report(samples, benchmark, executor, strip_prompt)
    write_json(output / "summary.json", summary)
    return summary


def task_scores(path: Path) -> dict[str, float]:
    """Of a results.jsonl: task id -> share of its samples that passed; INFRA ones do not count."""
    verdicts: dict[str, list[bool]] = defaultdict(list)
    for row in read_records(path):
        if row["verdict"] != Verdict.INFRA:
            verdicts[row["task_id"]].append(row["verdict"] == Verdict.PASS)
    return {task_id: sum(passed) / len(passed) for task_id, passed in verdicts.items()}


def _score_parts(
    verdicts: Mapping[str, Sequence[str]], split: Split, ks: Sequence[int]
) -> dict[str, Any]:
    parts = {}
    for name in ("similar", "non_similar"):
        part = [
            verdicts[task_id] for task_id in sorted(getattr(split, name)) if task_id in verdicts
        ]
        parts[name] = score(part, ks)
    return {"tau": split.tau, **parts}


def sensitivity_report(
    samples: Sequence[Sample],
    benchmark: Benchmark,
    executor: TestExecutor,
    strip_prompt: bool = False,
) -> dict[str, Any]:
    """pass@1 of the same samples under every rule for cutting and stripping, and the spread."""
    tasks = {task.task_id: task for task in benchmark.tasks}
    scores: dict[str, float] = {}
    n_not_judged = 0
    for cut in CUTS:
        for strip in ("no strip", "strip", "strip newlines"):
            programs = []
            for sample in samples:
                text = {
                    "no strip": sample.text,
                    "strip": sample.text.strip(),
                    "strip newlines": sample.text.strip("\n"),
                }[strip]
                stripped = Sample(sample.task_id, text, sample.whole)
                task = tasks[sample.task_id]
                programs.append((task, program(task, stripped, cut, benchmark.stop, strip_prompt)))
            verdicts: dict[str, list[str]] = defaultdict(list)
            for sample, outcome in zip(samples, executor.execute(programs), strict=True):
                verdicts[sample.task_id].append(outcome.verdict)
            n_not_judged += sum(group.count(Verdict.INFRA) for group in verdicts.values())
            if found := estimate(verdicts.values(), [1]):
                scores[f"{cut} cut, {strip}"] = found["1"]["value"]
    spread = max(scores.values(), default=0.0) - min(scores.values(), default=0.0)
    return {"pass_at_1": scores, "spread": spread, "n_not_judged": n_not_judged}


def _were_drawn(samples: Sequence[Sample], output: Path) -> bool:
    """False if the folder holds drawn samples, and others than these."""
    if not (output / "sampling.json").exists():
        return True
    there = [(row.get("task_id"), row.get("completion")) for row in read_rows(output / DRAWN[0])]
    return there == [(sample.task_id, sample.text) for sample in samples]


def _judge(
    samples: Sequence[Sample],
    benchmark: Benchmark,
    executor: TestExecutor,
    path: Path,
    cut: str,
    strip_prompt: bool,
) -> list[dict[str, Any]]:
    """The row of each sample; those in `path` are not judged again, unless the sandbox failed.

    A row is known by its task and the hash of its whole program.
    """
    tasks = {task.task_id: task for task in benchmark.tasks}
    jobs, rows = [], []
    for s in samples:
        task = tasks[s.task_id]
        code = program(task, s, cut, benchmark.stop, strip_prompt)
        text = {"solution": s.text} if s.whole else {
            "completion": cut_completion(s.text, cut, benchmark.stop)
        }  # fmt: skip
        jobs.append((task, code))
        rows.append({"task_id": s.task_id, **text, "program_sha256": sha256(code)})
    finished = defaultdict(list)
    for row in read_rows(path):
        if row.get("verdict") in [verdict for verdict in Verdict if verdict != Verdict.INFRA]:
            finished[str(row.get("task_id")), str(row.get("program_sha256"))].append(row)
    left = []
    for at, row in enumerate(rows):
        known = finished[row["task_id"], row["program_sha256"]]
        if known:
            rows[at] = {**known.pop(0), **row}
        else:
            left.append(at)
    write_rows(path, [row for row in rows if "verdict" in row])
    outcomes = executor.execute([jobs[at] for at in left])
    bar = tqdm(outcomes, f"judging {benchmark.name}", len(rows), initial=len(rows) - len(left))
    with path.open("a", encoding="utf-8") as file:
        for at, outcome in zip(left, bar, strict=True):
            rows[at] |= {
                "verdict": str(outcome.verdict),
                "seconds": round(outcome.seconds, 4),
                "message": outcome.message,
            }
            file.write(json.dumps(rows[at]) + "\n")
            file.flush()
    write_rows(path, rows)  # in the samples' order
    return rows


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "machine": platform.machine()}
    found["phi1_jax"] = phi1_jax.__version__
    for package in ("jax", "flax"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _since(start: float) -> float:
    return round(time.perf_counter() - start, 2)
