"""How near the documents are to the problems of a benchmark, and which of them give one away.

A document goes if, for some problem,

- composition: its chain of primitives contains the problem's as a contiguous run;
- text: its comments, strings and prose share a run of `ngram` words with the problem's docstring
  (its examples set aside), or contain the whole of a shorter one (one below `WHOLE_WORDS` words
  only counts as a whole comment or string);
- ast: one of its functions matches the problem's at a rate (1 - edit distance / length) of at
  least tau, over syntax trees with local names normalised, with statements as written or sorted;
- embedding: its embedding is no farther than `max_distance` from the problem's (L2, both of
  length 1).

The paper's section 5 has the last three.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from phi1_jax.corpus.documents import Document
from phi1_jax.corpus.fingerprints import (
    BREAK,
    Fingerprint,
    fingerprint_document,
    fingerprint_problem,
)
from phi1_jax.corpus.problems import Problem
from phi1_jax.corpus.similarity import gram_counts, match_rates, overlaps
from phi1_jax.errors import UserError

MEASURES = ("composition", "text", "ast", "embedding")
WHOLE_WORDS = 5
# Words in a gram when texts are compared for the report.
_TEXT_GRAM = 3
# float32 rates such as 19/20 must reach a tau of 0.95; rates that differ do so by more.
ROUNDING = 1e-6
_Chain = tuple[str, ...]
_NO_TREE = array("I")


@dataclass(frozen=True)
class Rules:
    """What gives a problem away.

    Attributes:
      ngram: words in a run.
      taus: match rates of syntax trees, highest first; a document may go at one and not at a
        higher one. What goes by another measure goes at each.
      max_distance: L2 distance of embeddings; None: embeddings are reported and drop nothing. The
        paper fixes one and does not say which.
    Raises:
      UserError: a field out of range.
    """

    ngram: int = 13
    taus: tuple[float, ...] = (1.0,)
    max_distance: float | None = None

    def __post_init__(self) -> None:
        if self.ngram < 2:
            raise UserError(f"ngram={self.ngram}: give at least 2 words")
        if not self.taus or not all(0 < tau <= 1 for tau in self.taus):
            raise UserError(f"tau={list(self.taus)}: give match rates above 0 and up to 1")
        if list(self.taus) != sorted(set(self.taus), reverse=True):
            raise UserError(f"tau={list(self.taus)}: give each rate once, the highest first")
        if self.max_distance is not None and not 0 <= self.max_distance <= 2:
            raise UserError(f"max_distance={self.max_distance}: give an L2 distance from 0 to 2")

    @property
    def min_cosine(self) -> float:
        """What `max_distance` says: |a - b|^2 = 2 - 2ab, for vectors of length 1."""
        return 2.0 if self.max_distance is None else 1 - self.max_distance**2 / 2 - ROUNDING


@dataclass(frozen=True)
class Leak:
    """Why a document goes.

    Attributes:
      level: the first of the taus, by position, at which it goes.
      reason: the first measure that catches it there.
      task_ids: each measure that catches it at the lowest tau, and a problem that it names.
      match_rate: the highest of its functions with any problem.
    """

    level: int
    reason: str
    task_ids: dict[str, str]
    match_rate: float


@dataclass(frozen=True)
class Findings:
    """What a comparison finds in a chunk of documents.

    Attributes:
      leaks: row -> why it goes.
      nearest: float32[1 + taus, measures, problems], the highest similarity; of all documents,
        then of those that stay at each tau. -1 where none is left.
      rows: int64 of the same shape, the document that has it.
    """

    leaks: dict[int, Leak]
    nearest: np.ndarray
    rows: np.ndarray


class Comparison:
    """The problems, prepared for comparison."""

    def __init__(
        self, problems: Sequence[Problem], rules: Rules, embeddings: np.ndarray | None = None
    ) -> None:
        """Takes float32[problems, d] of length 1, where documents come with theirs."""
        self.problems = problems
        self.rules = rules
        self.measures = MEASURES if embeddings is not None else MEASURES[:3]
        self._embeddings = embeddings
        prints = [fingerprint_problem(problem) for problem in problems]
        self._words = [np.frombuffer(p.words, np.uint32) for p in prints]
        self._wanted = [
            _wanted(words, rules.ngram * p.per_word, WHOLE_WORDS * p.per_word)
            for words, p in zip(self._words, prints, strict=True)
        ]
        self._trees = [p.functions[0] if p.functions else (_NO_TREE,) * 2 for p in prints]
        self._runs: dict[_Chain, list[int]] = {}
        for index, problem in enumerate(problems):
            for run in _runs(problem.composition):
                self._runs.setdefault(run, []).append(index)

    def compare(
        self, documents: Sequence[Document], embeddings: np.ndarray | None = None
    ) -> Findings:
        """Compares documents (and float32[documents, d]) with every problem under each measure."""
        prints = [fingerprint_document(document) for document in documents]
        words = [np.frombuffer(item.words, np.uint32) for item in prints]
        similarity = np.zeros((len(self.measures), len(prints), len(self.problems)), np.float32)
        similarity[0] = self._composition(prints)
        similarity[1] = self._text(words)
        similarity[2] = self._ast(prints)
        if self._embeddings is not None and embeddings is not None:
            similarity[3] = embeddings @ self._embeddings.T
        caught = np.zeros(similarity.shape, bool)
        caught[0] = similarity[0] == 1
        caught[1] = self._shared_text(words)
        caught[2] = similarity[2] >= self.rules.taus[-1] - ROUNDING
        if len(caught) > 3:
            caught[3] = similarity[3] >= self.rules.min_cosine
        leaks = {
            int(row): self._leak(caught[:, row], similarity[:, row])
            for row in np.flatnonzero(caught.any((0, 2)))
        }
        return Findings(leaks, *self._nearest(similarity, leaks))

    def _leak(self, caught: np.ndarray, similarity: np.ndarray) -> Leak:
        rate = float(similarity[2].max())
        by = [measure for measure, row in zip(self.measures, caught, strict=True) if row.any()]
        level = 0
        if by == ["ast"]:
            level = next(i for i, tau in enumerate(self.rules.taus) if rate >= tau - ROUNDING)
        first = [m for m in by if m != "ast" or rate >= self.rules.taus[level] - ROUNDING]
        task_ids = {}
        for measure in by:
            row = MEASURES.index(measure)
            # The nearest of the problems that it gives away.
            problem = int(np.argmax(np.where(caught[row], similarity[row], -1)))
            task_ids[measure] = self.problems[problem].task_id
        return Leak(level, first[0], task_ids, round(rate, 4))

    def _nearest(
        self, similarity: np.ndarray, leaks: dict[int, Leak]
    ) -> tuple[np.ndarray, np.ndarray]:
        goes_at = np.full(similarity.shape[1], len(self.rules.taus))
        goes_at[list(leaks)] = [leak.level for leak in leaks.values()]
        best, rows = [], []
        for level in (-1, *range(len(self.rules.taus))):
            left = np.where((goes_at > level)[None, :, None], similarity, np.float32(-1))
            rows.append(left.argmax(1))
            best.append(left.max(1))
        return np.stack(best), np.stack(rows)

    def _composition(self, prints: Sequence[Fingerprint]) -> np.ndarray:
        """The longest run of the problem's chain within the document's, as a share of it."""
        share = np.zeros((len(prints), len(self.problems)), np.float32)
        for row, item in enumerate(prints):
            for run in _runs(item.composition):
                for problem in self._runs.get(run, ()):
                    new = len(run) / len(self.problems[problem].composition)
                    share[row, problem] = max(share[row, problem], new)
        return share

    def _text(self, words: Sequence[np.ndarray]) -> np.ndarray:
        """float32[documents, problems], the Jaccard index of runs of three words."""
        shared = overlaps(words, self._words, _TEXT_GRAM)
        sizes = gram_counts(words, _TEXT_GRAM)[:, None]
        union = sizes + gram_counts(self._words, _TEXT_GRAM)[None] - shared
        return shared / np.maximum(union, 1)

    def _shared_text(self, texts: Sequence[np.ndarray]) -> np.ndarray:
        """bool[documents, problems]; see `_wanted`."""
        # A run may go on in the next comment or string: a docstring line by line, say.
        joined = [text[text != BREAK] for text in texts]
        by_length: dict[tuple[bool, int], list[int]] = {}
        for problem, (words, length) in enumerate(self._wanted):
            if length:
                by_length.setdefault((bool(words[0] == BREAK), length), []).append(problem)
        found = np.zeros((len(texts), len(self.problems)), bool)
        for (whole, length), problems in sorted(by_length.items()):
            own = [self._wanted[problem][0] for problem in problems]
            shared = overlaps(texts if whole else joined, own, length)
            found[:, problems] = shared > 0
        return found

    def _ast(self, prints: Sequence[Fingerprint]) -> np.ndarray:
        """The best match rate of any function, with statements as written or sorted."""
        best = np.zeros((len(prints), len(self.problems)), np.float32)
        counts = np.array([len(item.functions) for item in prints])
        if not counts.any():
            return best
        rates = np.zeros((counts.sum(), len(self.problems)), np.float32)
        for version in (0, 1):
            trees = [trees[version] for item in prints for trees in item.functions]
            own = [trees[version] for trees in self._trees]
            np.maximum(rates, match_rates(trees, own), out=rates)
        starts = np.cumsum(counts) - counts
        best[counts > 0] = np.maximum.reduceat(rates, starts[counts > 0], axis=0)
        return best


def _wanted(words: np.ndarray, ngram: int, whole: int) -> tuple[np.ndarray, int]:
    """What of a problem's words a document must share a run of, and the length of the run.

    The parts between examples, if one has `ngram` words; else the longest part, whole; and if that
    is shorter than `whole`, only as a text of its own. 0 where there are no words.
    """
    parts = np.split(words, np.flatnonzero(words == BREAK))
    longest = max((part[part != BREAK] for part in parts), key=len)
    if len(longest) >= ngram:
        return words[1:-1], ngram
    if len(longest) >= whole:
        return longest, len(longest)
    return np.r_[BREAK, longest, BREAK].astype(np.uint32), len(longest) + 2 if len(longest) else 0


def _runs(chain: _Chain) -> set[_Chain]:
    """Every contiguous run of a chain, itself included."""
    n = len(chain)
    return {chain[i:j] for i in range(n) for j in range(i + 1, n + 1)}
