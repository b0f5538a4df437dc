"""What a model loses when the same problems are asked in other words; see `transformations`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from phi1_jax.corpus.problems import Problem, write_problems
from phi1_jax.evaluate.benchmarks import humaneval
from phi1_jax.evaluate.executor import TestExecutor
from phi1_jax.evaluate.pass_at_k import bootstrap_interval
from phi1_jax.evaluate.samples import Completes, SamplingPlan
from phi1_jax.evaluate.scoring import evaluate_model, task_scores
from phi1_jax.evaluate.transformations import TRANSFORMATIONS, transform
from phi1_jax.files import write_json
from phi1_jax.sandbox import Verdict


def evaluate_robustness(
    generator: Completes,
    problems: Sequence[Problem],
    executor: TestExecutor,
    output: Path,
    plan: SamplingPlan,
    *,
    model: str = "",
) -> dict[str, Any]:
    """Scores a model on every transformation of problems that it was scored on as they are.

    Args:
      output: of `evaluate_model` on the unchanged problems with the same plan; each transformation
        gets a folder `robustness/NAME` in it, with its problems beside samples and results.
    Returns:
      What `robustness.json` holds: for each transformation the scores before and after on the
      problems that it applies to, the drop with its interval, and the problems left out.
    """
    before = task_scores(output / "results.jsonl")
    report: dict[str, Any] = {}
    for name in TRANSFORMATIONS:
        changed, left_out = transform(problems, name, plan.seed)
        changed = _still_solved(changed, name, executor, left_out)
        report[name] = {"n_tasks": 0, "left_out": left_out, "n_not_judged": 0}
        if not changed:
            continue
        folder = output / "robustness" / name
        write_problems(folder / "problems.jsonl", changed)
        benchmark = humaneval(changed, name)
        summary = evaluate_model(generator, benchmark, executor, folder, plan, model=model, ks=(1,))
        report[name] = {
            **drop(before, task_scores(folder / "results.jsonl")),
            "left_out": left_out,
            "n_not_judged": summary["n_not_judged"],
        }
    write_json(output / "robustness.json", report)
    return report


def _still_solved(
    changed: Sequence[Problem], name: str, executor: TestExecutor, left_out: dict[str, str]
) -> list[Problem]:
    """The problems whose reference still passes; the others go to `left_out`, with the reason.

    One among a user's hundreds must not end the report. `TestExecutor.prove` sees the rest.
    """
    tasks = humaneval(changed, name).tasks
    for task, outcome in zip(
        tasks, executor.execute([(t, t.reference) for t in tasks]), strict=True
    ):
        if outcome.verdict is not Verdict.PASS:
            left_out[task.task_id] = f"the reference solution no longer passes: {outcome.verdict}"
    return [problem for problem in changed if problem.task_id not in left_out]


def drop(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """How much lower the mean of `after` is on its problems, with a paired bootstrap interval.

    Args:
      before, after: task id -> share of its samples that passed; a problem that either lacks does
        not count.
    """
    both = [task_id for task_id in after if task_id in before]
    if not both:
        return {"n_tasks": 0}
    differences = [before[task_id] - after[task_id] for task_id in both]
    low, high = bootstrap_interval(differences)
    return {
        "n_tasks": len(both),
        "before": sum(before[task_id] for task_id in both) / len(both),
        "after": sum(after[task_id] for task_id in both) / len(both),
        "drop": sum(differences) / len(both),
        "low": low,
        "high": high,
    }
