"""Rows of tokens through Grain, in an order that depends on seed, settings and step alone."""

import hashlib
import json
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import grain
import numpy as np
from absl import logging

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
      without_target: how many rows of `trained` have no target that counts.
    """

    def __init__(self, shards: TokenShards, config: DataConfig) -> None:
        self.shards, self.seq_len = shards, config.seq_len
        self._masked = config.loss_on == "solutions" and bool(shards.masks)
        if config.packing == "documents":
            self.starts = document_rows(shards, config.seq_len)
        else:
            self.starts = np.arange(0, shards.n_tokens - config.seq_len, config.seq_len)
        n_spans = min(_SPANS, config.validation_rows or 1)
        spans = np.array_split(np.arange(len(self.starts)), n_spans)
        parts = np.array_split(np.arange(config.validation_rows), n_spans)
        self.spans = [rows[: len(part)] for rows, part in zip(spans, parts, strict=True)]
        self.validation = np.concatenate(self.spans)
        self.trained = np.delete(np.arange(len(self.starts)), self.validation)
        self.without_target = self._count_without_target() if self._masked else 0

    def _count_without_target(self) -> int:
        pieces = np.array_split(self.trained, len(self.trained) // 1024 + 1)
        return sum(int((~self.read(rows)[1].any(1)).sum()) for rows in pieces)

    def read(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """int32[n, seq_len + 1] tokens, and bool[n, seq_len], which targets count."""
        tokens, mask = self.shards.gather(self.starts[rows], self.seq_len + 1)
        return tokens, mask[:, 1:] if self._masked else np.ones_like(mask[:, 1:])

    def read_validation(self) -> tuple[np.ndarray, np.ndarray]:
        """All validation rows; what counts is in documents that lie whole in them.

        Of a document that crosses a span's border, the other part is trained on.

        Raises:
          UserError: no document does.
        """
        found = []
        for rows in self.spans:
            tokens, counts = self.read(rows)
            places = self.starts[rows][:, None] + np.arange(self.seq_len + 1)
            ends = places[tokens == self.shards.eot_id] + 1  # where another document begins
            # With packing=documents one that ends with the last row starts the next, trained on.
            following = np.append(self.starts, self.shards.n_tokens)[rows[-1] + 1]
            ends = ends[ends <= following + 1]
            begins = np.append(ends, 0)
            untrained = self.starts[rows[0] - 1] + self.seq_len + 1 if rows[0] else 0
            last = max(ends, default=0)
            first = min(begins[begins >= untrained], default=last)
            found.append((tokens, counts & (first <= places[:, 1:]) & (places[:, 1:] < last)))
        tokens, counts = map(np.concatenate, zip(*found, strict=True))
        if not counts.any():
            raise UserError(
                f"config field data.validation_rows={len(self.validation)}: no document of"
                f" {self.shards.folder} with a target lies whole in these rows; raise it, set it"
                " to 0, or take a larger corpus or a shorter data.seq_len"
            )
        return tokens, counts


def document_rows(shards: TokenShards, seq_len: int) -> np.ndarray:
    """Where rows start if each starts with a document: int64[rows].

    A document that is cut by the end of a row starts the next one; one that is longer than a row
    goes on in rows of its own.
    """
    files = zip(shards.tokens, shards.begins, strict=True)
    ends = [np.flatnonzero(tokens == shards.eot_id) + 1 + begin for tokens, begin in files]
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

    Each source has its own endless stream of rows, shuffled anew for each epoch: a function of the
    seed, the source's name and its number of rows. The mixture takes the next rows of each source
    as its weights say. After a change of settings it begins anew where each source stands.

    Every process of a run reads all rows of a batch and puts its own on its devices: at the
    paper's rate, 147k tokens/s, reading costs under 1% of a core. So the order, the counts and the
    log do not depend on the hosts, the threads and the mesh.
    """

    def __init__(self, config: DataConfig, seed: int, steps: int | None = None) -> None:
        """Opens every source and checks it, so that a damaged file is found before step 1.

        Args:
          steps: of the whole run, to begin at step 0; without it `go_on` must be called.
        Raises:
          UserError: no source, shards that are missing, damaged, too short or made with another
            tokenizer, or epochs that do not fit the run.
        """
        if not config.sources:
            raise UserError("config field data.sources is empty: name shards, --source=NAME=DIR")
        self.config = config
        self.tokenizer = load_tokenizer(config.tokenizer) if config.tokenizer else None
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
            if rows.without_target:
                logging.warning(
                    "source %s: %d of %d rows have no target, since prompts fill them; a step of"
                    " such rows alone changes nothing",
                    source.name,
                    rows.without_target,
                    len(rows.trained),
                )
            self.sources.append(rows)
        self.vocab_size = max(rows.shards.vocab_size for rows in self.sources)
        self.names = [source.name for source in config.sources]
        self._streams = [
            _stream(f"{seed} {name}", len(rows.trained))
            for name, rows in zip(self.names, self.sources, strict=True)
        ]
        if steps is not None or not any(source.epochs for source in config.sources):
            self.go_on(0, {}, steps)

    def go_on(self, step: int, read: Mapping[str, int], steps: int | None) -> None:
        """Begins the mixture at optimizer step `step`, each source after the rows that were read.

        Args:
          read: rows of each source before that step, by name.
          steps: of the whole run; needed if a source has `epochs`.
        Raises:
          UserError: epochs that do not fit the rest of the run, or most rows have no target.
        """
        b = self.config.global_batch_size
        self.from_step, self.from_rows = step, {name: read.get(name, 0) for name in self.names}
        total = None if steps is None else (steps - step) * b
        lengths = [len(rows.trained) for rows in self.sources]
        before = list(self.from_rows.values())
        self._weights = mixture_weights(self.config.sources, lengths, total, before)
        empty = [rows.without_target / len(rows.trained) for rows in self.sources]
        share = np.average(empty, weights=self._weights) if sum(self._weights) else 0.0
        if share > self.config.max_rows_without_target:
            raise UserError(
                f"config field data.seq_len={self.config.seq_len}: {share:.0%} of the rows have no"
                " target, since data.loss_on=solutions and prompts fill them. Make data.seq_len"
                " longer than the prompts, leave long prompts out, or set data.loss_on=all; to"
                " train on the other rows, raise data.max_rows_without_target"
            )

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
        source, place = mixed(self._weights, (step - self.from_step) * b, b)
        place += np.asarray(list(self.from_rows.values()))[source]
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
        total = sum(source.weight for source in self.config.sources if not source.epochs)
        for rows, source in zip(self.sources, self.config.sources, strict=True):
            shards = json.dumps(rows.shards.manifest["shards"]).encode()
            field = f"data.sources.{source.name}"
            found[f"{field}.shards"] = hashlib.sha256(shards).hexdigest()[:16]
            if source.epochs:
                found[f"{field}.epochs"] = source.epochs
            else:
                found[f"{field}.share"] = source.weight / total
        return found


def _stream(name: str, n_rows: int) -> grain.MapDataset:
    """Numbers of rows, shuffled anew each epoch; the rows of a batch are then read in one go."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4])
    return grain.MapDataset.range(n_rows).seed(seed).shuffle().repeat(None)
