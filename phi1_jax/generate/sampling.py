"""Choosing the next token: greedy, or drawn under temperature, top-k, top-p and a penalty."""

import hashlib
from collections.abc import Sequence
from dataclasses import astuple
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from phi1_jax.generate.settings import Rule, Sampling

LOWEST = float(np.finfo(np.float32).min)  # a score that is never chosen


def numbers_of(samplings: Sequence[Sampling]) -> np.ndarray:
    """float32[b, 7], the fields of each row's sampling in order."""
    return np.array([astuple(sampling) for sampling in samplings], np.float32)


class History(NamedTuple):
    """What each row holds already; None where the rule does not ask for it."""

    seen_bv: Any = None  # bool[b, v], whether prompt or completion hold a token
    counts_bv: Any = None  # int32[b, v], how often the completion does
    tokens_bs: Any = None  # int32[b, s], prompt and completion

    def add(self, tokens_b: jax.Array, lengths_b: jax.Array) -> "History":
        """The history after one more token at `lengths_b` of each row."""
        rows_b = jnp.arange(len(tokens_b))
        seen_bv, counts_bv, tokens_bs = self
        return History(
            None if seen_bv is None else seen_bv.at[rows_b, tokens_b].set(True),
            None if counts_bv is None else counts_bv.at[rows_b, tokens_b].add(1),
            None if tokens_bs is None else tokens_bs.at[rows_b, lengths_b].set(tokens_b),
        )


class SamplerInput(NamedTuple):
    """What choosing needs per row, as arrays."""

    keys_b: Any  # uint32[b, 2], one stream of random numbers per sample
    counts_b: Any  # int32[b], tokens of the completion so far
    lengths_b: Any  # int32[b], tokens of prompt and completion so far
    history: History
    numbers_b7: Any  # float32, the fields of each row's `Sampling`


def stream_key(seed: int, prompt_ids: Sequence[int], sample: int) -> np.ndarray:
    """uint32[2]: a sample's random stream, the same alone or in a batch, at any place in it.

    It follows from the seed, the prompt and the sample's number only; so a prompt given twice in
    one call gives the same samples twice.
    """
    digest = hashlib.sha256(f"{seed} {sample} {' '.join(map(str, prompt_ids))}".encode()).digest()
    return np.frombuffer(digest[:8], np.uint32)


def choose(
    rule: Rule, logits_bv: jax.Array, given: SamplerInput, n_ids: int | None = None
) -> tuple[jax.Array, jax.Array]:
    """The next token of each row.

    Args:
      logits_bv: float32[b, v] from the model.
      n_ids: ids from here on are never chosen; None: all may be.
    Returns:
      int32[b] and float32[b], the log-probability of the token under the model itself, that is
      before penalty, temperature and filters.
    """
    numbers_7b1 = given.numbers_b7.T[..., None]
    temperature, top_k, top_p, penalty, frequency, presence, _ = numbers_7b1
    history, scores_bv, ids = given.history, logits_bv, jnp.arange(logits_bv.shape[-1])
    if n_ids is not None and n_ids < ids.size:
        scores_bv = jnp.where(ids < n_ids, logits_bv, LOWEST)
    if rule.penalised:
        penalised = jnp.where(scores_bv > 0, scores_bv / penalty, scores_bv * penalty)
        scores_bv = jnp.where(history.seen_bv, jnp.maximum(penalised, LOWEST), scores_bv)
    if rule.counted:
        cost_bv = frequency * history.counts_bv + presence * (history.counts_bv > 0)
        scores_bv = jnp.maximum(scores_bv - cost_bv, LOWEST)
    if rule.ngram:
        banned_bv = _repeats(rule.ngram, history.tokens_bs, given.lengths_b, scores_bv.shape[-1])
        scores_bv = jnp.where(banned_bv, LOWEST, scores_bv)
    if rule.drawn:
        greedy_b1, best_b = temperature == 0, jnp.argmax(scores_bv, axis=-1)
        scores_bv = jnp.maximum(scores_bv / jnp.where(greedy_b1, 1, temperature), LOWEST)
        scores_bv = keep_top(
            scores_bv,
            top_k[:, 0].astype(jnp.int32) if rule.top_k else None,
            top_p[:, 0] if rule.top_p else None,
        )
        keys_b = jax.random.wrap_key_data(given.keys_b, impl="threefry2x32")
        keys_b = jax.vmap(jax.random.fold_in)(keys_b, given.counts_b)
        shares_b = jax.vmap(lambda key: jax.random.uniform(key, dtype=jnp.float32))(keys_b)
        drawn_b = _at_share(jax.nn.softmax(scores_bv, axis=-1), shares_b)
        tokens_b = jnp.where(greedy_b1[:, 0], best_b, drawn_b)
    else:
        tokens_b = jnp.argmax(scores_bv, axis=-1)
    chosen_b = jnp.take_along_axis(logits_bv, tokens_b[:, None], axis=1)[:, 0]
    return tokens_b.astype(jnp.int32), chosen_b - jax.nn.logsumexp(logits_bv, axis=-1)


def _repeats(n: int, tokens_bs: jax.Array, lengths_b: jax.Array, v: int) -> jax.Array:
    """bool[b, v], the tokens that would complete an n-gram which the row holds already."""
    slots = jnp.arange(tokens_bs.shape[1])
    if n > len(slots):  # such a run does not fit
        return jnp.zeros((len(tokens_bs), v), bool)
    # At slot j: j ends an n-gram of the row, and its first n - 1 tokens are the row's last.
    ends_bs = (slots >= n - 1) & (slots < lengths_b[:, None])

    def match(back: jax.Array, ends_bs: jax.Array) -> jax.Array:
        last_b1 = jnp.take_along_axis(tokens_bs, (lengths_b - back)[:, None], axis=1, mode="clip")
        return ends_bs & (jnp.roll(tokens_bs, back, axis=1) == last_b1)

    ends_bs = jax.lax.fori_loop(1, n, match, ends_bs)
    rows_b1 = jnp.arange(len(tokens_bs))[:, None]
    banned_bv = jnp.zeros((len(tokens_bs), v), bool)
    return banned_bv.at[rows_b1, jnp.where(ends_bs, tokens_bs, v)].set(True, mode="drop")


def _at_share(weights_bv: jax.Array, shares_b: jax.Array) -> jax.Array:
    """The token at which the running sum passes a share, in [0, 1), of the whole.

    One random number a row: a number for every token of the vocabulary, as the Gumbel trick
    wants, took as long as the model itself (1M parameters, 64 rows, CPU).
    """
    # Rounded sums rise and fall a little over tokens of no weight, which must not be drawn.
    weighs_bv = weights_bv > 0
    sums_bv = jnp.where(weighs_bv, jnp.cumsum(weights_bv, axis=-1), 0)
    wholes_b = jnp.max(sums_bv, axis=-1)
    marks_b = jnp.minimum(shares_b * wholes_b, jnp.nextafter(wholes_b, jnp.zeros_like(wholes_b)))
    ids = jnp.arange(weights_bv.shape[-1])
    # sums_bv > marks_b >= 0 leaves out what does not weigh.
    return jnp.min(jnp.where(sums_bv > marks_b[:, None], ids, ids.size), axis=-1)


def keep_top(scores_bv: jax.Array, top_k: jax.Array | None, top_p: jax.Array | None) -> jax.Array:
    """Keeps the `top_k` best scores (0: all), and of these the smallest set that holds `top_p`.

    Both are one number, or one for each row; None leaves that part out of the program. Scores
    equal to the last one kept are kept too; the others become the lowest float.
    """
    if top_k is not None:
        one_bv = jnp.ones_like(scores_bv)
        least_b = jnp.where(top_k == 0, 0, _threshold(scores_bv, one_bv, top_k))
        scores_bv = jnp.where(_ordered(scores_bv) >= least_b[:, None], scores_bv, LOWEST)
    if top_p is not None:
        shares_bv = jax.nn.softmax(scores_bv, axis=-1)
        # Rounded shares can sum to more than one.
        least_b = jnp.where(top_p >= 1, 0, _threshold(scores_bv, shares_bv, top_p))
        scores_bv = jnp.where(_ordered(scores_bv) >= least_b[:, None], scores_bv, LOWEST)
    return scores_bv


def _threshold(scores_bv: jax.Array, weights_bv: jax.Array, goal: jax.Array) -> jax.Array:
    """The largest number such that what `_ordered` puts at or above it weighs at least `goal`.

    Found bit by bit, which is exact and on the CPU several times faster than sorting.
    """
    ordered_bv = _ordered(scores_bv)

    def add_bit(index: jax.Array, found_b: jax.Array) -> jax.Array:
        more_b = found_b | (jnp.uint32(1) << (31 - index).astype(jnp.uint32))
        held_bv = jnp.where(ordered_bv >= more_b[:, None], weights_bv, 0)
        return jnp.where(held_bv.sum(-1) >= goal, more_b, found_b)

    return jax.lax.fori_loop(0, 32, add_bit, jnp.zeros(len(scores_bv), jnp.uint32))


def _ordered(x: jax.Array) -> jax.Array:
    """uint32 in the order of the floats."""
    bits = jax.lax.bitcast_convert_type(x, jnp.uint32)
    sign = jnp.uint32(1 << 31)
    return jnp.where(bits >= sign, ~bits, bits | sign)
