"""SIGKILL, SIGTERM and Ctrl-C at any moment of a run: one process, launch/train.py itself."""

import json
import random
import signal
import time
from dataclasses import replace

import pytest
from fault_runs import (
    assert_same,
    finish,
    kill_at,
    last_step,
    log,
    start,
    states,
    steps_taken,
    wait,
    wait_for,
)

from phi1_jax.run import folder as run_folder

pytestmark = pytest.mark.faults

STEPS, EVERY = 40, 5


@pytest.fixture(scope="module")
def config(run_config):
    checkpoint = replace(run_config.checkpoint, every_steps=EVERY)
    return replace(run_config, steps=STEPS, checkpoint=checkpoint)


@pytest.fixture(scope="module")
def undisturbed(config, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("undisturbed") / "run"
    finish(config, run_dir)
    assert [line["step"] for line in steps_taken(run_dir)] == list(range(1, STEPS + 1))
    return run_dir


def test_three_kills_at_random_steps_change_no_bit(config, undisturbed, tmp_path):
    run_dir = tmp_path / "run"
    rng = random.Random(seed := random.randrange(10**6))
    print("seed", seed)
    committed = 0
    for _ in range(3):
        target = rng.randint(committed + 1, min(committed + 2 * EVERY + 3, STEPS - 2))
        committed = kill_at(config, run_dir, target, after_s=rng.uniform(0, 0.03))
        # One interval, and the steps that were taken while the last save was in flight.
        assert last_step(run_dir) - committed <= 2 * EVERY, (target, committed)
    finish(config, run_dir)
    assert_same(run_dir, undisturbed)
    starts = [line["step"] for line in states(run_dir)]
    assert starts[-2] == committed, "the last process went on from the newest committed step"


def test_sigterm_saves_and_leaves_with_0(config, undisturbed, tmp_path):
    run_dir = tmp_path / "run"
    process = start(config, run_dir)
    wait_for(lambda: last_step(run_dir) >= 12, process, run_dir)
    process.send_signal(signal.SIGTERM)
    signalled = time.monotonic()
    wait(process, run_dir)
    assert time.monotonic() - signalled < 20, "Slurm's grace is 30 s"
    saved = last_step(run_dir)
    assert saved < STEPS and run_folder.committed_steps(run_dir)[-1] == saved
    result = json.loads((run_dir / "result.json").read_text())
    assert result["step"] == saved and not result["finished"]
    assert "SIGTERM: saving, then leaving" in log(run_dir)
    finish(config, run_dir)
    assert_same(run_dir, undisturbed)
    assert len(steps_taken(run_dir)) == STEPS, "no step was taken twice"


@pytest.mark.parametrize(
    ("number", "where"),
    [(signal.SIGTERM, "in the loop"), (signal.SIGINT, "in the background")],
)
def test_a_second_signal_leaves_at_once(config, tmp_path, number, where):
    """Even when the save that the first one asked for hangs, as on a dead network disk."""
    run_dir = tmp_path / "run"
    far = replace(config.checkpoint, every_steps=1000)
    hang = "import os\nfrom time import sleep\ndef hang(*a):\n"
    hang += f"    os.path.exists({str(run_dir / 'commits' / '0.json')!r}) and sleep(600)\n"
    hang += "import phi1_jax.run.checkpoint as c\n"
    if where == "in the loop":
        hang += "real = c.Checkpointer.save\n"
        hang += "c.Checkpointer.save = lambda *a: (hang(), real(*a))"
    else:
        hang += "real = c.run_folder.commit\nc.run_folder.commit = lambda *a: (hang(), real(*a))"
    process = start(replace(config, steps=5000, checkpoint=far), run_dir, patch=hang)
    wait_for(lambda: (run_dir / "commits" / "0.json").exists(), process, run_dir)
    wait_for(lambda: last_step(run_dir) >= 1, process, run_dir)
    process.send_signal(number)
    wait_for(lambda: "saving, then leaving" in log(run_dir), process, run_dir)
    time.sleep(1)
    assert process.poll() is None
    process.send_signal(number)
    signalled = time.monotonic()
    wait(process, run_dir, -number)
    assert time.monotonic() - signalled < 3
    assert run_folder.committed_steps(run_dir) == [0]


@pytest.mark.parametrize("stderr", ["a full disk", "a closed pipe"])
def test_messages_that_cannot_be_written_end_no_run(config, undisturbed, tmp_path, stderr):
    run_dir = tmp_path / "run"
    lost = "os.open('/dev/full', os.O_WRONLY)"
    if stderr == "a closed pipe":
        lost = "(lambda r, w: (os.close(r), w)[1])(*os.pipe())"
    finish(config, run_dir, patch=f"import os\nos.dup2({lost}, 2)")
    assert_same(run_dir, undisturbed)
    assert run_folder.damage(run_dir, STEPS) == ""
