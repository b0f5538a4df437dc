"""The phi-1 transformer, to be read with section 2.3 of the paper in hand.

Shapes are in the names: b batch, t time, s time attended to, d model width, h heads, k head
width, m MLP width, v vocabulary, l layers. `x_btd` is [batch, time, d_model].
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import ArrayLike

from phi1_jax.config import ModelConfig
from phi1_jax.model.attention import Attend, causal
from phi1_jax.model.dropout import drop
from phi1_jax.model.sharding import constrain

CosSin = tuple[ArrayLike, ArrayLike]  # of the tokens' positions, each [t, 1, r] or [b, t, 1, r]


class Block(nnx.Module):
    """Attention and MLP in parallel, both reading one shared LayerNorm."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs) -> None:
        d, m, std = config.d_model, config.d_mlp, config.init_std
        self.norm = LayerNorm(d, config.layer_norm_eps)
        self.q = Linear(d, d, std, ("embed", "heads"), rngs)
        self.k = Linear(d, d, std, ("embed", "heads"), rngs)
        self.v = Linear(d, d, std, ("embed", "heads"), rngs)
        self.out = Linear(d, d, std, ("heads", "embed"), rngs)
        self.fc1 = Linear(d, m, std, ("embed", "mlp"), rngs)
        self.fc2 = Linear(m, d, std, ("mlp", "embed"), rngs)
        self.n_heads = config.n_heads
        self.dropout = config.residual_dropout

    def __call__(
        self,
        x_btd: jax.Array,
        cos_sin: CosSin,
        attend: Attend,
        past: Any = None,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, Any]:
        """[b, t, d] after this block, and what `attend` keeps of it; see `attention.Attend`."""
        h_btd = self.norm(x_btd)
        b, t, _ = x_btd.shape
        q, k, v = (f(h_btd).reshape(b, t, self.n_heads, -1) for f in (self.q, self.k, self.v))
        keys: Any = (None,) * 3 if key is None else jax.random.split(key, 3)
        y_bthk, kept = attend(rotate(q, *cos_sin), rotate(k, *cos_sin), v, past, keys[0])
        attention_btd = self.out(y_bthk.reshape(b, t, -1))
        mlp_btd = self.fc2(gelu(self.fc1(h_btd)))
        if key is not None and self.dropout > 0:
            attention_btd = drop(attention_btd, self.dropout, keys[1])
            mlp_btd = drop(mlp_btd, self.dropout, keys[2])
        return x_btd + attention_btd + mlp_btd, kept


class Phi(nnx.Module):
    """Decoder-only transformer; `n_layers` blocks stacked on a leading axis and scanned.

    Embedding and head are untied; every linear has a bias, the head too.
    """

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs, platform: str | None = None) -> None:
        """Args:
        platform: of the devices that will run it (`sharding.platform_of`), which the config's
          `auto` depends on; None is JAX's default.
        """
        self.config = config
        self.platform = platform or jax.default_backend()
        self.embed = Embed(config, compute_dtype(config, self.platform), rngs)
        self.blocks = self.make_blocks(rngs)
        self.final_norm = LayerNorm(config.d_model, config.layer_norm_eps)
        self.head = Linear(
            config.d_model, config.vocab_size, config.init_std, ("embed", "vocab"), rngs
        )

    @classmethod
    def skeleton(cls, config: ModelConfig, platform: str | None = None) -> tuple[Any, Any]:
        """The structure without weights, and the shapes of these: nothing is allocated."""
        return nnx.split(nnx.eval_shape(lambda: cls(config, nnx.Rngs(0), platform)), nnx.Param)

    def make_blocks(self, rngs: nnx.Rngs) -> Any:
        """One `Block` whose parameters have a leading layer axis."""

        # `partition=None`: the layer axis is not sharded; axis names shift by one without it.
        @nnx.split_rngs(splits=self.config.n_layers)
        @nnx.vmap(in_axes=0, out_axes=0, transform_metadata={nnx.PARTITION_NAME: None})
        def stack(rngs: nnx.Rngs) -> Block:
            return Block(self.config, rngs)

        return stack(rngs)

    def __call__(self, tokens_bt: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Next-token logits.

        Args:
          tokens_bt: int[b, t], t at most `config.max_seq_len`.
          key: randomness for dropout; None runs without dropout.
        Returns:
          float32[b, t, vocab_size].
        """
        return self.logits(self.hidden(tokens_bt, key))

    def hidden(self, tokens_bt: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """The last hidden state, after the final LayerNorm: [b, t, d_model]."""
        return self.read(tokens_bt, key, keep=False)[0]

    def read(
        self, tokens_bt: jax.Array, key: jax.Array | None, keep: bool
    ) -> tuple[jax.Array, Any]:
        """`hidden`, and with `keep` the keys and values of each layer, as `attention.KV`."""
        config, t = self.config, tokens_bt.shape[1]
        if t > config.max_seq_len:
            raise ValueError(f"{t} tokens are more than max_seq_len={config.max_seq_len}")
        attend = causal(config.attention, config.attention_dropout, self.platform, keep)
        cos_sin = rotation(t, config.rotary_dim, config.rope_theta)
        return self.forward(tokens_bt, cos_sin, attend, key=key)

    def forward(
        self,
        tokens_bt: jax.Array,
        cos_sin: CosSin,
        attend: Attend,
        past_l: Any = None,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, Any]:
        """The one forward pass; `attend` decides what a token sees.

        Args:
          past_l: what each layer's attention gets of earlier tokens.
        Returns:
          [b, t, d_model] after the final LayerNorm, and what `attend` keeps of each layer.
        """

        def run(block: Block, x_btd: jax.Array, past: Any, key: jax.Array | None) -> Any:
            x_btd, kept = block(x_btd, cos_sin, attend, past, key)
            return constrain(x_btd, "batch", None, None), kept

        keys_l = None if key is None else jax.random.split(key, self.config.n_layers)
        x_btd = constrain(self.embed(tokens_bt), "batch", None, None)
        x_btd, kept_l = self.loop(run, x_btd, past_l, keys_l)
        return self.final_norm(x_btd), kept_l

    def loop(
        self, run: Callable[..., Any], x_btd: jax.Array, past_l: Any, keys_l: jax.Array | None
    ) -> tuple[jax.Array, Any]:
        """Scans `run(block, x_btd, past, key) -> (x_btd, kept)` over the layers.

        The backward pass computes again what `config.remat` says.
        """
        graph, params_l = nnx.split(self.blocks)

        def body(x_btd: jax.Array, layer: Any) -> tuple[jax.Array, Any]:
            params, past, key = layer
            return run(nnx.merge(graph, params), x_btd, past, key)

        policies = {
            "dots": matmuls_and_flash_attention_saveable,
            "full": jax.checkpoint_policies.nothing_saveable,
        }
        if self.config.remat != "none":
            # Inside a scan the compiler cannot merge the recomputation away.
            body = jax.checkpoint(body, policy=policies[self.config.remat], prevent_cse=False)
        layers = (params_l, past_l, keys_l)
        return jax.lax.scan(body, x_btd, layers, unroll=self.config.scan_unroll)

    def logits(self, x_btd: jax.Array) -> jax.Array:
        """float32[b, t, vocab_size] from the last hidden state."""
        return constrain(self.head(x_btd).astype(jnp.float32), "batch", None, "vocab")


def _param(value: jax.Array, *axes: str | None) -> nnx.Param:
    """A parameter whose axes have names, which `sharding.py` alone maps to devices."""
    return nnx.Param(value, out_sharding=axes, eager_sharding=False)


class Linear(nnx.Module):
    """y = x W + b; kernel (in, out) and bias are kept in float32 and cast to the input's dtype."""

    def __init__(
        self, d_in: int, d_out: int, std: float, axes: tuple[str, str], rngs: nnx.Rngs
    ) -> None:
        kernel = std * jax.random.normal(rngs.params(), (d_in, d_out), jnp.float32)
        self.kernel = _param(kernel, *axes)
        self.bias = _param(jnp.zeros(d_out, jnp.float32), axes[1])

    def __call__(self, x: jax.Array) -> jax.Array:
        """[..., d_in] -> [..., d_out], in x's dtype."""
        return _matmul(x, self.kernel[...].astype(x.dtype)) + self.bias[...].astype(x.dtype)


@jax.custom_vjp
def _matmul(x: jax.Array, w: jax.Array) -> jax.Array:
    return x @ w


def _matmul_forward(x: jax.Array, w: jax.Array) -> tuple[jax.Array, Any]:
    return x @ w, (x, w)


def _matmul_backward(saved: Any, g: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, w = saved
    # Written as an einsum over both leading axes, the weight gradient takes XLA's fast matmul
    # path on the CPU; what autodiff writes does not (float32 558 -> 490 ms a step, bfloat16
    # 2984 -> 350 ms, d_model 512, 2 cores).
    return g @ w.T, jnp.einsum("...k,...n->kn", x, g)


_matmul.defvjp(_matmul_forward, _matmul_backward)


class LayerNorm(nnx.Module):
    """LayerNorm with scale and bias, computed in float32 for any compute dtype."""

    def __init__(self, width: int, eps: float) -> None:
        self.scale = _param(jnp.ones(width, jnp.float32), "norm")
        self.bias = _param(jnp.zeros(width, jnp.float32), "norm")
        self.eps = eps

    def __call__(self, x_btd: jax.Array) -> jax.Array:
        """[b, t, d], in x's dtype."""
        return layer_norm(x_btd, self.scale[...], self.bias[...], self.eps)


class Embed(nnx.Module):
    """Token embedding; the activations take the compute dtype from here on."""

    def __init__(self, config: ModelConfig, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        shape = (config.vocab_size, config.d_model)
        table_vd = config.init_std * jax.random.normal(rngs.params(), shape, jnp.float32)
        self.table = _param(table_vd, "pieces", None)
        self.dtype = dtype

    def __call__(self, tokens_bt: jax.Array) -> jax.Array:
        """[b, t, d] of int[b, t]."""
        return _rows_of(self.table[...], tokens_bt, self.dtype)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _rows_of(table_vd: jax.Array, tokens_bt: jax.Array, dtype: jnp.dtype) -> jax.Array:
    # Gathered over the fsdp axis in the compute dtype, half the bytes of the activations' sum.
    return constrain(table_vd.astype(dtype), "vocab", None)[tokens_bt]


def _rows_forward(table_vd: jax.Array, tokens_bt: jax.Array, dtype: jnp.dtype) -> Any:
    return _rows_of(table_vd, tokens_bt, dtype), (table_vd, tokens_bt)


def _rows_backward(dtype: jnp.dtype, saved: Any, g_btd: jax.Array) -> tuple[jax.Array, None]:
    # A line's end occurs thousands of times in a batch. Its row's sum in bfloat16, which autodiff
    # would take, stops growing after some hundred summands.
    table_vd, tokens_bt = saved
    sum_vd = jnp.zeros_like(table_vd).at[tokens_bt].add(g_btd.astype(table_vd.dtype))
    return constrain(sum_vd, "pieces", None), None


_rows_of.defvjp(_rows_forward, _rows_backward)


def rotation(length: int, rotary_dim: int, theta: float) -> tuple[np.ndarray, np.ndarray]:
    """Rotary position embedding (section 2.3): cosines and sines for the positions from 0 on.

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


# The backward pass keeps the inputs of these two and computes the rest again: it takes less time
# than to write and read it (CPU), and a third of the memory.


@partial(jax.checkpoint, static_argnums=3)
def layer_norm(x_btd: jax.Array, scale_d: jax.Array, bias_d: jax.Array, eps: float) -> jax.Array:
    """[b, t, d], in x's dtype; scale and bias are float32[d]."""
    x = x_btd.astype(jnp.float32)
    x = x - x.mean(-1, keepdims=True)
    x = x * jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + eps)
    return (x * scale_d + bias_d).astype(x_btd.dtype)


@jax.checkpoint
def gelu(x: jax.Array) -> jax.Array:
    """GELU of any shape, in its tanh approximation x (1 + tanh u) / 2, written x / (1 + exp(-2u)).

    A division comes last because XLA computes what ends in cheaper operations again wherever it
    is used, also while it transposes the result for a weight gradient: a step of d_model 256
    then takes 1.07 times as long on the CPU.
    """
    minus_2u = -2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)
    return x / (1 + jnp.exp(jnp.minimum(minus_2u, 40)))  # e^40 squared is still finite


def matmuls_and_flash_attention_saveable(primitive: Any, *avals: Any, **params: Any) -> Any:
    """A policy of rematerialization: what takes long is not run twice, and is small to keep.

    Without it a flash attention, which is no matmul to JAX, would run again for its two results.
    """
    cudnn = primitive.name == "dot_product_attention_fwd_wrapper"  # JAX's; it has no public name
    ours = jax.checkpoint_policies.save_only_these_names("flash_attention")
    matmuls = jax.checkpoint_policies.dots_with_no_batch_dims_saveable
    return cudnn or ours(primitive, *avals, **params) or matmuls(primitive, *avals, **params)


def compute_dtype(config: ModelConfig, platform: str | None = None) -> jnp.dtype:
    """The dtype of activations; parameters stay in float32. Platform None is JAX's default."""
    if config.compute_dtype == "auto":
        on_cpu = (platform or jax.default_backend()) == "cpu"
        return jnp.dtype("float32" if on_cpu else "bfloat16")
    return jnp.dtype(config.compute_dtype)


def count_params(config: ModelConfig) -> int:
    """Number of parameters, from shapes alone."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(Phi.skeleton(config)[1]))
