"""Distances and shared n-grams beside their plain definitions."""

import random
from array import array

import pytest

from phi1_jax.corpus.similarity import gram_counts, match_rates, overlaps


def plain_distance(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (x != y))
    return row[-1]


@pytest.mark.slow
def test_match_rates_are_those_of_the_plain_table():
    rng = random.Random(0)
    many, few = [], []
    for _ in range(30):
        few.append([rng.randrange(4) for _ in range(rng.randrange(90))])
        many.append(list(few[-1]))
        for _ in range(rng.randrange(30)):
            many[-1].insert(rng.randrange(len(many[-1]) + 1), 2**31 + rng.randrange(4))
            many[-1].pop(rng.randrange(len(many[-1])))
    few[7] = []
    rates = match_rates([array("I", a) for a in many], [array("I", b) for b in few])
    for a, row in zip(many, rates, strict=True):
        for b, rate in zip(few, row, strict=True):
            expected = 1 - plain_distance(a, b) / max(len(a), len(b)) if a and b else 0
            assert rate == pytest.approx(expected, abs=1e-6)
    assert match_rates([], [array("I", [1])]).shape == (0, 1)


def test_overlaps_count_distinct_shared_grams():
    many = [array("I", s) for s in ([1, 2, 3, 1, 2], [9], [], [2, 1, 2, 1, 2])]
    few = [array("I", s) for s in ([1, 2, 1, 2], [3], [])]
    assert overlaps(many, few, 2).tolist() == [[1, 0, 0], [0] * 3, [0] * 3, [2, 0, 0]]
    assert gram_counts(many, 2).tolist() == [3, 0, 0, 2]
