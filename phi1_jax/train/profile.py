"""A window of steps under JAX's profiler, for TensorBoard's or XProf's trace viewer."""

from pathlib import Path
from typing import Any

import jax
from absl import logging


class Profile:
    """Records steps `first` to `first + n_steps - 1` of a run below RUN/tensorboard."""

    def __init__(self, run: Path, first: int, n_steps: int) -> None:
        """Args:
        first: the first step recorded, 1 for a run's first; the first one compiles.
        n_steps: 0 records nothing.
        """
        self._folder = run / "tensorboard"
        self._first, self._n_steps = first, n_steps
        self._running = False

    def before(self, step: int, state: Any) -> None:
        """Call it before step `step` (from 1) with the state that goes into it."""
        if self._n_steps and step == self._first:
            jax.block_until_ready(state)
            try:
                jax.profiler.start_trace(self._folder)
                self._running = True
            except Exception as error:  # a profile that fails must not cost the run
                logging.warning("no profile is recorded, training goes on: %s", error)
        elif self._running and step >= self._first + self._n_steps:
            jax.block_until_ready(state)
            self.close()

    def close(self) -> None:
        """Writes what was recorded, if it is not written yet."""
        if not self._running:
            return
        self._running = False
        try:
            jax.profiler.stop_trace()
        except Exception as error:
            logging.warning("the profile is not written, training goes on: %s", error)
