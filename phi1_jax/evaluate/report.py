"""The quickstart's report: table, bar chart like the paper's Figure 2.1, sample completions."""

import io
import json
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from phi1_jax.corpus.problems import read_problems
from phi1_jax.evaluate.saved import read_rows
from phi1_jax.files import write_json
from phi1_jax.run.metrics import MetricsWriter

N_SAMPLES = 10


def write_report(
    root: Path, models: Sequence[str], runs: Sequence[Path], stage_seconds: Mapping[str, float]
) -> dict[str, Any]:
    """Gathers what the stages left below `root` into one summary.

    Args:
      models: folders below `root/evaluate`, in the order of the table; the last is shown at work.
      runs: the training runs, for their tokens.
    Returns:
      What `summary.json` holds: pass@1 by model with its 95% interval, n_problems, train_tokens
      (next-token targets that counted, over all runs), stage_seconds and total_seconds.
    """
    scores = {name: _read(root / "evaluate" / name / "summary.json") for name in models}
    pass_at_1 = {name: score["pass_at_k"]["1"] for name, score in scores.items()}
    results = {name: _read(run / "result.json") for name, run in zip(models[1:], runs, strict=True)}
    summary = {
        "pass_at_1": {name: value["value"] for name, value in pass_at_1.items()},
        "interval_95": {name: [v["low"], v["high"]] for name, v in pass_at_1.items()},
        "n_problems": scores[models[-1]]["n_tasks"],
        "train_tokens": sum(result["tokens"] for result in results.values()),
        "train_steps": {name: result["steps"] for name, result in results.items()},
        "stage_seconds": dict(stage_seconds),
        "total_seconds": round(sum(stage_seconds.values()), 1),
    }
    samples = _samples(root / "evaluate" / models[-1] / "results.jsonl", root)
    figure = bar_chart(pass_at_1)
    (root / "figure.png").write_bytes(figure)
    (root / "samples.md").write_text(samples, encoding="utf-8")
    (root / "report.md").write_text(_table(summary), encoding="utf-8")
    writer = MetricsWriter(root / "report")
    writer.image(0, "pass_at_1", figure)
    writer.text(0, "samples", samples)
    writer.text(0, "report", _table(summary))
    writer.close()
    write_json(root / "summary.json", summary)
    return summary


def bar_chart(pass_at_1: Mapping[str, Mapping[str, float]]) -> bytes:
    """A PNG with a bar and its 95% interval for each model."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = [name.replace("_", " ") for name in pass_at_1]
    values = [100 * point["value"] for point in pass_at_1.values()]
    below = [100 * (point["value"] - point["low"]) for point in pass_at_1.values()]
    above = [100 * (point["high"] - point["value"]) for point in pass_at_1.values()]
    figure, axes = pyplot.subplots(figsize=(6.4, 3.6), dpi=150, layout="constrained")
    colors = ["#b9bec7", "#8fa3bf", "#5b8bc9", "#1f5fae"]
    bars = axes.bar(names, values, color=colors[-len(names) :], yerr=[below, above], capsize=4)
    axes.bar_label(bars, fmt="%.1f", padding=4)
    axes.set_ylim(0, 112)
    axes.set_ylabel("pass@1 on held-out problems, %")
    axes.spines[["top", "right"]].set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    pyplot.close(figure)
    return buffer.getvalue()


def _table(summary: Mapping[str, Any]) -> str:
    lines = [
        f"pass@1 on {summary['n_problems']} held-out problems (greedy; 95% interval)",
        "",
        "| model | pass@1 | interval | training steps |",
        "|---|---|---|---|",
    ]
    for name, value in summary["pass_at_1"].items():
        low, high = summary["interval_95"][name]
        steps = summary["train_steps"].get(name, 0)
        lines.append(
            f"| {name} | {100 * value:.1f} % | {100 * low:.1f} - {100 * high:.1f} | {steps:,} |"
        )
    lines += ["", "| stage | seconds |", "|---|---|"]
    lines += [f"| {name} | {value:.1f} |" for name, value in summary["stage_seconds"].items()]
    return "\n".join(lines) + "\n"


def _samples(path: Path, root: Path) -> str:
    problems = read_problems(root / "synthesize" / "benchmark.jsonl")
    prompts = {problem.task_id: problem.prompt for problem in problems}
    parts = ["# Sample completions, greedy\n"]
    for row in islice(read_rows(path), N_SAMPLES):
        code = prompts[row["task_id"]] + row["completion"]
        parts.append(f"## {row['task_id']}: {row['verdict']}\n\n```python\n{code}\n```\n")
    return "\n".join(parts)


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))
