"""What came out: each measure of each variant with its interval; JSON, table, figure, HParams."""

import json
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from phi1_jax import markdown
from phi1_jax.ablation.runs import OWN, Ablation, Run
from phi1_jax.config_dict import flatten
from phi1_jax.corpus.documents import Document
from phi1_jax.errors import UserError
from phi1_jax.evaluate.benchmarks import read_benchmark
from phi1_jax.evaluate.bits_per_byte import read_results
from phi1_jax.evaluate.pass_at_k import alike_interval, pass_at_k
from phi1_jax.evaluate.saved import read_rows
from phi1_jax.files import read_json, write_json
from phi1_jax.run.folder import scores
from phi1_jax.run.metrics import MetricsWriter
from phi1_jax.sandbox import Verdict
from phi1_jax.synthesis.diversity import ConstructCounter

BITS, LOSS = "bits per byte", "validation loss"
RESULT, FIGURE, TABLE, BOARD = "ablation.json", "figure.png", "ablation.md", "tensorboard"
_RESAMPLES = 2000
# One measure of one run: task -> (value, weight); the measure is sum(values) / sum(weights).
_Values = Mapping[str, tuple[float, float]]


def gather(ablation: Ablation, name: str) -> dict[str, Any]:
    """All measures of finished runs.

    Returns:
      question, about, baseline, seeds, variants and seconds (of all stages, shared ones too). A
      variant has `phases`, `data` (corpus -> documents and tokens, of the first seed) and
      `measures`: measure -> `all` and the question's groups of problems -> value, low, high (95 %,
      see `interval`), by_seed, n_problems, and difference (to the baseline: value, low, high).
    """
    question = ablation.question
    values = {(run.variant, run.seed): _measure(run) for run in ablation.runs}
    seeds = sorted({run.seed for run in ablation.runs})
    groups = _groups(ablation)
    variants = {}
    for variant, phases in question.variants.items():
        first = next(run for run in ablation.runs if run.variant == variant)
        measures: dict[str, Any] = {}
        for measure in values[variant, seeds[0]]:
            mine = [values[variant, seed][measure] for seed in seeds]
            theirs = [values[question.baseline, seed][measure] for seed in seeds]
            measures[measure] = {}
            for group, tasks in {"all": None, **groups.get(measure.partition("/")[0], {})}.items():
                kept = [task for task in mine[0] if tasks is None or task in tasks]
                if kept:
                    is_share = "/pass@" in measure
                    found = estimate(mine, kept, is_share=is_share)
                    if variant != question.baseline:
                        found["difference"] = estimate(mine, kept, theirs, is_share)
                    measures[measure][group] = found
        variants[variant] = {
            "phases": [asdict(phase) for phase in phases],
            "data": {corpus: _size(folder) for corpus, folder in first.shards.items()},
            "measures": measures,
        }
    spent = ablation.pipeline.seconds
    return {
        "question": name,
        "about": question.about,
        "baseline": question.baseline,
        "seeds": seeds,
        "variants": variants,
        "seconds": round(sum(spent[stage.name] for stage in ablation.needed()), 1),
    }


def estimate(
    runs: Sequence[_Values],
    tasks: Sequence[str],
    baseline: Sequence[_Values] = (),
    is_share: bool = False,
) -> dict[str, Any]:
    """A measure over seeds and problems; with a baseline, the difference to it.

    Args:
      runs: the values of each seed.
      baseline: those of the same seeds; problems and seeds are drawn for both together.
      is_share: each problem's value is a share, so the bounds are within 0 and 1, or -1 and 1.
    """
    mine = np.asarray([[run[task] for task in tasks] for run in runs])
    values, weights = mine[..., 0], mine[0, :, 1]
    if baseline:
        values = values - np.asarray([[run[task][0] for task in tasks] for run in baseline])
    by_seed = values.sum(1) / weights.sum()
    low, high = interval(values, weights)
    if is_share:
        least = -1.0 if baseline else 0.0
        if low == high and len(tasks) > 1:  # often no problem is solved
            low, high = alike_interval(low, len(tasks), least)
        low, high = max(low, least), min(high, 1.0)
    found: dict[str, Any] = {"value": float(by_seed.mean()), "low": low, "high": high}
    if not baseline:
        found |= {"by_seed": [float(v) for v in by_seed], "n_problems": len(tasks)}
    return found


def interval(values_sp: np.ndarray, weights_p: np.ndarray) -> tuple[float, float]:
    """The central 95 % of the measure when seeds and problems are drawn anew.

    Bootstrap: problems with replacement, and seeds with replacement, whose deviations from their
    mean are widened by sqrt(s / (s - 1)), since a resample of few seeds varies too little. With one
    seed the interval covers problems only; that of a few seeds is rough.

    Args:
      values_sp: float[seeds, problems].
      weights_p: float[problems]; the measure is sum(values) / sum(weights).
    """
    n_seeds, n_problems = values_sp.shape
    mean = values_sp.mean(0)
    if n_seeds > 1:
        values_sp = mean + (values_sp - mean) * np.sqrt(n_seeds / (n_seeds - 1))
    rng = np.random.default_rng(0)
    seeds = rng.integers(0, n_seeds, (_RESAMPLES, n_seeds))
    problems = rng.integers(0, n_problems, (_RESAMPLES, n_problems))
    sums = np.take_along_axis(values_sp[seeds].mean(1), problems, 1).sum(1)
    low, high = np.quantile(sums / weights_p[problems].sum(1), [0.025, 0.975])
    return float(low), float(high)


def _measure(run: Run) -> dict[str, _Values]:
    """Measure, such as own/pass@1 -> the values of each task."""
    found: dict[str, _Values] = {}
    for benchmark, folder in (*run.scores.items(), *run.samples.items()):
        verdicts: defaultdict[str, list[bool]] = defaultdict(list)
        for row in read_rows(folder / "model" / "results.jsonl"):
            verdicts[row["task_id"]].append(row["verdict"] == Verdict.PASS)
        if verdicts:  # what was not executed has none
            n = min(map(len, verdicts.values()))
            found[f"{benchmark}/pass@{n}"] = {
                task: (pass_at_k(len(each), sum(each), n), 1.0) for task, each in verdicts.items()
            }
        if folder in run.scores.values():
            bits = read_results(folder / "model" / "bits_per_byte.jsonl")
            found[f"{benchmark}/{BITS}"] = {r.task_id: (r.bits, float(r.n_bytes)) for r in bits}
    if losses := scores(run.folder, "validation/loss"):
        found[LOSS] = {"": (losses[max(losses)], 1.0)}
    return found


def _groups(ablation: Ablation) -> dict[str, dict[str, set[str]]]:
    """Benchmark -> the question's groups of its problems."""
    question, found = ablation.question, {}
    for name in (OWN, *question.recipe.public):
        path = question.recipe.public.get(name)
        benchmark = read_benchmark(str(ablation.data.own) if path is None else name, path)
        groups: dict[str, set[str]] = {}
        if construct := question.construct:
            solutions = {
                task.task_id: Document("", task.prompt + task.solution, "")
                for task in benchmark.tasks
            }
            counter = ConstructCounter()
            users = {i for i, s in solutions.items() if counter.of_document(s).counts[construct]}
            groups = {f"with {construct}": users, f"without {construct}": solutions.keys() - users}
        if ablation.splits:
            for split in json.loads(ablation.splits.read_text("utf-8"))["splits"]:
                for part in ("similar", "non_similar"):
                    groups[f"{part.replace('_', '-')} at {split['tau']:g}"] = set(split[part])
        found[name] = groups
    return found


def _size(shards: Path) -> dict[str, int]:
    report = read_json(shards / "report.json")
    return {"documents": report["in"]["documents"], "tokens": report["out"]["tokens"]}


def write_results(ablation: Ablation, output: Path, name: str) -> dict[str, Any]:
    """Gathers, and writes RESULT, TABLE, FIGURE and, for TensorBoard's HParams page, BOARD."""
    result = gather(ablation, name)
    output.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(output / BOARD, ignore_errors=True)
    for run in ablation.runs:
        variant = result["variants"][run.variant]
        writer = MetricsWriter(output / BOARD / f"{run.variant}_seed{run.seed}")
        last = flatten(variant["phases"][-1])
        values = {"Variant": run.variant, "Seed": run.seed, **last}
        writer.hyperparameters(f"{run.variant}, seed {run.seed}", values)
        at = result["seeds"].index(run.seed)
        points = {m: groups["all"]["by_seed"][at] for m, groups in variant["measures"].items()}
        writer.scalars(last["steps"], points)
        writer.close()
    draw(result).savefig(output / FIGURE)
    (output / TABLE).write_text(table(result), encoding="utf-8")
    write_json(output / RESULT, result)
    return result


def table(result: Mapping[str, Any]) -> str:
    """Markdown: the measures, their differences to the baseline, and the same of each group of
    problems, which a reader unfolds.
    """
    variants, baseline = result["variants"], result["baseline"]
    base = variants[baseline]["measures"]
    n_seeds = len(result["seeds"])
    over = f"{n_seeds} seeds and the problems" if n_seeds > 1 else "the problems, of one seed"
    lines = [f"95 % intervals over {over}; {result['seconds'] / 60:.0f} min in all."]
    for group in dict.fromkeys(group for found in base.values() for group in found):
        if group == "all":
            lines += ["", "Distinct tokens in the last phase's mixture:", ""]
            lines += [f"- {name}: {_tokens(variant)}" for name, variant in variants.items()]
        else:
            lines += ["", f'<details markdown="1"><summary>Problems {group}</summary>']
        counts = {m: found[group]["n_problems"] for m, found in base.items() if group in found}
        head = [f"{m} ({n})" if n > 1 else m for m, n in counts.items()]
        values, differences = [], []
        for name, variant in variants.items():
            points = {m: variant["measures"][m][group] for m in counts}
            values.append([name, *(_cell(m, p) for m, p in points.items())])
            if name != baseline:
                cells = (_cell(m, p["difference"], "+") for m, p in points.items())
                differences.append([name, *cells])
        lines += ["", markdown.table(["variant", *head], values)]
        lines += ["", markdown.table([f"minus {baseline}", *head], differences)]
        if group != "all":
            lines += ["", "</details>"]
    return "\n".join(lines) + "\n"


def _tokens(variant: Mapping[str, Any]) -> str:
    mixture = variant["phases"][-1]["mixture"]
    sizes = {corpus: variant["data"][corpus]["tokens"] for corpus in mixture}
    return ", ".join(f"{100 * mixture[c]:g} % of {c} ({n:,})" for c, n in sizes.items())


def fill(page: str, name: str, text: str) -> str:
    """A page of Markdown with `text` between its marks of a question.

    Raises:
      UserError: the page has no such marks.
    """
    begin, end = f"<!-- results of {name} -->\n", "<!-- end -->"
    before, found, after = page.partition(begin)
    if not found:
        raise UserError(
            f"--publish: docs/ablations.md has no lines {begin.strip()!r} and {end!r}; write them"
            " where the tables belong"
        )
    return f"{before}{begin}{text}{end}{after.partition(end)[2]}"


def _cell(measure: str, point: Mapping[str, Any], sign: str = "") -> str:
    percent = "pass@" in measure
    scale, form = (100, ".1f") if percent else (1, ".3f")
    value, low, high = (f"{scale * point[k]:{sign}{form}}" for k in ("value", "low", "high"))
    if low == high and not percent:  # one seed of a measure that no problems make up
        return value
    return f"{value}{' %' * percent} ({low} to {high})"


def draw(result: Mapping[str, Any]) -> Any:
    """A matplotlib Figure: a panel a measure, a point with its 95 % interval a variant."""
    from matplotlib.figure import Figure

    variants = result["variants"]
    measures = list(variants[result["baseline"]]["measures"])
    n_columns = min(len(measures), 3)
    n_rows = -(-len(measures) // n_columns)
    size = (3.4 * n_columns, n_rows * (0.9 + 0.3 * len(variants)))
    figure = Figure(size, dpi=150, layout="constrained")
    axes = figure.subplots(n_rows, n_columns, sharey=True, squeeze=False)
    places = range(len(variants))
    for axis in axes.flat[len(measures) :]:
        axis.set_visible(False)
    for axis, measure in zip(axes.flat, measures, strict=False):
        scale = 100 if "pass@" in measure else 1
        points = [variant["measures"][measure]["all"] for variant in variants.values()]
        value, low, high = (
            np.asarray([scale * point[key] for point in points]) for key in ("value", "low", "high")
        )
        around = np.maximum([value - low, high - value], 0)
        axis.errorbar(value, places, xerr=around, fmt="o", color="#1f5fae", capsize=3)
        axis.set_title(f"{measure}{', %' * (scale == 100)}", fontsize=9)
        axis.grid(axis="x", alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0][0].set_yticks(places, list(variants))
    axes[0][0].invert_yaxis()
    return figure
