"""Overlaps of many sequences with a few, and their edit distances."""

from array import array
from collections.abc import Sequence

import numpy as np
from scipy import sparse

_MIX = np.uint64(0x9E3779B97F4A7C15)


def overlaps(many: Sequence[np.ndarray], few: Sequence[np.ndarray], n: int) -> np.ndarray:
    """How many distinct n-grams each of `many` shares with each of `few`.

    Args:
      many: sequences of uint32 tokens.
      few: the same, to compare each of them with.
      n: tokens in a gram.
    Returns:
      int32[len(many), len(few)].
    """
    of_few, of_many = _grams(few, n), _grams(many, n)
    # What occurs in none of the few, nearly all of it, is left out before anything is sorted.
    vocabulary = np.unique(of_few[1])
    row_few, gram_few = _distinct(*of_few)
    known = _place(of_many[1], vocabulary)[1]
    row_many, gram_many = _distinct(of_many[0][known], of_many[1][known])
    vocabulary, column_few = np.unique(gram_few, return_inverse=True)
    column_many, known = _place(gram_many, vocabulary)

    def matrix(rows: np.ndarray, columns: np.ndarray, n_rows: int) -> sparse.csr_array:
        ones = np.ones(len(rows), np.int32)
        return sparse.csr_array((ones, (rows, columns)), shape=(n_rows, len(vocabulary)))

    left = matrix(row_many[known], column_many[known], len(many))
    right = matrix(row_few, column_few, len(few))
    return (left @ right.T).toarray().astype(np.int32)


def gram_counts(sequences: Sequence[np.ndarray], n: int) -> np.ndarray:
    """The number of distinct n-grams of each sequence: int64[len(sequences)]."""
    rows, _ = _distinct(*_grams(sequences, n))
    return np.bincount(rows, minlength=len(sequences))


def match_rates(many: Sequence[array], few: Sequence[array]) -> np.ndarray:
    """1 - edit distance / length of the longer, of every pair; 0 where one is empty.

    Every pair is computed: bit-parallel, in C++, 10,000 trees against 164 take 0.3 s.

    Args:
      many: sequences of uint32 tokens.
      few: the same, to compare each of them with.
    Returns:
      float32[len(many), len(few)].
    """
    from rapidfuzz.distance import Levenshtein  # here, since most users of this file need none
    from rapidfuzz.process import cdist

    if not many or not few:
        return np.zeros((len(many), len(few)), np.float32)
    rates = cdist(many, few, scorer=Levenshtein.normalized_similarity, dtype=np.float32)
    rates[[not len(tokens) for tokens in many]] = 0
    rates[:, [not len(tokens) for tokens in few]] = 0
    return rates


def _grams(sequences: Sequence[np.ndarray], n: int) -> tuple[np.ndarray, np.ndarray]:
    """(row, hashed gram) pairs: int64 and uint64."""
    lengths = np.array([len(sequence) for sequence in sequences], np.int64)
    if lengths.sum() < n:
        return np.empty(0, np.int64), np.empty(0, np.uint64)
    tokens = np.concatenate([np.asarray(s, np.uint32) for s in sequences]).astype(np.uint64)
    rows = np.repeat(np.arange(len(sequences)), lengths)
    size = len(tokens) - n + 1
    grams = np.zeros(size, np.uint64)
    for offset in range(n):
        grams = (grams ^ tokens[offset : offset + size]) * _MIX
        grams ^= grams >> np.uint64(29)
    whole = rows[:size] == rows[n - 1 :]
    return rows[:size][whole], grams[whole]


def _distinct(rows: np.ndarray, grams: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each gram of a row once."""
    order = np.lexsort((grams, rows))
    rows, grams = rows[order], grams[order]
    fresh = np.r_[True, (rows[1:] != rows[:-1]) | (grams[1:] != grams[:-1])][: len(rows)]
    return rows[fresh], grams[fresh]


def _place(grams: np.ndarray, vocabulary: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each gram stands in a sorted vocabulary, and whether it is there at all."""
    places = np.searchsorted(vocabulary, grams)
    places[places == len(vocabulary)] = 0
    if not len(vocabulary):
        return places, np.zeros(len(grams), bool)
    return places, vocabulary[places] == grams
