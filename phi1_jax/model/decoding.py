"""`Phi` with a cache of keys and values: a whole prompt once, then one token at a time.

Shapes as in `phi.py`; s is a slot of the cache (slot p holds position p), c a slot of `recent`.
"""

import math
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from phi1_jax.config import ModelConfig
from phi1_jax.model.attention import KV, Attend, attention
from phi1_jax.model.flash_decoding import flash_decoding
from phi1_jax.model.phi import LayerNorm, Linear, Phi, compute_dtype, gelu, rotate, rotation
from phi1_jax.model.sharding import BATCH, mesh_of, param_shardings, platform_of

Cache = tuple[KV, ...]  # a layer each


class DecodingBlock(nnx.Module):
    """`Block` with two matmuls in place of six: one that reads the LayerNorm, one that is added."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs) -> None:
        d, m, std = config.d_model, config.d_mlp, config.init_std
        self.norm = LayerNorm(d, config.layer_norm_eps)
        self.qkv_fc1 = Linear(d, 3 * d + m, std, ("embed", "mlp"), rngs)
        self.out_fc2 = Linear(d + m, d, std, ("mlp", "embed"), rngs)
        self.n_heads, self.n_groups = config.n_heads, _n_groups(config)

    def __call__(
        self, x_btd: jax.Array, cos_sin: Any, attend: Attend, past: Any, key: None
    ) -> tuple[jax.Array, Any]:
        """As `Block`, without dropout."""
        b, t, d = x_btd.shape
        groups, width = self.n_groups, d // self.n_groups
        both_btgw = self.qkv_fc1(self.norm(x_btd)).reshape(b, t, groups, -1)
        q, k, v, mlp_btgw = jnp.split(both_btgw, (width, 2 * width, 3 * width), axis=-1)
        q, k, v = (x.reshape(b, t, self.n_heads, -1) for x in (q, k, v))
        y_bthk, kept = attend(rotate(q, *cos_sin), rotate(k, *cos_sin), v, past, key)
        y_btgw = y_bthk.reshape(b, t, groups, -1)
        both_btgw = jnp.concatenate((y_btgw, gelu(mlp_btgw)), axis=-1)
        return x_btd + self.out_fc2(both_btgw.reshape(b, t, -1)), kept


def _n_groups(config: ModelConfig) -> int:
    """Groups of heads and of MLP units; a mesh that cuts both cuts between groups."""
    return math.gcd(config.n_heads, config.d_mlp)


def _merge_matrices(groups: int, block: Any) -> Any:
    """The parameters of a `DecodingBlock` from those of a `Block`."""

    def columns(leaf: str) -> jax.Array:
        parts = [block[name][leaf] for name in ("q", "k", "v", "fc1")]
        lead = parts[0].shape[:-1]
        grouped = [x.reshape(*lead, groups, -1) for x in parts]
        return jnp.concatenate(grouped, axis=-1).reshape(*lead, -1)

    rows = [block[name]["kernel"] for name in ("out", "fc2")]
    d = rows[0].shape[1]
    kernel = jnp.concatenate([x.reshape(groups, -1, d) for x in rows], axis=1).reshape(-1, d)
    return {
        "norm": block["norm"],
        "qkv_fc1": {"kernel": columns("kernel"), "bias": columns("bias")},
        "out_fc2": {"kernel": kernel, "bias": block["out"]["bias"] + block["fc2"]["bias"]},
    }


class DecodingPhi(Phi):
    """A `Phi` whose blocks lie apart, in a loop that is unrolled.

    A scan would copy every layer's weights out of the stack at every token.
    """

    def make_blocks(self, rngs: nnx.Rngs) -> Any:
        """`n_layers` separate blocks."""
        block = DecodingBlock(self.config, rngs)  # copied: building one takes 30 times as long
        return nnx.List([nnx.clone(block) for _ in range(self.config.n_layers)])

    def loop(self, run: Any, x_btd: jax.Array, past_l: Any, keys_l: Any) -> tuple[jax.Array, Cache]:
        """As in `Phi`; `past_l` is a sequence."""
        kept_l = []
        for block, past in zip(self.blocks, past_l or [None] * len(self.blocks), strict=True):
            x_btd, kept = run(block, x_btd, past, None)
            kept_l.append(kept)
        return x_btd, tuple(kept_l)

    def prefill(
        self, tokens_bt: jax.Array, lengths_b: jax.Array
    ) -> tuple[jax.Array, jax.Array, Cache]:
        """Reads whole prompts.

        Args:
          tokens_bt: int[b, t], each prompt at the left of its row; what follows it does not count.
          lengths_b: int[b], tokens of each prompt, at least 1.
        Returns:
          float32[b, v], the logits after the last token of each prompt; [b, t, d], the hidden
          states of all; and a cache of t slots, of which the first `lengths_b` hold.
        """
        x_btd, cache = self.read(tokens_bt, None, keep=True)
        x_bd = x_btd[jnp.arange(len(tokens_bt)), lengths_b - 1]
        return self.logits(x_bd[:, None])[:, 0], x_btd, cache

    def step(
        self,
        cache: Cache,
        recent: Cache,
        tokens_b: jax.Array,
        lengths_b: jax.Array,
        index: jax.Array,
        flash: bool = False,
    ) -> tuple[jax.Array, Cache]:
        """Reads one more token in every row.

        Keys and values written since the last `merge` stand in a small cache of their own,
        `recent`, in which all rows write the same slot. So the large cache is only read while
        tokens are decoded, and rows of different lengths need no scatter until then.

        Args:
          cache: what was known before this chunk of tokens; `lengths_b` slots of each row hold.
          recent: c slots for this chunk; the first `index` hold.
          tokens_b: int[b], at position `lengths_b + index`.
          flash: attends by `flash_decoding`, for one GPU.
        Returns:
          float32[b, v], and `recent` with slot `index` written.
        """
        s, c = cache[0].k_bhsk.shape[2], recent[0].k_bhsk.shape[2]
        holds_bs = jnp.arange(s) < lengths_b[:, None]
        holds_bc = jnp.broadcast_to(jnp.arange(c) <= index, (len(tokens_b), c))
        mask_b1s = jnp.concatenate((holds_bs, holds_bc), axis=1)[:, None]

        def attend(q_b1hk: Any, k_b1hk: Any, v_b1hk: Any, past: Any, key: Any) -> Any:
            known, written = past
            new = KV(k_b1hk.swapaxes(1, 2), v_b1hk.swapaxes(1, 2))
            write = lambda old, new: jax.lax.dynamic_update_slice_in_dim(old, new, index, axis=2)  # noqa: E731
            written = jax.tree.map(write, written, new)
            if flash:
                return flash_decoding(q_b1hk, known, written, lengths_b, index + 1), written
            return attention(q_b1hk, [known, written], mask_b1s), written

        config = self.config
        positions_b1 = (lengths_b + index)[:, None]
        tables = rotation(config.max_seq_len, config.rotary_dim, config.rope_theta)
        found = (jnp.asarray(table)[positions_b1] for table in tables)
        cos_sin = jax.lax.optimization_barrier(tuple(found))  # once, not again in each layer
        past_l = tuple(zip(cache, recent, strict=True))
        x_b1d, recent = self.forward(tokens_b[:, None], cos_sin, attend, past_l)
        return self.logits(x_b1d)[:, 0], recent


@lru_cache(maxsize=8)
def _skeleton(config: ModelConfig, platform: str) -> tuple[Any, Any]:
    return DecodingPhi.skeleton(config, platform)


def decoding_model(config: ModelConfig, platform: str, weights: Any) -> DecodingPhi:
    """The model with weights from `decoding_weights`; call it in compiled code."""
    return nnx.merge(_skeleton(config, platform)[0], weights)


def decoding_weights(config: ModelConfig, params: Any) -> Any:
    """Unstacks the blocks, casts the matrices to the compute dtype and joins those that are read
    together; they stay on their mesh.

    Args:
      params: nested dict as in a checkpoint, blocks stacked on a leading layer axis.
    """
    platform = platform_of(params)
    dtype = compute_dtype(config, platform)

    def unstack(params: Any) -> Any:
        def block(i: int) -> Any:
            return _merge_matrices(
                _n_groups(config), jax.tree.map(lambda x: x[i], params["blocks"])
            )

        apart = {**params, "blocks": {i: block(i) for i in range(config.n_layers)}}
        return jax.tree_util.tree_map_with_path(
            # LayerNorm computes in float32.
            lambda path, x: x if "norm" in jax.tree_util.keystr(path) else x.astype(dtype),
            apart,
        )

    mesh = mesh_of(params)
    shardings = param_shardings(mesh, _skeleton(config, platform)[1]) if mesh else None
    return jax.jit(unstack, out_shardings=shardings)(params)


def empty_cache(config: ModelConfig, platform: str, rows: int, slots: int) -> Cache:
    """Zeros for `rows` rows of `slots` tokens."""
    shape = (rows, config.n_heads, slots, config.d_head)
    zeros = jnp.zeros(shape, compute_dtype(config, platform))
    return (KV(zeros, zeros),) * config.n_layers


def merge(cache: Cache, recent: Cache, lengths_b: jax.Array) -> Cache:
    """Moves `recent` into the cache, behind the `lengths_b` tokens of each row.

    There must be room: the largest length plus the slots of `recent` is at most s.
    """

    @jax.vmap
    def put(old_hsk: jax.Array, new_hck: jax.Array, start: jax.Array) -> jax.Array:
        return jax.lax.dynamic_update_slice_in_dim(old_hsk, new_hck, start, axis=1)

    return jax.tree.map(lambda old, new: put(old, new, lengths_b), cache, recent)


def place(cache: Cache, mesh: Mesh | None) -> Cache:
    """Rows over the data-parallel axes, heads over `tensor`, where the sizes divide."""
    if mesh is None:
        return cache
    b, h, _, _ = cache[0].k_bhsk.shape
    rows = BATCH[0] if b % (mesh.shape["data"] * mesh.shape["fsdp"]) == 0 else None
    heads = "tensor" if h % mesh.shape["tensor"] == 0 else None
    sharding = NamedSharding(mesh, PartitionSpec(rows, heads))
    return jax.lax.with_sharding_constraint(cache, sharding)
