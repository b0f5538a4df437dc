"""AdamW as in section 2.3, or Muon on the matrices; linear warm-up, then linear decay."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from optax.contrib import MuonDimensionNumbers, muon

from phi1_jax.config import OptimizerConfig

# Optax's own, which it keeps in JAX's default float; here that is float32, come what may.
_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def make_optimizer(config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """Gradient clipping by global norm, then the configured optimizer.

    Weight decay acts on matrices and the embedding, not on biases and LayerNorms [ours: the paper
    does not say]. With Muon it acts on these too: optax's muon, whose Adam (with Nesterov momentum)
    has the rest, takes no mask for it.
    """
    if config.name == "muon":
        optimizer = muon(
            learning_rate=schedule(config, steps),
            adam_learning_rate=schedule(config, steps, config.adam_learning_rate),
            weight_decay=config.weight_decay,
            weight_decay_mask=decays,
            adam_weight_decay=config.weight_decay,
            adam_b1=config.b1,
            adam_b2=config.b2,
            eps=config.eps,
            muon_weight_dimension_numbers=_muon_dimensions,
            ns_coeffs=tuple(np.float32(c) for c in _NEWTON_SCHULZ),
        )
    else:
        optimizer = optax.adamw(
            schedule(config, steps),
            b1=config.b1,
            b2=config.b2,
            eps=config.eps,
            weight_decay=config.weight_decay,
            mask=decays,
        )
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), optimizer)


def schedule(config: OptimizerConfig, steps: int, peak: float | None = None) -> optax.Schedule:
    """0 to `peak` over the warm-up, then straight down to the final rate, due after the last step.

    All of it from step `schedule_start` on; before, the rate is the warm-up's first.

    Args:
      peak: None is the config's.
    """
    peak = peak or config.peak_learning_rate
    steps -= config.schedule_start
    final = config.final_learning_rate * peak / config.peak_learning_rate
    rate = optax.linear_schedule(peak, final, max(1, steps - config.warmup_steps))
    if config.warmup_steps:
        # The first step already moves: step n of the warm-up runs at (n + 1) / warmup_steps.
        first = peak / config.warmup_steps
        warmup = optax.linear_schedule(first, peak, max(1, config.warmup_steps - 1))
        rate = optax.join_schedules([warmup, rate], [config.warmup_steps])
    # float32, whatever JAX's default is
    return lambda step: jnp.asarray(rate(step - config.schedule_start), jnp.float32)


def decays(params: Any) -> Any:
    """True for kernels and the embedding table; False for biases and LayerNorms."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: _name(path) in ("kernel", "table"), params
    )


def _muon_dimensions(params: Any) -> Any:
    """Muon for the kernels stacked in the blocks, (layer, in, out); Adam for the rest."""

    def dimensions(path: Any, _: Any) -> MuonDimensionNumbers | None:
        stacked = _name(path[:1]) == "blocks" and _name(path) == "kernel"
        return MuonDimensionNumbers(reduction_axis=1, output_axis=2) if stacked else None

    return jax.tree_util.tree_map_with_path(dimensions, params)


def _name(path: Any) -> str:
    return str(getattr(path[-1], "key", path[-1]))
