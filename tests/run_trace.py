"""A log that proves two runs the same: bits of the loss, and hashes of batches and states.

RUN/trace.jsonl, and RUN/trace.P.jsonl from process P above 0, hold one line for each step taken
  {"step": 7, "loss": "40b1f2c3", "gradient_norm": "3f9d0a11", "skipped": false,
   "batch": SHA-256, "examples": [[source, row], ...]}
and one for the state that a run starts from (fresh or restored) and ends with
  {"step": 7, "state": SHA-256}
`loss` and `gradient_norm` are the float32's bits in hex; `batch` hashes the global batch (tokens
and loss mask), `examples` names its rows: number of the source in `data.sources`, and row of that
source. All processes write the same. `state` hashes parameters, optimizer and step. A resumed run
appends, so the steps that it takes again stand twice; `read_trace` gives all lines in order.

Each step waits for its loss, which costs some speed. tests/faults/traced_train.py is
launch/train.py with a trace.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from phi1_jax.train.loop import train
from phi1_jax.train.step import Hook, StepDone


def traced(
    config: Any, run_dir: Path, *others: Any, hooks: Sequence[Hook] = (), **more: Any
) -> Any:
    """`train`, with a trace."""
    return train(config, run_dir, *others, hooks=[*hooks, Trace(Path(run_dir))], **more)


class Trace(Hook):
    """Writes one process's trace; a line is written before the next step starts."""

    def __init__(self, run_dir: Path) -> None:
        self._path = _path(run_dir, jax.process_index())

    def begin(self, step: int, state: Any) -> None:
        # A kill may have torn the last line.
        kept = self._path.read_bytes() if self._path.exists() else b""
        self._path.write_bytes(kept[: kept.rfind(b"\n") + 1])
        self.end(step, state)

    def end(self, step: int, state: Any) -> None:
        self._line({"step": step, "state": state_hash(state)})

    def after_step(self, done: StepDone) -> None:
        values, batch = jax.device_get(done.metrics), done.examples
        digest = hashlib.sha256(batch["tokens"].tobytes() + batch["loss_mask"].tobytes())
        pairs = np.stack([batch["source"], batch["row"]], axis=1)
        self._line(
            {
                "step": done.step,
                "loss": _bits(values["loss"]),
                "gradient_norm": _bits(values["gradient_norm"]),
                "skipped": bool(values["skipped"]),
                "batch": digest.hexdigest(),
                "examples": pairs.tolist(),
            }
        )

    def _line(self, record: Mapping[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")


def read_trace(run_dir: Path, process: int = 0) -> list[dict[str, Any]]:
    """The lines of a run's trace, without one that a kill has torn."""
    whole, _, _ = _path(run_dir, process).read_bytes().rpartition(b"\n")
    return [json.loads(line) for line in whole.splitlines()]


def state_hash(state: Any) -> str:
    """SHA-256 over a tree's paths, types, shapes and bytes: equal if and only if bit-identical."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
            leaf = multihost_utils.process_allgather(leaf, tiled=True)
        array = np.asarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _path(run_dir: Path, process: int) -> Path:
    return run_dir / (f"trace.{process}.jsonl" if process else "trace.jsonl")


def _bits(value: np.ndarray) -> str:
    return f"{np.float32(value).view(np.uint32):08x}"
