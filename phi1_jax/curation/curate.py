"""From raw sources to filtered code: heuristics, duplicates, quality, a budget (section 2.1).

The work is a list of datatrove pipelines over files in a work folder, each split into tasks; the
choice under the budget comes last. Nothing is dropped without a line in `excluded.jsonl.zst`.
"""

import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tqdm import tqdm

from phi1_jax.corpus.documents import Document
from phi1_jax.corpus.records import open_records
from phi1_jax.curation.executors import Execution, run_stage
from phi1_jax.curation.pipeline import (
    READ_INDEX,
    SCORED_INDEX,
    pipeline,
    read_folder,
    read_parts,
)
from phi1_jax.curation.sources import Source, check_source, count_files
from phi1_jax.errors import UserError

CLEAN, SCORED = "clean", "scored"
# What the stages wrote, the step that wrote it, and the reason where a step has only one.
FOLDERS = (
    ("excluded/heuristics", "heuristics", None),
    (CLEAN, "", None),
    ("excluded/exact", "exact", "exact_duplicate"),
    ("excluded/near", "near", "near_duplicate"),
    ("excluded/score", "score", None),
    (SCORED, "choose", None),
)
AS_READ = ("excluded/heuristics", CLEAN)


def curate(
    sources: Sequence[Source],
    output: Path,
    *,
    budget_bytes: int | None = None,
    pool_bytes: int | None = None,
    min_quality: float = 0.0,
    tasks: int = 4,
    execution: Execution | None = None,
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
    stages = pipeline(sources, work, tasks)
    with tqdm(stages, desc="curate", unit="stage") as bar:
        for stage in bar:
            bar.set_postfix_str(stage.name)
            start, core_start = time.perf_counter(), time.process_time()
            run_stage(stage, execution, work / "logs")
            seconds[stage.name] = round(time.perf_counter() - start, 2)
            core_seconds[stage.name] = time.process_time() - core_start
            if stage.name == "heuristics":
                _check_sources(sources, work)
    start, core_start = time.perf_counter(), time.process_time()
    report = _choose(work, output, budget_bytes, pool_bytes, min_quality)
    seconds["choose"] = round(time.perf_counter() - start, 2)
    core_seconds["choose"] = time.process_time() - core_start
    # First the marks of finished tasks: without what the tasks wrote they would mislead a rerun.
    shutil.rmtree(work / "logs")
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
    """Keeps the best under the budget, samples the pool, and writes the three files.

    The choice is made from the indices; then each file of documents is read once.
    """
    ranked = sorted(
        (-row["quality"], row["order"], row["place"], row["bytes"])
        for row in read_parts(work / SCORED_INDEX)
    )
    if not ranked:
        raise UserError(
            "nothing is kept: none of the code that is left can be parsed (syntax_error); give"
            " text for readers as --source=prose:PATH"
        )
    worthy = [row for row in ranked if -row[0] >= min_quality]
    kept = _take(worthy, budget_bytes)
    if not kept:
        found = f"{len(ranked)} scored, {len(worthy)} at or above --min_quality={min_quality:g}"
        raise UserError(f"nothing is kept ({found}); raise --budget_mb or lower --min_quality")
    n_read, code = 0, []
    for row in read_parts(work / READ_INDEX):
        n_read += 1
        if row["is_code"]:
            code.append((0.0, row["order"], row["place"], row["bytes"]))
    sampled = _take(sorted(code), pool_bytes)
    dropped: Counter[str] = Counter()
    normalizations: Counter[str] = Counter()
    per_source: defaultdict[str, Counter[str]] = defaultdict(Counter)
    with ExitStack() as stack:
        writers = {
            kind: stack.enter_context(open_records(output / f"{kind}.jsonl.zst"))
            for kind in ("filtered", "excluded", "pool")
        }

        def write(kind: str, document: Document, **about: str) -> None:
            writers[kind]({**vars(document), "metadata": {**document.metadata, **about}})
            size = len(document.text.encode())
            per_source[document.source].update({kind: 1, f"{kind}_bytes": size})

        for folder, step, only_reason in FOLDERS:
            for document, place, reason in read_folder(work / folder):
                if folder in AS_READ and place in sampled:
                    write("pool", document)
                if folder == CLEAN:  # each of these comes again, in a later folder
                    continue
                normalizations.update(document.metadata.get("normalizations", ()))
                if folder == SCORED and place in kept:
                    write("filtered", document)
                    continue
                if folder == SCORED:
                    low = document.metadata["quality"] < min_quality
                    reason = "low_quality" if low else "over_budget"
                reason = only_reason or reason
                dropped[reason] += 1
                write("excluded", document, step=step, reason=reason)
    totals = sum(per_source.values(), Counter())
    if n_read != totals["filtered"] + totals["excluded"]:
        raise RuntimeError(
            f"{n_read} documents in, {totals['filtered']} kept, {totals['excluded']} excluded"
        )
    return {
        "in": {
            "documents": n_read,
            "bytes": totals["filtered_bytes"] + totals["excluded_bytes"],
        },
        "out": {
            kind: totals[kind] for kind in ("filtered", "filtered_bytes", "pool", "pool_bytes")
        },
        "dropped": dict(dropped.most_common()),
        "normalizations": dict(normalizations),
        "quality": {
            "threshold": -worthy[len(kept) - 1][0],
            "quantiles": {
                str(q): -ranked[round((1 - q) * (len(ranked) - 1))][0]
                for q in (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
            },
        },
        "sources": {name: dict(counts) for name, counts in sorted(per_source.items())},
    }


def _take(rows: list[tuple[float, int, int, int]], budget_bytes: int | None) -> set[int]:
    """The places of the rows from the start whose sizes together stay within the budget."""
    total, taken = 0, set()
    for _, _, place, size in rows:
        total += size
        if budget_bytes is not None and total > budget_bytes:
            break
        taken.add(place)
    return taken


def _check_sources(sources: Sequence[Source], work: Path) -> None:
    """`check_source` has read a document of each; here each must have one that passed."""
    reasons: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in read_parts(work / READ_INDEX):
        reasons[row["source"]][row["reason"] or ""] += 1
    for source in sources:
        if not reasons[source.name][""]:
            why = ", ".join(f"{name} {n}" for name, n in reasons[source.name].most_common())
            raise UserError(
                f"--source={source.path or source.name}: the heuristics drop every document "
                f"({why}); see {work / 'excluded'}"
            )
