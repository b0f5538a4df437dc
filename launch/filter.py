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
from phi1_jax.cli.stage import LEFT_OUT, run_stage

flags.adopt_module_key_flags(corpus)  # so that --help shows them
EMBEDDINGS = flags.DEFINE_multi_string("embeddings", [], "Folders of launch/embed.py.")
MODEL = flags.DEFINE_string("model", None, "Folder of launch/fit_quality.py.")
OUTPUT = flags.DEFINE_string("output", None, "Folder for the result.")
BUDGET_TOKENS = flags.DEFINE_float(
    "budget_tokens", None, "Tokens of the embedder's tokenizer to keep; default no limit.", 0
)
BUDGET_MB = flags.DEFINE_float("budget_mb", None, "MB of text to keep; default no limit.", 0)
MIN_SCORE = flags.DEFINE_float("min_score", 0.0, "Drop lower scores, even within the budget.", 0, 1)
FORCE = flags.DEFINE_bool("force", False, "Start over, also where a result of other flags lies.")


def main() -> None:
    inputs = corpus.inputs()
    script.require(EMBEDDINGS, MODEL, OUTPUT)
    embeddings = [Path(folder) for folder in EMBEDDINGS.value]
    settings = {
        "budget_tokens": None if BUDGET_TOKENS.value is None else round(BUDGET_TOKENS.value),
        "budget_bytes": None if BUDGET_MB.value is None else round(BUDGET_MB.value * 1e6),
        "min_score": MIN_SCORE.value,
    }

    def work(output: Path) -> dict[str, Any]:
        # scikit-learn takes a while to import; --help need not wait for it.
        from phi1_jax.corpus.records import SkipLog
        from phi1_jax.quality.filter import filter_corpus

        skip = SkipLog(output / LEFT_OUT)
        report = filter_corpus(
            lambda: corpus.read(skip), embeddings, Path(MODEL.value), output, **settings
        )
        return {**report, **skip.report()}

    inputs |= {"embeddings": embeddings, "model": Path(MODEL.value), **settings}
    run_stage("filter", Path(OUTPUT.value), inputs, work, force=FORCE.value)


if __name__ == "__main__":
    script.run(main)
