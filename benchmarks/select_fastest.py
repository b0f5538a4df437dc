"""Which of the baseline's ways takes part in the final: each runs on its own, the fastest stays."""

from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any

import numpy as np

from benchmarks import baseline
from benchmarks.report import Row
from benchmarks.timing import take_turns
from phi1_jax.config import ModelConfig
from phi1_jax.model.phi import compute_dtype

Call = Callable[[], Any]


def select_fastest(
    case: str,
    ways: Iterable[tuple[str, Callable[[], Call]]],
    check: Callable[[str, Any], Mapping[str, Any]],
    calls: int = 1,
) -> Generator[Row, None, tuple[dict[str, Call], Mapping[str, Any]]]:
    """Yields a row for each way, also for one that does not run here or has no room.

    Args:
      ways: names, and functions that build what is called.
      check: of a name and the first call's result; the values of its row.
      calls: timed ones.
    Returns:
      The fastest by its name (empty if none runs), and its values.
    """
    best = float("inf")
    fastest: dict[str, Call] = {}
    kept: Mapping[str, Any] = {}
    for name, make in ways:
        candidate = None
        try:
            candidate = make()
            values = check(name, candidate())
            timed = take_turns({name: candidate}, calls, block=calls, warm=False)
            seconds = timed[name].median_s
        except RuntimeError as error:
            yield Row(case, name, None, values={"why": str(error).split(".")[0][:80]})
        else:
            yield Row(case, f"{name} (screening)", seconds, calls=calls, values=values)
            if seconds < best:
                best, fastest, kept = seconds, {name: candidate}, values
        del candidate
        baseline.free()
    return fastest, kept


def same_tokens(
    config: ModelConfig, want: np.ndarray
) -> Callable[[str, np.ndarray], dict[str, float]]:
    """Compares what a baseline generated with ours; in half precision near ties fall either way.

    Raises, when called:
      AssertionError: in float32, one token is another.
    """

    def check(name: str, found: np.ndarray) -> dict[str, float]:
        same = float((found == want).mean())
        if same < 1 and compute_dtype(config) == np.float32:
            raise AssertionError(f"{name}: only {same:.4f} of its tokens are ours")
        return {"same_tokens": same}

    return check
