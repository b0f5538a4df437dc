"""Takes out of a corpus whatever gives a benchmark problem away, and shows what is left near it.

Section 5 of the paper prunes CodeExercises by n-grams of docstrings, embeddings and the edit
distance of syntax trees. Here a document goes if, for some problem,

- composition: its chain of primitives contains the problem's as a contiguous run;
- text: it shares a run of `ngram` words with the problem's docstring, or contains the whole of a
  shorter one (one below `WHOLE_WORDS` words only counts as a whole docstring);
- ast: one of its functions matches the problem's at a rate (1 - edit distance / length) of at
  least `tau`, over syntax trees with local names normalised. No candidate is missed: shared
  bigrams bound the rate from above.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from phi1_jax.data.documents import Document, read_documents, write_documents
from phi1_jax.data.fingerprints import (
    BREAK,
    Fingerprint,
    fingerprint_document,
    fingerprint_problem,
)
from phi1_jax.data.json_lines import write_json_lines
from phi1_jax.data.problems import Problem, read_problems
from phi1_jax.data.similarity import edit_distance, gram_counts, match_bound, overlaps
from phi1_jax.errors import UserError

MEASURES = ("composition", "text", "ast")
WHOLE_WORDS = 5
# Words in a gram when texts are compared for the report, tree tokens when trees are.
_TEXT_GRAM, _TREE_GRAM = 3, 2
_CHUNK = 10_000
_Chain = tuple[str, ...]


@dataclass(frozen=True)
class Leak:
    """Why a document goes: by which measures, and the first problem that each one names."""

    task_ids: dict[str, str]

    @property
    def reason(self) -> str:
        return next(measure for measure in MEASURES if measure in self.task_ids)


@dataclass
class Nearest:
    """The remaining document that is nearest to a problem under one measure."""

    similarity: float = 0.0
    document: str | None = None


@dataclass
class Benchmark:
    """The problems, prepared for comparison, and their nearest documents so far."""

    problems: Sequence[Problem]
    ngram: int = 13
    tau: float = 1.0
    prints: list[Fingerprint] = field(init=False)
    nearest: list[dict[str, Nearest]] = field(init=False)

    def __post_init__(self) -> None:
        self.prints = [fingerprint_problem(problem) for problem in self.problems]
        self.nearest = [{measure: Nearest() for measure in MEASURES} for _ in self.problems]
        self._words = [_array(p.words)[1:-1] for p in self.prints]
        self._trees = [_array(p.functions[0]) if p.functions else _NONE for p in self.prints]
        self._runs: dict[_Chain, list[int]] = {}
        for index, problem in enumerate(self.problems):
            for run in _runs(problem.composition):
                self._runs.setdefault(run, []).append(index)

    def find_leaks(self, prints: Sequence[Fingerprint]) -> dict[int, Leak]:
        """Position -> why it goes, for the documents among `prints` that do."""
        found: dict[int, dict[str, str]] = {}
        for measure, pairs in (
            ("composition", self._same_chain(prints)),
            ("text", self._same_text(prints)),
            ("ast", self._same_tree(prints)),
        ):
            for document, problem in pairs:
                task_ids = found.setdefault(document, {})
                task_ids.setdefault(measure, self.problems[problem].task_id)
        return {document: Leak(task_ids) for document, task_ids in sorted(found.items())}

    def note_nearest(self, prints: Sequence[Fingerprint]) -> None:
        """Compares documents that stay with each problem under each measure."""
        if not prints:
            return
        for item in prints:
            for run in _runs(item.composition):
                for problem in self._runs.get(run, ()):
                    share = len(run) / len(self.problems[problem].composition)
                    self._note("composition", problem, share, item.id)
        words = [_array(item.words) for item in prints]
        shared = overlaps(words, self._words, _TEXT_GRAM, repeats=False)
        sizes = gram_counts(words, _TEXT_GRAM, repeats=False)[:, None]
        union = sizes + gram_counts(self._words, _TEXT_GRAM, repeats=False)[None] - shared
        jaccard = shared / np.maximum(union, 1)
        for problem, document in enumerate(np.argmax(jaccard, axis=0)):
            self._note("text", problem, float(jaccard[document, problem]), prints[document].id)
        trees, owners, bound = self._tree_bounds(prints)
        for problem in range(len(self.problems) if trees else 0):
            best = self.nearest[problem]["ast"]
            for tree in np.argsort(-bound[:, problem], kind="stable"):
                if bound[tree, problem] <= best.similarity:
                    break
                rate = _match_rate(trees[tree], self._trees[problem])
                self._note("ast", problem, rate, prints[owners[tree]].id)

    def _note(self, measure: str, problem: int, similarity: float, document: str) -> None:
        best = self.nearest[problem][measure]
        if similarity > best.similarity:
            best.similarity, best.document = round(similarity, 4), document

    def _same_chain(self, prints: Sequence[Fingerprint]) -> Iterator[tuple[int, int]]:
        for document, item in enumerate(prints):
            for run in _runs(item.composition):
                for problem in self._runs.get(run, ()):
                    if len(run) == len(self.problems[problem].composition):
                        yield document, problem

    def _same_text(self, prints: Sequence[Fingerprint]) -> Iterator[tuple[int, int]]:
        words = [_array(item.words) for item in prints]
        by_length: dict[int, list[int]] = {}
        wanted = []
        for problem, own in enumerate(self._words):
            if len(own) < WHOLE_WORDS:
                own = np.r_[BREAK, own, BREAK].astype(np.uint32)
            wanted.append(own)
            if len(own) > 2:
                by_length.setdefault(min(self.ngram, len(own)), []).append(problem)
        for length, problems in sorted(by_length.items()):
            shared = overlaps(words, [wanted[p] for p in problems], length, repeats=False)
            for document, column in np.argwhere(shared):
                yield int(document), problems[column]

    def _same_tree(self, prints: Sequence[Fingerprint]) -> Iterator[tuple[int, int]]:
        trees, owners, bound = self._tree_bounds(prints)
        # 1 - 1/20 need not be the same float as 0.95.
        tau = self.tau - 1e-9
        for tree, problem in np.argwhere(bound >= tau):
            if _match_rate(trees[tree], self._trees[problem]) >= tau:
                yield owners[tree], int(problem)

    def _tree_bounds(
        self, prints: Sequence[Fingerprint]
    ) -> tuple[list[np.ndarray], list[int], np.ndarray]:
        """Every function, the document it is in, and the match rate it cannot exceed."""
        trees = [_array(tree) for item in prints for tree in item.functions]
        owners = [index for index, item in enumerate(prints) for _ in item.functions]
        if not trees:
            return [], [], np.zeros((0, len(self.problems)))
        shared = overlaps(trees, self._trees, _TREE_GRAM, repeats=True)
        lengths = np.array([len(tree) for tree in trees])[:, None]
        longest = np.maximum(lengths, np.array([len(tree) for tree in self._trees])[None])
        bound = match_bound(shared, longest, _TREE_GRAM)
        # A problem whose code this Python cannot parse has no tree to compare with.
        bound[:, [not len(tree) for tree in self._trees]] = -1.0
        return trees, owners, bound


def decontaminate(
    corpora: Sequence[Path],
    benchmark: Path,
    output: Path,
    *,
    ngram: int = 13,
    tau: float = 1.0,
) -> dict[str, Any]:
    """Writes each corpus without its leaks, what was dropped, and the nearest that remain.

    OUTPUT gets one file a corpus under its own name, `dropped.jsonl.zst` (with reason and
    task_id) and `nearest.jsonl`. Every file written is read again and compared again: that no
    leak remains is checked, not assumed.

    Raises:
      UserError: two corpora of the same name, or a corpus that is nothing but leaks.
    """
    names = [corpus.name.split(".")[0] + ".jsonl.zst" for corpus in corpora]
    if repeated := [name for name, n in Counter(names).items() if n > 1]:
        raise UserError(f"--corpus: two are called {repeated[0]}; give them different names")
    problems = Benchmark(read_problems(benchmark), ngram, tau)
    counts: dict[str, Any] = {"in": {}, "out": {}}
    dropped: list[Document] = []
    for corpus, name in zip(corpora, names, strict=True):
        before = len(dropped)
        kept = write_documents(output / name, _prune(corpus, problems, dropped))
        label = name.split(".")[0]
        counts["in"][label] = kept + len(dropped) - before
        counts["out"][label] = kept
        if not kept:
            raise UserError(f"{corpus}: every document gives a benchmark problem away")
    write_documents(output / "dropped.jsonl.zst", dropped)
    remaining = _count_leaks([output / name for name in names], problems)
    if remaining:
        raise RuntimeError(f"{remaining} leaks remain after pruning")
    write_json_lines(output / "nearest.jsonl", _describe(problems, [output / n for n in names]))
    return {
        **counts,
        "dropped": dict(Counter(d.metadata["leak"]["reason"] for d in dropped).most_common()),
        "caught_by": dict(Counter(m for d in dropped for m in d.metadata["leak"]["task_ids"])),
        "leaks_remaining": remaining,
        "rules": {"ngram": ngram, "tau": tau, "whole_words": WHOLE_WORDS},
        "n_problems": len(problems.problems),
        "nearest": {
            measure: _summarise([near[measure].similarity for near in problems.nearest])
            for measure in MEASURES
        },
        "nearest_per_problem": {
            problem.task_id: {m: [n.similarity, n.document] for m, n in near.items()}
            for problem, near in zip(problems.problems, problems.nearest, strict=True)
        },
    }


def _prune(corpus: Path, problems: Benchmark, dropped: list[Document]) -> Iterator[Document]:
    for documents, prints in _chunks(corpus, f"decontaminate {corpus.name}"):
        leaks = problems.find_leaks(prints)
        for index, document in enumerate(documents):
            if (leak := leaks.get(index)) is None:
                yield document
                continue
            about = {"reason": leak.reason, "task_ids": leak.task_ids}
            metadata = {**document.metadata, "leak": about}
            dropped.append(Document(document.id, document.text, document.source, metadata))
        problems.note_nearest([item for i, item in enumerate(prints) if i not in leaks])


def _count_leaks(corpora: Iterable[Path], problems: Benchmark) -> int:
    return sum(
        len(problems.find_leaks(prints))
        for corpus in corpora
        for _, prints in _chunks(corpus, f"check {corpus.name}")
    )


def _chunks(corpus: Path, description: str) -> Iterator[tuple[list[Document], list[Fingerprint]]]:
    documents = iter(tqdm(read_documents(corpus), desc=description, unit="doc"))
    while chunk := list(islice(documents, _CHUNK)):
        yield chunk, [fingerprint_document(document) for document in chunk]


def _describe(problems: Benchmark, corpora: Iterable[Path]) -> Iterator[dict[str, Any]]:
    """One row a problem, with the text of its nearest documents, for people to read."""
    wanted = {near.document for row in problems.nearest for near in row.values()}
    texts = {d.id: d.text for corpus in corpora for d in read_documents(corpus) if d.id in wanted}
    for problem, row in zip(problems.problems, problems.nearest, strict=True):
        yield {
            "task_id": problem.task_id,
            "composition": list(problem.composition),
            "problem": problem.prompt + problem.canonical_solution,
            "nearest": {
                measure: {
                    "similarity": near.similarity,
                    "document": near.document,
                    "text": texts.get(near.document or "", "")[:4000],
                }
                for measure, near in row.items()
            },
        }


def _summarise(similarities: Sequence[float]) -> dict[str, float]:
    return {
        "mean": round(float(np.mean(similarities)), 4),
        "median": round(float(np.median(similarities)), 4),
        "max": max(similarities),
    }


def _runs(chain: _Chain) -> set[_Chain]:
    """Every contiguous run of a chain, itself included."""
    n = len(chain)
    return {chain[i:j] for i in range(n) for j in range(i + 1, n + 1)}


def _match_rate(a: np.ndarray, b: np.ndarray) -> float:
    longest = max(len(a), len(b))
    return 1 - edit_distance(a.tolist(), b.tolist()) / longest if longest else 0.0


def _array(tokens: Any) -> np.ndarray:
    return np.frombuffer(tokens, np.uint32) if len(tokens) else _NONE


_NONE = np.empty(0, np.uint32)
