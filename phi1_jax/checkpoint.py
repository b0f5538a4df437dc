"""Checkpoints that say when they are damaged: Orbax for the arrays, SHA-256 for the files.

A run's folder holds
  config.json       the resolved `RunConfig` (for converted weights: the model part)
  tokenizer/        what the weights were trained with
  checkpoints/N/    Orbax: params, optimizer, position
  sealed/N.json     SHA-256 of every file of step N, written last
  quarantine/       damaged or unsealed steps, moved aside and never deleted
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging

from phi1_jax.config import CheckpointConfig, ModelConfig, from_dict
from phi1_jax.errors import UserError
from phi1_jax.stage import write_json

CONFIG = "config.json"
TOKENIZER = "tokenizer"


class Checkpointer:
    """Saves, seals, verifies and restores the steps of one run's folder."""

    def __init__(self, run: Path, config: CheckpointConfig) -> None:
        self.run = run.absolute()
        self.steps_folder = self.run / "checkpoints"
        keep = ocp.checkpoint_managers.preservation_policy
        policies = [keep.LatestN(config.keep_last), keep.CustomSteps(list(config.keep_steps))]
        if config.keep_every_steps:
            policies.append(keep.EveryNSteps(config.keep_every_steps))
        self._manager = ocp.CheckpointManager(
            self.steps_folder,
            item_names=("params", "optimizer", "position"),
            options=ocp.CheckpointManagerOptions(
                preservation_policy=keep.AnyPreservationPolicy(policies),
                cleanup_tmp_directories=True,
                create=True,
            ),
        )
        # One thread seals in order; hashing runs at about 1.8 GB/s a core beside training.
        self._sealer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="seal")
        self._sealing: Future[None] | None = None

    def save(self, step: int, params: Any, optimizer: Any, position: Mapping[str, Any]) -> None:
        """Starts saving; returns once the device arrays are copied.

        Args:
          position: what to resume the data with and to compare on restore, JSON-serialisable.
        """
        self.wait()
        self._manager.save(
            step,
            args=ocp.args.Composite(
                params=ocp.args.StandardSave(params),
                optimizer=ocp.args.StandardSave(optimizer),
                position=ocp.args.JsonSave(dict(position)),
            ),
        )
        self._sealing = self._sealer.submit(self._seal, step)

    def wait(self) -> None:
        """Blocks until the last save is on disk and sealed, and raises its error if it failed."""
        if self._sealing is not None:
            sealing, self._sealing = self._sealing, None
            sealing.result()

    def close(self) -> None:
        """Finishes the last save and frees Orbax's threads."""
        self.wait()
        self._sealer.shutdown()
        self._manager.close()

    def restore(self, params: Any, optimizer: Any) -> tuple[int, Any, Any, dict[str, Any]] | None:
        """The newest undamaged step, or None if there is none.

        A damaged step is moved to `quarantine/` and the one before is tried.

        Args:
          params, optimizer: trees of `jax.ShapeDtypeStruct` with shardings, to restore into.
        Returns:
          (step, params, optimizer, position)
        """
        for step in sorted(self._manager.all_steps(), reverse=True):
            if problem := damage(self.run, step):
                self._quarantine(step, problem)
                continue
            restored = self._manager.restore(
                step,
                args=ocp.args.Composite(
                    params=ocp.args.StandardRestore(params),
                    optimizer=ocp.args.StandardRestore(optimizer),
                    position=ocp.args.JsonRestore(),
                ),
            )
            return step, restored.params, restored.optimizer, restored.position
        return None

    def _seal(self, step: int) -> None:
        self._manager.wait_until_finished()
        seal(self.run, step)
        for path in (self.run / "sealed").glob("*.json"):
            if not (self.steps_folder / path.stem).exists():
                path.unlink()

    def _quarantine(self, step: int, problem: str) -> None:
        target = self.run / "quarantine" / str(step)
        number = 0
        while target.exists():
            number += 1
            target = target.with_name(f"{step}.{number}")
        target.parent.mkdir(exist_ok=True)
        logging.warning("checkpoint %d is damaged (%s); moved to %s", step, problem, target)
        shutil.move(self.steps_folder / str(step), target)
        self._manager.reload()


def seal(run: Path, step: int) -> None:
    """Writes the SHA-256 of every file of a finished step."""
    (run / "sealed").mkdir(exist_ok=True)
    write_json(run / "sealed" / f"{step}.json", _hashes(run / "checkpoints" / str(step)))


def damage(run: Path, step: int) -> str:
    """What is wrong with a step's files, in words; empty if nothing is."""
    try:
        sealed = json.loads((run / "sealed" / f"{step}.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return "its save did not finish"
    except ValueError:
        return f"sealed/{step}.json is not JSON"
    found = _hashes(run / "checkpoints" / str(step))
    for name in sorted(sealed.keys() | found.keys()):
        if sealed.get(name) != found.get(name):
            state = "missing" if name not in found else "new" if name not in sealed else "altered"
            return f"{name} is {state}"
    return ""


def write_model(run: Path, model: ModelConfig, params: Any, tokenizer: Path | None) -> None:
    """Writes weights alone as step 0 of a new run folder, for generation or as `init_from`."""
    from dataclasses import asdict

    run = run.absolute()
    run.mkdir(parents=True, exist_ok=True)
    write_json(run / CONFIG, {"model": asdict(model)})
    if tokenizer is not None:
        shutil.copytree(tokenizer, run / TOKENIZER, dirs_exist_ok=True)
    # Orbax's defaults hold a large model three times: they copy it, and collect what they write.
    types = ocp.type_handlers
    arrays = types.create_type_handler_registry(
        (np.ndarray, types.NumpyHandler(deepcopy_host_arrays=False)),
        (jax.Array, types.ArrayHandler()),  # not used, but missed
    )
    handler = ocp.PyTreeCheckpointHandler(
        save_concurrent_gb=1, use_ocdbt=False, type_handler_registry=arrays
    )
    with ocp.Checkpointer(handler) as checkpointer:
        target = run / "checkpoints" / "0" / "params"
        checkpointer.save(target, args=ocp.args.PyTreeSave(jax.tree.map(np.asarray, params)))
    seal(run, 0)


def load_model(
    run: Path, step: int | None = None, shardings: Any = None
) -> tuple[ModelConfig, Any]:
    """The model's config and parameters from a run's folder.

    Args:
      step: which checkpoint; None is the newest.
      shardings: a tree like the parameters; None puts everything on the first device.
    Raises:
      UserError: no run, no such step, or a damaged one.
    """
    run = run.absolute()
    config = read_model_config(run)
    steps = sorted(int(p.name) for p in (run / "checkpoints").glob("[0-9]*") if p.name.isdigit())
    if not steps or (step is not None and step not in steps):
        raise UserError(f"{run}: no checkpoint {'' if step is None else step}; steps are {steps}")
    step = steps[-1] if step is None else step
    if problem := damage(run, step):
        raise UserError(f"{run}/checkpoints/{step} is damaged: {problem}; steps are {steps}")
    if shardings is None:
        shardings = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    folder = run / "checkpoints" / str(step) / "params"
    # The handler itself: a Checkpointer warns that the folder, one item of three, has no metadata.
    with closing(ocp.StandardCheckpointHandler()) as handler:
        shapes = handler.metadata(folder).tree
        if not isinstance(shardings, Mapping):
            shardings = jax.tree.map(lambda _: shardings, shapes)
        target = jax.tree.map(
            lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
            shapes,
            shardings,
        )
        return config, handler.restore(folder, args=ocp.args.StandardRestore(target))


def read_model_config(run: Path) -> ModelConfig:
    """The model part of a run's config.json."""
    try:
        values = json.loads((run / CONFIG).read_text(encoding="utf-8"))
        return from_dict(ModelConfig, values["model"], "model.")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(f"{run} is not a run's folder: it has no {CONFIG}") from error
    except (KeyError, json.JSONDecodeError) as error:
        raise UserError(f"{run / CONFIG} is not a run's config: {error}") from error


def _hashes(folder: Path) -> dict[str, str]:
    hashes = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        with path.open("rb") as file:
            hashes[str(path.relative_to(folder))] = hashlib.file_digest(file, "sha256").hexdigest()
    return hashes
