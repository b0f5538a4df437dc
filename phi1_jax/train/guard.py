"""Drops a step that would do harm: one without finite gradient, or a spike.

A step is a spike if its gradient norm is above `gradient_norm_factor` times the median of the last
`window` kept steps, or its loss is more than `loss_rise` nats above theirs; until so many steps
were kept, none is. A dropped step leaves parameters, optimizer and medians as they were. All of
this happens inside the compiled step, and what it remembers is part of the training state, so that
a resumed run decides bit for bit alike and the host never waits. [ours; the paper names no guard]
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from absl import logging

from phi1_jax.config import GuardConfig
from phi1_jax.errors import AllProcessesError
from phi1_jax.files import write_json
from phi1_jax.tokens.loader import Loader

STOPPED = "stopped.json"
_SHOWN = 5  # document ids in the message; the file has them all


class Guard(NamedTuple):
    """What is remembered of the steps so far."""

    gradient_norms: Any  # float32[window], of the last kept steps; a ring
    losses: Any  # float32[window]
    kept: Any  # int32[], steps since the run began
    skipped: Any  # int32[]
    skipped_in_a_row: Any  # int32[], up to the last step


def new_guard(config: GuardConfig) -> Guard:
    zero = jnp.zeros((), jnp.int32)
    return Guard(jnp.zeros(config.window), jnp.zeros(config.window), zero, zero, zero)


def judge(
    config: GuardConfig, guard: Guard, loss: jax.Array, gradient_norm: jax.Array
) -> tuple[jax.Array, Guard]:
    """Whether to keep a step (bool[]), and what to remember after it."""
    keep = jnp.isfinite(gradient_norm) & jnp.isfinite(loss)
    known = guard.kept >= config.window
    if config.gradient_norm_factor:
        limit = config.gradient_norm_factor * jnp.median(guard.gradient_norms)
        keep &= ~(known & (gradient_norm > limit))
    if config.loss_rise:
        keep &= ~(known & (loss > jnp.median(guard.losses) + config.loss_rise))
    place = guard.kept % config.window
    remembered = guard._replace(
        gradient_norms=guard.gradient_norms.at[place].set(gradient_norm),
        losses=guard.losses.at[place].set(loss),
        kept=guard.kept + 1,
        skipped_in_a_row=jnp.zeros_like(guard.skipped_in_a_row),
    )
    dropped = guard._replace(skipped=guard.skipped + 1, skipped_in_a_row=guard.skipped_in_a_row + 1)
    return keep, jax.tree.map(lambda a, b: jnp.where(keep, a, b), remembered, dropped)


def report_skipped(
    metrics: Sequence[Mapping[str, Any]], step: int, most: int, loader: Loader, run: Path
) -> None:
    """Warns of the dropped steps among the last ones, and stops a run that drops only.

    Args:
      metrics: of each step since the last report, read from the device; the last is of `step`.
      most: dropped steps in a row that stop the run.
    Raises:
      AllProcessesError: there were so many; names the documents of their batches, and
        RUN/stopped.json, which has all of them.
    """
    numbered = list(enumerate(metrics, start=step - len(metrics) + 1))
    for number, values in numbered:
        if values["skipped"]:
            logging.warning("step %d dropped: %s", number, _words(values))
    end = next((n for n, values in numbered if values["skipped_in_a_row"] >= most), None)
    if end is None:
        return
    shown = ""
    if jax.process_index() == 0:  # the others need not read a large index too
        dropped = range(end - most + 1, end + 1)
        found = loader.documents([n - 1 for n in dropped])
        documents = dict(zip(dropped, found, strict=True))
        write_json(run / STOPPED, {"step": end, "documents": documents})
        last = [f"{source}: {', '.join(ids[:_SHOWN])}" for source, ids in found[-1].items()]
        shown = f" {'; '.join(last)}"
    raise AllProcessesError(
        f"{most} steps in a row up to step {end} were dropped and changed nothing; the last had"
        f" {_words(dict(numbered)[end])}, in documents{shown} (all of them in {run / STOPPED})."
        " Look at these; or lower optimizer.peak_learning_rate, or, if the steps were good, raise"
        " guard.gradient_norm_factor and guard.loss_rise, with"
        " --allow_change=optimizer.peak_learning_rate or --allow_change=guard"
    )


def _words(values: Mapping[str, Any]) -> str:
    return f"loss {float(values['loss']):.4g}, gradient norm {float(values['gradient_norm']):.4g}"
