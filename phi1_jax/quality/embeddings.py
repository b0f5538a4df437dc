"""Vectors of documents on disk, found again by what each document is and says.

A folder holds `embedder.json`, which names the model that made the vectors, and `part-00000.npz`
with, for n documents, `key` uint64[n], `vector` float32[n, d], `tokens` and `bytes` int64[n].
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from phi1_jax.corpus.arrays import read_arrays
from phi1_jax.corpus.documents import Document
from phi1_jax.errors import UserError
from phi1_jax.files import read_json, write_json

INFO = "embedder.json"


class Part(NamedTuple):
    """The vectors of n documents."""

    key: np.ndarray  # uint64[n]; see `document_key`
    vector: np.ndarray  # float32[n, d]
    tokens: np.ndarray  # int64[n], of the whole document, in the embedder's tokens
    bytes: np.ndarray  # int64[n], of its UTF-8


def document_key(document: Document) -> int:
    """Hash of a document's source, id and text: a changed text is another document."""
    digest = hashlib.sha256(f"{document.source}\0{document.id}\0".encode())
    digest.update(document.text.encode("utf-8", "surrogatepass"))
    return int.from_bytes(digest.digest()[:8])


def part_path(folder: Path, number: int) -> Path:
    """Where the part of this number lies, the arrays of a `Part` by name."""
    return folder / f"part-{number:05d}.npz"


def read_parts(folders: Sequence[Path]) -> Iterator[Part]:
    """Yields the parts of all folders, in order of folder and number.

    Raises:
      UserError: a folder that launch/embed.py has not written, or a damaged part.
    """
    for folder in folders:
        files = sorted(folder.glob("part-*.npz"))
        if not files and not (folder / INFO).exists():  # one of many --shard may have no part
            raise UserError(f"{folder}: no part-*.npz here; make them with launch/embed.py")
        for file in files:
            try:
                part = Part(*read_arrays(file, Part._fields))
            except UserError as error:
                raise UserError(
                    f"{file}: damaged, or not of launch/embed.py; run that again with --force"
                ) from error
            yield part


def find_vectors(folders: Sequence[Path], documents: Iterable[Document]) -> np.ndarray:
    """The vectors of some documents, in their order: float32[n, d].

    Raises:
      UserError: a document without a vector.
    """
    keys = np.array([document_key(document) for document in documents], np.uint64)
    wanted = np.unique(keys)
    found: dict[int, np.ndarray] = {}
    for part in read_parts(folders):
        for row in np.flatnonzero(np.isin(part.key, wanted)):
            found[int(part.key[row])] = part.vector[row].copy()  # a view would keep the part
    if missing := sum(int(key) not in found for key in keys):
        raise UserError(
            f"{missing} of {len(keys)} documents have no vector in {', '.join(map(str, folders))};"
            " run launch/embed.py on the corpus that holds them"
        )
    return np.stack([found[int(key)] for key in keys])


def write_info(folder: Path, fingerprint: str, **about: Any) -> None:
    """Names the embedder whose vectors the folder holds."""
    write_json(folder / INFO, {"fingerprint": fingerprint, **about})


def embedder_of(folders: Sequence[Path]) -> str:
    """The fingerprint of the embedder that made the vectors.

    Raises:
      UserError: a folder of no vectors, or two embedders.
    """
    found: dict[str, Path] = {}
    for folder in folders:
        info = read_json(folder / INFO, ("fingerprint",), "make vectors with launch/embed.py")
        found[str(info["fingerprint"])] = folder
    if len(found) > 1:
        one, other, *_ = found.values()
        raise UserError(f"{one} and {other} hold vectors of different embedders; use one for all")
    return next(iter(found))
