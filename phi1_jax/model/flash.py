"""Causal flash attention with dropout on the weights, as Triton kernels written in Pallas.

No [t, t] array reaches memory (Dao, FlashAttention-2, arXiv 2307.08691): the forward pass goes
over tiles of scores with a running maximum and sum, and keeps one number a query, from which the
backward pass computes each tile again. What dropout keeps is a hash of two random words, one of the
query and one of the key, so that every pass and mesh finds the same.

Shapes: b rows, t tokens, h heads, k head width; [b, 2, h, t] of words: the queries', the keys'.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.experimental import pallas as pl

from phi1_jax.model.dropout import keeps
from phi1_jax.model.sharding import per_device

try:
    from jax.experimental.pallas import triton
except ImportError:  # jax 0.11 deprecates it
    triton = None  # type: ignore[assignment]
AVAILABLE = triton is not None
TILE = 64  # queries, and keys, whose scores are computed at a time
INTERPRET = False  # True runs the kernels in Pallas's interpreter, on any device: for tests


def flash_attention(
    q_bthk: jax.Array,
    k_bthk: jax.Array,
    v_bthk: jax.Array,
    dropout: float = 0.0,
    key: jax.Array | None = None,
) -> jax.Array:
    """`attention.causal_attention`, with other random numbers.

    Args:
      q_bthk: k a power of two, at least 16; bfloat16 on a GPU.
      key: None runs without dropout.
    Returns:
      [b, t, h, k], in q's dtype.
    """
    b, t, h, _ = q_bthk.shape
    dropout = 0.0 if key is None else dropout
    # Keys added at the end are later than all queries, and queries there get no gradient.
    missing = -t % TILE
    padded = [jnp.pad(x, ((0, 0), (0, missing), (0, 0), (0, 0))) for x in (q_bthk, k_bthk, v_bthk)]
    words = random_words(key, b, h, t + missing) if key is not None and dropout else None
    return _attend(dropout, *padded, words)[:, :t]


def random_words(key: jax.Array, b: int, h: int, t: int) -> jax.Array:
    """uint32[b, 2, h, t]: one for each query and one for each key."""
    return jax.random.bits(key, (b, 2, h, t), jnp.uint32)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(dropout: float, q: Any, k: Any, v: Any, words: Any) -> jax.Array:
    return _forward(dropout, q, k, v, words)[0]


def _forward(dropout: float, q: Any, k: Any, v: Any, words: Any) -> tuple[jax.Array, Any]:
    b, t, h, _ = q.shape
    log_sum = jax.ShapeDtypeStruct((b, 1, h, t), jnp.float32)
    out, log_sum = _call(_forward_kernel, dropout, q, log_sum)(q, k, v, words)
    # Rematerialization can save these two, and so not run the kernel again.
    out, log_sum = checkpoint_name((out, log_sum), "flash_attention")
    return out, (q, k, v, words, out, log_sum)


def _backward(dropout: float, kept: Any, dout: jax.Array) -> tuple[Any, ...]:
    q, k, v, words, out, log_sum = kept
    # The kernels leave out the factor 1 / (1 - dropout) until their end.
    delta = jnp.sum(out.astype(jnp.float32) * dout, axis=3).swapaxes(1, 2)[:, None] * (1 - dropout)
    args = (q, k, v, words, dout, log_sum, delta)
    (dq,) = _call(_dq_kernel, dropout, q)(*args)
    dk, dv = _call(_dkv_kernel, dropout, k, v)(*args)
    return dq, dk, dv, None


_attend.defvjp(_forward, _backward)


def _call(kernel: Callable[..., None], dropout: float, *like: Any) -> Callable[..., Any]:
    """The kernel for each tile of each row and head, of which it sees the arrays whole."""

    def one_head(x: Any) -> pl.BlockSpec:
        return pl.BlockSpec((None, x.shape[1], None, x.shape[3]), lambda i, h, b: (b, 0, h, 0))

    def run(*args: jax.Array) -> Any:
        b, t, h, width = args[0].shape  # of this device
        results = [jax.ShapeDtypeStruct((b, x.shape[1], h, x.shape[3]), x.dtype) for x in like]
        # Tiles that are loaded ahead: of wider heads no third one fits into an L4.
        stages = 3 if width <= 64 else 2
        return pl.pallas_call(
            partial(kernel, dropout=dropout),
            out_shape=results,
            grid=(t // TILE, h, b),
            in_specs=[None if x is None else one_head(x) for x in args],
            out_specs=[one_head(x) for x in results],
            compiler_params=triton.CompilerParams(num_warps=4, num_stages=stages),
            interpret=INTERPRET,
        )(*args)

    return per_device(run)


def _forward_kernel(
    q_ref: Any, k_ref: Any, v_ref: Any, words_ref: Any, out_ref: Any, log_sum_ref: Any,
    *, dropout: float,
) -> None:  # fmt: skip
    block = pl.program_id(0)
    mine = _tokens(block)
    q = q_ref[mine, :]
    scale = _scale(q)

    def step(masked: bool, at: jax.Array, carry: Any) -> Any:
        acc, highest, total = carry
        theirs = _tokens(at)
        scores = _dot(q, k_ref[theirs, :].T)
        if masked:
            seen = _index(block)[:, None] >= _index(at)[None, :]
            scores = jnp.where(seen, scores, -jnp.inf)
        new = jnp.maximum(highest, jnp.max(scores, 1) * scale)
        weights = jnp.exp2(scores * scale - new[:, None])
        shrink = jnp.exp2(highest - new)
        total = total * shrink + jnp.sum(weights, 1)
        if dropout:
            keep = keeps(words_ref[0, mine][:, None], words_ref[1, theirs][None, :], dropout)
            weights = jnp.where(keep, weights, 0)
        v = v_ref[theirs, :]
        return acc * shrink[:, None] + _dot(weights.astype(v.dtype), v), new, total

    carry = (
        jnp.zeros(q.shape, jnp.float32),
        jnp.full(TILE, -jnp.inf, jnp.float32),
        jnp.zeros(TILE, jnp.float32),
    )
    acc, highest, total = _over_keys(step, block, carry)
    out_ref[mine, :] = (acc / (total * (1 - dropout))[:, None]).astype(out_ref.dtype)
    log_sum_ref[0, mine] = highest + jnp.log2(total)


def _dq_kernel(
    q_ref: Any, k_ref: Any, v_ref: Any, words_ref: Any, dout_ref: Any, log_sum_ref: Any,
    delta_ref: Any, dq_ref: Any, *, dropout: float,
) -> None:  # fmt: skip
    block = pl.program_id(0)
    mine = _tokens(block)
    q, dout = q_ref[mine, :], dout_ref[mine, :]
    log_sum, delta = log_sum_ref[0, mine][:, None], delta_ref[0, mine][:, None]

    def step(masked: bool, at: jax.Array, dq: jax.Array) -> jax.Array:
        theirs = _tokens(at)
        k = k_ref[theirs, :]
        weights = jnp.exp2(_dot(q, k.T) * _scale(q) - log_sum)
        dweights = _dot(dout, v_ref[theirs, :].T)
        if masked:
            seen = _index(block)[:, None] >= _index(at)[None, :]
            weights = jnp.where(seen, weights, 0)
        if dropout:
            keep = keeps(words_ref[0, mine][:, None], words_ref[1, theirs][None, :], dropout)
            dweights = jnp.where(keep, dweights, 0)
        dscores = weights * (dweights - delta)
        return dq + _dot(dscores.astype(k.dtype), k)

    dq = _over_keys(step, block, jnp.zeros(q.shape, jnp.float32))
    dq_ref[mine, :] = (dq * (q.shape[1] ** -0.5 / (1 - dropout))).astype(dq_ref.dtype)


def _dkv_kernel(
    q_ref: Any, k_ref: Any, v_ref: Any, words_ref: Any, dout_ref: Any, log_sum_ref: Any,
    delta_ref: Any, dk_ref: Any, dv_ref: Any, *, dropout: float,
) -> None:  # fmt: skip
    """Scores lie here with the keys first."""
    block = pl.program_id(0)
    mine = _tokens(block)
    k, v = k_ref[mine, :], v_ref[mine, :]

    def step(masked: bool, at: jax.Array, carry: Any) -> Any:
        dk, dv = carry
        theirs = _tokens(at)
        q, dout = q_ref[theirs, :], dout_ref[theirs, :]
        weights = jnp.exp2(_dot(k, q.T) * _scale(q) - log_sum_ref[0, theirs][None, :])
        dweights = _dot(v, dout.T)
        if masked:
            seen = _index(at)[None, :] >= _index(block)[:, None]
            weights = jnp.where(seen, weights, 0)
        kept = weights
        if dropout:
            keep = keeps(words_ref[0, theirs][None, :], words_ref[1, mine][:, None], dropout)
            kept, dweights = jnp.where(keep, weights, 0), jnp.where(keep, dweights, 0)
        dv += _dot(kept.astype(dout.dtype), dout)
        dscores = weights * (dweights - delta_ref[0, theirs][None, :])
        return dk + _dot(dscores.astype(q.dtype), q), dv

    zeros = jnp.zeros(k.shape, jnp.float32)
    carry = jax.lax.fori_loop(block, block + 1, partial(step, True), (zeros, zeros))
    n_blocks = q_ref.shape[0] // TILE
    dk, dv = jax.lax.fori_loop(block + 1, n_blocks, partial(step, False), carry)
    dk_ref[mine, :] = (dk * (k.shape[1] ** -0.5 / (1 - dropout))).astype(dk_ref.dtype)
    dv_ref[mine, :] = (dv / (1 - dropout)).astype(dv_ref.dtype)


def _over_keys(step: Callable[..., Any], block: jax.Array, carry: Any) -> Any:
    """The keys that a tile of queries may see: whole tiles, then the one that the diagonal cuts."""
    carry = jax.lax.fori_loop(0, block, partial(step, False), carry)
    return jax.lax.fori_loop(block, block + 1, partial(step, True), carry)


def _tokens(block: jax.Array) -> Any:
    return pl.ds(block * TILE, TILE)


def _index(block: jax.Array) -> jax.Array:
    return block * TILE + jnp.arange(TILE, dtype=jnp.int32)


def _scale(q: jax.Array) -> float:
    """Of the scores, so that 2 to their power is the weight."""
    return math.log2(math.e) * q.shape[1] ** -0.5


def _dot(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.dot(a, b, preferred_element_type=jnp.float32)
