"""pass@k: the unbiased estimator of Chen et al. 2021 (arXiv 2107.03374), and its interval."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from phi1_jax.sandbox import Verdict


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
    values: Sequence[float], sizes: Sequence[float] | None = None, resamples: int = 10_000
) -> tuple[float, float]:
    """The central 95% of sum(values) / sum(sizes) when the problems are drawn anew.

    Args:
      values: one estimate for each problem.
      sizes: what a problem counts for; None counts each as 1, so the ratio is the mean.
    """
    pairs = np.asarray([values, [1.0] * len(values) if sizes is None else sizes], np.float64)
    generator = np.random.default_rng(0)
    ratios = []
    for count in np.diff(np.linspace(0, resamples, 11).astype(int)):
        drawn = generator.integers(0, pairs.shape[1], (count, pairs.shape[1]))
        sums = pairs[:, drawn].sum(axis=2)  # of values and of sizes, for each resample
        ratios.append(sums[0] / sums[1])
    low, high = np.quantile(np.concatenate(ratios), [0.025, 0.975])
    return float(low), float(high)


def alike_interval(value: float, n: int, least: float = 0.0) -> tuple[float, float]:
    """95% bounds of a share that is the same on all n problems: the binomial's.

    There every resample is alike too, and the bootstrap finds no width; but what 0 of 164 show may
    be 2.2 %.

    Args:
      least: what the value can be: 0, or -1 of a difference.
    """
    unseen = 1 - 0.025 ** (1 / n)
    return max(least, value - unseen), min(1.0, value + unseen)


def share_interval(values: Sequence[float], least: float = 0.0) -> tuple[float, float]:
    """95% bounds of the mean of shares, one of each problem: bootstrap, or `alike_interval`."""
    low, high = bootstrap_interval(values)
    return (low, high) if low < high else alike_interval(low, len(values), least)


def score(verdicts: Iterable[Sequence[str]], ks: Sequence[int]) -> dict[str, Any]:
    """pass@k with its 95% interval, and in words why one of `ks` cannot be estimated.

    Args:
      verdicts: for each task the verdicts of its samples; INFRA ones do not count.
    Returns:
      n_tasks; n_scored, those with an executed sample; n_infra, samples with the verdict INFRA;
      pass_at_k, k -> value, low, high, and infra_as_failure: the value if those that were not
      executed failed; not_estimated, k -> reason.
    """
    groups = [list(group) for group in verdicts]
    executed = [[v for v in group if v != Verdict.INFRA] for group in groups]
    executed = [group for group in executed if group]
    drawn, least = (min(map(len, each), default=0) for each in (groups, executed))
    found, reasons = {}, {}
    for k in ks:
        if k > drawn:
            reasons[str(k)] = f"needs {k} samples of each problem, and there is one with {drawn}"
            continue
        bound = sum(_values(groups, k)) / len(groups)
        if k > least:
            reasons[str(k)] = (
                f"too few samples of a problem were executed: {least}; "
                f"it is {bound:.4f} with those not executed as failures"
            )
            continue
        values = _values(executed, k)
        low, high = share_interval(values)
        value = sum(values) / len(values)
        found[str(k)] = {"value": value, "low": low, "high": high, "infra_as_failure": bound}
    return {
        "n_tasks": len(groups),
        "n_scored": len(executed),
        "n_infra": sum(group.count(Verdict.INFRA) for group in groups),
        "pass_at_k": found,
        "not_estimated": reasons,
    }


def _values(groups: Sequence[Sequence[str]], k: int) -> list[float]:
    """pass@k of each task; all but a pass counts as a failure."""
    return [pass_at_k(len(group), list(group).count(Verdict.PASS), k) for group in groups]
