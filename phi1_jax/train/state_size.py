"""How much memory a run's state takes, known before anything is allocated."""

import math
from pathlib import Path
from typing import Any

import jax

from phi1_jax.errors import UserError
from phi1_jax.train.step import Trainer

_MEMINFO = Path("/proc/meminfo")


def state_bytes(trainer: Trainer) -> tuple[int, int]:
    """Parameters and optimizer state on each device of the mesh, as they are sharded."""
    state = jax.eval_shape(trainer.init)

    def held(shapes: Any) -> int:
        leaves = jax.tree.leaves(shapes)
        return sum(math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize for x in leaves)

    return held(state.params), held(state.optimizer)


def require_memory(trainer: Trainer) -> None:
    """Refuses what cannot fit: parameters, optimizer and gradients, without any activation.

    Without this the CPU's kernel kills the run and says nothing.

    Raises:
      UserError: a device has less memory than that, or the CPU has less of it free.
    """
    params, optimizer = state_bytes(trainer)
    needed, available = 2 * params + optimizer, _available_bytes()
    if available is not None and needed > available:
        raise UserError(
            f"parameters, optimizer and gradients take {needed / 1e9:.1f} GB on each device, and"
            f" {available / 1e9:.1f} GB are there: take a smaller config, or more devices with"
            " config field mesh.fsdp; launch/plan.py shows what fits"
        )


def _available_bytes() -> int | None:
    """Of one local device; None where this machine does not tell."""
    device = jax.local_devices()[0]
    if device.platform != "cpu":
        return (device.memory_stats() or {}).get("bytes_limit")
    if not _MEMINFO.exists():
        return None
    lines = (line.split() for line in _MEMINFO.read_text(encoding="ascii").splitlines())
    free_kib = next(int(line[1]) for line in lines if line[0] == "MemAvailable:")
    return free_kib * 1024 // jax.local_device_count()
