"""A run goes on with fewer devices, or with a damaged cache of compiled programs."""

import math
import random
from contextlib import closing
from dataclasses import replace

import jax
import numpy as np
import pytest
from fault_runs import (
    assert_same,
    finish,
    flip_a_bit,
    kill_at,
    log,
    steps_taken,
)
from run_trace import read_trace, state_hash, traced

from phi1_jax.config import MeshConfig
from phi1_jax.model.sharding import make_mesh
from phi1_jax.run.checkpoint import Checkpointer
from phi1_jax.train.resume import start
from phi1_jax.train.step import make_trainer

pytestmark = pytest.mark.faults


def loss(line: dict) -> float:
    return float(np.uint32(int(line["loss"], 16)).view(np.float32))


def test_eight_devices_then_four_then_one(run_config, tmp_path):
    """Killed twice: the state comes back bit for bit, and the same examples come next."""
    config = replace(run_config, steps=30)
    finish(config, tmp_path / "oracle", devices=1)
    expected = {line["step"]: line for line in steps_taken(tmp_path / "oracle")}
    run_dir = tmp_path / "run"
    meshes = {8: {"data": 2, "fsdp": 2, "tensor": 2}, 4: {"data": 1, "fsdp": 4, "tensor": 1}}
    for devices, target in ((8, 9), (4, 18)):
        mesh = replace(config.mesh, **meshes[devices])
        committed = kill_at(replace(config, mesh=mesh), run_dir, target, devices=devices)
    assert 8 <= committed <= 30
    finish(config, run_dir, devices=1)
    assert {line["step"] for line in steps_taken(run_dir)} == set(expected)
    for line in steps_taken(run_dir):
        assert line["batch"] == expected[line["step"]]["batch"]
        assert line["examples"] == expected[line["step"]]["examples"]
        # Sums in another order differ in the last bits, and training makes them grow.
        np.testing.assert_allclose(loss(line), loss(expected[line["step"]]), rtol=1e-3)


def test_the_state_is_the_same_bits_on_any_mesh(run_config, tmp_path):
    """Written on 2 x 2 x 2 devices, restored on eight, four and one."""
    config = replace(run_config, mesh=MeshConfig(data=2, fsdp=2, tensor=2))
    traced(config, tmp_path)
    expected = {"step": config.steps, "state": read_trace(tmp_path)[-1]["state"]}
    identity = {"data.sources": [source.name for source in config.data.sources]}
    for sizes in ((1, 8, 1), (1, 2, 2), (4, 1, 1), (1, 1, 1)):
        mesh = make_mesh(MeshConfig(*sizes), jax.devices()[: math.prod(sizes)])
        with closing(Checkpointer(tmp_path, config.checkpoint)) as checkpointer:
            step, state, _ = start(config, make_trainer(config, mesh), checkpointer, identity)
        assert {"step": step, "state": state_hash(state)} == expected
        assert len(state.params["embed"]["table"].sharding.device_set) == math.prod(sizes)


def test_a_corrupt_compile_cache_costs_a_compilation_and_changes_no_bit(run_config, tmp_path):
    cache = tmp_path / "cache"
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    finish(run_config, first, devices=1, cache=cache)
    entries = sorted(cache.rglob("*-cache"))
    assert entries
    rng = random.Random(0)
    for path in entries:
        flip_a_bit(path, rng)
    finish(run_config, second, devices=1, cache=cache)
    assert log(second).count("Error reading persistent compilation cache") == len(entries)
    assert_same(second, first)
    for path in entries:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    finish(run_config, third, devices=1, cache=cache)
    assert log(third).count("Error reading persistent compilation cache") == len(entries)
    assert_same(third, first)
