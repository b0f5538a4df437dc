"""From raw sources to filtered code: heuristics, duplicates, quality, a budget (section 2.1).

The work is a list of datatrove pipelines over files in a work folder, each split into tasks; the
choice under the budget comes last. Nothing is dropped without a line in `excluded.jsonl.zst`.
"""

import hashlib
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from phi1_jax.corpus.documents import Document, write_documents
from phi1_jax.curation.executors import Execution, executing
from phi1_jax.curation.pipeline import pipeline, read_folder
from phi1_jax.curation.sources import Source, check_source, count_files
from phi1_jax.errors import UserError
from phi1_jax.quality.rubric import Rubric, Scorer

# The steps that exclude, in order, and the reason where a step has only one.
EXCLUDING = {
    "heuristics": None,
    "exact": "exact_duplicate",
    "near": "near_duplicate",
    "score": None,
}


def curate(
    sources: Sequence[Source],
    output: Path,
    *,
    budget_bytes: int | None = None,
    pool_bytes: int | None = None,
    min_quality: float = 0.0,
    tasks: int = 4,
    execution: Execution | None = None,
    scorer: Scorer | None = None,
) -> dict[str, Any]:
    """Writes `filtered`, `pool` and `excluded` (.jsonl.zst) and returns the counts.

    The pool is the code as read, before any filter: what a model "on raw code" is trained on. The
    same sources and number of tasks give the same bytes, wherever the tasks run.

    Args:
      budget_bytes: UTF-8 bytes to keep, best score first; None keeps all that passes.
      pool_bytes: size of the sample of the pool, drawn by hash of the id; None keeps all of it.
      min_quality: documents with a lower score go.
      tasks: parts that the sources are split into, by file; no more than the largest has files.
      execution: where the tasks run; None is this machine, a process for each core.
    Raises:
      UserError: two sources of one name, a source that yields nothing, or a budget that holds
        nothing.
    """
    names = [source.name for source in sources]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise UserError(f"--source: two are called {repeated[0]!r}; name one as NAME=PATH")
    for source in sources:
        check_source(source)
    tasks = min(tasks, max(map(count_files, sources)))
    work = output / "work"
    execution = execution or Execution()
    seconds: dict[str, float] = {}
    core_seconds: dict[str, float] = {}
    stages = pipeline(sources, work, tasks, scorer or Rubric())
    with (
        executing(execution, work / "logs") as run,
        tqdm(stages, desc="curate", unit="stage") as bar,
    ):
        for stage in bar:
            bar.set_postfix_str(stage.name)
            start, core_start = time.perf_counter(), time.process_time()
            run(stage)
            seconds[stage.name] = round(time.perf_counter() - start, 2)
            core_seconds[stage.name] = time.process_time() - core_start
            if stage.name == "heuristics":
                _check_sources(sources, work)
    start, core_start = time.perf_counter(), time.process_time()
    report = _choose(work, output, budget_bytes, pool_bytes, min_quality)
    seconds["choose"] = round(time.perf_counter() - start, 2)
    core_seconds["choose"] = time.process_time() - core_start
    shutil.rmtree(work)
    speed = {"stage_seconds": seconds}
    if execution.executor == "local" and execution.workers == 1:  # all of it in this process
        megabytes = report["in"]["bytes"] / 1e6
        speed["mb_per_core_second"] = {
            name: round(megabytes / spent, 2) for name, spent in core_seconds.items()
        }
    return {**report, "speed": speed}


def _choose(
    work: Path,
    output: Path,
    budget_bytes: int | None,
    pool_bytes: int | None,
    min_quality: float,
) -> dict[str, Any]:
    """Keeps the best under the budget, samples the pool, and writes the three files."""
    # Documents are told apart by their place in what is read: an id may occur twice.
    ranked = sorted(
        (-d.metadata["quality"], _order(d), place, len(d.text.encode()))
        for place, d in enumerate(read_folder(work / "scored"))
    )
    worthy = [row for row in ranked if -row[0] >= min_quality]
    kept = _take(worthy, budget_bytes)
    if not kept:
        found = f"{len(ranked)} scored, {len(worthy)} at or above --min_quality={min_quality:g}"
        raise UserError(f"nothing is kept ({found}); raise --budget_mb or lower --min_quality")
    drawn = ((0.0, _order(d), place, len(d.text.encode())) for place, d in enumerate(_pool(work)))
    sampled = _take(sorted(drawn), pool_bytes)
    dropped: Counter[str] = Counter()
    normalizations: Counter[str] = Counter()
    per_source: defaultdict[str, Counter[str]] = defaultdict(Counter)
    threshold = 1.0

    def count(document: Document, kind: str) -> Document:
        size = len(document.text.encode())
        per_source[document.source].update({kind: 1, f"{kind}_bytes": size})
        return document

    def excluded() -> Iterator[Document]:
        for step, only_reason in EXCLUDING.items():
            for document in read_folder(work / "excluded" / step):
                metadata = dict(document.metadata)
                reason = only_reason or metadata.pop("filter_reason")
                yield _exclude(document, metadata, step, reason)
        for place, document in enumerate(read_folder(work / "scored")):
            if place not in kept:
                low = document.metadata["quality"] < min_quality
                reason = "low_quality" if low else "over_budget"
                yield _exclude(document, document.metadata, "choose", reason)

    def counted(documents: Iterable[Document]) -> Iterator[Document]:
        for document in documents:
            dropped[document.metadata["reason"]] += 1
            normalizations.update(document.metadata.get("normalizations", ()))
            yield count(document, "excluded")

    def filtered() -> Iterator[Document]:
        nonlocal threshold
        for place, document in enumerate(read_folder(work / "scored")):
            if place in kept:
                threshold = min(threshold, document.metadata["quality"])
                normalizations.update(document.metadata.get("normalizations", ()))
                yield count(document, "filtered")

    n_filtered = write_documents(output / "filtered.jsonl.zst", filtered())
    n_excluded = write_documents(output / "excluded.jsonl.zst", counted(excluded()))
    pool = (count(d, "pool") for place, d in enumerate(_pool(work)) if place in sampled)
    n_pool = write_documents(output / "pool.jsonl.zst", pool)
    totals = sum(per_source.values(), Counter())
    n_read = sum(1 for _ in read_folder(work / "excluded" / "heuristics"))
    n_read += sum(1 for _ in read_folder(work / "clean"))
    if n_read != n_filtered + n_excluded:
        raise RuntimeError(f"{n_read} documents in, {n_filtered} kept, {n_excluded} excluded")
    return {
        "in": {
            "documents": n_read,
            "bytes": totals["filtered_bytes"] + totals["excluded_bytes"],
        },
        "out": {
            "filtered": n_filtered,
            "filtered_bytes": totals["filtered_bytes"],
            "pool": n_pool,
            "pool_bytes": totals["pool_bytes"],
        },
        "dropped": dict(dropped.most_common()),
        "normalizations": dict(normalizations),
        "quality": {
            "threshold": threshold,
            "quantiles": {
                str(q): -ranked[round((1 - q) * (len(ranked) - 1))][0]
                for q in (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
            },
        },
        "sources": {name: dict(counts) for name, counts in sorted(per_source.items())},
    }


def _exclude(document: Document, metadata: dict[str, Any], step: str, reason: str) -> Document:
    metadata = {**metadata, "step": step, "reason": reason}
    return Document(document.id, document.text, document.source, metadata)


def _take(rows: list[tuple[float, int, int, int]], budget_bytes: int | None) -> set[int]:
    """The places of the rows from the start whose sizes together stay within the budget."""
    total, taken = 0, set()
    for _, _, place, size in rows:
        total += size
        if budget_bytes is not None and total > budget_bytes:
            break
        taken.add(place)
    return taken


def _pool(work: Path) -> Iterator[Document]:
    """The code as it was read: what the heuristics dropped and what they let through."""
    for document in read_folder(work / "excluded" / "heuristics"):
        if "unread" not in document.metadata and not document.metadata["prose"]:
            metadata = {k: v for k, v in document.metadata.items() if k != "filter_reason"}
            yield Document(document.id, document.text, document.source, metadata)
    for document in read_folder(work / "clean"):
        if not document.metadata["prose"]:
            yield document


def _check_sources(sources: Sequence[Source], work: Path) -> None:
    found = {d.source for d in read_folder(work / "clean")}
    read = {d.source for d in read_folder(work / "excluded" / "heuristics") if d.text}
    for source in sources:
        if source.name not in found | read:
            raise UserError(f"--source={source.path or source.name}: yields no document")
        if source.name not in found:
            raise UserError(
                f"--source={source.path or source.name}: the heuristics drop every document; see "
                f"{work / 'excluded'} for the reasons"
            )


def _order(document: Document) -> int:
    """Puts documents in an order that has nothing to do with their content."""
    digest = hashlib.sha256(f"{document.source}\0{document.id}".encode()).digest()
    return int.from_bytes(digest[:8])
