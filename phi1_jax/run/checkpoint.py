"""Checkpoints that say when they are damaged: Orbax for the arrays, SHA-256 for the files.

`folder.py` says what lies where, and which steps can be trusted.
"""

import shutil
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from jax.sharding import NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding

from phi1_jax.config import CheckpointConfig, MeshConfig, ModelConfig
from phi1_jax.errors import UserError
from phi1_jax.files import copy_folder, write_json
from phi1_jax.model.sharding import make_mesh
from phi1_jax.run import distributed, read_back
from phi1_jax.run import folder as run_folder

# Orbax says at every save that there is nothing to merge where it does not use OCDBT.
logging.get_absl_logger().addFilter(lambda record: "Skipping merge" not in str(record.msg))


class Checkpointer:
    """Saves, commits, verifies and restores the steps of one run's folder.

    With several processes every one of them calls every method at the same step; the first one
    alone commits, verifies, deletes and decides.
    """

    def __init__(self, run_dir: Path, config: CheckpointConfig) -> None:
        self.run_dir = run_dir.absolute()
        self._config = config
        self._first = jax.process_index() == 0
        distributed.decide(lambda: run_folder.refuse_unusable(self.run_dir))
        if self._first:
            (self.run_dir / run_folder.CHECKPOINTS).mkdir(parents=True, exist_ok=True)
            run_folder.clean(self.run_dir)
        # Without OCDBT: Orbax merges its files through a glob of the path as it is, and a run in
        # `lr[1e-3]/` could not be restored.
        self._orbax = ocp.AsyncCheckpointer(
            ocp.CompositeCheckpointHandler(
                params=ocp.StandardCheckpointHandler(use_ocdbt=False),
                optimizer=ocp.StandardCheckpointHandler(use_ocdbt=False),
                position=ocp.JsonCheckpointHandler(),
            )
        )
        # One thread commits in order; hashing runs at about 1.8 GB/s a core beside training.
        self._committer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="commit")
        self._saving: tuple[int, Future[None]] | None = None
        self._held: int | None = None  # the step restored or saved last
        self._failures = 0  # in a row
        self._failure: UserError | None = None  # of the last save, if it failed
        self._retry_at, self._said = 0, False

    def due(self, step: int) -> bool:
        """Whether to save after `step`: at the interval, to keep it, or again after a failure.

        Call it after every step: here the failure of a save in the background comes to light.

        Raises:
          UserError: a save failed, and more than `retries` did in a row.
        """
        if self._saving is not None and self._saving[1].done():
            self.wait()
        failed = self._failure is not None and self._saving is None
        if failed and not self._said:  # here and not at once: a run that ends does not try again
            self._said = True
            logging.warning(
                "%s (failure %d of %d in a row; next try at step %d)",
                self._failure,
                self._failures,
                self._config.retries + 1,
                self._retry_at,
            )
        again = failed and step >= self._retry_at
        intervals = [self._config.every_steps, self._config.keep_every_steps]
        due = any(step % interval == 0 for interval in intervals if interval)
        return again or due or step in self._config.keep_steps

    def save(self, step: int, params: Any, optimizer: Any, position: Mapping[str, Any]) -> None:
        """Starts saving; returns once the device arrays are copied. A step that is there stays.

        The old steps that the policy does not keep go once this one is committed.

        Args:
          position: what to resume the data with and to compare on restore, JSON-serialisable.
        Raises:
          UserError: this save would not fit the disk, or the last one failed, and more than
            `retries` did in a row.
        """
        self.wait()
        if step == self._held:
            return
        if self._first and self._failure is not None:
            # Of what Orbax still wrote while the failed save was removed.
            run_folder.clean(self.run_dir)
        try:
            self._refuse_full_disk((params, optimizer))
            contents = read_back.describe(params, optimizer=optimizer)
            self._orbax.save(
                run_folder.step_folder(self.run_dir, step),
                args=ocp.args.Composite(
                    params=ocp.args.StandardSave(params),
                    optimizer=ocp.args.StandardSave(optimizer),
                    position=ocp.args.JsonSave(dict(position)),
                ),
            )
        except Exception as error:
            self._failed(step, error)
        else:
            self._saving = step, self._committer.submit(self._finish, step, contents)

    def wait(self) -> None:
        """Blocks until the last save is on disk and committed.

        Raises:
          UserError: it failed, and more than `retries` did in a row.
        """
        if self._saving is None:
            return
        (step, saving), self._saving = self._saving, None
        try:
            saving.result()
        except Exception as error:
            self._failed(step, error)
        else:
            self._held, self._failures, self._failure = step, 0, None

    def close(self) -> None:
        """Finishes the last save and frees Orbax's threads.

        Raises:
          UserError: the last save failed.
        """
        try:
            self.wait()
            if self._failure is not None:
                raise self._failure
        finally:
            self._committer.shutdown()
            self._orbax.close()

    def restore(self, params: Any, optimizer: Any) -> tuple[int, Any, Any, dict[str, Any]] | None:
        """The newest undamaged step, or None if the run has none yet.

        A damaged step is moved to `quarantine/` and the one before is tried; not one that cannot
        be read.

        Args:
          params: tree of `jax.ShapeDtypeStruct` with shardings, to restore into.
          optimizer: the same, of what only training needs.
        Returns:
          (step, params, optimizer, position)
        Raises:
          UserError: every step is damaged, or one cannot be read.
        """
        step = distributed.decide(lambda: run_folder.newest_undamaged(self.run_dir))
        if step is None:
            return None
        self._held = step
        restored = self._orbax.restore(
            run_folder.step_folder(self.run_dir, step),
            args=ocp.args.Composite(
                params=ocp.args.StandardRestore(params),
                optimizer=ocp.args.StandardRestore(optimizer),
                position=ocp.args.JsonRestore(),
            ),
        )
        return step, restored.params, restored.optimizer, restored.position

    def _finish(self, step: int, contents: dict[str, Any]) -> None:
        """In the background: waits for Orbax, reads back, commits, and only then deletes."""
        self._orbax.wait_until_finished()
        if self._first:
            folder = run_folder.step_folder(self.run_dir, step)
            if problem := read_back.not_restorable(folder, contents):
                raise OSError(f"it cannot be read back: {problem}")
            run_folder.commit(self.run_dir, step, contents)
            try:
                run_folder.prune(self.run_dir, self._config)
            except OSError as error:
                logging.warning("an old checkpoint was not deleted: %s", error)

    def _failed(self, step: int, error: Exception) -> None:
        if self._first:
            run_folder.abandon(self.run_dir, step)
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        kept = run_folder.committed_steps(self.run_dir)
        intact = f"step {kept[-1]} is intact" if kept else "there is no other"
        self._failures += 1
        self._failure = UserError(f"checkpoint {step} was not saved: {reason}; {intact}")
        self._failure.__cause__ = error
        # All processes see that the disk is too full; any other failure only the one it hits.
        alone = jax.process_count() > 1 and not isinstance(error, UserError)
        if alone or self._failures > self._config.retries:
            raise self._failure
        self._retry_at, self._said = step + max(1, self._config.every_steps // 10), False

    def _refuse_full_disk(self, state: Any) -> None:
        """Raises before a byte is written. Old steps go after the new one: all of it must fit."""
        leaves = jax.tree.leaves(state)
        needed = sum(leaf.size * leaf.dtype.itemsize for leaf in leaves) + (1 << 20)

        def look() -> None:  # the others, whose disks may not be the same, take its word
            folder = self.run_dir / run_folder.CHECKPOINTS
            try:
                free = shutil.disk_usage(folder).free
            except OSError as error:
                raise UserError(f"the free space of {folder} cannot be read: {error}") from error
            if needed > free:
                held = ", ".join(run_folder.quarantined(self.run_dir))
                aside = f", or delete {run_folder.QUARANTINE}/, which holds {held}" if held else ""
                raise UserError(
                    f"it needs {needed / 1e9:.3g} GB and {folder} has {free / 1e9:.3g} GB free;"
                    f" make room, or keep fewer steps (checkpoint.keep_last and the like){aside}"
                )

        distributed.decide(look)


def write_model(
    run_dir: Path, model: ModelConfig, params: Any, tokenizer: Path | None, dtype: str = "float32"
) -> None:
    """Writes weights alone as step 0 of a new run folder, for generation or as `init_from`.

    Args:
      dtype: of the weights where they come from, which config.json keeps as `source_dtype`.
    """
    run_dir = run_dir.absolute()
    run_folder.refuse_unusable(run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    write_json(run_dir / run_folder.CONFIG, {"model": asdict(model), "source_dtype": dtype})
    if tokenizer is not None:
        copy_folder(tokenizer, run_dir / run_folder.TOKENIZER)
    # Orbax's defaults hold a large model three times: they copy it, and collect what they write.
    types = ocp.type_handlers
    arrays = types.create_type_handler_registry(
        (np.ndarray, types.NumpyHandler(deepcopy_host_arrays=False)),
        (jax.Array, types.ArrayHandler()),  # not used, but missed
    )
    handler = ocp.PyTreeCheckpointHandler(
        save_concurrent_gb=1, use_ocdbt=False, type_handler_registry=arrays
    )
    params = jax.tree.map(np.asarray, params)
    folder, contents = run_folder.step_folder(run_dir, 0), read_back.describe(params)
    with ocp.Checkpointer(handler) as checkpointer:
        checkpointer.save(folder / "params", args=ocp.args.PyTreeSave(params))
    # They hold the time and the place of the save. Without them the same weights are the same
    # files: a model that is converted again is still the one that earlier samples were drawn from.
    for name in ("_CHECKPOINT_METADATA", "commit_success.txt"):
        (folder / "params" / name).unlink(missing_ok=True)
    if problem := read_back.not_restorable(folder, contents):
        raise UserError(f"{folder} cannot be read back: {problem}")
    run_folder.commit(run_dir, 0, contents)


def on_all_devices() -> Sharding:
    """For `load_params`: a copy of the weights on each device, over which rows are then spread."""
    if len(jax.devices()) == 1:
        return SingleDeviceSharding(jax.devices()[0])
    return NamedSharding(make_mesh(MeshConfig()), PartitionSpec())


def load_params(run_dir: Path, step: int | None = None, shardings: Any = None) -> Any:
    """The parameters in a run's folder.

    Args:
      step: which checkpoint; None is the newest whose save has finished.
      shardings: a tree like the parameters, or one for all; None puts everything on the first
        device.
    Raises:
      UserError: no such step, a damaged one, or weights that are not finite.
    """
    run_dir = run_dir.absolute()
    step = run_folder.committed_step(run_dir, step)
    folder = run_folder.step_folder(run_dir, step)
    if problem := run_folder.damage(run_dir, step):
        steps = run_folder.committed_steps(run_dir)
        raise UserError(f"{folder} is damaged: {problem}; steps are {steps}")
    # The handler itself: a Checkpointer warns that the folder, one item of three, has no metadata.
    with closing(ocp.StandardCheckpointHandler()) as handler:
        shapes = handler.metadata(folder / "params").tree
        if not isinstance(shardings, Mapping):
            one = shardings or SingleDeviceSharding(jax.devices()[0])
            shardings = jax.tree.map(lambda _: one, shapes)
        target = jax.tree.map(
            lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
            shapes,
            shardings,
        )
        params = handler.restore(folder / "params", args=ocp.args.StandardRestore(target))
    _refuse_not_finite(folder, params)
    return params


@jax.jit
def _finite(params: Any) -> Any:
    """For each array whether all its values are finite: bool[l] if it has layers, else bool[1]."""

    def of(path: Any, array: jax.Array) -> jax.Array:
        layers = len(array) if path[0].key == "blocks" else 1
        # The largest is NaN if any value is; three times as fast as isfinite of all of them.
        return jnp.isfinite(jnp.abs(array).reshape(layers, -1).max(1, initial=0))

    return jax.tree_util.tree_map_with_path(of, params)


def _refuse_not_finite(folder: Path, params: Any) -> None:
    names = [
        f"{jax.tree_util.keystr(path, simple=True, separator='/')}"
        + (f" (layer {layer})" if len(finite) > 1 else "")
        for path, finite in jax.tree_util.tree_leaves_with_path(jax.device_get(_finite(params)))
        for layer in np.flatnonzero(~finite)
    ]
    if names:
        more = f" and {len(names) - 8} more" if len(names) > 8 else ""
        raise UserError(
            f"{folder} has weights that are not finite (NaN or inf) in"
            f" {', '.join(names[:8])}{more};"
            " take an earlier step, or convert or train the model again"
        )
