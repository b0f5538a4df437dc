"""Rotary position embedding on the leading dimensions of each head (section 2.3)."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike


def rotation(length: int, rotary_dim: int, theta: float) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines for the positions from 0 on.

    Computed by NumPy, once: compiled code would do it again at every use, for every head.

    Args:
      rotary_dim: how many dimensions rotate, even.
      theta: base of the wavelengths.
    Returns:
      Two float32[length, 1, rotary_dim // 2], broadcastable over rows and heads.
    """
    exponents_r = -np.arange(0, rotary_dim, 2, dtype=np.float32) / np.float32(rotary_dim)
    frequencies_r = np.float32(theta) ** exponents_r
    angles_tr = np.arange(length, dtype=np.float32)[:, None] * frequencies_r
    return np.cos(angles_tr)[:, None], np.sin(angles_tr)[:, None]


def rotate(x_bthk: jax.Array, cos: ArrayLike, sin: ArrayLike) -> jax.Array:
    """Rotates pairs (i, i + r) of the first 2r dimensions of each head; the rest pass.

    Args:
      cos: [t, 1, r] or [b, t, 1, r], from `rotation`.
      sin: the same.
    Returns:
      [b, t, h, k], in x's dtype.

    The released weights pair the two halves (GPT-NeoX), not neighbours (GPT-J).
    """
    cos, sin = jnp.asarray(cos, x_bthk.dtype), jnp.asarray(sin, x_bthk.dtype)
    r = cos.shape[-1]
    first, second, rest = jnp.split(x_bthk, (r, 2 * r), axis=-1)
    return jnp.concatenate((first * cos - second * sin, second * cos + first * sin, rest), axis=-1)
