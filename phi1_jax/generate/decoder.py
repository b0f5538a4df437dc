"""The compiled pieces of generation, which `batch.py` calls in turn.

Each is compiled once for every number of rows and of cache slots that it meets.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from phi1_jax.config import ModelConfig
from phi1_jax.generate.sampling import SamplerInput, choose
from phi1_jax.generate.score import TokenScores, score_hidden
from phi1_jax.generate.settings import Rule
from phi1_jax.model import decoding
from phi1_jax.model.decoding import Cache, decoding_model, empty_cache, place
from phi1_jax.model.flash import AVAILABLE
from phi1_jax.model.phi import compute_dtype


class Spec(NamedTuple):
    """What is compiled in, beside shapes and the sampling rule."""

    config: ModelConfig
    platform: str  # of the devices, as `sharding.platform_of` says
    mesh: Mesh | None
    n_ids: int  # ids from here on are padding of the embedding and are never chosen

    @property
    def flash(self) -> bool:
        """Whether single tokens attend by the kernel of `flash_decoding`."""
        on_one_gpu = AVAILABLE and self.platform in ("gpu", "cuda") and self.mesh is None
        dtype, width = compute_dtype(self.config, self.platform), self.config.d_head
        # Triton's arrays have a power of two of elements.
        return on_one_gpu and dtype == jnp.bfloat16 and width & (width - 1) == 0


class State(NamedTuple):
    """What the device holds for every row."""

    cache: Cache
    logits_bv: jax.Array  # float32, of the token to be chosen next


@partial(jax.jit, static_argnames=("spec", "n_top"))
def prefill(
    spec: Spec, weights: Any, tokens_bt: jax.Array, lengths_b: jax.Array, n_top: int = 0
) -> tuple[State, TokenScores | None]:
    """Reads prompts into a state of t slots; see `DecodingPhi.prefill`.

    Returns:
      The state, and with `n_top` the scores of the prompts' tokens and of so many others.
    """
    model = decoding_model(spec.config, spec.platform, weights)
    logits_bv, x_btd, cache = model.prefill(tokens_bt, lengths_b)
    scores = score_hidden(model, x_btd, tokens_bt, n_top, spec.n_ids) if n_top else None
    return State(place(cache, spec.mesh), logits_bv), scores


@partial(jax.jit, static_argnames=("spec", "rows", "slots"))
def empty_state(spec: Spec, rows: int, slots: int) -> State:
    """A state of no tokens."""
    cache = place(empty_cache(spec.config, spec.platform, rows, slots), spec.mesh)
    return State(cache, jnp.zeros((rows, spec.config.vocab_size), jnp.float32))


@partial(jax.jit, static_argnames="spec", donate_argnames="state")
def insert(spec: Spec, state: State, new: State, from_b: jax.Array) -> State:
    """Puts prompts that were just read, or another state's rows, into rows of a state, in place.

    Args:
      new: of other rows and slots; each row that is taken fits the state's slots.
      from_b: int32[b], the row of `new` that each row becomes; -1 leaves it as it is.
    """

    def write(old: jax.Array, new: jax.Array) -> jax.Array:
        return jnp.where((from_b >= 0).reshape(-1, *[1] * (old.ndim - 1)), new[from_b], old)

    slots = state.cache[0].k_bhsk.shape[2]
    state = jax.tree.map(write, state, State(_resize(new.cache, slots), new.logits_bv))
    return State(place(state.cache, spec.mesh), state.logits_bv)


@partial(jax.jit, static_argnames=("spec", "rule", "steps", "n_top"), donate_argnames="state")
def decode(
    spec: Spec,
    rule: Rule,
    steps: int,
    weights: Any,
    state: State,
    given: SamplerInput,
    n_top: int = 0,
) -> tuple[State, jax.Array, TokenScores]:
    """Chooses and reads `steps` tokens in every row.

    Args:
      given: its `lengths_b` are the tokens in the cache; the largest plus `steps` must fit.
      n_top: how many of the likeliest tokens to name beside each.
    Returns:
      The state after, int32[b, steps] tokens, and what the model itself thinks of them.
    """
    model = decoding_model(spec.config, spec.platform, weights)
    lengths_b = given.lengths_b
    slots = 1 << (steps - 1).bit_length()  # a power of two, for `flash_decoding`
    recent = place(empty_cache(spec.config, spec.platform, len(lengths_b), slots), spec.mesh)

    def one(carry: Any, index: jax.Array) -> Any:
        recent, logits_bv, history = carry
        now = given._replace(
            counts_b=given.counts_b + index, lengths_b=lengths_b + index, history=history
        )
        tokens_b, logprobs_b = choose(rule, logits_bv, now, spec.n_ids)
        top_bk, ids_bk = jax.lax.top_k(logits_bv[:, : spec.n_ids], n_top)
        top_bk -= jax.nn.logsumexp(logits_bv, axis=-1)[:, None]
        history = history.add(tokens_b, now.lengths_b)
        logits_bv, recent = model.step(state.cache, recent, tokens_b, lengths_b, index, spec.flash)
        scores = TokenScores(logprobs_b, ids_bk, top_bk)
        return (place(recent, spec.mesh), logits_bv, history), (tokens_b, scores)

    carry = (recent, state.logits_bv, given.history)
    indices = jnp.arange(steps, dtype=jnp.int32)
    (recent, logits_bv, _), (tokens_nb, scores) = jax.lax.scan(one, carry, indices)
    cache = decoding.merge(state.cache, _resize(recent, steps), lengths_b)
    cache = place(cache, spec.mesh)
    return State(cache, logits_bv), tokens_nb.T, jax.tree.map(lambda x: x.swapaxes(0, 1), scores)


def _resize(cache: Cache, slots: int) -> Cache:
    """Slots are added at the end, or cut off there."""
    room = max(0, slots - cache[0].k_bhsk.shape[2])
    return jax.tree.map(
        lambda x: jnp.pad(x, ((0, 0), (0, 0), (0, room), (0, 0)))[:, :, :slots], cache
    )
