"""Which source comes when: every source spread as evenly as its share allows."""

from collections.abc import Sequence

import numpy as np

from phi1_jax.config import SourceConfig
from phi1_jax.errors import UserError


def mixed(weights: Sequence[float], first: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Examples `first` to `first + n - 1` of the endless mixture, without those before.

    Example j of a source whose share is p stands at time (j + 1/2) / p; the mixture is all examples
    in order of time. So after any number of examples each of two sources has had its share of them
    to within one, and no example is left out or comes twice. (Grain's mix rounds the weights.)

    Returns:
      int64[n] number of the source, and int64[n] place in its own stream.
    """
    if len(weights) == 1:
        return np.zeros(n, np.int64), np.arange(first, first + n)
    shares = np.asarray(weights, np.float64) / np.sum(weights)
    # Up to time t there are t examples, give or take half a one of each source.
    margin = 2 * len(shares) + 2

    def count(time: float) -> np.ndarray:
        return np.maximum(0, np.ceil(time * shares - 0.5)).astype(np.int64)

    begin, end = count(first - margin), count(first + n + margin)
    source = np.repeat(np.arange(len(shares)), end - begin)
    place = np.concatenate([np.arange(b, e) for b, e in zip(begin, end, strict=True)])
    order = np.lexsort((source, (place + 0.5) / shares[source]))
    order = order[first - begin.sum() :][:n]
    return source[order], place[order]


def mixture_weights(
    sources: Sequence[SourceConfig],
    n_rows: Sequence[int],
    total_rows: int | None,
    read: Sequence[int],
) -> list[float]:
    """What each source weighs; `epochs` are turned into the share of the run that they fill.

    Args:
      n_rows: that each source has.
      total_rows: that are still to be read.
      read: rows of each source that were read before.
    Raises:
      UserError: more epochs than the run has room for, or less than it needs.
    """
    if not any(source.epochs for source in sources):
        return [source.weight for source in sources]
    if total_rows is None:
        raise UserError("config field data.sources: epochs need the number of steps")
    asked = [
        max(0.0, source.epochs * n - before) if source.epochs else 0.0
        for source, n, before in zip(sources, n_rows, read, strict=True)
    ]
    free = [0.0 if source.epochs else source.weight for source in sources]
    left = total_rows - sum(asked)
    # A row of each source may be left over, and a batch is whole.
    if left < -len(sources) or (not any(free) and abs(left) > 0.01 * total_rows):
        raise UserError(
            f"config field data.sources: their epochs make {sum(asked):,.0f}"
            f"{' more' if any(read) else ''} rows, and the run reads {total_rows:,} (steps x"
            " data.global_batch_size); change steps or epochs"
            + (", or give one source a weight in place of epochs" if left > 0 else "")
        )
    if not any(free):
        return asked
    rest = max(left, 0.0) / sum(free)
    return [a + rest * f for a, f in zip(asked, free, strict=True)]
