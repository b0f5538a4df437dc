"""Runs of launch/train.py that faults happen to, and the oracle that judges them."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from conftest import REPOSITORY
from run_trace import read_trace

from phi1_jax.config import RunConfig
from phi1_jax.run import folder as run_folder

PATIENCE_S = 120
SCRIPT = str(REPOSITORY / "tests" / "faults" / "traced_train.py")


def start(
    config: RunConfig,
    run_dir: Path,
    *,
    devices: int = 8,
    cache: Path = Path("~/.cache/phi1_jax_tests"),
    patch: str = "",
    arguments: Sequence[str] = (),
) -> subprocess.Popen:
    """launch/train.py with a trace, in a session of its own; stderr goes to RUN.log.

    Args:
      patch: Python that runs in the process first, to make a fault happen there.
    """
    file = run_dir.with_name(run_dir.name + ".config.py")
    file.write_text(
        "from ml_collections import ConfigDict\n\n\ndef get_config():\n"
        f"    return ConfigDict({asdict(config)!r})\n"
    )
    program = f"import runpy, sys\n{patch}\nsys.argv.pop(0)\n"
    program += "runpy.run_path(sys.argv[0], run_name='__main__')"
    flags = [f"--config={file}", f"--output={run_dir}", f"--compile_cache={cache}"]
    environment = {
        **os.environ,
        # The last one holds.
        "XLA_FLAGS": os.environ["XLA_FLAGS"] + f" --xla_force_host_platform_device_count={devices}",
        "PYTHONPATH": str(REPOSITORY),
    }
    with run_dir.with_name(run_dir.name + ".log").open("a") as log:
        return subprocess.Popen(
            [sys.executable, "-c", program, SCRIPT, *flags, *arguments],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
        )


def log(run_dir: Path) -> str:
    return run_dir.with_name(run_dir.name + ".log").read_text()


def wait(process: subprocess.Popen, run_dir: Path, code: int = 0) -> None:
    """Until the process has left, with the exit status it should have."""
    try:
        found = process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert found == code, log(run_dir)[-4000:]


def finish(config: RunConfig, run_dir: Path, **how) -> None:
    wait(start(config, run_dir, **how), run_dir)


def wait_for(true: Callable[[], bool], process: subprocess.Popen, run_dir: Path) -> None:
    """Until something is true of a process that must still be running."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert process.poll() is None, log(run_dir)[-4000:]
        assert time.monotonic() < deadline, log(run_dir)[-4000:]
        time.sleep(0.001)


def steps_taken(run_dir: Path) -> list[dict]:
    """The trace's lines of steps, those that were taken again included."""
    if not (run_dir / "trace.jsonl").exists():
        return []
    return [line for line in read_trace(run_dir) if "loss" in line]


def last_step(run_dir: Path) -> int:
    """The step that the run is at now; after a resume, below one that it has reached before."""
    taken = steps_taken(run_dir)
    return taken[-1]["step"] if taken else 0


def kill_at(config: RunConfig, run_dir: Path, step: int, *, after_s: float = 0.0, **how) -> int:
    """Starts or resumes a run and kills it with SIGKILL once it has taken `step`.

    Returns:
      The newest committed step that the killed process left, 0 if there is none.
    """
    before = len(steps_taken(run_dir))
    process = start(config, run_dir, **how)
    wait_for(
        lambda: len(steps_taken(run_dir)) > before and last_step(run_dir) >= step, process, run_dir
    )
    time.sleep(after_s)
    process.send_signal(signal.SIGKILL)
    wait(process, run_dir, -signal.SIGKILL)
    return max(run_folder.committed_steps(run_dir), default=0)


def assert_same(run_dir: Path, oracle: Path, *, state: bool = True) -> None:
    """Every step that a run took, as often as it took it, is the oracle's to the bit."""
    expected = {line["step"]: line for line in steps_taken(oracle)}
    for line in steps_taken(run_dir):
        assert line == expected[line["step"]]
    assert {line["step"] for line in steps_taken(run_dir)} == set(expected)
    assert read_trace(run_dir)[-1] == read_trace(oracle)[-1] or not state


def states(run_dir: Path) -> list[dict]:
    """Hashes of the states that the run's processes started from and ended with."""
    return [line for line in read_trace(run_dir) if "state" in line]


def copy(run_dir: Path, to: Path) -> Path:
    """A run's folder as it is, without the trace of how it came about."""
    shutil.copytree(run_dir, to)
    (to / "trace.jsonl").unlink(missing_ok=True)
    return to


def flip_a_bit(path: Path, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(bytes(data))


def files_of(run_dir: Path, step: int) -> list[Path]:
    """Every file of a step that holds something, in order."""
    folder = run_folder.step_folder(run_dir, step)
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.stat().st_size)


def metrics(run_dir: Path) -> list[dict]:
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
