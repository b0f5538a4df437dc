"""From the loader to the devices, one batch ahead of the step that runs."""

from collections.abc import Iterator

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding

from phi1_jax.train.step import MICRO_BATCHES, Batch


def on_device(
    batches: Iterator[dict[str, np.ndarray]], mesh: Mesh, micro_batches: int
) -> Iterator[tuple[Batch, dict[str, np.ndarray]]]:
    """Each batch on the devices, cut into micro-batches, and as the loader gave it."""
    sharding = NamedSharding(mesh, MICRO_BATCHES)

    def placed(batch: dict[str, np.ndarray]) -> tuple[Batch, dict[str, np.ndarray]]:
        parts = (batch[k].reshape(micro_batches, -1, batch[k].shape[1]) for k in ("tokens", "loss"))
        return Batch(*(place(part, sharding) for part in parts)), batch

    ahead = placed(next(batches))
    for batch in batches:
        ready, ahead = ahead, placed(batch)
        yield ready


def place(array: np.ndarray, sharding: NamedSharding) -> jax.Array:
    """Puts an array that every process holds whole where the sharding says."""
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])
