"""Takes out of a corpus what gives a benchmark problem away, and shows what is left near it.

Section 5 of the paper: the exercises near a HumanEval problem go, the model is trained on the rest,
and HumanEval is split into the problems that had something similar and those that had not. What
counts as near is in `contamination`; the paper states results for several match rates of syntax
trees, so several may be asked for at once.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from phi1_jax.corpus.documents import Document, chunks, name_of, read_documents, with_folder
from phi1_jax.corpus.parallel import ordered_map
from phi1_jax.corpus.problems import Problem
from phi1_jax.corpus.records import Skip, encode_record, open_records, write_records
from phi1_jax.decontamination.contamination import (
    ROUNDING,
    WHOLE_WORDS,
    Comparison,
    Findings,
    Leak,
    Rules,
)
from phi1_jax.errors import UserError
from phi1_jax.files import write_json

SPLITS = "splits.json"
_DROPPED = "dropped"
# Texts -> float32[texts, d], each row of length 1.
Embed = Callable[[Sequence[str]], np.ndarray]
# Documents, and characters, that are compared at a time: long documents are spread over processes.
_CHUNK, _CHUNK_CHARS = 1000, 700_000
_Chunk = tuple[list[Document], np.ndarray | None]


class Nearest:
    """For each problem and measure the nearest document: of all, and of those left at each tau."""

    def __init__(self, comparison: Comparison) -> None:
        self.measures = comparison.measures
        shape = (1 + len(comparison.rules.taus), len(self.measures), len(comparison.problems))
        self.similarity = np.zeros(shape)
        self.documents = np.full(self.similarity.shape, None, object)

    def note(self, documents: Sequence[Document], found: Findings) -> None:
        for place in np.argwhere(found.nearest > self.similarity):
            where = tuple(place)
            self.similarity[where] = found.nearest[where]
            self.documents[where] = documents[found.rows[where]]

    def describe(self, level: int, problem: int) -> dict[str, dict[str, Any]]:
        """Measure -> similarity (of embeddings also the distance), document and text."""
        result = {}
        for index, measure in enumerate(self.measures):
            similarity = float(self.similarity[level, index, problem])
            document = self.documents[level, index, problem]
            near: dict[str, Any] = {"similarity": round(similarity, 4)}
            if measure == "embedding":
                near["distance"] = round(float(np.sqrt(max(2 - 2 * similarity, 0))), 4)
            near["document"] = document.id if document else None
            near["text"] = document.text[:4000] if document else ""
            result[measure] = near
        return result

    def summary(self) -> dict[str, dict[str, float]]:
        """Measure -> what is nearest of those left at the first tau: over the problems."""
        return {
            measure: {
                "mean": round(float(similarity.mean()), 4),
                "median": round(float(np.median(similarity)), 4),
                "max": round(float(similarity.max()), 4),
            }
            for measure, similarity in zip(self.measures, self.similarity[1], strict=True)
        }


def decontaminate(
    corpora: Sequence[Path],
    problems: Sequence[Problem],
    output: Path,
    rules: Rules,
    *,
    embed: Embed | None = None,
    workers: int = 1,
    columns: Mapping[str, str] | None = None,
    skip: Skip | None = None,
) -> dict[str, Any]:
    """Writes each corpus without its leaks, what was dropped, and what is nearest to each problem.

    OUTPUT gets one file a corpus under its own name (with several taus: in a folder for each,
    `tau_0.95`), `dropped.jsonl.zst` (with reason, task_ids and the first tau at which it goes),
    `nearest.jsonl` (a row a problem) and `splits.json`, the problems with and without a similar
    document at each tau.

    Args:
      problems: of one benchmark or several; a prompt may be a docstring of the module and the
        solution a whole program.
      embed: gives the embeddings; without it that measure is left out.
      workers: processes.
      columns: see `read_documents`.
      skip: see `read_documents`.
    Raises:
      UserError: two corpora of the same name or one of a name that no file can have, two problems
        of the same task_id, or a corpus that is nothing but leaks.
    """
    names = [name_of(corpus) for corpus in corpora]
    for corpus, name in zip(corpora, names, strict=True):
        if name in ("", _DROPPED):
            why = "is that of what is dropped" if name else "has nothing before its dot"
            raise UserError(f"--corpus={corpus}: its name {why}; rename it")
    if repeated := [name for name, n in Counter(names).items() if n > 1]:
        raise UserError(f"--corpus: two are called {repeated[0]}; give them different names")
    if rules.max_distance is not None and embed is None:
        raise UserError("--max_distance: needs embeddings; name a model with --embedder")
    task_ids = Counter(problem.task_id for problem in problems)
    if repeated := [task_id for task_id, n in task_ids.items() if n > 1]:
        raise UserError(f"--benchmark: two problems are called {repeated[0]}; name each file once")
    programs = [problem.prompt + problem.canonical_solution for problem in problems]
    comparison = Comparison(problems, rules, embed(programs) if embed else None)
    nearest = Nearest(comparison)
    several = len(rules.taus) > 1
    folders = [output / f"tau_{tau}" if several else output for tau in rules.taus]
    n_in, caught_by = Counter[str](), Counter[str]()
    # At each tau: corpus -> documents that stay; measure -> documents that it takes out.
    n_out = [Counter[str]() for _ in folders]
    reasons = [Counter[str]() for _ in folders]
    with open_records(output / f"{_DROPPED}.jsonl.zst") as drop:
        for corpus, name in zip(corpora, names, strict=True):
            read = _read_chunks(corpus, embed, columns, skip)
            with ExitStack() as files:
                paths = [folder / f"{name}.jsonl.zst" for folder in folders]
                keep = [files.enter_context(open_records(path)) for path in paths]
                for document, leak in _find_leaks(comparison, read, nearest, workers):
                    n_in[name] += 1
                    level = leak.level if leak else len(folders)
                    line = encode_record(vars(document))
                    for write, counts in zip(keep[:level], n_out[:level], strict=True):
                        write(line)
                        counts[name] += 1
                    if leak:
                        for counts in reasons[level:]:
                            counts[leak.reason] += 1
                        caught_by.update(leak.task_ids.keys())
                        drop(_with_leak(document, leak, rules))
            for tau, counts in zip(rules.taus, n_out, strict=True):
                if not counts[name]:
                    found = "every document gives a benchmark problem away"
                    raise UserError(f"{corpus}: at tau={tau} {found}")
    write_records(output / "nearest.jsonl", _describe(problems, rules, nearest))
    splits = _split(problems, rules, nearest)
    write_json(output / SPLITS, splits)
    taus = list(map(str, rules.taus))
    return {
        "in": dict(n_in),
        "out": dict(zip(taus, map(dict, n_out), strict=True)) if several else dict(n_out[0]),
        "dropped": dict(reasons[-1].most_common()),
        "dropped_by_tau": dict(zip(taus, map(dict, reasons), strict=True)),
        "caught_by": dict(caught_by),
        "rules": {**vars(rules), "whole_words": WHOLE_WORDS, "embedding": embed is not None},
        "n_problems": len(problems),
        "n_similar": {str(s["tau"]): len(s["similar"]) for s in splits["splits"]},
        "nearest": nearest.summary(),
    }


def _find_leaks(
    comparison: Comparison, read: Iterator[_Chunk], nearest: Nearest, workers: int
) -> Iterator[tuple[Document, Leak | None]]:
    """Yields each document with why it goes, and notes those nearest to the problems."""
    for (documents, _), found in ordered_map(_compare, comparison, read, workers):
        nearest.note(documents, found)
        for row, document in enumerate(documents):
            yield document, found.leaks.get(row)


def _with_leak(document: Document, leak: Leak, rules: Rules) -> dict[str, Any]:
    about = {**vars(leak), "tau": rules.taus[leak.level]}
    del about["level"]
    return {**vars(document), "metadata": {**document.metadata, "leak": about}}


def _compare(comparison: Comparison, chunk: _Chunk) -> Findings:
    return comparison.compare(*chunk)


def _read_chunks(
    corpus: Path, embed: Embed | None, columns: Mapping[str, str] | None, skip: Skip | None
) -> Iterator[_Chunk]:
    documents = read_documents(corpus, columns=columns, skip=with_folder(corpus, skip))
    documents = tqdm(documents, desc=f"decontaminate {corpus.name}", unit="doc")
    for chunk in chunks(documents, _CHUNK, _CHUNK_CHARS):
        yield chunk, embed([document.text for document in chunk]) if embed else None


def _split(problems: Sequence[Problem], rules: Rules, nearest: Nearest) -> dict[str, Any]:
    """The paper's Table 3: which problems have a similar document in the corpora, at each tau."""
    of_all = dict(zip(nearest.measures, nearest.similarity[0], strict=True))
    close = of_all.get("embedding", np.zeros(len(problems))) >= rules.min_cosine
    task_ids = np.array([problem.task_id for problem in problems])
    splits = []
    for tau in rules.taus:
        is_similar = (of_all["ast"] >= tau - ROUNDING) | close
        similar, other = task_ids[is_similar].tolist(), task_ids[~is_similar].tolist()
        splits.append({"tau": tau, "similar": similar, "non_similar": other})
    measure = "ast" if rules.max_distance is None else f"ast or embedding <= {rules.max_distance}"
    return {"measure": measure, "splits": splits}


def _describe(
    problems: Sequence[Problem], rules: Rules, nearest: Nearest
) -> Iterator[dict[str, Any]]:
    """One row a problem, with the text of its nearest documents, for people to read."""
    for index, problem in enumerate(problems):
        yield {
            "task_id": problem.task_id,
            "composition": list(problem.composition),
            "problem": problem.prompt + problem.canonical_solution,
            "nearest": nearest.describe(0, index),
            "left": {
                str(tau): nearest.describe(level, index)
                for level, tau in enumerate(rules.taus, start=1)
            },
        }
