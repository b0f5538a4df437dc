"""Attention of a single query to the cache, as a Triton kernel written in Pallas, for GPUs.

Keys and values are read once, from where they are, and only as far as each row holds some: blocks
of slots apart (Flash-Decoding), whose sums are joined at the end. XLA's own program for it keeps a
transposed copy of all values.
"""

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from phi1_jax.model.attention import KV
from phi1_jax.model.flash import triton

BLOCK = 128  # slots that one program reads
INTERPRET = False  # True runs the kernel in Pallas's interpreter, on any device: for tests


def flash_decoding(
    q_b1hk: jax.Array, known: KV, recent: KV, lengths_b: jax.Array, n_recent: jax.Array
) -> jax.Array:
    """`attention` of one query in each row to the first slots of two pieces.

    Args:
      known: of a multiple of `BLOCK` slots, the first `lengths_b` of which hold.
      recent: of a power of two of slots, the first `n_recent`, at least one, of which hold.
    Returns:
      [b, 1, h, k], in q's dtype.
    """
    b, _, h, width = q_b1hk.shape
    if known.k_bhsk.shape[2] % BLOCK:
        raise ValueError(f"{known.k_bhsk.shape[2]} slots are no multiple of {BLOCK}")
    n_blocks = known.k_bhsk.shape[2] // BLOCK
    q_bhk = q_b1hk[:, 0] * width**-0.5
    counts_b2 = jnp.stack((lengths_b, jnp.full_like(lengths_b, n_recent)), axis=1)

    def one_head(x: jax.Array) -> pl.BlockSpec:
        return pl.BlockSpec((None, None, *x.shape[2:]), lambda i, h, b: (b, h, *[0] * (x.ndim - 2)))

    def one_block(x: jax.ShapeDtypeStruct) -> pl.BlockSpec:
        shape = (None, None, None, *x.shape[3:])
        return pl.BlockSpec(shape, lambda i, h, b: (b, h, i, *[0] * (x.ndim - 3)))

    number = jax.ShapeDtypeStruct((b, h, n_blocks + 1), jnp.float32)
    vector = jax.ShapeDtypeStruct((b, h, n_blocks + 1, width), jnp.float32)
    arrays = (q_bhk, *known, *recent)
    y_bhik, top_bhi, total_bhi = pl.pallas_call(
        _kernel,
        out_shape=(vector, number, number),
        grid=(n_blocks + 1, h, b),
        in_specs=[pl.BlockSpec((None, 2), lambda i, h, b: (b, 0)), *map(one_head, arrays)],
        out_specs=tuple(map(one_block, (vector, number, number))),
        compiler_params=triton.CompilerParams(num_warps=4, num_stages=1),
        interpret=INTERPRET,
        name="flash_decoding",
    )(counts_b2, *arrays)
    share_bhi = jnp.exp(top_bhi - top_bhi.max(-1, keepdims=True))
    y_bhk = jnp.einsum("bhi,bhik->bhk", share_bhi, y_bhik)
    y_bhk /= (share_bhi * total_bhi).sum(-1, keepdims=True)
    return y_bhk.astype(q_b1hk.dtype)[:, None]


def _kernel(counts, q, known_k, known_v, recent_k, recent_v, y, top, total) -> None:  # type: ignore[no-untyped-def]
    """Each argument is one head's; the last program along the first axis reads `recent`."""
    block, last = pl.program_id(0), pl.num_programs(0) - 1

    def read(k, v, start, size, count) -> None:  # type: ignore[no-untyped-def]
        holds_s = start + jnp.arange(size) < count
        holds_sk = jnp.broadcast_to(holds_s[:, None], (size, q.shape[0]))
        k_sk, v_sk = (
            triton.load(x.at[pl.ds(start, size), :], mask=holds_sk, other=0.0).astype(jnp.float32)
            for x in (k, v)
        )
        scores_s = (k_sk * q[...].astype(jnp.float32)[None]).sum(1)
        scores_s = jnp.where(holds_s, scores_s, jnp.finfo(jnp.float32).min)
        top_score = scores_s.max()
        weights_s = jnp.where(holds_s, jnp.exp(scores_s - top_score), 0.0)
        y[...] = (weights_s[:, None] * v_sk).sum(0)
        top[...] = top_score
        total[...] = weights_s.sum()

    pl.when(block < last)(lambda: read(known_k, known_v, block * BLOCK, BLOCK, counts[0]))
    pl.when(block == last)(lambda: read(recent_k, recent_v, 0, recent_k.shape[0], counts[1]))
