"""From samples to a score: judged, resumed, counted, and reported with every choice behind it."""

import json
import platform
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tqdm import tqdm

from phi1_jax.data.json_lines import read_json_lines
from phi1_jax.errors import UserError
from phi1_jax.evaluate.benchmarks import Benchmark, Task
from phi1_jax.evaluate.judge import Judge
from phi1_jax.evaluate.pass_at_k import bootstrap_interval, pass_at_k
from phi1_jax.evaluate.samples import (
    CUTS,
    Completes,
    Sample,
    SamplingPlan,
    cut_completion,
    generate_samples,
    program,
)
from phi1_jax.evaluate.split import Split
from phi1_jax.sandbox import Verdict
from phi1_jax.stage import write_json

DEFAULT_KS = (1, 10, 100)


def evaluate_model(
    generator: Completes,
    benchmark: Benchmark,
    judge: Judge,
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
      UserError: the judge cannot prove itself on the benchmark.
    """
    judge.prove(benchmark)
    start = time.perf_counter()
    samples = generate_samples(generator, benchmark, plan, output, model)
    choices = {"model": model, **asdict(plan), "generate_s": _since(start)}
    cut = "body" if benchmark.cut_to_body else "stop"
    return score_samples(
        samples, benchmark, judge, output, cut=cut, ks=ks, choices=choices, sensitivity=sensitivity,
        strip_prompt=plan.strip_prompt, splits=splits,
    )  # fmt: skip


def score_samples(
    samples: Sequence[Sample],
    benchmark: Benchmark,
    judge: Judge,
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
    proof = judge.prove(benchmark)
    output.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    tasks = {task.task_id: task for task in benchmark.tasks}
    jobs = [
        (tasks[s.task_id], program(tasks[s.task_id], s, cut, benchmark.stop, strip_prompt))
        for s in samples
    ]
    texts = [s.text if s.whole else cut_completion(s.text, cut, benchmark.stop) for s in samples]
    rows = list(_judged(jobs, texts, benchmark, judge, output))
    verdicts: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        verdicts[row["task_id"]].append(row["verdict"])
    summary = {
        "benchmark": benchmark.name,
        "n_tasks": len(benchmark.tasks),
        "pass_at_k": estimate(verdicts.values(), ks),
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
        "proof": proof,
        "sandbox": {"backend": judge.sandbox.backend, **asdict(judge.sandbox.limits)},
        "versions": _versions(),
        "judge_s": _since(start),
    }
    if splits:
        summary["splits"] = [_score_parts(verdicts, split, ks) for split in splits]
    if sensitivity:
        summary["sensitivity"] = sensitivity_report(samples, benchmark, judge, strip_prompt)
    write_json(output / "summary.json", summary)
    return summary


def estimate(verdicts: Any, ks: Sequence[int]) -> dict[str, dict[str, float]]:
    """pass@k with its 95% interval for each k that every task has samples enough for.

    Args:
      verdicts: for each task the verdicts of its samples; INFRA ones do not count.
    """
    counts = [
        (sum(v is not Verdict.INFRA for v in map(Verdict, task)), list(task).count(Verdict.PASS))
        for task in verdicts
    ]
    counts = [(n, c) for n, c in counts if n]
    found = {}
    for k in ks:
        if counts and k <= min(n for n, _ in counts):
            values = [pass_at_k(n, c, k) for n, c in counts]
            low, high = bootstrap_interval(values)
            found[str(k)] = {"value": sum(values) / len(values), "low": low, "high": high}
    return found


def task_scores(path: Path) -> dict[str, float]:
    """Of a results.jsonl: task id -> share of its samples that passed; INFRA ones do not count."""
    verdicts: dict[str, list[bool]] = defaultdict(list)
    for row in read_json_lines(path):
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
        parts[name] = {"n_tasks": len(part), "pass_at_k": estimate(part, ks)}
    return {"tau": split.tau, **parts}


def sensitivity_report(
    samples: Sequence[Sample], benchmark: Benchmark, judge: Judge, strip_prompt: bool = False
) -> dict[str, Any]:
    """pass@1 of the same samples under every rule for cutting and stripping, and the spread."""
    tasks = {task.task_id: task for task in benchmark.tasks}
    scores = {}
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
            for sample, outcome in zip(samples, judge.judge(programs), strict=True):
                verdicts[sample.task_id].append(outcome.verdict)
            scores[f"{cut} cut, {strip}"] = estimate(verdicts.values(), [1])["1"]["value"]
    return {"pass_at_1": scores, "spread": max(scores.values()) - min(scores.values())}


def _judged(
    jobs: Sequence[tuple[Task, str]],
    texts: Sequence[str],
    benchmark: Benchmark,
    judge: Judge,
    output: Path,
) -> Iterator[dict[str, Any]]:
    """The row of each job; those that an interrupted run finished are not judged again."""
    path, settings_path = output / "results.jsonl", output / "judging.json"
    settings = {
        "benchmark": benchmark.fingerprint,
        "limits": asdict(judge.sandbox.limits),
        "backend": judge.sandbox.backend,
    }
    same = settings_path.exists() and json.loads(settings_path.read_text()) == settings
    write_json(settings_path, settings)
    rows = []
    for (task, _), text, line in zip(
        jobs, texts, path.read_bytes().split(b"\n") if same and path.exists() else [], strict=False
    ):
        try:
            row = json.loads(line)
        except ValueError:
            break
        if (row["task_id"], row["completion"]) != (task.task_id, text):
            break
        if row["verdict"] == Verdict.INFRA:
            break
        rows.append(row)
    yield from rows
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
        left = jobs[len(rows) :]
        bar = tqdm(judge.judge(left), f"judging {benchmark.name}", len(jobs), initial=len(rows))
        for outcome, (task, _), text in zip(bar, left, texts[len(rows) :], strict=True):
            row = {
                "task_id": task.task_id,
                "completion": text,
                "verdict": str(outcome.verdict),
                "seconds": round(outcome.seconds, 4),
                "message": outcome.message,
            }
            file.write(json.dumps(row) + "\n")
            file.flush()
            yield row


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for package in ("phi1_jax", "jax", "flax"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _since(start: float) -> float:
    return round(time.perf_counter() - start, 2)
