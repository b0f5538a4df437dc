"""The cards of a published model: what it is, what it was trained on, how it scores, its limits.

Everything is read from what the stages wrote: the run's config and identity, its shards' manifest
and index, and the report.json of every stage that the shards came through. What is no longer there
is named as missing, not left out.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phi1_jax.errors import UserError
from phi1_jax.files import parse_json, read_json, read_json_if_whole
from phi1_jax.markdown import table
from phi1_jax.run.folder import split_step
from phi1_jax.tokens.shards import read_index

# Section 6 of the paper, in our words.
LIMITS = (
    "It knows Python only, and little of specific libraries and rare packages.",
    "It depends on the wording, style and length of a prompt; small edits can change the answer.",
    "It has the errors of the teacher that wrote its data.",
    "No good measure of how diverse a synthetic data set is, or how redundant, exists yet.",
    "Its code may be wrong or unsafe: read it, and run it confined.",
)
_GONE = "was gone when this was written: what it came through is not known"
# What the Hub calls the public benchmarks.
_DATASETS = {
    "humaneval": ("openai/openai_humaneval", "HumanEval"),
    "mbpp": ("google-research-datasets/mbpp", "MBPP"),
}


@dataclass(frozen=True)
class Corpus:
    """One source of a run's mixture.

    Attributes:
      name: as the run calls it.
      part: of the mixture, in words; empty where the run does not say.
      counts: documents, tokens and bytes by the shards' manifest; empty if the shards are gone.
      licences: licence -> tokens.
      stages: the reports of the stages it came through, first to last.
    """

    name: str
    part: str
    counts: Mapping[str, int]
    licences: Mapping[str, int]
    stages: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class TrainingRun:
    """A run, with its config and result as they are in its folder.

    Attributes:
      corpora: those of its last mixture.
      before: what it read before that, in words; empty if its mixture never changed.
    """

    name: str
    config: Mapping[str, Any]
    result: Mapping[str, Any]
    corpora: Sequence[Corpus]
    before: str


def read_runs(run_dir: Path) -> list[TrainingRun]:
    """The run and those that it started from, the first of them first.

    One whose folder is gone has an empty config.
    """
    runs: list[TrainingRun] = []
    place: Path | None = run_dir
    while place and len(runs) < 10:
        file = place / "config.json"
        config = read_json(file) if file.is_file() else {}
        identity = read_json_if_whole(place / "identity.json")
        sources = config.get("data", {}).get("sources", [])
        corpora = [_corpus(source, identity, place) for source in sources]
        result = read_json_if_whole(place / "result.json")
        before = _before(place, [corpus.name for corpus in corpora])
        runs.append(TrainingRun(place.resolve().name, config, result, corpora, before))
        start = config.get("init_from")
        place = _recorded(split_step(start)[0], place) if start else None
    return runs[::-1]


def _recorded(path: Path, folder: Path) -> Path:
    """Where a path lies that `folder` records: from here, or from one of the folders above it."""
    places = [above / path for above in (Path(), *folder.absolute().parents)]
    return next(filter(Path.exists, places), path)


def _before(run_dir: Path, names: Sequence[str]) -> str:
    """What changes.jsonl tells of a run whose sources, their shares or their texts changed.

    Raises:
      UserError: the file is damaged, as after a kill in mid-line.
    """
    file = run_dir / "changes.jsonl"
    lines = file.read_text("utf-8").splitlines() if file.is_file() else []
    try:
        changes = [row for row in map(parse_json, lines) if row["field"].startswith("data.sources")]
    except ValueError as error:
        raise UserError(f"{file} is damaged: {error}; mend the line, or delete it") from error
    if not changes:
        return ""
    left = {n for row in changes if row["field"] == "data.sources" for n in row["old"]} - {*names}
    texts = {row["field"] for row in changes if row["old"] and row["new"]}
    left |= {f"another text as {n}" for n in names if f"data.sources.{n}.shards" in texts}
    others = f", with {', '.join(sorted(left))}, of which nothing is told here" if left else ""
    return f"; until step {max(row['step'] for row in changes)} another{others}"


def _corpus(source: Mapping[str, Any], identity: Mapping[str, Any], run_dir: Path) -> Corpus:
    folder = _recorded(Path(source["path"]), run_dir)
    manifest = read_json_if_whole(folder / "manifest.json")
    licences: Counter[str] = Counter()
    if manifest:
        for row in read_index(folder):
            metadata = row.get("metadata") or {}
            licence = metadata.get("licence") or "unknown"
            if metadata.get("teacher") == "offline":
                licence = "Apache-2.0, written by phi1_jax's own generator"
            names = licence if isinstance(licence, list) else [licence]
            licences[", ".join(map(str, names))] += row["tokens"]
    counts: Counter[str] = Counter()
    for found in manifest.get("sources", {}).values():
        counts.update({k: found[k] for k in ("documents", "tokens", "bytes")})
    part, field = "", f"data.sources.{source['name']}"
    if epochs := identity.get(f"{field}.epochs"):
        part = f"{epochs:g} epochs"
    elif (share := identity.get(f"{field}.share")) is not None:
        # Weights share what the sources with epochs leave.
        part = f"{share:.0%}" + " of the rest" * any(k.endswith(".epochs") for k in identity)
    stages = list(_stages(folder, set()))
    return Corpus(source["name"], part, counts, dict(licences.most_common()), stages)


def _stages(folder: Path, seen: set[Path]) -> Iterator[Mapping[str, Any]]:
    """The reports of the stage in `folder` and of those whose results it read, these first.

    Of a file that is no longer there, {"gone": its name}.
    """
    if folder in seen:
        return
    seen.add(folder)
    report = read_json_if_whole(folder / "report.json")
    inputs = report.get("inputs", {})
    for path in inputs.get("corpus") or []:
        path = _recorded(Path(path), folder)
        before = path if path.is_dir() else _recorded(path.parent, folder)
        if path.exists() or (before / "report.json").exists():
            yield from _stages(before, seen)
        else:
            yield {"gone": path.name}
    if "stage" in report:
        yield report


def read_scores(folders: Sequence[Path], identity: str) -> list[Mapping[str, Any]]:
    """The summaries of launch/evaluate.py that are of these weights.

    Args:
      folders: outputs of it; those for several models hold one folder a model.
      identity: of the checkpoint.
    Raises:
      UserError: a folder without a summary of these weights.
    """
    scores: list[Mapping[str, Any]] = []
    for folder in folders:
        paths = sorted([*folder.glob("summary.json"), *folder.glob("*/summary.json")])
        found = [read_json(path) for path in paths]
        of_model = [s for s in found if s.get("choices", {}).get("model") == identity]
        if not of_model:
            what = "holds scores of other weights" if found else "holds no summary.json"
            raise UserError(f"--scores={folder}: {what}; evaluate this checkpoint first")
        scores += of_model
    return scores


def model_card(
    repo: str,
    n_params: int,
    runs: Sequence[TrainingRun],
    scores: Sequence[Mapping[str, Any]],
    licence: str | None,
) -> str:
    """README.md of the model's repository, with the front matter that the Hub reads."""
    model = runs[-1].config["model"]
    name = repo.rpartition("/")[2]
    front: dict[str, Any] = {
        **({"license": licence} if licence else {}),
        "language": ["en"],
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["code", "phi", "phi1_jax"],
    }
    if results := [r for s in scores if (r := _result(s))]:
        front["model-index"] = [{"name": name, "results": results}]
    config = json.dumps(_without_places(runs[-1].config), indent=1)
    trained = "\n".join(_training(run) for run in runs)
    return f"""---
{chr(10).join(f"{key}: {json.dumps(value)}" for key, value in front.items())}
---

# {name}

A language model of {n_params:,} parameters for Python, by the recipe of *Textbooks Are All You
Need* ([arXiv 2306.11644](https://arxiv.org/abs/2306.11644)), trained with phi1_jax.
{"" if licence else chr(10) + "Its author has named no licence for the weights." + chr(10)}
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{repo}")
model = AutoModelForCausalLM.from_pretrained("{repo}")
prompt = tokenizer("def add(a, b):\\n", return_tensors="pt")
print(tokenizer.decode(model.generate(**prompt, max_new_tokens=64)[0]))
```

## Scores

{_score_table(scores)}
## Training

{trained}

[DATA.md](DATA.md) says where the data is from and under which licences.

| model | |
|---|---|
| layers, width, heads | {model["n_layers"]}, {model["d_model"]}, {model["n_heads"]} |
| context, vocabulary | {model["max_seq_len"]:,} tokens, {model["vocab_size"]:,} |

<details><summary>Config of the last run</summary>

```json
{config}
```

</details>

## Contamination

{_contamination(runs)}
## Limits

{chr(10).join(f"- {limit}" for limit in LIMITS)}
"""


def data_card(repo: str, runs: Sequence[TrainingRun]) -> str:
    """DATA.md: each source of each run, where it is from, its licences, and decontamination."""
    parts, seen = [f"# What {repo.rpartition('/')[2]} was trained on\n"], set[str]()
    for run in runs:
        parts += [f"## {run.name}\n", _training(run), ""]
        for corpus in run.corpora:
            parts.append(f"### {corpus.name}\n")
            if not corpus.counts:
                parts.append("Its shards were gone when this was written: nothing is known.\n")
                continue
            if str(corpus.stages[-1:]) in seen:
                parts.append("The same shards as above.\n")
                continue
            seen.add(str(corpus.stages[-1:]))
            counts = ", ".join(f"{n:,} {what}" for what, n in corpus.counts.items())
            licences = [(licence, f"{n:,}") for licence, n in corpus.licences.items()]
            parts += [f"{counts}.\n", table(["licence", "tokens"], licences)]
            parts.append("\nStages, first to last:\n")
            parts += [f"- {_stage(stage)}" for stage in corpus.stages]
            parts.append("")
    return "\n".join([*parts, "## Contamination\n", _contamination(runs)])


def _training(run: TrainingRun) -> str:
    if not run.config:
        return f"- **{run.name}**: its folder was gone when this was written: nothing is known."
    if not run.corpora:
        return f"- **{run.name}**: weights converted from elsewhere; their data is not recorded."
    rows = [f"{run.result['tokens']:,} tokens"] if "tokens" in run.result else []
    rows.append(f"{run.result.get('step', run.config.get('steps'))} steps")
    shares = ", ".join(f"{corpus.name} {corpus.part}".strip() for corpus in run.corpora)
    return f"- **{run.name}**: {', '.join(rows)}; mixture: {shares}{run.before}."


def _stage(report: Mapping[str, Any]) -> str:
    if "gone" in report:
        return f"**{report['gone']}** {_GONE}"
    inputs = report.get("inputs", {})
    keys = [key for key in ("teacher", "model", "annotator", "seed") if key in inputs]
    about = [f"{key} {re.sub('^/.*/', '', str(inputs[key]))}" for key in keys]
    # A source's repr names it, and the data set that it streams.
    names = [name for s in inputs.get("source", []) for name in re.findall(r"\bname='(.+?)'", s)]
    about += [f"from {', '.join(names)}"] if names else []
    counts = [f"{k}: {_counts(report[k])}" for k in ("in", "out", "dropped") if report.get(k)]
    return "; ".join([f"**{report['stage']}**", *about, *counts])


def _contamination(runs: Sequence[TrainingRun]) -> str:
    """A line for each time that data was compared with a benchmark."""
    stages = [stage for run in runs for corpus in run.corpora for stage in corpus.stages]
    lines = []
    found = {s["fingerprint"]: s for s in stages if s.get("stage") == "decontaminate"}
    for report in found.values():
        names = report["inputs"].get("benchmark")
        names = names if isinstance(names, list) else [names]
        benchmark = " and ".join(Path(str(name)).name for name in names)
        dropped = report.get("dropped", {})
        lines.append(
            f"- {benchmark}, {report.get('n_problems')} problems: of {sum(report['in'].values()):,}"
            f" documents {sum(dropped.values()):,} dropped ({_counts(dropped) or 'none was near'});"
            f" rules: {_counts(report.get('rules', {}))}\n"
        )
    gone = dict.fromkeys(s["gone"] for s in stages if "gone" in s)
    lines = lines or ["No decontamination is recorded for this data.\n"]
    return "".join([*lines, *(f"- {name} {_GONE}.\n" for name in gone)])


def _counts(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_counts(v)}" for k, v in value.items())
    return f"{value:,}" if type(value) is int else str(value)


def _score_table(scores: Sequence[Mapping[str, Any]]) -> str:
    if not scores:
        return "None was given when this was written.\n"
    rows = []
    for score in scores:
        start = _benchmark(score)[1], score["n_tasks"]
        for k, v in score.get("pass_at_k", {}).items():
            interval = f"{v['low']:.1%} to {v['high']:.1%}"
            rows.append([*start, f"pass@{k}", _samples(score), f"{v['value']:.1%}", interval])
        if v := score.get("solution_bits_per_byte"):
            interval = f"{v['low']:.3f} to {v['high']:.3f}"
            rows.append([*start, "bits per byte of solutions", "", f"{v['value']:.3f}", interval])
    header = ["benchmark", "problems", "metric", "samples", "value", "95 % interval"]
    return table(header, rows) + "\n"


def _result(score: Mapping[str, Any]) -> dict[str, Any] | None:
    """An entry of the Hub's model-index; pass@k alone, as its readers know no other."""
    type_, name = _benchmark(score)
    how = f" ({samples})" if (samples := _samples(score)) else ""
    metrics = [
        {"type": "pass@k", "name": f"pass@{k}{how}", "value": round(v["value"], 4)}
        for k, v in score.get("pass_at_k", {}).items()
    ]
    if not metrics:
        return None
    dataset = {"type": type_, "name": name}
    return {"task": {"type": "text-generation"}, "dataset": dataset, "metrics": metrics}


def _samples(score: Mapping[str, Any]) -> str:
    """How many completions of a problem were drawn, and how; nothing where it is not recorded."""
    choices = score.get("choices", {})
    if "temperature" not in choices:
        return ""
    if not choices["temperature"]:
        return "greedy"
    return f"{choices['n_samples']} at temperature {choices['temperature']}"


def _benchmark(score: Mapping[str, Any]) -> tuple[str, str]:
    name = str(score["benchmark"])
    return _DATASETS.get(name, (Path(name).stem, Path(name).name))


def _without_places(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config with folders' names in place of their paths on this machine."""
    places = ("init_from", "tokenizer", "path")

    def shorten(values: dict[str, Any]) -> dict[str, Any]:
        return {k: Path(v).name if k in places and v else v for k, v in values.items()}

    return json.loads(json.dumps(config), object_hook=shorten)
