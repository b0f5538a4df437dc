"""Trains a tokenizer on a corpus, or turns a corpus into token shards, or both.

Train one:   python launch/tokenize_corpus.py --train_tokenizer=runs/tokenizer \\
                 --vocab_size=2048 --corpus=runs/curate/filtered.jsonl.zst
Make shards: python launch/tokenize_corpus.py --tokenizer=runs/tokenizer \\
                 --corpus=runs/curate/filtered.jsonl.zst --corpus=runs/synth/textbooks.jsonl.zst \\
                 --output=runs/shards/code_textbook

A corpus is a folder of Python, or records as JSON lines, JSON or parquet (--columns names their
columns): documents with `text`, or exercises with `prompt` and `solution`, whose prompt is left out
of the loss where a config has data.loss_on = "solutions". Every document is decoded again
and compared while it goes in; the report gives documents, tokens and bytes/token per source. An
interrupted run goes on with the first part (--part_mb) that is missing, to the same bytes.
"""

import os
from functools import partial
from pathlib import Path
from typing import Any

import _environment
from absl import flags

from phi1_jax.cli import corpus_flags as corpus
from phi1_jax.cli import script
from phi1_jax.cli import stage_flags as stage
from phi1_jax.cli.stage import check_output
from phi1_jax.corpus.records import SkipLog
from phi1_jax.errors import UserError
from phi1_jax.tokens.encode import PART_CHARS
from phi1_jax.tokens.load import find_tokenizer, load_tokenizer
from phi1_jax.tokens.sentencepiece_bpe import sample_texts, train_tokenizer
from phi1_jax.tokens.shards import open_shards, write_shards

TOKENIZER = flags.DEFINE_string("tokenizer", None, "A trained tokenizer, or a model that has it.")
TRAIN = flags.DEFINE_string("train_tokenizer", None, "Folder for a tokenizer to train here.")
VOCAB_SIZE = flags.DEFINE_integer("vocab_size", 2048, "Pieces of the tokenizer to train.", 300)
SAMPLE_MB = flags.DEFINE_float("sample_mb", 2.0, "MB of each source to train on.", 0.001)
MAX_TOKENS = flags.DEFINE_integer("max_tokens", None, "Stop after about this many tokens.", 1)
SHARD_TOKENS = flags.DEFINE_integer("shard_tokens", 1 << 26, "Tokens in each shard.", 1)
PART_MB = flags.DEFINE_float("part_mb", PART_CHARS / 1e6, "MB of text encoded at once.", 0.001)
WORKERS = flags.DEFINE_integer("workers", os.cpu_count(), "Processes that encode.", 1)


def main() -> None:
    corpora = corpus.inputs()
    if bool(TRAIN.value) == bool(TOKENIZER.value):
        raise UserError("give one of --train_tokenizer=DIR and --tokenizer=DIR")
    if TOKENIZER.value:
        script.require(stage.OUTPUT)
    if not TRAIN.value:
        script.refuse_unread([VOCAB_SIZE, SAMPLE_MB], "is read with --train_tokenizer only")
    if not stage.OUTPUT.value:
        of_shards = [MAX_TOKENS, SHARD_TOKENS, PART_MB, WORKERS]
        script.refuse_unread(of_shards, "is read with --output only, the folder for the shards")
    folder = Path(TRAIN.value) if TRAIN.value else find_tokenizer(TOKENIZER.value)
    output = Path(stage.OUTPUT.value) if stage.OUTPUT.value else None
    if output:  # before a tokenizer is trained
        check_output("tokenize", output, [*corpora["corpus"], folder])
    if TRAIN.value:
        inputs = {**corpora, "vocab_size": VOCAB_SIZE.value, "sample_mb": SAMPLE_MB.value}
        stage.run(
            "tokenizer", inputs, partial(train, output), output=folder, flag="train_tokenizer"
        )
    if output:
        tokenizer = load_tokenizer(folder)
        refuse_another_tokenizer(output, tokenizer.fingerprint)
        inputs = {
            **corpora,
            "tokenizer": tokenizer.fingerprint,
            "max_tokens": MAX_TOKENS.value,
            "shard_tokens": SHARD_TOKENS.value,
            "part_chars": round(PART_MB.value * 1e6),
        }

        def work(to: Path, skip: SkipLog) -> dict[str, Any]:
            manifest = write_shards(
                corpus.read(skip),
                tokenizer,
                to,
                shard_tokens=SHARD_TOKENS.value,
                max_tokens=MAX_TOKENS.value,
                part_chars=inputs["part_chars"],
                workers=WORKERS.value,
                resume=True,
            )
            read = sum(source["bytes"] for source in manifest["sources"].values())
            return {
                "in": {"documents": manifest["n_documents"], "bytes": read},
                "out": {"tokens": manifest["n_tokens"], "shards": len(manifest["shards"])},
                "sources": manifest["sources"],
            }

        stage.run("tokenize", inputs, work, keep_partial=True)


def train(shards: Path | None, folder: Path, skip: SkipLog) -> dict[str, Any]:
    texts = sample_texts(corpus.read(skip), round(SAMPLE_MB.value * 1e6))
    tokenizer = train_tokenizer(texts, VOCAB_SIZE.value)
    if shards:  # now, while the tokenizer that made them is still in its place
        refuse_another_tokenizer(shards, tokenizer.fingerprint)
    tokenizer.save(folder)
    size = sum(len(text.encode()) for text in texts)
    tokens = sum(map(len, tokenizer.encode_batch(texts)))
    return {
        "in": {"documents": len(texts), "bytes": size},
        "out": {"pieces": tokenizer.vocab_size, "bytes_per_token": round(size / tokens, 3)},
        "tokenizer": tokenizer.fingerprint,
    }


def refuse_another_tokenizer(output: Path, tokenizer: str) -> None:
    """Shards that a model was trained on must not turn into others under the same name."""
    try:
        found = open_shards(output).fingerprint
    except UserError:
        return  # no finished shards
    if found != tokenizer and not stage.FORCE.value:
        raise UserError(
            f"--output={output}: holds shards of tokenizer {found[:12]}, not of this one "
            f"({tokenizer[:12]}); name another folder, or --force to replace them"
        )


if __name__ == "__main__":
    script.run(main)
