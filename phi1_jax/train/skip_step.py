"""Skips a step that would do harm: without a finite gradient, a loss spike or a gradient spike.

Mixed data is no spike, even at batch 1, where a step has one source and one document:

- Each source is compared with itself, and not before `window` steps with it were kept.
- Loss. A step is a spike if its loss is more than `loss_rise` nats above what its sources have
  recently cost at most: the highest of the last `window` steps with the source, or 4 standard
  deviations above their mean. A spike that the next steps do not share was a hard document: its
  level is remembered, and forgotten by half in 700 steps.
- Gradient. A hard document has a hundred times the gradient norm of an easy one, as the model errs
  more. A step is a spike if its norm over its `error` is above `gradient_norm_factor` times the
  median of the last `window` steps in which the same source had most targets, and the norm itself
  above 3 times their highest.

A skipped step changes neither parameters nor optimizer nor what it is compared with; a step without
a target changes nothing at all. All of this happens inside the compiled step, and what it remembers
is part of the training state, so that a resumed run decides bit for bit alike and the host never
waits. [ours; the paper does not say]
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
_DEVIATIONS = 4.0
_HIGHEST_NORMS = 3.0
_FORGET = 1 - 1 / 1024  # a step of the source


class SkipState(NamedTuple):
    """What is remembered of the steps so far; w is the window, s the number of sources."""

    losses: Any  # float32[s, w], of the last kept steps with the source; rings
    seen: Any  # int32[s], kept steps with the source
    gradient_norms: Any  # float32[s, w], of those in which it had most targets; rings
    norms_per_error: Any  # float32[s, w], each over the step's `error`
    led: Any  # int32[s], kept steps in which the source had most targets
    hard: Any  # float32[s], the highest loss of hard documents
    doubtful: Any  # float32[s], losses of the skipped steps since the last kept one, the highest
    updates: Any  # int32[], kept steps since the run began
    skipped: Any  # int32[]
    skipped_in_a_row: Any  # int32[], up to the last step
    skipped_rows: Any  # int32[s], rows of each source in skipped steps


class Measured(NamedTuple):
    """What a step was like, over its targets that count."""

    nll: Any  # float32[s], the sum of -log p by source
    targets: Any  # int32[s]
    rows: Any  # int32[s]
    # float32[], how the gradient norm grows with the n errors 1 - p: the geometric mean of sum / n,
    # which it would be if they agreed, and of root(sum of squares) / n, if they were independent.
    error: Any
    gradient_norm: Any  # float32[]


def new_skip_state(config: SkipStepConfig, n_sources: int) -> SkipState:
    rings = jnp.zeros((n_sources, config.window), jnp.float32)
    level, count = jnp.zeros(n_sources, jnp.float32), jnp.zeros(n_sources, jnp.int32)
    zero = jnp.zeros((), jnp.int32)
    return SkipState(rings, count, rings, rings, count, level, level, zero, zero, zero, count)


def decide(
    config: SkipStepConfig, vocab_size: int, state: SkipState, step: Measured
) -> tuple[jax.Array, SkipState]:
    """Whether to keep a step (bool[]), and what to remember after it."""
    total = jnp.maximum(jnp.sum(step.targets), 1)
    loss_s = step.nll / jnp.maximum(step.targets, 1)
    present_s = step.targets > 0
    finite = jnp.isfinite(step.gradient_norm) & jnp.all(jnp.isfinite(loss_s))
    per_error = step.gradient_norm / jnp.maximum(step.error, 1e-9)
    leader = jnp.argmax(step.targets)
    spike = jnp.zeros((), bool)
    if config.gradient_norm_factor:
        limit = config.gradient_norm_factor * jnp.median(state.norms_per_error[leader])
        highest = _HIGHEST_NORMS * jnp.max(state.gradient_norms[leader])
        known = state.led[leader] >= config.window
        spike |= known & (per_error > limit) & (step.gradient_norm > highest)
    known_s = present_s & (state.seen >= config.window)
    if config.loss_rise:
        deviations = _DEVIATIONS * jnp.std(state.losses, 1)
        usual_s = jnp.maximum(jnp.mean(state.losses, 1) + deviations, jnp.max(state.losses, 1))
        above_s = loss_s - jnp.maximum(usual_s, state.hard)
        spike |= jnp.sum(jnp.where(known_s, above_s * step.targets, 0.0)) / total > config.loss_rise
    keep = finite & ~spike
    # What no document costs, whatever the model has learned, stays a spike.
    plausible_s = known_s & (loss_s <= 2 * jnp.log(vocab_size))
    is_hard_s = plausible_s & (loss_s > jnp.median(state.losses, 1) + config.loss_rise)
    hard_s = jnp.where(present_s, state.hard * _FORGET, state.hard)
    hard_s = jnp.where(is_hard_s, jnp.maximum(hard_s, loss_s), hard_s)
    hard_s = jnp.where(jnp.any(known_s), jnp.maximum(hard_s, state.doubtful), hard_s)
    here = (leader, state.led[leader] % config.window)
    place = jnp.arange(config.window) == (state.seen % config.window)[:, None]
    kept = state._replace(
        losses=jnp.where(place & present_s[:, None], loss_s[:, None], state.losses),
        seen=state.seen + present_s,
        gradient_norms=state.gradient_norms.at[here].set(step.gradient_norm),
        norms_per_error=state.norms_per_error.at[here].set(per_error),
        led=state.led.at[leader].add(1),
        hard=hard_s,
        doubtful=jnp.where(jnp.any(known_s), 0.0, state.doubtful),
        updates=state.updates + 1,
        skipped_in_a_row=jnp.zeros_like(state.skipped_in_a_row),
    )
    doubtful_s = jnp.where(finite & is_hard_s, loss_s, 0.0)
    skipped = state._replace(
        doubtful=jnp.maximum(state.doubtful, doubtful_s),
        skipped=state.skipped + 1,
        skipped_in_a_row=state.skipped_in_a_row + 1,
        skipped_rows=state.skipped_rows + step.rows,
    )
    empty = ~jnp.any(present_s)
    after = jax.tree.map(lambda a, b: jnp.where(keep, a, b), kept, skipped)
    return keep & ~empty, jax.tree.map(lambda a, b: jnp.where(empty, a, b), state, after)


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
        # How the steps before a change of the data were mixed is not known any more.
        skipped = range(max(end - most, loader.from_step) + 1, end + 1)
        found = loader.documents([n - 1 for n in skipped])
        documents = dict(zip(skipped, found, strict=True))
        write_json(run_dir / STOPPED, {"step": end, "documents": documents})
        last = [f"{source}: {', '.join(ids[:_SHOWN])}" for source, ids in found[-1].items()]
        shown = f" {'; '.join(last)}"
    raise AllProcessesError(
        f"{most} steps in a row up to step {end} were skipped and changed nothing; the last had"
        f" {_words(dict(numbered)[end])}, in documents{shown} (all of them in {run_dir / STOPPED})."
        " Look at these; or lower optimizer.peak_learning_rate, or, if the steps were good, raise"
        " skip_step.gradient_norm_factor and skip_step.loss_rise, with"
        " --allow_change=optimizer.peak_learning_rate or --allow_change=skip_step"
    )


def _words(values: Mapping[str, Any]) -> str:
    return f"loss {float(values['loss']):.4g}, gradient norm {float(values['gradient_norm']):.4g}"
