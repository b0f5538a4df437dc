"""The input pipeline on one core: Grain over memory-mapped shards."""

import dataclasses
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import baseline
from benchmarks.report import OURS, Options, Row, compare, roofline_rows
from benchmarks.timing import rooflines, take_turns
from phi1_jax.config import RunConfig, SourceConfig
from phi1_jax.corpus.documents import Document
from phi1_jax.model.phi import compute_dtype
from phi1_jax.tokens.loader import Loader
from phi1_jax.tokens.shards import write_shards

_TOKENS = 1 << 24
_TOKENS_A_CALL = 1 << 22


class _Bytes:
    """One id a byte, 256 for end of text."""

    vocab_size, eot_id, stop_ids, fingerprint = 257, 256, frozenset({256}), "bytes"

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        return [list(text.encode()) for text in texts]

    def decode(self, ids: Sequence[int], special: bool = False) -> str:
        return bytes(ids).decode()


def measure(config: RunConfig, options: Options) -> Iterator[Row]:
    """Batches of `config.data`'s shape, shuffled, from 16M tokens that lie in the page cache.

    The baseline is torch's `DataLoader`, shuffling, without workers, over the same memory map.
    """
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(0)
        texts = (rng.integers(32, 127, 4096).astype(np.uint8) for _ in range(_TOKENS // 4097))
        documents = (Document(str(i), t.tobytes().decode(), "x") for i, t in enumerate(texts))
        write_shards(documents, _Bytes(), Path(folder))  # type: ignore[arg-type]
        source = SourceConfig("x", folder)
        data = dataclasses.replace(config.data, sources=(source,), tokenizer="")
        rows, seq_len = data.global_batch_size, data.seq_len
        n_batches = max(1, _TOKENS_A_CALL // (rows * seq_len))
        with one_core():
            batches = Loader(data, 0).batches(0)
            variants = {OURS: _taker(batches, n_batches)}
            if options.baseline:
                tokens = np.load(next(Path(folder).glob("tokens-*.npy")), mmap_mode="r")
                theirs = baseline.data_loader(tokens, rows, seq_len)
                variants["torch DataLoader"] = _taker(theirs, n_batches)
            timings = take_turns(variants, options.calls)
    done = n_batches * rows * seq_len
    values = {name: {"tokens_per_s": done / t.median_s} for name, t in timings.items()}
    yield from compare(f"{rows} x {seq_len}, one core", timings, values)
    yield from roofline_rows(rooflines(compute_dtype(config.model)))


@contextmanager
def one_core() -> Iterator[None]:
    """Keeps this process, and the threads that it starts meanwhile, on one core (Linux)."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _taker(batches: Iterator[Any], n: int) -> Callable[[], None]:
    def take() -> None:
        for _ in range(n):
            next(batches)

    return take
