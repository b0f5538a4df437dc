"""Dropout whose mask is a hash, so that compiled code computes it where it is used."""

from functools import partial

import jax
import jax.numpy as jnp


@partial(jax.checkpoint, static_argnums=1)
def drop(x: jax.Array, rate: float, key: jax.Array) -> jax.Array:
    """Dropout, on any shape: zeroes a share `rate`, and scales the rest to keep the mean.

    An element is kept by a hash of two random words, one for its place along the last axis and one
    for all other axes. No mask reaches memory: the backward pass computes it again. (A random
    number for each element took four bytes in memory for each, written and read.)
    """
    # Drawn apart: devices that hold some of the rows draw these alone, and send nothing.
    row_key, column_key = jax.random.split(key)
    rows = jax.random.bits(row_key, (*x.shape[:-1], 1), jnp.uint32)
    columns = jax.random.bits(column_key, x.shape[-1:], jnp.uint32)
    return jnp.where(keeps(rows, columns, rate), x / (1 - rate), 0)


def keeps(a: jax.Array, b: jax.Array, rate: float) -> jax.Array:
    """bool: whether dropout keeps the elements with these words (uint32), which broadcast."""
    # The rounds of MurmurHash3's finalizer that reach the high bits.
    x = (a ^ b) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 16)) * jnp.uint32(0xC2B2AE35)
    return x >= jnp.uint32(round(rate * 2**32))
