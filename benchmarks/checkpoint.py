"""Saving a training state: how long training waits, and how long until it is safe on disk."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import jax

from benchmarks.report import OURS, Options, Row, compare
from benchmarks.timing import Timing
from phi1_jax.config import RunConfig
from phi1_jax.model.sharding import make_mesh
from phi1_jax.run.checkpoint import Checkpointer
from phi1_jax.train.step import make_trainer


def measure(config: RunConfig, options: Options) -> Iterator[Row]:
    """Saves weights and optimizer of `config` several times, each after the last is committed."""
    state = make_trainer(config, make_mesh(config.mesh)).init()
    jax.block_until_ready(state)
    n_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    blocked, total = [], []
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(Checkpointer(Path(folder), config.checkpoint)) as checkpointer,
    ):
        for step in range(1 + max(3, options.calls // 4)):
            start = time.perf_counter()
            checkpointer.save(step, state.params, (state.step, state.optimizer), {"step": step})
            blocked.append(time.perf_counter() - start)
            checkpointer.wait()
            total.append(time.perf_counter() - start)
    for case, times in (("training waits", blocked), ("on disk and committed", total)):
        timing = Timing(times[0], tuple(times[1:]))
        values = {"bytes": n_bytes, "bytes_per_s": n_bytes / timing.median_s}
        yield from compare(case, {OURS: timing}, {OURS: values})
