"""The curation pipeline: datatrove steps over files in a work folder, split into tasks.

Readers, heuristics and the score are ours; exact and near duplicates are datatrove's.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datatrove.data
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
from datatrove.pipeline.filters.base_filter import BaseFilter
from datatrove.pipeline.writers import JsonlWriter
from loguru import logger

from phi1_jax.corpus.documents import Document
from phi1_jax.corpus.records import read_records
from phi1_jax.curation.heuristics import rejection
from phi1_jax.curation.minhash import MINHASH, CodeSignatures
from phi1_jax.curation.sources import Source, read_source
from phi1_jax.quality.rubric import Scorer, parse_code

# Set here, for a worker imports this module with the steps that it is sent.
logger.disable("datatrove")


@dataclass(frozen=True)
class Stage:
    """One datatrove pipeline and the number of tasks it is split into."""

    name: str
    steps: list[PipelineStep]
    tasks: int


def pipeline(sources: Sequence[Source], work: Path, tasks: int, scorer: Scorer) -> list[Stage]:
    """The whole pipeline, for whichever executor is to run it."""
    hashing = ExactDedupConfig(_text, hash_config=MINHASH.hash_config)

    def folder(name: str) -> str:
        return str(work / name)

    def excluded(step: str) -> JsonlWriter:
        return _writer(work / "excluded" / step)

    return [
        Stage(
            "heuristics",
            [
                ReadSources(sources),
                Heuristics(excluded("heuristics")),
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
                ReadPart(work / "clean"),
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
        ),
        Stage(
            "clusters",
            [MinhashDedupCluster(folder("near_pairs"), folder("near_found"), config=MINHASH)],
            1,
        ),
        Stage(
            "score",
            [
                ReadPart(work / "unique"),
                MinhashDedupFilter(folder("near_found"), excluded("near")),
                Score(scorer, excluded("score")),
                _writer(work / "scored"),
            ],
            tasks,
        ),
    ]


class CpuBound:
    """Marks the steps whose Python is worth a worker process."""


class ReadSources(PipelineStep, CpuBound):
    """Reads this task's part of every source; what cannot be read goes on as an empty document."""

    type, name = "READER", "sources"

    def __init__(self, sources: Sequence[Source]) -> None:
        super().__init__()
        self.sources = list(sources)

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        del data
        unread: list[tuple[str, str]] = []
        for source in self.sources:
            about = {"source": source.name, "prose": source.prose}

            def skipped(about: dict[str, Any] = about) -> Iterator[Any]:
                while unread:
                    name, reason = unread.pop(0)
                    yield datatrove.data.Document("", name, metadata={**about, "unread": reason})

            def skip(name: str, reason: str) -> None:
                unread.append((name, reason))

            for document in read_source(source, skip, rank, world_size):
                yield from skipped()
                metadata = {**document.metadata, **about}
                yield datatrove.data.Document(document.text, document.id, metadata=metadata)
            yield from skipped()


class ReadPart(PipelineStep, CpuBound):
    """Reads what the same task of an earlier stage wrote.

    datatrove's own reader deals out files by position, so a task that wrote nothing would shift
    all the others.
    """

    type, name = "READER", "part"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        del data, world_size
        for record in _read_part(self.folder / f"{rank:05d}.jsonl"):
            yield datatrove.data.Document(record["text"], record["id"], metadata=record["metadata"])


class Heuristics(BaseFilter):
    """Drops what `heuristics.rejection` or the reader objects to."""

    name = "heuristics"

    def filter(self, doc: Any) -> bool | tuple[bool, str]:
        reason = doc.metadata.get("unread") or rejection(doc.text, doc.metadata["prose"])
        return True if reason is None else (False, reason)


class Score(BaseFilter):
    """Drops code that does not parse and writes the score of the rest into its metadata."""

    name = "score"

    def __init__(self, scorer: Scorer, exclusion_writer: JsonlWriter) -> None:
        super().__init__(exclusion_writer, batch_size=scorer.batch_size)
        self.scorer = scorer

    def filter(self, doc: Any) -> bool | tuple[bool, str]:
        return self.filter_batch([doc])[0]

    def filter_batch(self, batch: list[Any]) -> list[bool | tuple[bool, str]]:
        scores = self.scorer.score(
            [_document({"id": doc.id, "text": doc.text, "metadata": doc.metadata}) for doc in batch]
        )
        results: list[bool | tuple[bool, str]] = []
        for doc, score in zip(batch, scores, strict=True):
            doc.metadata["quality"] = score
            broken = not doc.metadata["prose"] and parse_code(doc.text) is None
            results.append((False, "syntax_error") if broken else True)
        return results


def _text(document: Any) -> str:
    # datatrove reads the annotation to learn what it is to hash.
    return str(document.text)


def read_folder(folder: Path) -> Iterator[Document]:
    for file in sorted(folder.glob("*.jsonl")):
        yield from map(_document, _read_part(file))


def _read_part(file: Path) -> Iterator[dict[str, Any]]:
    if file.exists():
        yield from read_records(file)


def _document(record: dict[str, Any]) -> Document:
    metadata = dict(record["metadata"])
    # datatrove's writer leaves out an empty text.
    return Document(record["id"], record.get("text", ""), metadata.pop("source"), metadata)


def _writer(folder: Path) -> JsonlWriter:
    return JsonlWriter(str(folder), output_filename="${rank}.jsonl", compression=None)
