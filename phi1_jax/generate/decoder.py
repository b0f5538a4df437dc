"""The compiled pieces of generation; `generator.py` calls them in turn.

They are compiled once for each (rows, slots): rows are powers of four, slots come from `bucket`.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from phi1_jax.config import ModelConfig
from phi1_jax.generate.sampling import Rule, SamplerInput, choose
from phi1_jax.model import cache as kv
from phi1_jax.model.cache import Cache, Weights, constrain

_LOWEST = jnp.finfo(jnp.float32).min


class State(NamedTuple):
    """What the device holds for every row."""

    cache: Cache
    logits_bv: jax.Array  # of the token to be chosen next


def bucket(tokens: int) -> int:
    """Cache slots for so many tokens: few different numbers, and little to attend to in vain."""
    size = 128 if tokens <= 512 else 256
    return -(-tokens // size) * size


@partial(jax.jit, static_argnames=("config", "n_ids", "mesh"))
def begin(
    config: ModelConfig,
    n_ids: int,
    mesh: jax.sharding.Mesh | None,
    weights: Weights,
    tokens_bt: jax.Array,
    lengths_b: jax.Array,
) -> State:
    """Reads prompts (see `prefill`). Ids from `n_ids` on are padding of the embedding."""
    logits_bv, cache = kv.prefill(config, weights, tokens_bt, lengths_b)
    return State(constrain(cache, mesh), _only_ids(logits_bv, n_ids))


@partial(jax.jit, static_argnames=("slots", "mesh"))
def pick(slots: int, mesh: jax.sharding.Mesh | None, state: State, from_b: jax.Array) -> State:
    """A state with `slots` slots, at least as many as before, and these rows of the old one."""
    cache = Cache(
        tuple(_widen(k, slots, 3)[from_b] for k in state.cache.k_bhks),
        tuple(_widen(v, slots, 2)[from_b] for v in state.cache.v_bhsk),
    )
    return State(constrain(cache, mesh), state.logits_bv[from_b])


@partial(jax.jit, static_argnames=("mesh",), donate_argnames=("cache",))
def put(
    mesh: jax.sharding.Mesh | None,
    cache: Cache,
    logits_bv: jax.Array,
    fresh: State,
    from_b: jax.Array,
) -> State:
    """Lets prompts that were just read into a state, in place: a prompt for several samples too.

    Args:
      fresh: with at most the slots of the cache.
      from_b: int32[b], which row of `fresh` each row becomes; -1 stays what it is.
    """

    def row(old: jax.Array, new: jax.Array, axis: int | None = None) -> jax.Array:
        new = new if axis is None else _widen(new, old.shape[axis], axis)
        return jnp.where((from_b >= 0).reshape(-1, *[1] * (old.ndim - 1)), new[from_b], old)

    cache = Cache(
        tuple(row(a, b, 3) for a, b in zip(cache.k_bhks, fresh.cache.k_bhks, strict=True)),
        tuple(row(a, b, 2) for a, b in zip(cache.v_bhsk, fresh.cache.v_bhsk, strict=True)),
    )
    return State(constrain(cache, mesh), row(logits_bv, fresh.logits_bv))


@partial(
    jax.jit,
    static_argnames=("config", "n_ids", "mesh", "rule", "steps"),
    donate_argnames=("state",),
)
def decode(
    config: ModelConfig,
    n_ids: int,
    mesh: jax.sharding.Mesh | None,
    rule: Rule,
    steps: int,
    weights: Weights,
    state: State,
    draw: SamplerInput,
) -> tuple[State, jax.Array, jax.Array]:
    """Chooses and reads `steps` tokens in every row.

    Args:
      draw: its `lengths_b` are the tokens in the cache; the largest plus `steps` must fit.
    Returns:
      The state after, int32[b, steps] tokens and float32[b, steps] their log-probabilities.
    """
    lengths_b = draw.lengths_b
    b = len(lengths_b)
    recent = constrain(kv.empty_cache(config, b, steps), mesh)

    def one(carry: Any, index: jax.Array) -> Any:
        recent, logits_bv, past = carry
        now = draw._replace(counts_b=draw.counts_b + index, lengths_b=lengths_b + index, past=past)
        tokens_b, logprobs_b = choose(rule, logits_bv, now)
        past = past.add(tokens_b, now.lengths_b)
        logits_bv, recent = kv.step(
            config, weights, state.cache, recent, tokens_b, lengths_b, index
        )
        recent = constrain(recent, mesh)
        return (recent, _only_ids(logits_bv, n_ids), past), (tokens_b, logprobs_b)

    carry = (recent, state.logits_bv, draw.past)
    (recent, logits_bv, _), (tokens_nb, logprobs_nb) = jax.lax.scan(one, carry, jnp.arange(steps))
    cache = constrain(kv.merge(state.cache, recent, lengths_b), mesh)
    return State(cache, logits_bv), tokens_nb.T, logprobs_nb.T


@partial(jax.jit, static_argnames=("config", "mesh", "rows", "slots"))
def empty_state(
    config: ModelConfig, mesh: jax.sharding.Mesh | None, rows: int, slots: int
) -> State:
    """A state of no tokens."""
    cache = constrain(kv.empty_cache(config, rows, slots), mesh)
    return State(cache, jnp.zeros((rows, config.vocab_size)))


def _only_ids(logits_bv: jax.Array, n_ids: int) -> jax.Array:
    return jnp.where(jnp.arange(logits_bv.shape[-1]) < n_ids, logits_bv, _LOWEST)


def _widen(x: jax.Array, slots: int, axis: int) -> jax.Array:
    widths = [(0, 0)] * x.ndim
    widths[axis] = (0, slots - x.shape[axis])
    return jnp.pad(x, widths)
