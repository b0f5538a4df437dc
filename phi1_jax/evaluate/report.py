"""The quickstart's report: table, bar charts like the paper's Figure 2.1, completions."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from phi1_jax.corpus.problems import Problem, read_problems
from phi1_jax.evaluate.evaluate import BITS_PER_BYTE
from phi1_jax.evaluate.saved import read_rows
from phi1_jax.files import read_json, write_json
from phi1_jax.markdown import table
from phi1_jax.run.metrics import MetricsWriter

N_SAMPLES = 10
_LINKS = """
## More

- [samples.md](samples.md): what the last model answers to ten problems
- [evaluate/](evaluate): every completion and verdict
- [synthesize/](synthesize), [curate/](curate): what the models were trained on, before and after
  the benchmarks' problems were taken out (decontaminate_own/, decontaminate_public/)
- [stages/](stages): the command of each stage, and what it printed
"""


def write_report(
    root: Path,
    models: Sequence[str],
    runs: Sequence[Path],
    public: Sequence[str],
    missing: Mapping[str, str],
    seconds: tuple[Mapping[str, float], float],
) -> dict[str, Any]:
    """Gathers what the stages left below `root` into one summary.

    Args:
      models: folders below `root/evaluate`, in the order of the table; the last is shown at work.
      runs: the training runs of all models but the first, for their tokens.
      public: benchmarks measured in bits per byte, each in `root/bits_NAME`.
      missing: benchmarks that could not be had, and why.
      seconds: of each stage; and of all, where stages that ran at a time count once.
    Returns:
      What `summary.json` holds: pass_at_1 on the own exam by model with its 95% interval;
      bits_per_byte by benchmark and model (value, low, high) and `differences`, paired, between
      models; n_problems, train_tokens (next-token targets that counted, over all runs),
      train_steps, stage_seconds, total_seconds and missing.
    """
    scores = {name: read_json(root / "evaluate" / name / "summary.json") for name in models}
    pass_at_1 = {name: score["pass_at_k"]["1"] for name, score in scores.items()}
    results = {
        name: read_json(run / "result.json") for name, run in zip(models[1:], runs, strict=True)
    }
    bits, differences = {}, {}
    for benchmark in public:
        folder = root / f"bits_{benchmark}"
        found = {name: read_json(folder / name / "summary.json") for name in models}
        bits[benchmark] = {name: summary[BITS_PER_BYTE] for name, summary in found.items()}
        differences[benchmark] = json.loads((folder / "differences.json").read_text("utf-8"))
    summary = {
        "pass_at_1": {name: value["value"] for name, value in pass_at_1.items()},
        "interval_95": {name: [v["low"], v["high"]] for name, v in pass_at_1.items()},
        "n_problems": scores[models[-1]]["n_tasks"],
        "bits_per_byte": bits,
        "differences": differences,
        "missing": dict(missing),
        "train_tokens": sum(result["tokens"] for result in results.values()),
        "train_steps": {name: result["steps"] for name, result in results.items()},
        "stage_seconds": dict(seconds[0]),
        "total_seconds": seconds[1],
    }
    answers = {name: list(read_rows(root / "evaluate" / name / "results.jsonl")) for name in models}
    problems = read_problems(root / "synthesize" / "benchmark.jsonl")
    samples = _samples(problems, answers[models[-1]])
    report = _table(summary) + _side_by_side(problems, answers) + _LINKS
    bar_chart(pass_at_1, bits).savefig(root / "figure.png")
    (root / "samples.md").write_text(samples, encoding="utf-8")
    (root / "report.md").write_text(report, encoding="utf-8")
    writer = MetricsWriter(root / "report")
    writer.image(0, "result", (root / "figure.png").read_bytes())
    writer.text(0, "samples", samples)
    writer.text(0, "report", report)
    writer.close()
    write_json(root / "summary.json", summary)
    return summary


_Point = Mapping[str, float]


def bar_chart(
    pass_at_1: Mapping[str, _Point], bits: Mapping[str, Mapping[str, _Point]] | None = None
) -> Any:
    """A Figure: pass@1 of each model on the own exam and, beside it, bits per byte elsewhere.

    Args:
      pass_at_1: by model: value, low and high (the 95% interval), as shares.
      bits: the same in bits per byte, by benchmark and model.
    """
    from matplotlib.figure import Figure

    panels = [("pass@1 on held-out problems\nof the teacher, %", pass_at_1, 100.0, "%.3g")]
    for name, points in (bits or {}).items():
        title = f"bits per byte of the solutions\nof {name}, lower is better"
        panels.append((title, points, 1.0, "%.2f"))
    figure = Figure((4.2 * len(panels), 4.0), dpi=150, layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    colors = ["#b9bec7", "#8fa3bf", "#5b8bc9", "#7fb59b", "#1f5fae"]
    for axis, (title, points, scale, form) in zip(axes, panels, strict=True):
        names = [name.replace("_", "\n") for name in points]
        values = [scale * point["value"] for point in points.values()]
        below = [scale * (point["value"] - point["low"]) for point in points.values()]
        above = [scale * (point["high"] - point["value"]) for point in points.values()]
        bars = axis.bar(names, values, color=colors[-len(names) :], yerr=[below, above], capsize=4)
        axis.bar_label(bars, fmt=form, padding=4)
        axis.set_title(title, fontsize=10)
        axis.tick_params(axis="x", labelsize=8)
        axis.margins(y=0.15)
        # Up to 10 % at least: what is next to nothing should look like it.
        axis.set_ylim(0, max(axis.get_ylim()[1], scale / 10))
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def _table(summary: Mapping[str, Any]) -> str:
    bits = summary["bits_per_byte"]
    rows = []
    for name, value in summary["pass_at_1"].items():
        low, high = summary["interval_95"][name]
        row = [name, f"{100 * value:.1f} % ({100 * low:.1f} to {100 * high:.1f})"]
        for points in bits.values():
            point = points[name]
            row.append(f"{point['value']:.3f} ({point['low']:.3f} to {point['high']:.3f})")
        rows.append([*row, f"{summary['train_steps'].get(name, 0):,}"])
    exam = f"own exam, {summary['n_problems']} problems: pass@1"
    measures = [f"{name}: bits per byte" for name in bits]
    parts = [
        "# Result",
        "![pass@1 on the own exam, bits per byte of HumanEval and MBPP, by model](figure.png)",
        "The own exam is in the teacher's dialect, HumanEval and MBPP are not. 95% intervals.",
        table(["model", exam, *measures, "training steps"], rows),
    ]
    for benchmark, found in summary["differences"].items():
        rows = [
            [r["model"], r["baseline"],
             f"{r['difference']:+.3f} ({r['low']:+.3f} to {r['high']:+.3f})"]
            for r in found
            if r["baseline"] != "untrained"
        ]  # fmt: skip
        parts.append(table([benchmark, "against", "bits per byte, paired difference"], rows))
    parts += [f"Not measured: {name}. {reason}" for name, reason in summary["missing"].items()]
    seconds = [(name, f"{value:.1f}") for name, value in summary["stage_seconds"].items()]
    parts.append(table(["stage", "seconds"], seconds))
    return "\n\n".join(parts) + "\n"


def _samples(problems: Sequence[Problem], rows: Sequence[Mapping[str, Any]]) -> str:
    prompts = {problem.task_id: problem.prompt for problem in problems}
    parts = ["# Sample completions, greedy\n"]
    for row in rows[:N_SAMPLES]:
        code = prompts[row["task_id"]] + row["completion"]
        parts.append(f"## {row['task_id']}: {row['verdict']}\n\n```python\n{code}\n```\n")
    return "\n".join(parts)


def _side_by_side(
    problems: Sequence[Problem], answers: Mapping[str, Sequence[Mapping[str, Any]]]
) -> str:
    """One prompt and each model's answer: the first that the last model solves, or the first."""
    *_, last = answers.values()
    place = next((i for i, row in enumerate(last) if row["verdict"] == "PASS"), 0)
    task_id = last[place]["task_id"]
    prompt = next(problem.prompt for problem in problems if problem.task_id == task_id)
    parts = [f"\n## One prompt, {len(answers)} answers\n\n{task_id}:\n\n```python\n{prompt}```\n"]
    for name, rows in answers.items():
        answer = rows[place]["completion"].strip("\n") or "# (nothing)"
        parts.append(f"{name}, {rows[place]['verdict']}:\n\n```python\n{answer}\n```\n")
    return "\n".join(parts)
