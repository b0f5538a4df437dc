"""Keeps the documents of highest educational value under a budget, by the fitted forest.

Example: python launch/filter.py --corpus=runs/curate/filtered.jsonl.zst \\
             --embeddings=runs/embed --model=runs/quality --budget_tokens=6e9 \\
             --output=runs/filtered_code

The vectors must come from the embedder that the forest was fitted on. Writes filtered.jsonl.zst
(with each score), excluded.jsonl.zst (document, step, reason, score) and report.json (threshold).
"""

from pathlib import Path
from typing import Any

import _environment
from absl import flags

from phi1_jax.cli import corpus_flags as corpus
from phi1_jax.cli import script
from phi1_jax.cli import stage_flags as stage
from phi1_jax.corpus.records import SkipLog

EMBEDDINGS = flags.DEFINE_multi_string("embeddings", [], "Folders of launch/embed.py.")
MODEL = flags.DEFINE_string("model", None, "Folder of launch/fit_quality.py.")
BUDGET_TOKENS = flags.DEFINE_float(
    "budget_tokens", None, "Tokens of the embedder's tokenizer to keep; default no limit.", 0
)
BUDGET_MB = flags.DEFINE_float("budget_mb", None, "MB of text to keep; default no limit.", 0)
MIN_SCORE = flags.DEFINE_float("min_score", 0.0, "Drop lower scores, even within the budget.", 0, 1)


def main() -> None:
    inputs = corpus.inputs()
    script.require(EMBEDDINGS, MODEL, stage.OUTPUT)
    embeddings, model = [Path(folder) for folder in EMBEDDINGS.value], Path(MODEL.value)
    settings = {
        "budget_tokens": None if BUDGET_TOKENS.value is None else round(BUDGET_TOKENS.value),
        "budget_bytes": None if BUDGET_MB.value is None else round(BUDGET_MB.value * 1e6),
        "min_score": MIN_SCORE.value,
    }

    def work(output: Path, skip: SkipLog) -> dict[str, Any]:
        # scikit-learn takes a while to import; --help need not wait for it.
        from phi1_jax.quality.filter import filter_corpus

        return filter_corpus(lambda: corpus.read(skip), embeddings, model, output, **settings)

    stage.run("filter", {**inputs, "embeddings": embeddings, "model": model, **settings}, work)


if __name__ == "__main__":
    script.run(main)
