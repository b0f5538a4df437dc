"""Skips a step that would do harm: one without finite gradient, or a spike.

A step is a spike if its gradient norm is above `gradient_norm_factor` times the median of the last
`window` kept steps, or its loss is more than `loss_rise` nats above theirs; until so many steps
were kept, none is. A skipped step leaves parameters, optimizer and medians as they were. All of
this happens inside the compiled step, and what it remembers is part of the training state, so that
a resumed run decides bit for bit alike and the host never waits. [ours; the paper does not say]
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from absl import logging

from phi1_jax.config import SkipStepConfig
from phi1_jax.errors import AllProcessesError
from phi1_jax.files import write_json
from phi1_jax.tokens.loader import Loader

STOPPED = "stopped.json"
_SHOWN = 5  # document ids in the message; the file has them all


class SkipState(NamedTuple):
    """What is remembered of the steps so far."""

    gradient_norms: Any  # float32[window], of the last kept steps; a ring
    losses: Any  # float32[window]
    kept: Any  # int32[], steps since the run began
    skipped: Any  # int32[]
    skipped_in_a_row: Any  # int32[], up to the last step


def new_skip_state(config: SkipStepConfig) -> SkipState:
    empty, zero = jnp.zeros(config.window, jnp.float32), jnp.zeros((), jnp.int32)
    return SkipState(empty, empty, zero, zero, zero)


def decide(
    config: SkipStepConfig, state: SkipState, loss: jax.Array, gradient_norm: jax.Array
) -> tuple[jax.Array, SkipState]:
    """Whether to keep a step (bool[]), and what to remember after it."""
    keep = jnp.isfinite(gradient_norm) & jnp.isfinite(loss)
    known = state.kept >= config.window
    if config.gradient_norm_factor:
        limit = config.gradient_norm_factor * jnp.median(state.gradient_norms)
        keep &= ~(known & (gradient_norm > limit))
    if config.loss_rise:
        keep &= ~(known & (loss > jnp.median(state.losses) + config.loss_rise))
    place = state.kept % config.window
    remembered = state._replace(
        gradient_norms=state.gradient_norms.at[place].set(gradient_norm),
        losses=state.losses.at[place].set(loss),
        kept=state.kept + 1,
        skipped_in_a_row=jnp.zeros_like(state.skipped_in_a_row),
    )
    skipped = state._replace(skipped=state.skipped + 1, skipped_in_a_row=state.skipped_in_a_row + 1)
    return keep, jax.tree.map(lambda a, b: jnp.where(keep, a, b), remembered, skipped)


def report_skipped(
    metrics: Sequence[Mapping[str, Any]], step: int, most: int, loader: Loader, run_dir: Path
) -> None:
    """Warns of the skipped steps among the last ones, and stops a run that skips only.

    Args:
      metrics: of each step since the last report, read from the device; the last is of `step`.
      most: skipped steps in a row that stop the run.
    Raises:
      AllProcessesError: there were so many; names the documents of their batches, and
        RUN/stopped.json, which has all of them.
    """
    numbered = list(enumerate(metrics, start=step - len(metrics) + 1))
    for number, values in numbered:
        if values["skipped"]:
            logging.warning("step %d skipped: %s", number, _words(values))
    end = next((n for n, values in numbered if values["skipped_in_a_row"] >= most), None)
    if end is None:
        return
    shown = ""
    if jax.process_index() == 0:  # the others need not read a large index too
        skipped = range(end - most + 1, end + 1)
        found = loader.documents([n - 1 for n in skipped])
        documents = dict(zip(skipped, found, strict=True))
        write_json(run_dir / STOPPED, {"step": end, "documents": documents})
        last = [f"{source}: {', '.join(ids[:_SHOWN])}" for source, ids in found[-1].items()]
        shown = f" {'; '.join(last)}"
    raise AllProcessesError(
        f"{most} steps in a row up to step {end} were skipped and changed nothing; the last had"
        f" {_words(dict(numbered)[end])}, in documents{shown} (all of them in {run_dir / STOPPED})."
        " Look at these; or lower optimizer.peak_learning_rate, or, if the steps were good, raise"
        " state.gradient_norm_factor and state.loss_rise, with"
        " --allow_change=optimizer.peak_learning_rate or --allow_change=skip_step"
    )


def _words(values: Mapping[str, Any]) -> str:
    return f"loss {float(values['loss']):.4g}, gradient norm {float(values['gradient_norm']):.4g}"
