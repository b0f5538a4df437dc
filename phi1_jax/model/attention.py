"""Causal attention, with or without a cache; the implementations that a config can name.

Shapes as in `phi.py`. Keys and values that are kept have the heads first, [b, h, s, k].
"""

from collections.abc import Callable, Sequence
from functools import reduce
from itertools import accumulate, pairwise
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from phi1_jax.errors import UserError
from phi1_jax.model import flash
from phi1_jax.model.dropout import drop

# (q, k, v, past, key) -> (y, kept): q, k, v and y are [b, t, h, k]; `past` is what the layer has
# of earlier tokens, `key` the randomness of dropout, `kept` what the caller gets of each layer.
Attend = Callable[[jax.Array, jax.Array, jax.Array, Any, jax.Array | None], tuple[jax.Array, Any]]


class KV(NamedTuple):
    """Keys (rotated) and values of one layer."""

    k_bhsk: jax.Array
    v_bhsk: jax.Array


def attention(
    q_bthk: jax.Array,
    pieces: Sequence[KV],
    mask_bts: jax.Array,
    dropout: float = 0.0,
    key: jax.Array | None = None,
) -> jax.Array:
    """Softmax attention with scores in float32 and, given a key, dropout on the weights.

    Args:
      pieces: keys and values in one or several arrays, which are read where they are, not joined.
      mask_bts: bool[b | 1, t, s], True where a query may look; s counts the slots of all pieces.
    Returns:
      [b, t, h, k], in q's dtype.
    """
    # Heads first, then plain matmuls: on the CPU an einsum over [b, t, h, k] is three times slower.
    q_bhtk = (q_bthk * q_bthk.shape[-1] ** -0.5).swapaxes(1, 2)
    scores_bhts = jnp.concatenate([_scores(q_bhtk, piece.k_bhsk) for piece in pieces], axis=-1)
    scores_bhts = jnp.where(mask_bts[:, None], scores_bhts, jnp.finfo(jnp.float32).min)
    weights_bhts = jax.nn.softmax(scores_bhts, axis=-1)
    if key is not None and dropout > 0:
        weights_bhts = drop(weights_bhts, dropout, key)
    bounds = list(accumulate(piece.v_bhsk.shape[2] for piece in pieces))[:-1]
    split = jnp.split(weights_bhts.astype(q_bthk.dtype), bounds, axis=-1)
    parts = [weights @ piece.v_bhsk for weights, piece in zip(split, pieces, strict=True)]
    return reduce(jnp.add, parts).swapaxes(1, 2)


def _scores(q_bhtk: jax.Array, k_bhsk: jax.Array) -> jax.Array:
    """float32[b, h, t, s]"""
    if q_bhtk.shape[2] > 1:
        return jnp.matmul(q_bhtk, k_bhsk.swapaxes(2, 3), preferred_element_type=jnp.float32)
    # A single query goes on the right: on the CPU five times faster for one row.
    scores_bhst = jnp.matmul(k_bhsk, q_bhtk.swapaxes(2, 3), preferred_element_type=jnp.float32)
    return scores_bhst.swapaxes(2, 3)


def causal_attention(
    q_bthk: jax.Array,
    k_bthk: jax.Array,
    v_bthk: jax.Array,
    dropout: float = 0.0,
    key: jax.Array | None = None,
) -> jax.Array:
    """`attention` of each token to itself and those before it, with t = s.

    In up to four blocks of queries, each with the keys that it may see: forward and backward of 512
    tokens then take 0.67 of the processor time of one block (2 rows, 8 heads of 64, 2 cores); with
    eight blocks it is not less.
    """
    t = q_bthk.shape[1]
    n_blocks = max(1, min(4, t // 128))
    bounds = [t * block // n_blocks for block in range(n_blocks + 1)]
    mask_1ts = jnp.tril(jnp.ones((1, t, t), bool))
    keys = [None] * n_blocks if key is None else [*jax.random.split(key, n_blocks)]
    blocks = []
    for (start, stop), block_key in zip(pairwise(bounds), keys, strict=True):
        # Cut before the axes are swapped: the other way round, a step of the 1.3B model takes 26.5
        # GB on each of eight H100 in place of 24.9.
        seen = KV(k_bthk[:, :stop].swapaxes(1, 2), v_bthk[:, :stop].swapaxes(1, 2))
        mask_bts = mask_1ts[:, start:stop, :stop]
        blocks.append(attention(q_bthk[:, start:stop], [seen], mask_bts, dropout, block_key))
    return jnp.concatenate(blocks, axis=1)


def causal(
    implementation: Literal["auto", "xla", "cudnn", "flash"],
    dropout: float,
    platform: str,
    keep: bool,
) -> Attend:
    """How a block attends over a whole row: a flash attention, cuDNN's or our own, or plain XLA.

    On a GPU in bfloat16 `auto` takes cuDNN, and with dropout, which JAX does not give cuDNN's
    kernel, our own: on an H200, 8 rows of 2048 tokens forward and backward take 1.5 ms in cuDNN's,
    2.2 ms in ours with dropout, and 10.4 ms in XLA's with dropout.

    Args:
      platform: of the devices that will run it, as `sharding.platform_of` says.
      keep: whether the function returns its keys and values as `KV`; None otherwise.
    Raises:
      UserError: cuDNN or flash is named and there is no GPU, or flash and jax lacks Triton.
    """
    on_gpu = platform in ("gpu", "cuda")
    if implementation in ("cudnn", "flash") and not (on_gpu or flash.INTERPRET):
        raise UserError(
            f"config field model.attention={implementation} needs a GPU, and this is {platform};"
            " set it to auto or xla"
        )
    if implementation == "flash" and not flash.AVAILABLE:
        raise UserError(
            "config field model.attention=flash needs Pallas's Triton backend, which this jax has"
            " no longer; set it to auto"
        )

    def attend(
        q_bthk: jax.Array, k_bthk: jax.Array, v_bthk: jax.Array, past: Any, key: jax.Array | None
    ) -> tuple[jax.Array, KV | None]:
        width = q_bthk.shape[-1]
        chosen = implementation
        if chosen == "auto":
            on_tensor_cores = on_gpu and q_bthk.dtype == jnp.bfloat16 and width <= 128
            if key is None or dropout == 0:
                chosen = "cudnn" if on_tensor_cores and width % 8 == 0 else "xla"
            else:
                fits = flash.AVAILABLE and width in (16, 32, 64, 128)
                chosen = "flash" if on_tensor_cores and fits else "xla"
        if chosen == "flash":
            y_bthk = flash.flash_attention(q_bthk, k_bthk, v_bthk, dropout, key)
        elif chosen == "cudnn":
            y_bthk = jax.nn.dot_product_attention(
                q_bthk, k_bthk, v_bthk, is_causal=True, implementation="cudnn"
            )
        else:
            y_bthk = causal_attention(q_bthk, k_bthk, v_bthk, dropout, key)
        return y_bthk, KV(k_bthk.swapaxes(1, 2), v_bthk.swapaxes(1, 2)) if keep else None

    return attend
