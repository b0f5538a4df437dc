"""The same blocks with a key/value cache: a whole prompt once, then one token at a time.

Training scans over stacked blocks. Here the blocks lie apart and the loop over them is unrolled:
a scan copies every layer's weights out of the stack, at every token. Keys and values written
since the last `merge` stand in a small cache of their own, `recent`, in which all rows write the
same column; so the large cache is only read while tokens are decoded, and rows of different
lengths need no scatter until the end of a chunk.

Shapes as in `phi.py`; s is a slot of the cache (slot p holds position p), c a slot of `recent`.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from phi1_jax.config import ModelConfig
from phi1_jax.model.attention import causal
from phi1_jax.model.linear import Linear
from phi1_jax.model.phi import Block, Embed, LayerNorm, compute_dtype
from phi1_jax.model.rope import rotation
from phi1_jax.model.sharding import BATCH


class Weights(NamedTuple):
    """Parameters for decoding: matrices in the compute dtype, one tree per block."""

    embed: Any
    blocks: tuple[Any, ...]
    final_norm: Any
    head: Any


class Cache(NamedTuple):
    """Keys (rotated) and values per layer, laid out for the matmuls that read them."""

    k_bhks: tuple[jax.Array, ...]
    v_bhsk: tuple[jax.Array, ...]


def decoding_weights(config: ModelConfig, params: Any) -> Weights:
    """Unstacks the blocks and casts the matrices; sharded parameters stay on their mesh.

    Args:
      params: nested dict as in a checkpoint, blocks stacked on a leading layer axis.
    """
    dtype = compute_dtype(config)

    def split(params: Any) -> Weights:
        cast = jax.tree_util.tree_map_with_path(
            # LayerNorm computes in float32.
            lambda path, x: x if "norm" in jax.tree_util.keystr(path) else x.astype(dtype),
            params,
        )
        blocks = tuple(
            jax.tree.map(lambda x, layer=layer: x[layer], cast["blocks"])
            for layer in range(config.n_layers)
        )
        return Weights(cast["embed"], blocks, cast["final_norm"], cast["head"])

    mesh = mesh_of(params)
    if mesh is None:
        return jax.jit(split)(params)

    def place(x: jax.Array, lead: int) -> NamedSharding:
        return NamedSharding(mesh, PartitionSpec(*x.sharding.spec[lead:]))  # type: ignore[attr-defined]

    block = jax.tree.map(lambda x: place(x, 1), params["blocks"])
    rest = {k: jax.tree.map(lambda x: place(x, 0), v) for k, v in params.items() if k != "blocks"}
    shardings = Weights(blocks=(block,) * config.n_layers, **rest)
    return jax.jit(split, out_shardings=shardings)(params)


def mesh_of(params: Any) -> Mesh | None:
    """The mesh that the parameters lie on; None on a single device."""
    sharding = getattr(jax.tree.leaves(params)[0], "sharding", None)
    if isinstance(sharding, NamedSharding) and sharding.mesh.size > 1:
        return sharding.mesh  # type: ignore[return-value]
    return None


def empty_cache(config: ModelConfig, rows: int, slots: int) -> Cache:
    """Zeros for `rows` rows of `slots` tokens."""
    h, k, dtype = config.n_heads, config.d_head, compute_dtype(config)
    layers = range(config.n_layers)
    return Cache(
        tuple(jnp.zeros((rows, h, k, slots), dtype) for _ in layers),
        tuple(jnp.zeros((rows, h, slots, k), dtype) for _ in layers),
    )


def prefill(
    config: ModelConfig, weights: Weights, tokens_bt: jax.Array, lengths_b: jax.Array
) -> tuple[jax.Array, Cache]:
    """Reads whole prompts.

    Args:
      tokens_bt: int[b, t], each prompt at the left of its row; what follows it does not count.
      lengths_b: int[b], tokens of each prompt, at least 1.
    Returns:
      float32[b, v], the logits after the last token of each prompt, and a cache of t slots, of
      which the first `lengths_b` hold.
    """
    b, t = tokens_bt.shape
    cache = Cache((), ())
    plain = causal(config.attention, 0.0, None)

    def attend(q_bthk: jax.Array, k_bthk: jax.Array, v_bthk: jax.Array) -> jax.Array:
        nonlocal cache
        k_bhkt, v_bhtk = k_bthk.transpose(0, 2, 3, 1), v_bthk.swapaxes(1, 2)
        cache = Cache((*cache.k_bhks, k_bhkt), (*cache.v_bhsk, v_bhtk))
        return plain(q_bthk, k_bthk, v_bthk)

    x_btd = _embed(config, weights, tokens_bt)
    cos_sin = rotation(t, config.rotary_dim, config.rope_theta)
    for block in weights.blocks:
        x_btd = _block(config, block)(x_btd, cos_sin, attend)
    return _logits(config, weights, x_btd[jnp.arange(b), lengths_b - 1]), cache


def step(
    config: ModelConfig,
    weights: Weights,
    cache: Cache,
    recent: Cache,
    tokens_b: jax.Array,
    lengths_b: jax.Array,
    index: jax.Array,
) -> tuple[jax.Array, Cache]:
    """Reads one more token in every row.

    Args:
      cache: what was known before this chunk of tokens; `lengths_b` slots of each row hold.
      recent: c slots for this chunk; the first `index` hold.
      tokens_b: int[b], at position `lengths_b + index`.
    Returns:
      float32[b, v], and `recent` with slot `index` written.
    """
    s, c = cache.k_bhks[0].shape[-1], recent.k_bhks[0].shape[-1]
    holds_bs = jnp.arange(s) < lengths_b[:, None]
    holds_bc = jnp.broadcast_to(jnp.arange(c) <= index, (len(tokens_b), c))
    mask_b11s = jnp.concatenate((holds_bs, holds_bc), axis=1)[:, None, None]
    written = Cache((), ())

    def attend(q_b1hk: jax.Array, k_b1hk: jax.Array, v_b1hk: jax.Array) -> jax.Array:
        nonlocal written
        layer = len(written.k_bhks)
        new_k = jax.lax.dynamic_update_slice_in_dim(
            recent.k_bhks[layer], k_b1hk.transpose(0, 2, 3, 1), index, axis=3
        )
        new_v = jax.lax.dynamic_update_slice_in_dim(
            recent.v_bhsk[layer], v_b1hk.swapaxes(1, 2), index, axis=2
        )
        written = Cache((*written.k_bhks, new_k), (*written.v_bhsk, new_v))
        q_bh1k = q_b1hk.swapaxes(1, 2) * config.d_head**-0.5
        scores_bh1s = jnp.concatenate(
            [
                jnp.matmul(q_bh1k, keys, preferred_element_type=jnp.float32)
                for keys in (cache.k_bhks[layer], new_k)
            ],
            axis=-1,
        )
        scores_bh1s = jnp.where(mask_b11s, scores_bh1s, jnp.finfo(jnp.float32).min)
        weights_bh1s = jax.nn.softmax(scores_bh1s, axis=-1).astype(new_v.dtype)
        old, new = weights_bh1s[..., :s], weights_bh1s[..., s:]
        return (old @ cache.v_bhsk[layer] + new @ new_v).swapaxes(1, 2)

    positions_b1 = (lengths_b + index)[:, None]
    tables = rotation(config.max_seq_len, config.rotary_dim, config.rope_theta)
    cos_sin = (jnp.asarray(tables[0])[positions_b1], jnp.asarray(tables[1])[positions_b1])
    x_b1d = _embed(config, weights, tokens_b[:, None])
    for block in weights.blocks:
        x_b1d = _block(config, block)(x_b1d, cos_sin, attend)
    return _logits(config, weights, x_b1d[:, 0]), written


def merge(cache: Cache, recent: Cache, lengths_b: jax.Array) -> Cache:
    """Moves `recent` into the cache, behind the `lengths_b` tokens of each row.

    There must be room: the largest length plus the slots of `recent` is at most s.
    """

    def put(axis: int) -> Callable[[jax.Array, jax.Array], jax.Array]:
        row = lambda old, new, start: jax.lax.dynamic_update_slice_in_dim(old, new, start, axis)  # noqa: E731
        return lambda old, new: jax.vmap(row)(old, new, lengths_b)

    return Cache(
        tuple(map(put(2), cache.k_bhks, recent.k_bhks)),
        tuple(map(put(1), cache.v_bhsk, recent.v_bhsk)),
    )


def constrain(cache: Cache, mesh: Mesh | None) -> Cache:
    """Rows over the data-parallel axes, heads over `tensor`, where the sizes divide."""
    if mesh is None:
        return cache

    def place(x: jax.Array) -> jax.Array:
        rows = BATCH[0] if x.shape[0] % (mesh.shape["data"] * mesh.shape["fsdp"]) == 0 else None
        heads = "tensor" if x.shape[1] % mesh.shape["tensor"] == 0 else None
        spec = PartitionSpec(rows, heads)
        return jax.lax.with_sharding_constraint(x, NamedSharding(mesh, spec))

    return jax.tree.map(place, cache)


def _embed(config: ModelConfig, weights: Weights, tokens: jax.Array) -> jax.Array:
    return nnx.merge(_graphs(config).embed, weights.embed)(tokens)


def _block(config: ModelConfig, params: Any) -> Block:
    return nnx.merge(_graphs(config).blocks[0], params)


def _logits(config: ModelConfig, weights: Weights, x_bd: jax.Array) -> jax.Array:
    graphs = _graphs(config)
    norm = nnx.merge(graphs.final_norm, weights.final_norm)
    return nnx.merge(graphs.head, weights.head)(norm(x_bd)).astype(jnp.float32)


@lru_cache(maxsize=8)
def _graphs(config: ModelConfig) -> Weights:
    """The modules without their parameters; one for all blocks."""

    def build() -> tuple[Embed, Block, LayerNorm, Linear]:
        d, v, rngs = config.d_model, config.vocab_size, nnx.Rngs(0)
        head = Linear(d, v, 1.0, ("embed", "vocab"), rngs)
        return Embed(config, rngs), Block(config, rngs), LayerNorm(d, config.layer_norm_eps), head

    embed, block, norm, head = (nnx.split(module, nnx.Param)[0] for module in nnx.eval_shape(build))
    return Weights(embed, (block,), norm, head)
