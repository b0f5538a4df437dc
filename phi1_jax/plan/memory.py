"""Bytes on each device from shapes alone, in a second: nothing is allocated or compiled."""

from dataclasses import astuple, dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh

from phi1_jax.config import ModelConfig, RunConfig
from phi1_jax.model.phi import Phi
from phi1_jax.train.state_size import state_bytes
from phi1_jax.train.step import count_micro_batches, make_trainer

Remat = Literal["none", "dots", "full"]
REMAT: tuple[Remat, ...] = ("none", "dots", "full")  # from the fastest to the smallest


@dataclass(frozen=True)
class Memory:
    """Bytes on each device for one micro-batch size and remat policy."""

    params: int
    optimizer: int
    gradients: int
    activations: int  # what the forward pass saves for the backward pass
    working: int  # the largest temporary arrays: logits, or one layer's attention

    @property
    def total(self) -> int:
        return sum(astuple(self))


def memory(config: RunConfig, mesh: Mesh) -> Memory:
    """What one device holds at the peak of a step, with the attention that a GPU would take."""
    # What lies where does not depend on how a step is computed: one trace serves all choices.
    same = replace(config, micro_batch_size=0, model=replace(config.model, remat="none"))
    params, optimizer = _state_bytes(same, mesh)
    model, t = config.model, config.data.seq_len
    rows = micro_rows(config, mesh)
    tensor, flash = mesh.shape["tensor"], uses_flash(config)
    # The kernels' own results, the output and a number a query, are saved by `dots` too.
    output = rows * t * (model.n_heads * 4 + model.d_model * 2) // tensor
    saved = model.n_layers * output if flash and model.remat == "dots" else 0
    # Traced on any platform, with the arrays of XLA's attention.
    for shape, size in _saved_per_row(replace(model, attention="xla"), t):
        # [..., h, t, s] of a block of queries; what grows with t alone has the head width there.
        quadratic = shape[-3:-2] == (model.n_heads,) and model.d_head not in shape[-2:]
        split = model.d_mlp in shape or model.vocab_size in shape or quadratic
        if not (quadratic and flash):
            saved += size // (tensor if split else 1) * rows
    logits = rows * t * model.vocab_size // tensor
    attention = 0 if flash else rows * model.n_heads * t * t // tensor
    # Logits, their softmax and their gradient in float32; scores, weights and their gradients.
    working = max(3 * 4 * logits, 4 * 4 * attention)
    if mesh.shape["fsdp"] > 1:
        # Embedding and head gathered in the compute dtype, and their gradients before the split.
        working += 2 * model.vocab_size * model.d_model // tensor * (2 + 4)
    return Memory(params, optimizer, params, saved, working)


def uses_flash(config: RunConfig) -> bool:
    """Whether a GPU keeps no [t, t] array of scores: cuDNN, or with dropout our own kernel."""
    model = config.model
    if model.attention != "auto":
        return model.attention != "xla"
    kernel_fits = model.attention_dropout == 0 or model.d_head in (16, 32, 64, 128)
    return model.compute_dtype in ("auto", "bfloat16") and model.d_head <= 128 and kernel_fits


def micro_rows(config: RunConfig, mesh: Mesh) -> int:
    """Rows that a device computes at once."""
    shards = mesh.shape["data"] * mesh.shape["fsdp"]
    return config.data.global_batch_size // (count_micro_batches(config, mesh) * shards)


@lru_cache(maxsize=32)
def _state_bytes(config: RunConfig, mesh: Mesh) -> tuple[int, int]:
    return state_bytes(make_trainer(config, mesh))


@lru_cache(maxsize=32)
def _saved_per_row(model: ModelConfig, seq_len: int) -> list[tuple[tuple[int, ...], int]]:
    """Shape and bytes, for one row, of each array that the forward pass keeps for the backward.

    The vector-Jacobian product is a pytree whose leaves are those arrays, parameters among them;
    an activation is what grows with the number of rows.
    """
    graph, params = Phi.skeleton(model)

    def kept(n_rows: int) -> list[jax.ShapeDtypeStruct]:
        tokens = jax.ShapeDtypeStruct((n_rows, seq_len), jnp.int32)

        def backward(params: Any, tokens: jax.Array) -> Any:
            key = jax.random.key(0) if model.has_dropout else None
            return jax.vjp(lambda p: nnx.merge(graph, p)(tokens, key), params)[1]

        return jax.tree.leaves(jax.eval_shape(backward, params, tokens))

    return [
        (one.shape, (two.size - one.size) * one.dtype.itemsize)
        for one, two in zip(kept(1), kept(2), strict=True)
        if two.size > one.size
    ]
