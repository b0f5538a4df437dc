"""pass@k: the unbiased estimator of Chen et al. 2021 (arXiv 2107.03374), and its interval."""

from collections.abc import Sequence

import numpy as np


def pass_at_k(n: int, c: int, k: int) -> float:
    """The chance that k of n samples, drawn without replacement, hold one of the c right ones.

    Raises:
      ValueError: not 0 <= c <= n, or not 1 <= k <= n.
    """
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(f"pass@k of n={n}, c={c}, k={k}: needs 0 <= c <= n and 1 <= k <= n")
    if n - c < k:
        return 1.0
    # 1 - C(n-c, k) / C(n, k), as a product that neither overflows nor cancels.
    return float(1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1)))


def bootstrap_interval(
    values: Sequence[float], resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """The central 95% of the mean when the problems are drawn anew.

    Args:
      values: one estimate for each problem.
    """
    array = np.asarray(values, dtype=np.float64)
    generator = np.random.default_rng(seed)
    means = [
        array[generator.integers(0, len(array), (count, len(array)))].mean(axis=1)
        for count in np.diff(np.linspace(0, resamples, 11).astype(int))
    ]
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return float(low), float(high)
