"""SIGKILL at any file operation: while a checkpoint is written or committed, or one deleted."""

import json
import subprocess
import sys
from pathlib import Path

import crash_saves
import jax
import numpy as np
import pytest
from conftest import REPOSITORY

from phi1_jax.config import CheckpointConfig
from phi1_jax.run import folder as run_folder
from phi1_jax.run.checkpoint import Checkpointer

pytestmark = pytest.mark.faults


def crash(folder, *arguments) -> list[dict]:
    done = subprocess.run(
        [sys.executable, str(Path(crash_saves.__file__)), str(folder), *map(str, arguments)],
        env={"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def assert_survived(run_dir: Path) -> None:
    """What was safe is safe, nothing half-written is chosen, and nothing of it stays."""
    safe = int(run_dir.with_name(run_dir.name + ".committed").read_text())
    checkpointer = Checkpointer(run_dir, CheckpointConfig(keep_last=1))
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    shapes = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device), crash_saves.state(0)
    )
    step, params, optimizer, position = checkpointer.restore(*shapes)
    assert step >= safe and position == {"step": step}
    jax.tree.map(np.testing.assert_array_equal, (params, optimizer), crash_saves.state(step))
    left = {path.name for path in (run_dir / "checkpoints").iterdir()} - {"quarantine"}
    assert left == {str(s) for s in run_folder.committed_steps(run_dir)}, left
    assert not (run_dir / "checkpoints" / "discarded").exists()
    commits = {path.name for path in (run_dir / "commits").iterdir()}
    assert commits == {f"{name}.json" for name in left}
    # And the run goes on: the next save keeps itself alone.
    checkpointer.save(4, params, optimizer, {"step": 4})
    checkpointer.close()
    assert run_folder.committed_steps(run_dir) == run_folder.steps_in(run_dir) == [4]


def test_killed_at_every_change_of_a_file(tmp_path):
    """Of the second save and of the deletion of the first step.

    The last child outlives its count and is not killed, so that none is left out.
    """
    children = crash(tmp_path, "operations")
    assert [child["killed"] for child in children] == [True] * (len(children) - 1) + [False]
    assert len(children) > 20
    for child in children:
        assert_survived(Path(child["run"]))


def test_killed_after_a_delay(tmp_path):
    """Also where no Python runs: while the arrays are written."""
    children = crash(tmp_path, "delays", *[0, 2, 5, 10, 20, 30, 45, 60, 80, 100, 140, 200])
    assert sum(child["killed"] for child in children) >= 4
    for child in children:
        assert_survived(Path(child["run"]))
