"""The training loop, read from top to bottom: open, restore, step, report, save."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging
from jax.sharding import Mesh, NamedSharding
from tqdm import tqdm

from phi1_jax.checkpoint import CONFIG, TOKENIZER, Checkpointer, load_model
from phi1_jax.config import RunConfig, to_dict
from phi1_jax.data.loader import Loader
from phi1_jax.errors import UserError
from phi1_jax.metrics import MetricsWriter
from phi1_jax.sharding import make_mesh
from phi1_jax.stage import write_json
from phi1_jax.train.meter import Meter
from phi1_jax.train.signals import stop_signal
from phi1_jax.train.step import MICRO_BATCHES, Batch, State, Trainer, make_trainer
from phi1_jax.train.trace import Trace

# Called with the step and the parameters; returns the curves' names and values.
Evaluator = Callable[[int, Any], Mapping[str, float]]

# Fields that change speed or bookkeeping and nothing that is learned.
FREE_FIELDS = (
    "log_every_steps",
    "eval_every_steps",
    "max_skipped_steps",
    "micro_batch_size",
    "checkpoint.",
    "mesh.",
    "model.remat",
    "model.scan_unroll",
    "model.attention",
)


def train(
    config: RunConfig,
    run: Path,
    evaluators: Mapping[str, Evaluator] | None = None,
    *,
    trace: bool = False,
) -> dict[str, Any]:
    """Trains to `config.steps`, or goes on from the newest undamaged checkpoint in `run`.

    SIGTERM and Ctrl-C end the current step, save, and return; a second one leaves at once.

    Args:
      trace: write a log of loss bits, batch hashes, example ids and state hashes; see `trace.py`.
    Returns:
      start_step (above 0 after a resume), step, steps, tokens (read up to `step`), loss (last
      logged, None without a step), seconds, and `finished`, False after a signal.
    Raises:
      UserError: a setting that does not fit data, devices or the checkpoint in `run`.
      FloatingPointError: `max_skipped_steps` steps in a row had no finite gradient.
    """
    mesh = make_mesh(config.mesh)
    micro_batches = _micro_batches(config, mesh)
    loader = Loader(config.data, config.seed)
    if loader.vocab_size > config.model.vocab_size:
        raise UserError(
            f"config field model.vocab_size={config.model.vocab_size} is smaller than the"
            f" tokenizer's {loader.vocab_size} pieces"
        )
    _refuse_other_config(config, run)
    trainer = make_trainer(config, mesh)
    with (
        closing(Checkpointer(run, config.checkpoint)) as checkpointer,
        closing(MetricsWriter(run, enabled=jax.process_index() == 0)) as writer,
        closing(Trace(run, enabled=trace)) as tracer,
    ):
        writer.settings(to_dict(config))
        step, state, rows = _start(config, trainer, checkpointer, loader)
        # Only now: a run that is refused keeps its own config and tokenizer.
        _write_config(config, run)
        tracer.state(step, state)
        meter = Meter(config, writer, loader.names, rows, step)

        def save() -> None:
            position = {"step": step, "data": loader.fingerprint, "rows": meter.rows.tolist()}
            checkpointer.save(step, state.params, (state.step, state.optimizer), position)

        if step == 0:
            save()
        saved = step
        batches = _on_device(loader.batches(step), mesh, micro_batches)
        progress = tqdm(
            total=config.steps,
            initial=step,
            desc=run.name,
            unit="step",
            disable=jax.process_index() > 0,
            mininterval=1,
        )
        with stop_signal() as stopped, progress:
            while step < config.steps and not stopped():
                batch, examples = next(batches)
                state, metrics = trainer.step(state, batch)
                step += 1
                meter.add(metrics, examples["source"])
                tracer.step(step, metrics, examples)
                progress.update()
                if step % config.log_every_steps == 0 or step == config.steps:
                    progress.set_postfix(meter.log(step))
                if checkpointer.due(step):
                    save()
                    saved = step
                if config.eval_every_steps and step % config.eval_every_steps == 0:
                    for name, evaluate in (evaluators or {}).items():
                        values = evaluate(step, state.params)
                        writer.scalars(step, {f"{name}/{k}": v for k, v in values.items()})
            if saved != step:
                save()
            tracer.state(step, state)
        return meter.summary(step)


def _start(
    config: RunConfig, trainer: Trainer, checkpointer: Checkpointer, loader: Loader
) -> tuple[int, State, list[int]]:
    """The newest checkpoint of this run; else the weights of `init_from`; else fresh ones.

    Returns:
      step, state, and the rows read from each source so far.
    """
    shapes = jax.tree.map(
        lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
        jax.eval_shape(trainer.init),
        trainer.shardings,
    )
    restored = checkpointer.restore(shapes.params, (shapes.step, shapes.optimizer))
    if restored is not None:
        step, params, (counter, optimizer), position = restored
        if position["data"] != loader.fingerprint:
            raise UserError(
                f"{checkpointer.run}: the data differ from those that step {step} was trained on"
                " (sources, weights or shards); give the same ones, or a new --output"
            )
        logging.info("resumed from step %d", step)
        return step, State(counter, params, optimizer), position["rows"]
    state = trainer.init()
    if config.init_from:
        model, params = load_model(Path(config.init_from), shardings=trainer.shardings.params)
        _refuse_other_shape(config, model)
        state = state._replace(params=params)
    return 0, state, [0] * len(loader.names)


def _refuse_other_shape(config: RunConfig, model: Any) -> None:
    for name in ("vocab_size", "n_layers", "d_model", "d_mlp", "n_heads", "rotary_dim"):
        ours, theirs = getattr(config.model, name), getattr(model, name)
        if ours != theirs:
            raise UserError(
                f"config field model.{name}={ours} differs from {theirs} in init_from="
                f"{config.init_from}; make them equal"
            )


def _micro_batches(config: RunConfig, mesh: Mesh) -> int:
    """How many times a step accumulates."""
    shards = mesh.shape["data"] * mesh.shape["fsdp"]
    rows = config.data.global_batch_size
    per_step = (config.micro_batch_size or max(1, rows // shards)) * shards
    if rows % per_step:
        raise UserError(
            f"config field data.global_batch_size={rows} must be a multiple of"
            f" {per_step}: micro_batch_size={config.micro_batch_size or per_step // shards} rows on"
            f" {shards} data-parallel devices"
        )
    return rows // per_step


def _refuse_other_config(config: RunConfig, run: Path) -> None:
    """Compares the config with the one that the run's folder holds, if it holds one."""
    path = run / CONFIG
    if not path.exists():
        return
    for name, old, new in _differences(json.loads(path.read_text("utf-8")), _resolved(config)):
        if not name.startswith(FREE_FIELDS) and not name.startswith("data.sources"):
            raise UserError(
                f"config field {name}={new} differs from {old} in {path}; give the same value,"
                " or a new --output"
            )


def _write_config(config: RunConfig, run: Path) -> None:
    if jax.process_index() == 0:
        if config.data.tokenizer:
            shutil.copytree(config.data.tokenizer, run / TOKENIZER, dirs_exist_ok=True)
        write_json(run / CONFIG, _resolved(config))


def _resolved(config: RunConfig) -> dict[str, Any]:
    """The config as JSON gives it back: lists for tuples."""
    return json.loads(json.dumps(to_dict(config)))


def _differences(old: Any, new: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from _differences(old.get(key), new.get(key), f"{prefix}{key}.")
    elif old != new:
        yield prefix.rstrip("."), old, new


def _on_device(
    batches: Iterator[dict[str, np.ndarray]], mesh: Mesh, micro_batches: int
) -> Iterator[tuple[Batch, dict[str, np.ndarray]]]:
    """Puts the next batch on the devices while the current step runs."""
    sharding = NamedSharding(mesh, MICRO_BATCHES)

    def place(array: np.ndarray) -> jax.Array:
        array = array.reshape(micro_batches, -1, *array.shape[1:])
        return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])

    def placed(batch: dict[str, np.ndarray]) -> tuple[Batch, dict[str, np.ndarray]]:
        return Batch(place(batch["tokens"]), place(batch["loss"])), batch

    ahead = placed(next(batches))
    for batch in batches:
        ready, ahead = ahead, placed(batch)
        yield ready
