"""Rows of tokens through Grain: the order is a function of (seed, step), whatever the hosts."""

import hashlib
import json
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grain
import numpy as np

from phi1_jax.config import DataConfig
from phi1_jax.errors import UserError
from phi1_jax.tokens.load import load_tokenizer
from phi1_jax.tokens.mixture import mixed, mixture_weights
from phi1_jax.tokens.shards import TokenShards, open_shards, read_index

_SPANS = 8  # in which validation rows lie together


class Rows:
    """Token shards cut into rows.

    phi-1 section 2.3: the stream of joined documents is cut at `seq_len`. Row i predicts tokens
    [i * seq_len + 1, (i + 1) * seq_len], so every token but the first is a target exactly once an
    epoch; a last incomplete row is dropped. With `packing="documents"` a row starts where a
    document does, and a document that does not end in one row starts the next.

    Attributes:
      trained: int64, rows that are trained on.
      validation: int64, rows that never are, in spans spread evenly over the stream.
    """

    def __init__(self, shards: TokenShards, config: DataConfig) -> None:
        self.shards = shards
        self.seq_len = config.seq_len
        self.solutions_only = config.loss_on == "solutions"
        if config.packing == "documents":
            self.starts = document_rows(shards, config.seq_len)
        else:
            self.starts = np.arange(0, shards.n_tokens - config.seq_len, config.seq_len)
        spans = np.array_split(
            np.arange(len(self.starts)), min(_SPANS, config.validation_rows or 1)
        )
        sizes = [
            len(part) for part in np.array_split(np.arange(config.validation_rows), len(spans))
        ]
        self.spans = [rows[:size] for rows, size in zip(spans, sizes, strict=True)]
        self.validation = np.concatenate(self.spans)
        self.trained = np.delete(np.arange(len(self.starts)), self.validation)

    def read(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """int32[n, seq_len + 1] tokens, and bool[n, seq_len], which targets count."""
        tokens, mask = self.shards.gather(self.starts[rows], self.seq_len + 1)
        loss_mask = mask[:, 1:]
        return tokens, loss_mask if self.solutions_only else np.ones_like(loss_mask)

    def read_validation(self) -> tuple[np.ndarray, np.ndarray]:
        """All validation rows; what counts is in documents that lie whole in them.

        Of a document that crosses a span's border, the other part is trained on.
        """
        eot = self.shards.manifest["eot_id"]
        tokens, counts = self.read(self.validation)
        inside = np.zeros_like(counts)
        for rows in filter(len, self.spans):
            mine = np.isin(self.validation, rows)
            positions = self.starts[rows][:, None] + np.arange(self.seq_len + 1)
            ends = positions[tokens[mine] == eot] + 1  # where a document does, another begins
            begins, untrained = ends, 0
            if rows[0] == 0:
                begins = np.append(ends, 0)
            else:
                untrained = self.starts[rows[0] - 1] + self.seq_len + 1
            last = max(ends, default=0)
            first = min(begins[begins >= untrained], default=last)
            inside[mine] = (first <= positions[:, 1:]) & (positions[:, 1:] < last)
        if not (counts & inside).any():
            raise UserError(
                f"config field data.validation_rows={len(self.validation)}: no document of"
                f" {self.shards.folder} lies whole in these rows; make it larger"
            )
        return tokens, counts & inside


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
    log are the same everywhere, whatever the hosts, the threads and the mesh.
    """

    def __init__(self, config: DataConfig, seed: int, steps: int | None = None) -> None:
        """Opens every source and checks it, so that a damaged file is found before step 1.

        Args:
          steps: of the whole run; needed if a source has `epochs`.
        Raises:
          UserError: no source, shards that are missing, damaged, too short or made with another
            tokenizer, or epochs that do not fit the run.
        """
        if not config.sources:
            raise UserError("config field data.sources is empty: name shards, --source=NAME=DIR")
        self.config = config
        self.tokenizer = load_tokenizer(Path(config.tokenizer)) if config.tokenizer else None
        self.sources: list[Rows] = []
        for source in config.sources:
            shards = open_shards(Path(source.path), verify=True)
            first = self.sources[0].shards if self.sources else shards
            known = self.tokenizer or first
            if shards.fingerprint != known.fingerprint:
                raise UserError(
                    f"{source.path}: tokenized with another tokenizer than"
                    f" {config.tokenizer or first.folder}; run tokenize_corpus again with the same"
                    " --tokenizer for all sources"
                )
            rows = Rows(shards, config)
            if not len(rows.trained) or len(rows.validation) < config.validation_rows:
                validation = f" beside data.validation_rows={config.validation_rows}"
                raise UserError(
                    f"{source.path}: {shards.n_tokens} tokens do not fill one row of"
                    f" data.seq_len={config.seq_len}{validation if config.validation_rows else ''}"
                )
            self.sources.append(rows)
        self.vocab_size = max(int(rows.shards.manifest["vocab_size"]) for rows in self.sources)
        self.names = [source.name for source in config.sources]
        lengths = [len(rows.trained) for rows in self.sources]
        n_rows = None if steps is None else steps * config.global_batch_size
        self.weights = mixture_weights(config.sources, lengths, n_rows)
        # What Grain shuffles are numbers of rows; the rows of a batch are read in one go.
        self._streams = [
            grain.MapDataset.range(n).seed(seed + number).shuffle().repeat(None)
            for number, n in enumerate(lengths)
        ]

    def batches(self, step: int, threads: int = 1) -> Iterator[dict[str, np.ndarray]]:
        """Each global batch from optimizer step `step` on, without end; see `__getitem__`."""
        options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=4)
        iterator = iter(grain.MapDataset.source(self).to_iter_dataset(options))
        iterator.set_state({"next_index": step})
        return iterator

    def __len__(self) -> int:
        return 1 << 40  # Grain asks; a run ends by its number of steps

    def __getitem__(self, step: int) -> dict[str, np.ndarray]:
        """The batch of optimizer step `step`, 0 for the first.

        Returns:
          tokens int32[b, seq_len + 1], loss_mask bool[b, seq_len] (the targets that count), source
          int32[b] (number in `data.sources`) and row int64[b] (of that source).
        """
        b, t = self.config.global_batch_size, self.config.seq_len
        source, place = mixed(self.weights, step * b, b)
        row = np.empty(b, np.int64)
        tokens, loss_mask = np.empty((b, t + 1), np.int32), np.empty((b, t), bool)
        for number, (rows, stream) in enumerate(zip(self.sources, self._streams, strict=True)):
            mine = np.flatnonzero(source == number)
            row[mine] = rows.trained[[stream[i] for i in place[mine].tolist()]]
            tokens[mine], loss_mask[mine] = rows.read(row[mine])
        return {
            "tokens": tokens,
            "loss_mask": loss_mask,
            "source": source.astype(np.int32),
            "row": row,
        }

    def __repr__(self) -> str:
        return f"Loader({self.names})"

    def documents(self, steps: Sequence[int]) -> list[dict[str, list[str]]]:
        """Ids of the documents that the batch of each optimizer step was cut from, by source.

        Reads each source's whole index, once: a minute for some ten million documents.
        """
        batches = [self[step] for step in steps]
        found: list[dict[str, list[str]]] = [{name: [] for name in self.names} for _ in steps]
        for number, (name, rows) in enumerate(zip(self.names, self.sources, strict=True)):
            cut = sorted(
                (int(start), at)
                for at, batch in enumerate(batches)
                for start in rows.starts[batch["row"][batch["source"] == number]]
            )
            starts = [start for start, _ in cut]
            for entry in read_index(rows.shards.folder):
                begin = bisect_left(starts, entry["offset"] - rows.seq_len)
                end = bisect_left(starts, entry["offset"] + entry["tokens"])
                for at in sorted({at for _, at in cut[begin:end]}):
                    found[at][name].append(entry["id"])
        return found

    @property
    def identity(self) -> dict[str, Any]:
        """What else than settings decides the data: content in place of paths, by config field."""
        found: dict[str, Any] = {
            "data.tokenizer": self.sources[0].shards.fingerprint,
            "data.sources": self.names,  # in this order
        }
        total = sum(self.weights)
        for rows, name, weight in zip(self.sources, self.names, self.weights, strict=True):
            shards = json.dumps(rows.shards.manifest["shards"]).encode()
            found[f"data.sources.{name}.shards"] = hashlib.sha256(shards).hexdigest()[:16]
            found[f"data.sources.{name}.share"] = weight / total
        return found
