"""Causal attention: the implementations that a config can name."""

from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import jax
import jax.numpy as jnp

from phi1_jax.errors import UserError

# q, k, v of shape [b, t, h, k] -> [b, t, h, k]
Attend = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


def attend(
    q_bthk: jax.Array,
    k_bshk: jax.Array,
    v_bshk: jax.Array,
    mask_bts: jax.Array | None,
    dropout: float = 0.0,
    key: jax.Array | None = None,
) -> jax.Array:
    """Softmax attention with scores in float32 and, given a key, dropout on the weights.

    Args:
      mask_bts: bool[b | 1, t, s], True where a query may look; None is causal, with t = s.
    Returns:
      [b, t, h, k], in q's dtype.
    """
    if mask_bts is None:
        return _causal_in_blocks(q_bthk, k_bshk, v_bshk, dropout, key)
    width = q_bthk.shape[-1]
    # Heads first, then plain matmuls: on the CPU an einsum over [b, t, h, k] is three times slower.
    q_bhtk, k_bhks = (q_bthk * width**-0.5).swapaxes(1, 2), k_bshk.transpose(0, 2, 3, 1)
    scores_bhts = jnp.matmul(q_bhtk, k_bhks, preferred_element_type=jnp.float32)
    scores_bhts = jnp.where(mask_bts[:, None], scores_bhts, jnp.finfo(jnp.float32).min)
    weights_bhts = jax.nn.softmax(scores_bhts, axis=-1)
    if key is not None and dropout > 0:
        keep = jax.random.bernoulli(key, 1 - dropout, weights_bhts.shape)
        weights_bhts = jnp.where(keep, weights_bhts / (1 - dropout), 0)
    return jnp.matmul(weights_bhts.astype(v_bshk.dtype), v_bshk.swapaxes(1, 2)).swapaxes(1, 2)


def _causal_in_blocks(
    q_bthk: jax.Array, k_bshk: jax.Array, v_bshk: jax.Array, dropout: float, key: jax.Array | None
) -> jax.Array:
    """Causal attention that leaves out keys which no query of a block may see.

    Forward and backward of 512 tokens in four blocks take 0.67 of the processor time of one block
    (2 rows, 8 heads of 64, 2 cores); with eight blocks it is not less.
    """
    t = q_bthk.shape[1]
    n_blocks = max(1, min(4, t // 128))
    bounds = [t * block // n_blocks for block in range(n_blocks + 1)]
    mask_1ts = jnp.tril(jnp.ones((1, t, t), bool))
    keys = [None] * n_blocks if key is None else [*jax.random.split(key, n_blocks)]
    blocks = [
        attend(
            q_bthk[:, start:stop],
            k_bshk[:, :stop],
            v_bshk[:, :stop],
            mask_1ts[:, start:stop, :stop],
            dropout,
            keys[block],
        )
        for block, (start, stop) in enumerate(pairwise(bounds))
    ]
    return jnp.concatenate(blocks, axis=1)


def causal(
    implementation: Literal["auto", "xla", "cudnn"], dropout: float, key: jax.Array | None
) -> Attend:
    """How a block attends over a whole row: cuDNN's flash attention, or plain XLA.

    JAX gives cuDNN's kernel no dropout, so attention dropout always takes the XLA path; `auto`
    takes cuDNN on a GPU in bfloat16 otherwise.

    Raises:
      UserError: cuDNN is named and there is no GPU.
    """
    on_gpu = jax.default_backend() == "gpu"
    if implementation == "cudnn" and not on_gpu:
        raise UserError(
            f"config field model.attention=cudnn needs a GPU, and this is {jax.default_backend()};"
            " set it to auto or xla"
        )
    dropping = key is not None and dropout > 0

    def run(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        width = q.shape[-1]
        fits = on_gpu and q.dtype == jnp.bfloat16 and width <= 128 and width % 8 == 0
        if implementation == "cudnn" or (implementation == "auto" and fits and not dropping):
            return jax.nn.dot_product_attention(q, k, v, is_causal=True, implementation="cudnn")
        return attend(q, k, v, None, dropout, key)

    return run
