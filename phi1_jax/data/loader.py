"""Rows of tokens through Grain: the order is a function of (seed, step), whatever the hosts."""

import hashlib
import json
from bisect import bisect
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grain
import numpy as np

from phi1_jax.config import DataConfig
from phi1_jax.data.shards import TokenShards, open_shards, read_index
from phi1_jax.data.tokenizer import load_tokenizer
from phi1_jax.errors import UserError


class Rows:
    """Token shards cut into rows.

    phi-1 section 2.3: the stream of joined documents is cut at `seq_len`. Row i predicts tokens
    [i * seq_len + 1, (i + 1) * seq_len], so every token but the first is a target exactly once an
    epoch; a last incomplete row is dropped. With `cut="documents"` a row starts where a document
    does, and a document that does not end in one row starts the next.
    """

    def __init__(self, shards: TokenShards, config: DataConfig) -> None:
        self.shards = shards
        self.seq_len = config.seq_len
        self.solutions_only = config.loss_on == "solutions"
        self.starts = None
        if config.cut == "documents":
            self.starts = document_rows(shards, config.seq_len)

    def __len__(self) -> int:
        if self.starts is not None:
            return len(self.starts)
        return max(0, (self.shards.n_tokens - 1) // self.seq_len)

    def __getitem__(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Tokens [seq_len + 1], and bool[seq_len], the targets that count."""
        start = self.start(row)
        tokens, loss = self.shards.slice(start, start + self.seq_len + 1)
        return tokens, loss[1:] if self.solutions_only else np.ones(self.seq_len, bool)

    def start(self, row: int) -> int:
        """Where a row begins in the stream of tokens."""
        return int(row) * self.seq_len if self.starts is None else int(self.starts[row])

    def __repr__(self) -> str:
        return f"Rows({self.shards.folder.name}, {self.seq_len})"


def document_rows(shards: TokenShards, seq_len: int) -> np.ndarray:
    """Where rows start if each starts with a document: int64[rows].

    A document that is cut by the end of a row starts the next one; one that is longer than a row
    goes on in rows of its own.
    """
    eot = shards.manifest["eot_id"]
    ends = []
    offset = 0
    for tokens in shards.tokens:
        ends.append(np.flatnonzero(tokens == eot) + 1 + offset)
        offset += len(tokens)
    boundaries = np.concatenate([[0], *ends])
    starts = []
    start = 0
    while start + seq_len < shards.n_tokens:
        starts.append(start)
        whole = int(boundaries[np.searchsorted(boundaries, start + seq_len, side="right") - 1])
        start = whole if whole > start else start + seq_len
    return np.asarray(starts, np.int64)


class Loader:
    """Global batches of a weighted mixture of sources.

    Every process of a run reads all rows of a batch and puts its own on its devices: at the
    paper's rate, 147k tokens/s, reading costs under 1% of a core. So the order, the counts and the
    log are the same everywhere, whatever the hosts and the mesh.
    """

    def __init__(self, config: DataConfig, seed: int) -> None:
        """Opens every source and checks it, so that a damaged file is found before step 1.

        Raises:
          UserError: no source, shards that are missing, damaged, too short or made with another
            tokenizer.
        """
        if not config.sources:
            raise UserError("config field data.sources is empty: name shards, --source=NAME=DIR")
        self.tokenizer = load_tokenizer(Path(config.tokenizer)) if config.tokenizer else None
        opened = []
        for source in config.sources:
            shards = open_shards(Path(source.path), verify=True)
            if self.tokenizer and shards.fingerprint != self.tokenizer.fingerprint:
                raise UserError(
                    f"{source.path}: tokenized with another tokenizer than {config.tokenizer}"
                )
            opened.append(Rows(shards, config))
            if not len(opened[-1]):
                raise UserError(
                    f"{source.path}: {shards.n_tokens} tokens do not fill one row of"
                    f" data.seq_len={config.seq_len}"
                )
        self.sources = opened
        self.vocab_size = max(int(rows.shards.manifest["vocab_size"]) for rows in opened)
        self.names = [source.name for source in config.sources]
        self.config = config
        # Shuffling and batching on the MapDataset keep the order free of threads and workers. What
        # Grain orders are numbers, through all sources; the rows of a batch are read in one go.
        ends = np.cumsum([len(rows) for rows in opened])
        self._starts = np.concatenate([[0], ends[:-1]])
        streams = [
            grain.MapDataset.range(start, end).seed(seed + number).shuffle().repeat(None)
            for number, (start, end) in enumerate(zip(self._starts.tolist(), ends, strict=True))
        ]
        weights = [source.weight for source in config.sources]
        mixed = grain.MapDataset.mix(streams, weights) if len(streams) > 1 else streams[0]
        self._batches = mixed.batch(config.global_batch_size, batch_fn=self._read)

    def batches(self, step: int) -> Iterator[dict[str, np.ndarray]]:
        """Each global batch from optimizer step `step` on, without end."""
        options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=4)
        iterator = iter(self._batches.to_iter_dataset(options))
        iterator.set_state({"next_index": step})
        return iterator

    def documents(self, step: int) -> dict[str, list[str]]:
        """Ids of the documents that the batch of optimizer step `step` was cut from, by source."""
        batch = self._batches[step]
        found = {}
        for number, (name, rows) in enumerate(zip(self.names, self.sources, strict=True)):
            starts = sorted(map(rows.start, batch["row"][batch["source"] == number]))
            found[name] = [
                entry["id"]
                for entry in read_index(rows.shards.folder)
                if (at := bisect(starts, entry["offset"] + entry["tokens"] - 1)) > 0
                and starts[at - 1] + rows.seq_len >= entry["offset"]
            ]
        return found

    def _read(self, numbers: Sequence[int]) -> dict[str, np.ndarray]:
        """Rows by their number through all sources, stacked."""
        numbers_b = np.asarray(numbers, np.int64)
        sources_b = np.searchsorted(self._starts, numbers_b, side="right") - 1
        rows_b = numbers_b - self._starts[sources_b]
        n, seq_len = len(numbers_b), self.config.seq_len
        batch = {
            "tokens": np.empty((n, seq_len + 1), np.int32),
            "loss": np.empty((n, seq_len), bool),
            "source": sources_b.astype(np.int32),
            "row": rows_b,
        }
        for place, (source, row) in enumerate(zip(sources_b, rows_b, strict=True)):
            batch["tokens"][place], batch["loss"][place] = self.sources[source][row]
        return batch

    @property
    def identity(self) -> dict[str, Any]:
        """What else than settings decides the data: content in place of paths, by config field."""
        found: dict[str, Any] = {
            "data.tokenizer": self.sources[0].shards.fingerprint,
            "data.sources": self.names,  # in this order
        }
        for rows, source in zip(self.sources, self.config.sources, strict=True):
            shards = json.dumps(rows.shards.manifest["shards"]).encode()
            found[f"data.sources.{source.name}.shards"] = hashlib.sha256(shards).hexdigest()[:16]
            found[f"data.sources.{source.name}.weight"] = source.weight
        return found
