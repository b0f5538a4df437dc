"""A window of steps under JAX's profiler, for TensorBoard's or XProf's trace viewer."""

from pathlib import Path
from typing import Any

import jax
from absl import logging


class Profile:
    """Records steps `first` to `first + n_steps - 1` of a run below RUN/tensorboard."""

    def __init__(self, run: Path, first: int | None, n_steps: int, taken: int, steps: int) -> None:
        """Args:
        first: the first step recorded, 1 for a run's first; None: the tenth from now on, or
          earlier if the run ends before the window does. The first one from now on compiles.
        n_steps: 0 records nothing.
        taken: steps that the run has behind it.
        steps: at which the run ends.
        """
        self._folder = run / "tensorboard"
        self._first = first or max(taken + 1, min(taken + 10, steps - n_steps + 1))
        self._n_steps = n_steps
        self._running = False
        if n_steps and not taken < self._first <= steps:
            logging.warning(
                "no profile is recorded: --profile_start=%d is not ahead of step %d, from which"
                " the run goes on to %d; leave it out for the tenth step from there",
                self._first,
                taken,
                steps,
            )

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
