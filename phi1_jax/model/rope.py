"""Rotary position embedding on the leading dimensions of each head (section 2.3)."""

import jax
import jax.numpy as jnp


def rotation(positions_bt: jax.Array, rotary_dim: int, theta: float) -> tuple[jax.Array, jax.Array]:
    """Cosines and sines for each position.

    Args:
      positions_bt: int32[b, t], the position of each token in its document row.
      rotary_dim: how many dimensions rotate, even.
      theta: base of the wavelengths.
    Returns:
      Two float32[b, t, 1, rotary_dim // 2], broadcastable over heads.
    """
    frequencies_r = theta ** (-jnp.arange(0, rotary_dim, 2, dtype=jnp.float32) / rotary_dim)
    angles_btr = positions_bt[..., None].astype(jnp.float32) * frequencies_r
    return jnp.cos(angles_btr)[:, :, None], jnp.sin(angles_btr)[:, :, None]


def rotate(x_bthk: jax.Array, cos: jax.Array, sin: jax.Array) -> jax.Array:
    """Rotates pairs (i, i + r) of the first 2r dimensions of each head; the rest pass.

    The released weights pair the two halves (GPT-NeoX), not neighbours (GPT-J).
    """
    r = cos.shape[-1]
    first, second, rest = jnp.split(x_bthk, (r, 2 * r), axis=-1)
    cos, sin = cos.astype(x_bthk.dtype), sin.astype(x_bthk.dtype)
    return jnp.concatenate((first * cos - second * sin, second * cos + first * sin, rest), axis=-1)
