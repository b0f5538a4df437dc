"""Token shards: one long array of ids cut into files, and what is needed to trust them.

A folder holds `tokens-00000.npy` (uint16, or uint32 above 65,536 pieces), `loss-00000.npy` (bool,
only when some document has a prompt), `documents.jsonl.zst` (id, source, offset, tokens,
metadata) and `manifest.json`, written last: a folder without it is not finished.
"""

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from phi1_jax.corpus.documents import Document
from phi1_jax.corpus.records import read_records, write_records
from phi1_jax.errors import UserError
from phi1_jax.files import NOT_THERE, file_sha256, read_json, write_json
from phi1_jax.tokens.encode import PART_CHARS, Part, encode_parts, token_dtype
from phi1_jax.tokens.tokenizer import Tokenizer

MANIFEST = "manifest.json"
INDEX = "documents.jsonl.zst"
VERSION = 1
_PARTS = "parts"


def write_shards(
    documents: Iterable[Document],
    tokenizer: Tokenizer,
    output: Path | str,
    *,
    shard_tokens: int = 1 << 26,
    max_tokens: int | None = None,
    part_chars: int = PART_CHARS,
    workers: int = 1,
    resume: bool = False,
) -> dict[str, Any]:
    """Encodes documents, each followed by end-of-text, and checks each by decoding it again.

    phi-1 section 2.3: the documents are joined by <|endoftext|> into one array. A document with
    `metadata["prompt_chars"]` is an exercise: prompt and solution are encoded apart, and the loss
    mask is True on the solution and its end-of-text only. For any other document it is True
    everywhere.

    Args:
      shard_tokens: tokens in each shard but the last; a document may run across shards.
      max_tokens: stop after the document that reaches this number.
      part_chars: characters that are encoded at once and kept until all are.
      workers: processes that encode; the bytes written are the same for any number.
      resume: go on with the parts that an interrupted call with the same arguments left.
    Returns:
      The manifest.
    Raises:
      UserError: a document that does not come back exactly, or no document.
    """
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    (output / MANIFEST).unlink(missing_ok=True)
    parts = output / _PARTS
    if not resume:
        shutil.rmtree(parts, ignore_errors=True)
    writer = _ShardWriter(output, shard_tokens)
    limit = np.inf if max_tokens is None else max_tokens
    sources: dict[str, Counter[str]] = {}

    def index() -> Iterator[dict[str, Any]]:
        with tqdm(desc="tokens", unit="tok", unit_scale=True) as progress:
            for run, part in encode_parts(documents, tokenizer, parts, part_chars, workers):
                offsets = writer.n_tokens + np.cumsum(part.lengths) - part.lengths
                n_documents = int(np.searchsorted(offsets, limit))
                n_tokens = int(part.lengths[:n_documents].sum())
                writer.add(part.tokens[:n_tokens], _loss_mask(part)[:n_tokens])
                progress.update(n_tokens)
                rows = zip(run[:n_documents], offsets, part.lengths, strict=False)
                for document, offset, length in rows:
                    counts = sources.setdefault(document.source, Counter())
                    size = len(document.text.encode())
                    counts.update(documents=1, tokens=int(length), bytes=size)
                    yield {
                        "id": document.id,
                        "source": document.source,
                        "offset": int(offset),
                        "tokens": int(length),
                        "metadata": document.metadata,
                    }
                if writer.n_tokens >= limit:
                    return

    n_documents = write_records(output / INDEX, index())
    if not n_documents:
        raise UserError(f"{output}: no document to tokenize; name a corpus that has some")
    manifest = {
        "version": VERSION,
        "n_tokens": writer.n_tokens,
        "n_documents": n_documents,
        "dtype": token_dtype(tokenizer).name,
        "vocab_size": tokenizer.vocab_size,
        "eot_id": tokenizer.eot_id,
        "tokenizer": tokenizer.fingerprint,
        "sources": {
            name: {**counts, "bytes_per_token": round(counts["bytes"] / counts["tokens"], 3)}
            for name, counts in sorted(sources.items())
        },
        "index": {"file": INDEX, "sha256": file_sha256(output / INDEX)},
        "shards": writer.close(),
    }
    write_json(output / MANIFEST, manifest)
    shutil.rmtree(parts)
    return manifest


class TokenShards:
    """A finished folder of shards, memory-mapped."""

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        self.folder = folder
        self.manifest = manifest
        self.n_tokens = int(manifest["n_tokens"])
        self.vocab_size, self.eot_id = int(manifest["vocab_size"]), int(manifest["eot_id"])
        self.fingerprint = str(manifest["tokenizer"])
        names = [shard["tokens"]["file"] for shard in manifest["shards"]]
        self.tokens = [self._map(name, manifest["dtype"]) for name in names]
        masks = [shard["loss"]["file"] for shard in manifest["shards"] if "loss" in shard]
        self.masks = [self._map(name, "bool") for name in masks]
        ends = list(accumulate(map(len, self.tokens)))
        if ends[-1] != self.n_tokens:
            raise UserError(f"{folder}: {ends[-1]} tokens, {MANIFEST} says {self.n_tokens}")
        self.begins = [0, *ends[:-1]]

    def gather(self, starts: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Slices of the whole stream: int32[n, length] tokens and their bool[n, length] loss mask.

        Raises:
          IndexError: a slice that ends after the last token.
        """
        tokens = np.empty((len(starts), length), np.int32)
        loss = np.ones((len(starts), length), bool)
        first = np.searchsorted(self.begins, starts, side="right") - 1
        for row, (start, shard) in enumerate(zip(starts.tolist(), first.tolist(), strict=True)):
            begin, done = start - self.begins[shard], 0
            while done < length:  # it may go on in the next file
                part = slice(begin, begin + length - done)
                found = self.tokens[shard][part]
                here = slice(done, done + len(found))
                tokens[row, here] = found
                if self.masks:
                    loss[row, here] = self.masks[shard][part]
                begin, done, shard = 0, here.stop, shard + 1
        return tokens, loss

    def _map(self, name: str, dtype: str) -> np.ndarray:
        try:
            array = np.load(self.folder / name, mmap_mode="r")
        except (*NOT_THERE, ValueError, EOFError) as error:
            raise UserError(f"{self.folder / name}: missing or damaged shard: {error}") from error
        if array.ndim != 1 or array.dtype.name != dtype:
            found = f"{array.dtype.name}{list(array.shape)}"
            raise UserError(f"{self.folder / name}: expected a flat {dtype} array, found {found}")
        return array.view(np.ndarray)  # slices of it cost less than those of a np.memmap


def open_shards(folder: Path, *, verify: bool = False) -> TokenShards:
    """Opens what `write_shards` wrote.

    Args:
      verify: read every file and compare its SHA-256 with the manifest.
    Raises:
      UserError: no finished shards there, or a file that is missing or damaged (named).
    """
    folder = Path(folder)
    if not (folder / MANIFEST).is_file():
        raise UserError(f"{folder}: no {MANIFEST}, so no finished token shards")
    manifest = read_json(folder / MANIFEST, fix="run tokenize_corpus again")
    if manifest.get("version") != VERSION:
        found = manifest.get("version")
        raise UserError(f"{folder / MANIFEST}: version {found!r}, this code reads {VERSION}")
    try:
        if verify:
            parts = [part for shard in manifest["shards"] for part in shard.values()]
            for part in [manifest["index"], *parts]:
                file = folder / part["file"]
                if not file.is_file() or file_sha256(file) != part["sha256"]:
                    raise UserError(f"{file}: missing or damaged; run tokenize_corpus again")
        return TokenShards(folder, manifest)
    except UserError:
        raise
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{folder / MANIFEST} is damaged ({error!r}); run tokenize_corpus again"
        ) from error


def read_index(folder: Path) -> Iterator[dict[str, Any]]:
    """Yields the index: id, source, offset, tokens and metadata of each document, in order."""
    return read_records(folder / INDEX)


def _loss_mask(part: Part) -> np.ndarray:
    """False on the prompts: bool[tokens]."""
    starts = np.cumsum(part.lengths) - part.lengths
    place = np.arange(len(part.tokens)) - np.repeat(starts, part.lengths)
    return place >= np.repeat(part.prompts, part.lengths)


class _ShardWriter:
    """Cuts a stream of tokens into files of equal length."""

    def __init__(self, output: Path, shard_tokens: int) -> None:
        self.n_tokens = 0
        self._output, self._shard_tokens = output, shard_tokens
        self._parts: list[tuple[np.ndarray, np.ndarray]] = []  # tokens and mask
        self._filled = 0  # tokens of the parts
        self._masked = False
        self._shards: list[dict[str, Any]] = []

    def add(self, tokens: np.ndarray, mask: np.ndarray) -> None:
        self._masked |= not mask.all()
        self.n_tokens += len(tokens)
        while len(tokens):
            n = min(len(tokens), self._shard_tokens - self._filled)
            self._parts.append((tokens[:n], mask[:n]))
            self._filled += n
            tokens, mask = tokens[n:], mask[n:]
            if self._filled == self._shard_tokens:
                self._flush()

    def close(self) -> list[dict[str, Any]]:
        """Writes the last shard; returns files, hashes and lengths."""
        if self._filled:
            self._flush()
        if not self._masked:
            for shard in self._shards:
                (self._output / shard.pop("loss")["file"]).unlink()
        return self._shards

    def _flush(self) -> None:
        shard = {}
        for kind, arrays in zip(("tokens", "loss"), zip(*self._parts, strict=True), strict=True):
            file = self._output / f"{kind}-{len(self._shards):05d}.npy"
            np.save(file, np.concatenate(arrays))
            sha256 = file_sha256(file)
            shard[kind] = {"file": file.name, "sha256": sha256, "n_tokens": self._filled}
        self._shards.append(shard)
        self._parts, self._filled = [], 0
