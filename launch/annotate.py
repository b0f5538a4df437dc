"""Annotates a sample of documents with their educational value, for launch/fit_quality.py.

Examples:
  python launch/annotate.py --corpus=runs/curate/filtered.jsonl.zst --n=2000 --output=runs/annotate
  python launch/annotate.py --corpus=runs/curate/filtered.jsonl.zst --n=100000 --annotator=api \\
      --model=NAME --usd_per_million_input=0.5 --usd_per_million_output=1.5 --budget_usd=300 \\
      --output=runs/annotate                       (first with --dry_run: requests, tokens, cost)
  python launch/annotate.py --corpus=labelled.parquet --annotator=labels --output=runs/annotate \\
      --columns=text=text,label=score --label_range=0,5
  python launch/annotate.py --source=@stack_annotations --annotator=labels --output=runs/annotate

Three annotators: `rubric`, offline and transparent; `api`, any OpenAI-compatible endpoint, with the
prompt in phi1_jax/quality/annotate.py, its replies cached beside the output so that a run that was
killed pays for nothing twice; `labels`, a column of the files themselves.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import _environment
from absl import flags
from ml_collections import config_flags

from phi1_jax.cli import api_flags as api
from phi1_jax.cli import corpus_flags as corpus
from phi1_jax.cli import script
from phi1_jax.cli import stage_flags as stage
from phi1_jax.corpus.documents import Document, read_all
from phi1_jax.corpus.records import Skip, SkipLog
from phi1_jax.curation.sources import check_source, declared_sources, parse_source, read_sources
from phi1_jax.errors import UserError

PUBLIC = Path(__file__).resolve().parent.parent / "configs" / "sources" / "public.py"
SOURCE = flags.DEFINE_multi_string(
    "source", [], "Or a source as launch/curate.py reads it, e.g. @stack_annotations."
)
SOURCES = config_flags.DEFINE_config_file(
    "sources", str(PUBLIC), "File that declares the sources named @NAME."
)
N = flags.DEFINE_integer("n", None, "Documents to annotate; default all.", 1)
ANNOTATOR = flags.DEFINE_enum("annotator", "rubric", ["rubric", "api", "labels"], "Who annotates.")
LABEL_RANGE = flags.DEFINE_list("label_range", ["0", "5"], "Ends of the scale of the labels.")


def main() -> None:
    if bool(corpus.CORPUS.value) == bool(SOURCE.value):
        raise UserError("give --corpus or --source, what to annotate; see --help for an example")
    script.require(stage.OUTPUT)
    if ANNOTATOR.value != "api":
        script.refuse_unread([api], "is read with --annotator=api only")
    if ANNOTATOR.value != "labels":
        script.refuse_unread([LABEL_RANGE], "is read with --annotator=labels only")
    corpora = [] if SOURCE.value else corpus.paths()
    columns = script.pairs(corpus.COLUMNS)
    declared = declared_sources(script.load_config(SOURCES))
    sources = [parse_source(text, columns or None, declared) for text in SOURCE.value]
    for source in sources:
        check_source(source)
    inputs: dict[str, Any] = {
        "corpus": corpora,
        "n": N.value,
        "annotator": ANNOTATOR.value,
        "columns": columns,
        "source": [repr(source) for source in sources],
        "files": [source.path for source in sources if source.path],
    }
    from phi1_jax.quality import annotate

    def read(skip: Skip) -> Iterator[Document]:
        yield from read_all(corpora, columns, skip)
        yield from read_sources(sources, skip)

    labels = ANNOTATOR.value == "labels"
    if labels:
        maps = [columns] if corpora else [source.columns or {} for source in sources]
        if not all("label" in mapped for mapped in maps):
            raise UserError("--columns: name the column of the labels, such as label=score")
        scale = _label_range(LABEL_RANGE.value)
        inputs["label_range"] = LABEL_RANGE.value
    asks = ANNOTATOR.value == "api"
    model = api.open_language_model(Path(stage.OUTPUT.value)) if asks else None
    if model:
        inputs |= {**model.settings.identity, "prompt": annotate.SYSTEM}
        if api.DRY_RUN.value:
            skip = SkipLog()
            sampled = annotate.sample(lambda: read(skip), N.value)
            print(model.estimate(map(annotate.request_for, sampled)))
            return

    def work(folder: Path, skip: SkipLog) -> dict[str, Any]:
        annotator = annotate.by_rubric
        if labels:
            annotator = annotate.by_column(*scale, f"column {maps[0]['label']}", skip)
        elif model:
            annotator = annotate.by_language_model(model, folder / "unusable.jsonl")
        report = annotate.annotate(lambda: read(skip), N.value, annotator, folder)
        return {**report, **(model.report() if model else {})}

    stage.run("annotate", inputs, work)


def _label_range(values: Sequence[str]) -> tuple[float, float]:
    try:
        low, high = map(float, values)
    except ValueError:
        low = high = 0.0
    if not low < high:
        raise UserError(f"--label_range={','.join(values)}: give the least and greatest, as 0,5")
    return low, high


if __name__ == "__main__":
    script.run(main)
