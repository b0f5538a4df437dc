"""One optimizer step: next-token loss, gradient accumulation, update."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import logging
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from phi1_jax.config import RunConfig
from phi1_jax.errors import UserError
from phi1_jax.model.induction import place_induction_heads
from phi1_jax.model.phi import Phi
from phi1_jax.model.sharding import (
    BATCH,
    activations_on,
    make_mesh,
    param_shardings,
    platform_of,
    replicated,
)
from phi1_jax.train.optimizer import make_optimizer
from phi1_jax.train.skip_step import Measured, SkipState, decide, new_skip_state

# The axis of accumulation leads; each micro-batch lies over the data-parallel axes.
MICRO_BATCHES = PartitionSpec(None, *BATCH)

Metrics = dict[str, jax.Array]


class Batch(NamedTuple):
    """Rows of tokens for one step, cut into n micro-batches of b rows."""

    tokens: Any  # int32[n, b, t + 1]; inputs are all but the last, targets all but the first
    loss_mask: Any  # bool[n, b, t]; the targets that count
    source: Any  # int32[n, b]; each row's number in `data.sources`


class State(NamedTuple):
    """All that training changes: a plain pytree, since merging a module costs host time."""

    step: Any  # int32[], optimizer steps taken
    params: Any  # nested dict of float32
    optimizer: Any  # optax's state
    skip: SkipState


class Trainer(NamedTuple):
    """The compiled pieces of a run on one mesh."""

    shardings: State
    init: Callable[[], State]
    step: Callable[[State, Batch], tuple[State, Metrics]]
    # (params, tokens[b, t + 1], loss_mask[b, t]) -> the sum of -log p over the targets that count,
    # without dropout.
    nll: Callable[[Any, Any, Any], jax.Array]


class StepDone(NamedTuple):
    """A step that the devices have been given; what it returns may not be there yet."""

    step: int  # 1 for a run's first
    state: State  # after it
    metrics: Metrics
    examples: Mapping[str, np.ndarray]  # its batch as the loader gave it


class Hook:
    """What happens beside the steps; each kind overrides what it needs."""

    def begin(self, step: int, state: State) -> None:
        """Before the first step of this process, with the state after `step`; 0 for a new run."""

    def after_step(self, done: StepDone) -> None:
        """After each step. The next one takes the memory of `done.state`: keep no array of it."""

    def end(self, step: int, state: State) -> None:
        """After the last step of this process, unless an error ended it."""


def make_trainer(config: RunConfig, mesh: Mesh) -> Trainer:
    """Builds the sharded init and step functions (pjit: `jax.jit` with shardings).

    Randomness is a function of (seed, step) alone, so there is none to save.
    """
    optimizer = make_optimizer(config.optimizer, config.steps)
    n_sources = max(1, len(config.data.sources))
    graph, abstract = Phi.skeleton(config.model, platform_of(mesh))

    def init() -> State:
        model = Phi(config.model, nnx.Rngs(params=config.seed), platform_of(mesh))
        params = nnx.to_pure_dict(nnx.state(model, nnx.Param))
        if config.model.n_induction_heads:
            params = place_induction_heads(config.model, params, jax.random.key(config.seed))
        skip = new_skip_state(config.skip_step, n_sources)
        return State(jnp.zeros((), jnp.int32), params, optimizer.init(params), skip)

    shardings = _state_shardings(mesh, param_shardings(mesh, abstract), optimizer, init)

    def row_sums(
        params: Any, tokens: jax.Array, loss_mask: jax.Array, key: jax.Array | None
    ) -> tuple[jax.Array, ...]:
        """Of -log p, 1 - p and (1 - p)**2 over each row's targets that count: float32[b] each."""
        model = nnx.merge(graph, params)

        def piece(sums: Any, rows: Any) -> tuple[Any, None]:
            x_btd, targets_bt, counts_bt = rows
            nll_bt = optax.softmax_cross_entropy_with_integer_labels(
                model.logits(x_btd), targets_bt
            )
            error_bt = -jnp.expm1(-jax.lax.stop_gradient(nll_bt))
            each = (nll_bt, error_bt, error_bt**2)
            found = (jnp.sum(values * counts_bt, 1) for values in each)
            return tuple(map(jnp.add, sums, found)), None

        zeros = (jnp.zeros(len(tokens), jnp.float32),) * 3
        with activations_on(mesh):
            whole = (model.hidden(tokens[:, :-1], key), tokens[:, 1:], loss_mask)
            if config.loss_chunks == 1:
                return piece(zeros, whole)[0]
            # Of each piece's logits, none is kept for the backward pass.
            recomputed = jax.checkpoint(piece, prevent_cse=False)
            pieces = jax.tree.map(lambda x: _cut(x, config.loss_chunks), whole)
            return jax.lax.scan(recomputed, zeros, pieces)[0]

    def by_source(values_b: jax.Array, source_b: jax.Array) -> jax.Array:
        """Sums over the rows of each source: [b] -> [s]."""
        mine_sb = source_b == jnp.arange(n_sources)[:, None]
        return jnp.sum(jnp.where(mine_sb, values_b, 0), 1, dtype=values_b.dtype)

    def step(state: State, batch: Batch) -> tuple[State, Metrics]:
        count = jnp.maximum(jnp.sum(batch.loss_mask), 1)
        # By name: other generators draw other bits on another number of devices.
        key = jax.random.fold_in(jax.random.key(config.seed, impl="threefry2x32"), state.step)
        dropping = config.model.has_dropout

        def accumulate(carry: Any, item: Any) -> Any:
            micro, index = item
            micro_key = jax.random.fold_in(key, index) if dropping else None

            def share(params: Any) -> tuple[jax.Array, Any]:
                nll_b, *errors = row_sums(params, micro.tokens, micro.loss_mask, micro_key)
                sums = (by_source(nll_b, micro.source), *map(jnp.sum, errors))
                # The mean's division is here, at a scalar, not in a pass over the gradients.
                return jnp.sum(nll_b) / count, sums

            found = jax.value_and_grad(share, has_aux=True)(state.params)
            return jax.tree.map(jnp.add, carry, found), None

        n_micro = batch.tokens.shape[0]
        zero = jnp.zeros((), jnp.float32)
        sums = (jnp.zeros(n_sources, jnp.float32), zero, zero)
        carry = ((zero, sums), jax.tree.map(jnp.zeros_like, state.params))
        if n_micro == 1:
            carry, _ = accumulate(carry, (jax.tree.map(lambda x: x[0], batch), 0))
        else:
            carry, _ = jax.lax.scan(accumulate, carry, (batch, jnp.arange(n_micro)))
        (loss, (nll_s, errors, squares)), grads = carry
        norm = optax.tree.norm(grads)
        source = batch.source.reshape(-1)
        targets_s = by_source(jnp.sum(batch.loss_mask, 2, dtype=jnp.int32).reshape(-1), source)
        rows_s = by_source(jnp.ones_like(source), source)
        error = jnp.sqrt(errors * jnp.sqrt(squares)) / count
        measured = Measured(nll_s, targets_s, rows_s, error, norm)
        updates, optimizer_state = optimizer.update(grads, state.optimizer, state.params)
        updated = (optax.apply_updates(state.params, updates), optimizer_state)
        keep, skip = decide(config.skip_step, config.model.vocab_size, state.skip, measured)
        empty = jnp.sum(targets_s) == 0
        # `where`, since 0 * NaN is NaN.
        params, optimizer_state = jax.tree.map(
            lambda new, old: jnp.where(keep, new, old),
            updated,
            (state.params, state.optimizer),
        )
        metrics = {
            "loss": loss,
            "gradient_norm": norm,
            "empty": empty,
            "skipped": ~keep & ~empty,
            "skipped_steps": skip.skipped,
            "skipped_in_a_row": skip.skipped_in_a_row,
            "skipped_rows": skip.skipped_rows,
            "updates": skip.updates,
        }
        return State(state.step + 1, params, optimizer_state, skip), metrics

    batch_sharding = NamedSharding(mesh, MICRO_BATCHES)
    return Trainer(
        shardings,
        jax.jit(init, out_shardings=shardings),
        jax.jit(
            step,
            in_shardings=(shardings, batch_sharding),
            out_shardings=(shardings, replicated(mesh)),
            donate_argnums=0,
        ),
        jax.jit(
            lambda params, tokens, mask: jnp.sum(row_sums(params, tokens, mask, None)[0]),
            in_shardings=(shardings.params, *[NamedSharding(mesh, BATCH)] * 2),
            out_shardings=replicated(mesh),
        ),
    )


def training_mesh(config: RunConfig, devices: list[jax.Device] | None = None) -> Mesh:
    """The devices that a run trains on; with `mesh.data=-1` no more than a step has rows for.

    On several hosts each device is needed, so that there too few rows are refused.
    """
    sizes, devices = config.mesh, devices or jax.devices()
    rows_each = max(1, config.micro_batch_size) * sizes.fsdp
    most = config.data.global_batch_size // rows_each * sizes.fsdp * sizes.tensor
    if sizes.data == -1 and 0 < most < len(devices) and jax.process_count() == 1:
        message = (
            "%d of %d devices are used: config field data.global_batch_size=%d has no more rows"
        )
        logging.warning(message, most, len(devices), config.data.global_batch_size)
        devices = devices[:most]
    return make_mesh(sizes, devices)


def count_micro_batches(config: RunConfig, mesh: Mesh) -> int:
    """How many times a step accumulates.

    Raises:
      UserError: the devices do not divide the global batch into whole micro-batches.
    """
    shards = mesh.shape["data"] * mesh.shape["fsdp"]
    rows, micro = config.data.global_batch_size, config.micro_batch_size or 1
    if rows % (micro * shards):
        raise UserError(
            f"config field data.global_batch_size={rows} must be a multiple of {micro * shards}:"
            f" micro_batch_size={config.micro_batch_size} on {shards} data-parallel devices"
        )
    return rows // (micro * shards) if config.micro_batch_size else 1


def on_device(
    batches: Iterator[dict[str, np.ndarray]], mesh: Mesh, micro_batches: int
) -> Iterator[tuple[Batch, dict[str, np.ndarray]]]:
    """Each batch on the devices, one ahead of the step that runs, and as the loader gave it."""
    sharding = NamedSharding(mesh, MICRO_BATCHES)

    def placed(batch: dict[str, np.ndarray]) -> tuple[Batch, dict[str, np.ndarray]]:
        parts = (batch[name] for name in Batch._fields)
        cut = (part.reshape(micro_batches, -1, *part.shape[1:]) for part in parts)
        return Batch(*(place(part, sharding) for part in cut)), batch

    ahead = placed(next(batches))
    for batch in batches:
        ready, ahead = ahead, placed(batch)
        yield ready


def place(array: np.ndarray, sharding: NamedSharding) -> jax.Array:
    """Puts an array that every process holds whole where the sharding says."""
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


def _cut(x_bt: jax.Array, n: int) -> jax.Array:
    """[b, t, ...] -> [n, b, t / n, ...]"""
    return x_bt.reshape(len(x_bt), n, -1, *x_bt.shape[2:]).swapaxes(0, 1)


def _state_shardings(
    mesh: Mesh, params: Any, optimizer: optax.GradientTransformation, init: Callable[[], State]
) -> State:
    """Optimizer moments lie where their parameters lie; all else is replicated."""
    everywhere = replicated(mesh)
    shapes = jax.eval_shape(init)
    moments = optax.tree_map_params(
        optimizer,
        # Muon and Adam each leave out the parameters of the other.
        lambda moment, sharding: moment if isinstance(moment, optax.MaskedNode) else sharding,
        shapes.optimizer,
        params,
        transform_non_params=lambda _: everywhere,
        is_leaf=lambda x: isinstance(x, optax.MaskedNode),
    )
    return State(everywhere, params, moments, jax.tree.map(lambda _: everywhere, shapes.skip))
