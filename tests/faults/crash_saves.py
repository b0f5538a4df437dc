"""Saves in a forked child that is killed at a chosen moment. Run by test_crashing_saves.py.

  python crash_saves.py FOLDER operations   kills at the first change of a file, the second, ...
  python crash_saves.py FOLDER delays MS ...   kills so long after the second save began

Every child makes FOLDER/N afresh with two saves, of which the last alone is kept, and writes
N.committed, the newest step that it was told is safe. One line of JSON for each child.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import numpy as np

from phi1_jax.config import CheckpointConfig
from phi1_jax.run.checkpoint import Checkpointer

# What Python's file functions report before they change something (sys.addaudithook).
OPERATIONS = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate"}


def state(step: int):
    rng = np.random.default_rng(step)
    return {"w": rng.random((256, 1024), np.float32)}, {"m": rng.random(1 << 18, np.float32)}


def save_all(run_dir: Path, on_second) -> None:
    checkpointer = Checkpointer(run_dir, CheckpointConfig(keep_last=1))
    for step in (1, 2):
        params, optimizer = jax.tree.map(jax.numpy.asarray, state(step))
        if step == 2:
            on_second()
        checkpointer.save(step, params, optimizer, {"step": step})
        checkpointer.wait()
        run_dir.with_name(run_dir.name + ".committed").write_text(str(step))
    checkpointer.close()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_at_operation(run_dir: Path, number: int) -> None:
    seen = []

    def count(event: str, arguments: tuple) -> None:
        path = str(arguments[0]) if arguments else ""
        writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        ours = path.startswith(str(run_dir)) or event == "os.rmdir" or event == "os.remove"
        if (writes or event in OPERATIONS) and ours and not path.endswith(".committed"):
            seen.append(event)
            if len(seen) == number:
                die()

    save_all(run_dir, lambda: sys.addaudithook(count))


def kill_after(run_dir: Path, milliseconds: float) -> None:
    parent_reads, child_writes = os.pipe()
    child = os.fork()
    if child == 0:
        save_all(run_dir, lambda: os.write(child_writes, b"2"))
        os._exit(0)
    os.read(parent_reads, 1)
    started = time.perf_counter()
    while time.perf_counter() - started < milliseconds / 1e3:
        time.sleep(2e-4)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    os._exit(0 if os.waitstatus_to_exitcode(status) == 0 else 9)


def in_a_child(work, *arguments) -> bool:
    """Whether the child was killed."""
    child = os.fork()  # before JAX has started a thread
    if child == 0:
        work(*arguments)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, 9, -signal.SIGKILL), code
    return code != 0


def main(folder: str, kind: str, *numbers: str) -> None:
    if kind == "operations":
        number, killed = 1, True
        while killed:
            run_dir = Path(folder) / str(number)
            killed = in_a_child(kill_at_operation, run_dir, number)
            print(json.dumps({"run": str(run_dir), "killed": killed}), flush=True)
            number += 1
    else:
        for milliseconds in numbers:
            run_dir = Path(folder) / milliseconds
            killed = in_a_child(kill_after, run_dir, float(milliseconds))
            print(json.dumps({"run": str(run_dir), "killed": killed}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
