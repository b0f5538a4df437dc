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
from flax import nnx
from jax.typing import ArrayLike

from phi1_jax.config import ModelConfig
from phi1_jax.model.attention import Attend, causal
from phi1_jax.model.linear import Linear
from phi1_jax.model.rope import rotate, rotation
from phi1_jax.model.sharding import constrain


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
        cos_sin: tuple[ArrayLike, ArrayLike],
        attend: Attend,
        key: jax.Array | None = None,
    ) -> jax.Array:
        h_btd = self.norm(x_btd)
        b, t, _ = x_btd.shape
        q, k, v = (f(h_btd).reshape(b, t, self.n_heads, -1) for f in (self.q, self.k, self.v))
        y_bthk = attend(rotate(q, *cos_sin), rotate(k, *cos_sin), v)
        attention_btd = self.out(y_bthk.reshape(b, t, -1))
        mlp_btd = self.fc2(gelu(self.fc1(h_btd)))
        if key is None or self.dropout == 0:
            return x_btd + attention_btd + mlp_btd
        key_a, key_m = jax.random.split(key)
        return x_btd + drop(attention_btd, self.dropout, key_a) + drop(mlp_btd, self.dropout, key_m)


class Phi(nnx.Module):
    """Decoder-only transformer; `n_layers` blocks stacked on a leading axis and scanned.

    Embedding and head are untied; every linear has a bias, the head too.
    """

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs) -> None:
        self.config = config
        self.embed = Embed(config, rngs)

        # `partition=None`: the layer axis is not sharded; axis names shift by one without it.
        @nnx.split_rngs(splits=config.n_layers)
        @nnx.vmap(in_axes=0, out_axes=0, transform_metadata={nnx.PARTITION_NAME: None})
        def stack(rngs: nnx.Rngs) -> Block:
            return Block(config, rngs)

        self.blocks = stack(rngs)
        self.final_norm = LayerNorm(config.d_model, config.layer_norm_eps)
        self.head = Linear(
            config.d_model, config.vocab_size, config.init_std, ("embed", "vocab"), rngs
        )

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
        config = self.config
        t = tokens_bt.shape[1]
        if t > config.max_seq_len:
            raise ValueError(f"{t} tokens are more than max_seq_len={config.max_seq_len}")
        cos_sin = rotation(t, config.rotary_dim, config.rope_theta)

        def run(block: Block, x_btd: jax.Array, key: jax.Array | None) -> jax.Array:
            key_a, key_b = (None, None) if key is None else jax.random.split(key)
            attend = causal(config.attention, config.attention_dropout, key_a)
            return block(x_btd, cos_sin, attend, key_b)

        x_btd = constrain(self.embed(tokens_bt), "batch", None, None)
        return self.final_norm(self.scan(run, x_btd, key))

    def scan(
        self,
        run: Callable[[Block, jax.Array, jax.Array | None], jax.Array],
        x_btd: jax.Array,
        key: jax.Array | None,
    ) -> jax.Array:
        """Applies `run(block, x, key)` over the layers, recomputing as `config.remat` says."""
        graph, params_l = nnx.split(self.blocks)
        keys_l = None if key is None else jax.random.split(key, self.config.n_layers)

        def body(x_btd: jax.Array, layer: tuple[Any, jax.Array | None]) -> tuple[jax.Array, None]:
            params, key = layer
            x_btd = run(nnx.merge(graph, params), x_btd, key)
            return constrain(x_btd, "batch", None, None), None

        policies = {
            "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
            "full": jax.checkpoint_policies.nothing_saveable,
        }
        if self.config.remat != "none":
            # Inside a scan the compiler cannot merge the recomputation away.
            body = jax.checkpoint(body, policy=policies[self.config.remat], prevent_cse=False)
        x_btd, _ = jax.lax.scan(body, x_btd, (params_l, keys_l), unroll=self.config.scan_unroll)
        return x_btd

    def logits(self, x_btd: jax.Array) -> jax.Array:
        """float32[b, t, vocab_size] from the last hidden state."""
        return constrain(self.head(x_btd).astype(jnp.float32), "batch", None, "vocab")


class LayerNorm(nnx.Module):
    """LayerNorm with scale and bias, computed in float32 whatever the compute dtype."""

    def __init__(self, width: int, eps: float) -> None:
        self.scale = nnx.Param(jnp.ones(width), out_sharding=("norm",), eager_sharding=False)
        self.bias = nnx.Param(jnp.zeros(width), out_sharding=("norm",), eager_sharding=False)
        self.eps = eps

    def __call__(self, x_btd: jax.Array) -> jax.Array:
        return layer_norm(x_btd, self.scale[...], self.bias[...], self.eps)


class Embed(nnx.Module):
    """Token embedding; the activations take the compute dtype from here on."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs) -> None:
        table_vd = config.init_std * jax.random.normal(
            rngs.params(), (config.vocab_size, config.d_model)
        )
        self.table = nnx.Param(table_vd, out_sharding=("pieces", None), eager_sharding=False)
        self.dtype = compute_dtype(config)

    def __call__(self, tokens_bt: jax.Array) -> jax.Array:
        # Gathered over the fsdp axis in the compute dtype, half the bytes of the activations' sum.
        return constrain(self.table[...].astype(self.dtype), "vocab", None)[tokens_bt]


# The backward pass keeps the inputs of these two and computes the rest again: it takes less time
# than to write and read it (CPU), and a third of the memory.


@partial(jax.checkpoint, static_argnums=3)
def layer_norm(x_btd: jax.Array, scale_d: jax.Array, bias_d: jax.Array, eps: float) -> jax.Array:
    x = x_btd.astype(jnp.float32)
    x = x - x.mean(-1, keepdims=True)
    x = x * jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + eps)
    return (x * scale_d + bias_d).astype(x_btd.dtype)


@jax.checkpoint
def gelu(x: jax.Array) -> jax.Array:
    """GELU in its tanh approximation, x (1 + tanh u) / 2, written as x / (1 + exp(-2u)).

    A division comes last because XLA computes whatever ends in cheaper operations again wherever
    it is used, also while it transposes the result for a weight gradient: a step of d_model 256
    then takes 1.07 times as long on the CPU.
    """
    minus_2u = -2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)
    return x / (1 + jnp.exp(jnp.minimum(minus_2u, 40)))  # e^40 squared is still finite


def drop(x: jax.Array, rate: float, key: jax.Array) -> jax.Array:
    """Dropout: zeroes a share `rate` of the entries and scales the rest to keep the mean."""
    return jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0)


def compute_dtype(config: ModelConfig) -> jnp.dtype:
    """The dtype of activations; parameters stay in float32."""
    if config.compute_dtype == "auto":
        return jnp.dtype("float32" if jax.default_backend() == "cpu" else "bfloat16")
    return jnp.dtype(config.compute_dtype)


def count_params(config: ModelConfig) -> int:
    """Number of parameters, from shapes alone: nothing is allocated."""
    model = nnx.eval_shape(lambda: Phi(config, nnx.Rngs(0)))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
