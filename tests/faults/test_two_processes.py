"""Two processes with four CPU devices each, started as a user starts them, with a trace."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import REPOSITORY
from run_trace import read_trace
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from phi1_jax.run.folder import damage

pytestmark = pytest.mark.slow

STEPS = 40
SMALL = {
    "model.vocab_size": 264,
    "model.n_layers": 2,
    "model.d_model": 32,
    "model.d_mlp": 64,
    "model.rotary_dim": 4,
    "model.max_seq_len": 64,
    "model.scan_unroll": 1,
    "optimizer.name": "adamw",
    "optimizer.peak_learning_rate": 1e-2,
    "optimizer.warmup_steps": 2,
    "data.seq_len": 32,
    "data.global_batch_size": 16,
    "data.loss_on": "all",
    "data.packing": "stream",
    "mesh.data": 2,
    "mesh.fsdp": 2,
    "mesh.tensor": 2,
    "micro_batch_size": 2,
    "log_every_steps": 2,
    "checkpoint.every_steps": 4,
    "checkpoint.keep_last": 5,
}


def start(
    run_dir, shards, n_processes=2, steps=STEPS, last=(), **changes
) -> list[subprocess.Popen]:
    """Starts one run as `n_processes` processes; together they have eight devices.

    Args:
      last: more flags for the last process only.
    """
    settings = {**SMALL, "steps": steps, **{k.replace("__", "."): v for k, v in changes.items()}}
    command = [
        sys.executable,
        str(REPOSITORY / "tests" / "faults" / "traced_train.py"),
        f"--config={REPOSITORY / 'configs' / 'phi1_tiny.py'}",
        *(f"--config.{name}={value}" for name, value in settings.items()),
        f"--source=code={shards['code']}:2",
        f"--source=exercises={shards['exercises']}:1",
        f"--output={run_dir}",
        f"--compile_cache={Path('~/.cache/phi1_jax_tests').expanduser()}",
    ]
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    processes = []
    for process in range(n_processes):
        environment = {
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "XLA_FLAGS": os.environ["XLA_FLAGS"]  # the last one holds
            + f" --xla_force_host_platform_device_count={8 // n_processes}",
        }
        if n_processes > 1:
            environment |= {
                "JAX_COORDINATOR_ADDRESS": address,
                "JAX_NUM_PROCESSES": str(n_processes),
                "JAX_PROCESS_ID": str(process),
            }
        processes.append(
            subprocess.Popen(
                [*command, *(last if process == n_processes - 1 else ())],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    return processes


def finish(processes, timeout_s=300) -> list[tuple[int, str, str]]:
    """Exit status, stdout and stderr of each; none of them outlives this call."""
    try:
        results = []
        for process in processes:
            out, err = process.communicate(timeout=timeout_s)
            results.append((process.returncode, out, err))
        return results
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def wait_for_step(run_dir, step, processes, timeout_s=300) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        assert all(process.poll() is None for process in processes), finish(processes)
        if (run_dir / "trace.jsonl").exists() and any(
            line["step"] >= step for line in steps_of(read_trace(run_dir))
        ):
            return
        time.sleep(0.05)
    pytest.fail(f"no step {step} within {timeout_s} s: {finish(processes, 1)}")


def steps_of(trace) -> list[dict]:
    return [line for line in trace if "loss" in line]


def states(trace) -> dict[int, str]:
    return {line["step"]: line["state"] for line in trace if "state" in line}


def losses(trace) -> np.ndarray:
    bits = [int(line["loss"], 16) for line in steps_of(trace)]
    return np.array(bits, np.uint32).view(np.float32)


def saved(run_dir) -> list[int]:
    return sorted(int(path.name) for path in (run_dir / "checkpoints").iterdir())


@pytest.fixture(scope="module")
def alone(shards, tmp_path_factory):
    """The same run as one process with all eight devices."""
    run_dir = tmp_path_factory.mktemp("hosts") / "alone"
    ((code, _, err),) = finish(start(run_dir, shards, 1))
    assert code == 0, err
    return run_dir


@pytest.fixture(scope="module")
def stopped(shards, tmp_path_factory):
    """A run of two processes of which the second alone gets a SIGTERM."""
    run_dir = tmp_path_factory.mktemp("hosts") / "run"
    processes = start(run_dir, shards)
    wait_for_step(run_dir, 5, processes)
    processes[1].send_signal(signal.SIGTERM)
    results = finish(processes)
    return run_dir, results, (read_trace(run_dir), read_trace(run_dir, process=1)), saved(run_dir)


def test_two_processes_train_as_one(alone, stopped):
    _, _, (first, second), _ = stopped
    one = steps_of(read_trace(alone))
    assert len(one) == STEPS
    assert first == second
    pairs = list(zip(steps_of(first), one, strict=False))
    assert len(pairs) >= 5
    for ours, theirs in pairs:
        assert ours["examples"] == theirs["examples"] and ours["batch"] == theirs["batch"]
    # The same mesh, but sums between processes run in another order than within one.
    np.testing.assert_allclose(losses(first), losses(one)[: len(pairs)], rtol=1e-6)


def test_sigterm_on_one_saves_the_same_step_on_all(stopped):
    run_dir, results, (first, second), steps = stopped
    assert [code for code, _, _ in results] == [0, 0], results
    assert "SIGTERM: saving, then leaving" in results[1][2]
    last = steps_of(first)[-1]["step"]
    assert steps_of(second)[-1]["step"] == last == steps[-1] and 5 <= last < STEPS
    assert [damage(run_dir, step) for step in steps] == [""] * len(steps)


def test_one_process_writes_for_both(alone, stopped):
    run_dir, results, _, steps = stopped
    # The CPU's collectives narrate on the standard output; the result is its last line.
    assert json.loads(results[0][1].splitlines()[-1])["step"] == steps[-1]
    assert '"step"' not in results[1][1]
    assert not any(".tmp" in path.name for path in run_dir.rglob("*"))
    rows = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    theirs = [json.loads(line) for line in (alone / "metrics.jsonl").read_text().splitlines()]
    ours = {row["step"]: row for row in rows}
    assert steps[-1] in ours  # after a signal the last steps are logged too, if it is no even one
    for row in (row for row in theirs if row["step"] <= steps[-1]):
        for name in ("data/tokens_seen", "data/tokens/code", "data/tokens/exercises"):
            assert ours[row["step"]][name] == row[name]


@pytest.fixture(scope="module")
def killed(stopped, shards):
    """The same run again, of which one process is killed without warning."""
    run_dir, _, _, steps = stopped
    processes = start(run_dir, shards)
    wait_for_step(run_dir, steps[-1] + 5, processes)
    processes[1].kill()
    begin = time.monotonic()
    results = finish(processes)
    return run_dir, results, time.monotonic() - begin


def test_a_lost_process_ends_the_other_soon_and_clearly(killed):
    _, results, seconds = killed
    assert results[0][0] not in (0, -signal.SIGKILL), results
    assert seconds < 90
    err = results[0][2]
    assert "process 0 of 2: if one is lost, all leave within 60 s; run the same command" in err
    # Ours where the broken connection is seen, JAX's where only the heartbeat is missed.
    assert "lost one of the others" in err or "another task died" in err, err


def test_another_number_of_processes_goes_on_with_the_same_examples(alone, stopped, killed, shards):
    run_dir, _, (before, _), steps = stopped
    resumed = read_trace(run_dir)[len(before) :]
    # Bit for bit what was saved on SIGTERM.
    assert states(resumed)[steps[-1]] == states(before)[steps[-1]]
    ((code, _, err),) = finish(start(run_dir, shards, 1))
    assert code == 0, err
    one, all_lines = read_trace(alone), read_trace(run_dir)
    last = {line["step"]: line for line in steps_of(all_lines)}
    assert sorted(last) == list(range(1, STEPS + 1))
    assert [last[line["step"]]["examples"] for line in steps_of(one)] == [
        line["examples"] for line in steps_of(one)
    ]
    np.testing.assert_allclose(losses(list(last.values())), losses(one), rtol=1e-5)
    events = EventAccumulator(str(run_dir)).Reload()
    assert {event.step for event in events.Scalars("loss/train")} >= {2, STEPS}
    # One file for each of the three starts: process 0 alone writes.
    assert len(list(run_dir.glob("events.*"))) == 3


def test_processes_with_other_settings_are_refused_by_all(shards, tmp_path):
    """A fresh folder has no identity yet that the second could be compared with."""
    run_dir = tmp_path / "run"
    for code, _, err in finish(start(run_dir, shards, last=("--config.seed=1",))):
        assert code == 2 and "error: processes 0 and 1 differ in config fields: seed=0 and 1" in err
    assert not (run_dir / "checkpoints").exists()


def test_two_processes_begin_with_the_weights_of_another_run(alone, shards, tmp_path):
    begun = {}
    for n_processes in (1, 2):
        run_dir = tmp_path / str(n_processes)
        results = finish(start(run_dir, shards, n_processes, steps=2, init_from=alone))
        assert [code for code, _, _ in results] == [0] * n_processes, results
        begun[n_processes] = states(read_trace(run_dir))[0]
    assert begun[1] == begun[2] != states(read_trace(alone))[0]
