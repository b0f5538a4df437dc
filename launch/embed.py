"""Embeds documents for the quality filter: a trained model's last hidden state, mean pooled.

Example: python launch/embed.py --corpus=runs/curate/filtered.jsonl.zst \\
             --checkpoint=runs/raw_code --output=runs/embed

The checkpoint is a run of launch/train.py, or a Hugging Face folder of a phi model. All devices of
the machine compute; on n machines, give each --shard=i/n and a folder of its own, and name all
folders to launch/fit_quality.py and launch/filter.py. An interrupted run goes on where it was.
"""

from pathlib import Path
from typing import Any

import _environment
from absl import flags

from phi1_jax.cli import corpus_flags as corpus
from phi1_jax.cli import script
from phi1_jax.cli import stage_flags as stage
from phi1_jax.corpus.records import SkipLog

CHECKPOINT = flags.DEFINE_string("checkpoint", None, "Folder of a run, or of Hugging Face.")
STEP = flags.DEFINE_integer("step", None, "Which checkpoint; the newest by default.", 0)
MAX_TOKENS = flags.DEFINE_integer(
    "max_tokens", None, "Look at the first so many tokens; default the model's context.", 1
)
BATCH_TOKENS = flags.DEFINE_integer("batch_tokens", 1 << 14, "Tokens a device computes at once.", 1)
PART = flags.DEFINE_integer("documents_per_part", 4096, "Documents in each file of vectors.", 1)
SHARD = flags.DEFINE_string("shard", "0/1", "i/n: this process embeds each n-th part from part i.")


def main() -> None:
    inputs = corpus.inputs()
    script.require(CHECKPOINT, stage.OUTPUT)
    shard = script.parse_shard(SHARD.value)
    script.start_jax()
    from phi1_jax.corpus.documents import list_files
    from phi1_jax.quality.embedder import Embedder, embed_corpus

    for path in corpus.paths():  # before the model is loaded
        list_files(path)
    embedder = Embedder.from_checkpoint(
        Path(CHECKPOINT.value),
        STEP.value,
        max_tokens=MAX_TOKENS.value,
        batch_tokens=BATCH_TOKENS.value,
    )

    def work(output: Path, skip: SkipLog) -> dict[str, Any]:
        return embed_corpus(
            corpus.read(skip), embedder, output, documents_per_part=PART.value, shard=shard
        )

    inputs |= {
        "embedder": embedder.fingerprint,
        "documents_per_part": PART.value,
        "shard": SHARD.value,
    }
    stage.run("embed", inputs, work, keep_partial=True)


if __name__ == "__main__":
    script.run(main)
