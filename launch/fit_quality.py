"""Fits the quality classifier: a random forest from embeddings to annotated educational value.

Example: python launch/fit_quality.py --annotated=runs/annotate/annotated.jsonl.zst \\
             --embeddings=runs/embed --output=runs/quality

Writes the forest (forest.skops, without pickle, with the fingerprint of its embedder) and, out of
sample, precision, recall and calibration: quality.md, quality.png, best.md and worst.md to read.
"""

from pathlib import Path
from typing import Any

import _environment
from absl import flags

from phi1_jax.cli import script
from phi1_jax.cli import stage_flags as stage

ANNOTATED = flags.DEFINE_multi_string("annotated", [], "Result of launch/annotate.py.")
EMBEDDINGS = flags.DEFINE_multi_string("embeddings", [], "Folders of launch/embed.py.")
POSITIVE_FROM = flags.DEFINE_float(
    "positive_from", 0.6, "Educational value from which a document is good.", 0, 1
)
POSITIVE_SHARE = flags.DEFINE_float(
    "positive_share", None, "Instead of --positive_from: so large a share, the best, is good.", 0, 1
)
TREES = flags.DEFINE_integer("trees", 300, "Trees of the forest.", 1)
SEED = flags.DEFINE_integer("seed", 0, "Of the forest.", 0)


def main() -> None:
    script.require(ANNOTATED, EMBEDDINGS, stage.OUTPUT)
    if POSITIVE_SHARE.value is not None:
        script.refuse_unread(
            [POSITIVE_FROM], "is not read beside --positive_share; give one of them"
        )
    annotated = [Path(path) for path in ANNOTATED.value]
    embeddings = [Path(folder) for folder in EMBEDDINGS.value]
    settings = {
        "positive_from": POSITIVE_FROM.value if POSITIVE_SHARE.value is None else None,
        "positive_share": POSITIVE_SHARE.value,
        "n_trees": TREES.value,
        "seed": SEED.value,
    }

    def work(output: Path, _: Any) -> dict[str, Any]:
        # scikit-learn takes a while to import; --help need not wait for it.
        from phi1_jax.quality.report import fit_and_report

        return fit_and_report(annotated, embeddings, output, **settings)

    stage.run("fit_quality", {"annotated": annotated, "embeddings": embeddings, **settings}, work)


if __name__ == "__main__":
    script.run(main)
