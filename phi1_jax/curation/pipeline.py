"""The curation pipeline: datatrove steps over files in a work folder, split into tasks.

Readers, heuristics and the score are ours; exact and near duplicates are datatrove's.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import datatrove.data
from datatrove.io import AbstractFileSystem, DataFolder, LocalFileSystem
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.dedup import (
    ExactDedupConfig,
    ExactDedupFilter,
    ExactDedupSignature,
    ExactFindDedups,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
)
from datatrove.pipeline.filters import LambdaFilter
from datatrove.pipeline.writers import JsonlWriter
from loguru import logger

from phi1_jax.corpus.documents import Document
from phi1_jax.corpus.records import open_records, read_records
from phi1_jax.curation.heuristics import rejection
from phi1_jax.curation.minhash import MINHASH, CodeSignatures
from phi1_jax.curation.sources import Source, read_source
from phi1_jax.quality.rubric import parse_code, score_document

# Set here, for a worker imports this module with the steps that it is sent.
logger.disable("datatrove")
# A row for each document that was read, and for each that was scored; see `_entry`.
READ_INDEX, SCORED_INDEX = "read_index", "scored_index"
# Where a document's own metadata lies while it is in the pipeline. datatrove reads and writes names
# of its own beside it (`rank` is a part of a file's name, `token_count` a number), and so do we.
_OWN = "own"


class Folder(DataFolder):
    """A folder for datatrove whose own path may have any characters.

    datatrove's reads "::" in it as one file system in another, and as it looks for files it takes
    what a pattern is made of, such as "[1]", for a part of the pattern, and finds none.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), fs=LocalFileSystem())

    def glob(self, path: str, **kwargs: Any) -> Any:
        # The general one asks this folder for its files, all relative to it.
        return AbstractFileSystem.glob(self, path, **kwargs)


@dataclass(frozen=True)
class Stage:
    """One datatrove pipeline and the number of tasks it is split into.

    Light ones take less on one machine than the start of a worker does.
    """

    name: str
    steps: list[PipelineStep | Callable]
    tasks: int
    is_light: bool = False


def pipeline(sources: Sequence[Source], work: Path, tasks: int) -> list[Stage]:
    """The whole pipeline, for whichever executor is to run it."""
    hashing = ExactDedupConfig(_text, hash_config=MINHASH.hash_config)

    def folder(name: str) -> Folder:
        return Folder(work / name)

    def excluded(step: str) -> JsonlWriter:
        return _writer(work / "excluded" / step)

    return [
        Stage(
            "heuristics",
            [
                partial(_read_sources, list(sources), work / READ_INDEX),
                LambdaFilter(_heuristics, excluded("heuristics")),
                _writer(work / "clean"),
                ExactDedupSignature(folder("exact_signatures"), hashing),
            ],
            tasks,
        ),
        Stage(
            "exact duplicates",
            [ExactFindDedups(folder("exact_signatures"), folder("exact_found"), hashing)],
            1,
        ),
        Stage(
            "signatures",
            [
                partial(_read_part, work / "clean"),
                ExactDedupFilter(folder("exact_found"), hashing, excluded("exact")),
                _writer(work / "unique"),
                CodeSignatures(folder("near_signatures")),
            ],
            tasks,
        ),
        Stage(
            "near duplicates",
            [MinhashDedupBuckets(folder("near_signatures"), folder("near_pairs"), config=MINHASH)],
            MINHASH.num_buckets,
            is_light=True,
        ),
        Stage(
            "clusters",
            [MinhashDedupCluster(folder("near_pairs"), folder("near_found"), config=MINHASH)],
            1,
        ),
        Stage(
            "score",
            [
                partial(_read_part, work / "unique"),
                MinhashDedupFilter(folder("near_found"), excluded("near")),
                LambdaFilter(_score, excluded("score")),
                partial(_index_scores, work / SCORED_INDEX),
                _writer(work / "scored"),
            ],
            tasks,
        ),
    ]


# The steps of our own: functions of the documents so far, the task's number and how many there are.


def _read_sources(
    sources: Sequence[Source], index: Path, data: Any, rank: int, world_size: int
) -> Iterator[Any]:
    """Reads this task's part of every source; what cannot be read goes on as an empty document.

    Each document gets its `place` in what is read (an id may occur twice), a row in the index, and
    the `reason` to drop it, if the reader or `heuristics.rejection` has one. Its own metadata goes
    into one field, for it may have any names.
    """
    del data
    with open_records(index / f"{rank:05d}.jsonl") as note:
        place = rank << 32
        for doc, unread in _read_part_of_sources(sources, rank, world_size):
            reason = unread or rejection(doc.text, doc.metadata["prose"])
            doc.metadata["place"] = place = place + 1
            is_code = not unread and not doc.metadata["prose"]
            note({**_entry(doc), "is_code": is_code, "reason": reason})
            if reason:
                doc.metadata["reason"] = reason
            yield doc


def _read_part_of_sources(
    sources: Sequence[Source], rank: int, world_size: int
) -> Iterator[tuple[Any, str]]:
    """The documents and ""; for what cannot be read, an empty one and the reason."""
    unread: list[tuple[str, str]] = []
    for source in sources:
        about = {"source": source.name, "prose": source.prose}
        documents = read_source(source, lambda *what: unread.append(what), rank, world_size)
        for document in chain(documents, [None]):
            for name, reason in unread:
                yield datatrove.data.Document("", name, metadata={**about, _OWN: {}}), reason
            unread.clear()
            if document is not None:
                metadata = {**about, _OWN: document.metadata}
                yield datatrove.data.Document(document.text, document.id, metadata=metadata), ""


def _index_scores(index: Path, data: Any, rank: int, world_size: int) -> Iterator[Any]:
    """Writes a row for each document that is left."""
    del world_size
    with open_records(index / f"{rank:05d}.jsonl") as note:
        for doc in data:
            note({**_entry(doc), "quality": doc.metadata["quality"]})
            yield doc


def _read_part(folder: Path, data: Any, rank: int, world_size: int) -> Iterator[Any]:
    """Reads what the same task of an earlier stage wrote.

    datatrove's own reader deals out files by position, so a task that wrote nothing would shift
    all the others.
    """
    del data, world_size
    file = folder / f"{rank:05d}.jsonl"
    for record in read_records(file) if file.exists() else ():
        yield datatrove.data.Document(record["text"], record["id"], metadata=record["metadata"])


def _heuristics(doc: Any) -> bool | tuple[bool, str]:
    """Drops what `_read_sources` found a reason against."""
    reason = doc.metadata.pop("reason", None)
    return (False, reason) if reason else True


def _score(doc: Any) -> bool | tuple[bool, str]:
    """Drops code that does not parse and writes the score of the rest into its metadata."""
    doc.metadata["quality"] = score_document(_document(doc.id, doc.text, doc.metadata))
    broken = not doc.metadata["prose"] and parse_code(doc.text) is None
    return (False, "syntax_error") if broken else True


def _entry(doc: Any) -> dict[str, Any]:
    """What the choice must know of a document; `order` has nothing to do with its content."""
    source = doc.metadata["source"]
    digest = hashlib.sha256(f"{source}\0{doc.id}".encode()).digest()
    return {
        "place": doc.metadata["place"],
        "source": source,
        "order": int.from_bytes(digest[:8]) >> 1,
        "bytes": len(doc.text.encode()),
    }


def _text(document: Any) -> str:
    # datatrove reads the annotation to learn what it is to hash.
    return str(document.text)


def read_folder(folder: Path) -> Iterator[tuple[Document, int, str]]:
    """The documents that all tasks wrote, in order, with their place and the reason to drop them.

    A document's metadata is its own and what the pipeline says of it: `prose`, and `quality` if it
    was scored.
    """
    for record in read_parts(folder):
        notes = record["metadata"]
        # datatrove's writer leaves out an empty text.
        document = _document(record["id"], record.get("text", ""), notes)
        yield document, notes["place"], notes.get("filter_reason", "")


def read_parts(folder: Path) -> Iterator[dict[str, Any]]:
    for file in sorted(folder.glob("*.jsonl")):
        yield from read_records(file)


def _document(name: str, text: str, notes: dict[str, Any]) -> Document:
    about = {field: value for field, value in notes.items() if field in ("prose", "quality")}
    return Document(name, text, notes["source"], {**notes[_OWN], **about})


def _writer(folder: Path) -> JsonlWriter:
    return JsonlWriter(Folder(folder), output_filename="${rank}.jsonl", compression=None)
