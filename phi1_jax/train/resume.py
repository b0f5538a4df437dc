"""How a run starts: from its own newest checkpoint, from other weights, or fresh.

RUN/identity.json holds every setting that decides what is learned, with content in place of paths:
the fingerprints of tokenizer, shards and initial weights. Each checkpoint holds it too, and
takes its place if the file is damaged. A run goes on only if nothing of it has changed,
or if the change was allowed by name; RUN/changes.jsonl then records it.
"""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging

from phi1_jax.config import OptimizerConfig, RunConfig
from phi1_jax.config_dict import flatten, from_dict, to_dict
from phi1_jax.errors import AllProcessesError, UserError, did_you_mean
from phi1_jax.files import (
    NOT_THERE,
    is_hugging_face,
    read_json,
    read_json_if_whole,
    write_json,
)
from phi1_jax.interop.opened import OpenModel
from phi1_jax.run.checkpoint import Checkpointer
from phi1_jax.run.folder import CONFIG, TOKENIZER, committed_steps, step_folder, steps_in
from phi1_jax.tokens.load import find_tokenizer, load_tokenizer, save_for_training
from phi1_jax.tokens.loader import Loader
from phi1_jax.train.optimizer import schedule
from phi1_jax.train.skip_step import SkipState
from phi1_jax.train.step import State, Trainer
from phi1_jax.train.train_metrics import TrainMetrics

IDENTITY = "identity.json"
CHANGES = "changes.jsonl"
RESULT = "result.json"

# Fields and groups that change speed or bookkeeping, and of what is learned only the bits that
# dropout draws.
FREE_FIELDS = (
    "log_every_steps",
    "data.max_rows_without_target",
    "eval_every_steps",
    "max_skipped_steps",
    "peak_tflops",
    "micro_batch_size",
    "loss_chunks",
    "checkpoint",
    "mesh",
    "model.remat",
    "model.scan_unroll",
    "model.attention",
)
# Fields of the model that give the weights their shape or their meaning.
MEANING = (
    *("vocab_size", "n_layers", "d_model", "d_mlp", "n_heads", "rotary_dim"),
    *("rope_theta", "layer_norm_eps"),
)
FIXED_FIELDS = (*(f"model.{name}" for name in MEANING), "optimizer.name")

_SHARDS = "data.sources.{}.shards"

Identity = dict[str, Any]


def identity_of(config: RunConfig, loader: Loader) -> Identity:
    """All that decides what a run learns: dotted field -> value or fingerprint."""
    left_out = (*FREE_FIELDS, "data.sources", "data.tokenizer", "init_from")
    settings = {k: v for k, v in _settings(config).items() if not _within(k, left_out)}
    return {**settings, **loader.identity, "init_from": _weights_identity(config.init_from)}


def _settings(config: RunConfig) -> Identity:
    """Dotted field -> value as JSON gives it back."""
    return json.loads(json.dumps(flatten(to_dict(config))))


def differences(old: Mapping[str, Any], new: Identity) -> dict[str, tuple[Any, Any]]:
    """The fields in which two identities differ, with both values.

    A field that is younger than the old one has its default there, which is what every run did
    before.
    """
    defaults = _settings(RunConfig())
    old = {**{name: defaults[name] for name in new if name in defaults}, **old}
    return {
        name: (old.get(name), new.get(name))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    }


def refuse_changes(
    run_dir: Path, identity: Identity, allow_change: Sequence[str] = ()
) -> dict[str, tuple[Any, Any]]:
    """Compares with the identity that the run's folder holds, if it holds one.

    A run that has begun keeps the initial weights that it is recorded with in `identity`: they may
    since have moved, or be gone.

    Args:
      allow_change: fields that may differ; a group's name allows all below it.
    Returns:
      The differences that were allowed, field -> (old, new).
    Raises:
      UserError: another difference, named; a field that does not exist or cannot change.
    """
    old = _recorded_identity(run_dir)
    for name in allow_change:
        if not any(_within(field, [name]) for field in identity | (old or {})):
            raise UserError(
                f"--allow_change={name}: no such field; {run_dir / IDENTITY} lists them; repeat the"
                f" flag for several{did_you_mean(name, identity)}"
            )
    if old is None:
        return {}
    changed = differences(old, identity)
    was, now = changed.get("init_from", (None, None))
    # The same by content or by path: nobody reads them again once a run has begun.
    if was and now and committed_steps(run_dir) and {*was.split(" ", 1)} & {*now.split(" ", 1)}:
        identity["init_from"] = was
        del changed["init_from"]
    if fixed := [name for name in changed if name in FIXED_FIELDS]:
        was, now = changed[fixed[0]]
        raise UserError(
            f"config field {fixed[0]}={now} differs from {was} in {run_dir}, and checkpoints cannot"
            " follow; give the same value, or a new --output"
        )
    refused = [name for name in changed if not _within(name, allow_change)]
    if {"data.sources", "init_from"} <= set(refused):
        raise UserError(
            f"{run_dir} holds another run: of data.sources={changed['data.sources'][0]} from"
            f" init_from={changed['init_from'][0]}; give a new --output"
        )
    if refused:
        words = ", ".join(f"{name}={changed[name][1]} (was {changed[name][0]})" for name in refused)
        flags = " ".join(f"--allow_change={name}" for name in refused)
        raise UserError(
            f"config fields changed since {run_dir} began: {words}; give the same values, a new"
            f" --output, or {flags}"
        )
    return changed


def start(
    config: RunConfig, trainer: Trainer, checkpointer: Checkpointer, identity: Identity
) -> tuple[int, State, dict[str, Any]]:
    """The newest checkpoint of this run; else the weights of `init_from`; else fresh ones.

    Args:
      identity: this run's; its data.tokenizer made the shards.
    Returns:
      step, state, and what was saved beside them ({} at step 0 of a new run).
    Raises:
      UserError: weights of another model, or trained on another tokenizer's ids; the run has
        taken more steps than `config.steps`.
    """
    shapes = jax.eval_shape(trainer.init)  # with the shardings of its results
    restored = checkpointer.restore(shapes.params, (shapes.step, shapes.optimizer))
    if restored is not None:
        step, params, (counter, optimizer), position = restored
        if step > config.steps:
            raise AllProcessesError(
                f"config field steps={config.steps}: {checkpointer.run_dir} has taken {step} steps;"
                " give at least as many, or a new --output"
            )
        _warn_of_new_rate(config, position)
        skip = _restore_skip_state(shapes.skip, position, identity["data.sources"])
        return step, State(counter, params, optimizer, skip), position
    if not config.init_from:
        return 0, trainer.init(), {}
    source = OpenModel(config.init_from)
    pairs = [(name, getattr(config.model, name), getattr(source.config, name)) for name in MEANING]
    if wrong := [pair for pair in pairs if pair[1] != pair[2]]:
        differences = ", ".join(f"model.{name}={ours}" for name, ours, _ in wrong)
        flags = " ".join(f"--config.model.{name}={theirs}" for name, _, theirs in wrong)
        raise UserError(
            f"config differs in {differences} from init_from={config.init_from}; give {flags}"
        )
    if _tokenizer_of(source.path) not in (identity["data.tokenizer"], None):
        raise UserError(
            f"config field init_from={config.init_from}: trained with another tokenizer than the"
            " one that made the shards of data.sources; run tokenize_corpus with"
            f" --tokenizer={source.path}"
        )
    params = source.params(trainer.shardings.params)
    return 0, trainer.init()._replace(params=params), {}


def _warn_of_new_rate(config: RunConfig, position: Mapping[str, Any]) -> None:
    """Says how far a resumed run's learning rate leaps, if its schedule was changed."""
    old, updates = position["identity"], position["skip_step"]["updates"]
    fields = {k.partition(".")[2]: v for k, v in old.items() if k.startswith("optimizer.")}
    before = from_dict(OptimizerConfig, fields, "optimizer.")
    if (before, old["steps"]) == (config.optimizer, config.steps) or not updates:
        return
    was = float(schedule(before, old["steps"])(updates - 1))
    now = float(schedule(config.optimizer, config.steps)(updates))
    if not 0.8 * was <= now <= 1.25 * was:
        logging.warning(
            "the learning rate goes from %.2g to %.2g at step %d: the schedule runs as if"
            " steps=%d had been planned from the start. For a new warm-up and decay from here:"
            " --config.optimizer.schedule_start=%d; for a constant rate also set peak_learning_rate"
            " and final_learning_rate; each with --allow_change=optimizer",
            was,
            now,
            position["step"] + 1,
            config.steps,
            position["step"],
        )


def position_of(
    step: int, state: State, metrics: TrainMetrics, loader: Loader, identity: Identity
) -> dict[str, Any]:
    """What a checkpoint holds beside weights and optimizer, for JSON."""
    return {
        "step": step,
        "tokens": dict(metrics.tokens),
        "rows": dict(metrics.rows),
        "shards": metrics.shards | {name: identity[_SHARDS.format(name)] for name in loader.names},
        "mixture": {"step": loader.from_step, "rows": loader.from_rows},
        "skip_step": {k: v.tolist() for k, v in jax.device_get(state.skip)._asdict().items()},
        "identity": dict(identity),
    }


def _restore_skip_state(
    shapes: SkipState, position: Mapping[str, Any], sources: Sequence[str]
) -> SkipState:
    """As it was saved; where the sources or the window changed, only the counts."""
    saved = position["skip_step"]
    same = position["identity"]["data.sources"] == sources
    same &= np.shape(saved["losses"]) == shapes.losses.shape

    def restore(name: str, shape: jax.ShapeDtypeStruct) -> jax.Array:
        value = np.zeros(shape.shape, shape.dtype)
        if same or name in ("skipped", "skipped_in_a_row", "updates"):
            value[...] = saved[name]
        return jax.device_put(value, shape.sharding)

    return SkipState(**{name: restore(name, x) for name, x in shapes._asdict().items()})


def go_on_reading(
    loader: Loader, config: RunConfig, step: int, position: dict[str, Any], identity: Identity
) -> dict[str, Any]:
    """Lets the loader go on from what the run has read of each source.

    With unchanged settings the mixture that was begun goes on. Else a new one begins at this step,
    each source after the rows that were read of it: of one whose text changed from its start, and
    where rows are cut anew after as many tokens.

    Returns:
      The position; its rows, also of sources that the mixture has no more, as they are cut now.
    Raises:
      UserError: see `Loader.go_on`.
    """
    if not position:
        loader.go_on(0, {}, config.steps)
        return position
    old = position["identity"]
    mixing = ["data", "seed"]
    if any(source.epochs for source in config.data.sources):
        mixing.append("steps")  # they decide how epochs are spread
    changed = {name for name in differences(old, identity) if _within(name, mixing)}
    if not changed - {"data.loss_on", "data.tokenizer"}:
        mixture = position["mixture"]
        loader.go_on(mixture["step"], mixture["rows"], config.steps)
        return position
    rows = {
        name: n * old["data.seq_len"] // config.data.seq_len for name, n in position["rows"].items()
    }
    left = position.get("shards", {})  # of sources that the old mixture did not have
    for name in loader.names:
        shards = _SHARDS.format(name)
        if old.get(shards, left.get(name)) != identity[shards]:
            rows[name] = 0
    loader.go_on(step, rows, config.steps)
    read = ", ".join(f"{name} after {rows[name]:,} rows" for name in loader.names)
    again = {"seed", "data.seq_len", "data.packing", "data.validation_rows"} & changed
    logging.warning(
        "%s changed: from step %d on the sources are mixed anew, %s%s",
        ", ".join(sorted(changed)),
        step,
        read,
        f"; {', '.join(sorted(again))} shuffles them anew, so rows of the epoch that was begun may"
        " come again"
        if again
        else "",
    )
    return {**position, "rows": rows}


def record_start(
    config: RunConfig,
    run_dir: Path,
    step: int,
    identity: Identity,
    changed: Mapping[str, tuple[Any, Any]],
) -> None:
    """Writes config, tokenizer and identity into the folder, and what was allowed to change.

    Only a run that was not refused gets here, so that a refused one keeps its own.
    """
    if jax.process_index() > 0:
        return
    tokenizer, copy = find_tokenizer(config.data.tokenizer), run_dir / TOKENIZER
    if config.data.tokenizer and not (copy.exists() and copy.samefile(tokenizer)):
        save_for_training(tokenizer, copy)
    if changed:
        with (run_dir / CHANGES).open("a", encoding="utf-8") as file:
            for name, (old, new) in changed.items():
                row = {"step": step, "time": round(time.time(), 3), "field": name}
                file.write(json.dumps({**row, "old": old, "new": new}) + "\n")
    write_json(run_dir / CONFIG, to_dict(config))
    write_json(run_dir / IDENTITY, identity)


def record_result(run_dir: Path, result: dict[str, Any]) -> dict[str, Any]:
    """Writes result.json; where no step was taken since it was written, returns that one."""
    file = run_dir / RESULT
    if result["step"] == result["start_step"]:
        old = read_json_if_whole(file)
        if all(old.get(name) == result[name] for name in ("step", "steps", "finished")):
            return {**old, "start_step": result["start_step"]}
    if jax.process_index() == 0:
        write_json(file, result)
    return result


def _within(field: str, names: Iterable[str]) -> bool:
    """Whether a field is one of these, or belongs to a group of them."""
    return any(f"{field}.".startswith(f"{name}.") for name in names)


def _recorded_identity(run_dir: Path) -> Identity | None:
    """What the run was begun with; None if there is no run yet.

    Raises:
      UserError: there are checkpoints, and nothing says of what.
    """
    file = run_dir / IDENTITY
    try:
        return read_json(file)
    except UserError:
        problem = "damaged" if file.exists() else "missing"
    for step in reversed(committed_steps(run_dir)):
        try:
            position = ocp.JsonCheckpointHandler().restore(step_folder(run_dir, step) / "position")
            identity = dict(position["identity"])
        except (*NOT_THERE, ValueError, TypeError, KeyError):
            continue
        logging.warning("%s is %s; step %d says the same and is used", file, problem, step)
        return identity
    if steps_in(run_dir):
        raise UserError(
            f"{run_dir} holds checkpoints but no {IDENTITY}, so no run that can go on; give a new"
            " --output, and its weights as --config.init_from"
        )
    return None


def _tokenizer_of(folder: Path) -> str | None:
    """Fingerprint of the tokenizer that a model's weights were trained with, if it says."""
    if is_hugging_face(folder) or (folder / TOKENIZER).is_dir():
        return load_tokenizer(folder).fingerprint
    identity = _recorded_identity(folder) if (folder / IDENTITY).is_file() else None
    return (identity or {}).get("data.tokenizer")


def _weights_identity(init_from: str) -> str | None:
    """The hash of all files' hashes of the checkpoint ("?" if it is gone), and its path."""
    if not init_from:
        return None
    try:
        found = OpenModel(init_from).identity[:16]
    except UserError:
        found = "?"
    return f"{found} ({init_from})"
