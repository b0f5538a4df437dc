"""Several processes on one machine that are not given, or do not find, the same."""

import os
import socket
import subprocess
import sys

import pytest
from conftest import REPOSITORY

from phi1_jax.run import distributed

pytestmark = pytest.mark.faults

START = "import sys, time\nfrom phi1_jax.run import distributed\n"


def together(*programs: str, timeout_s: int = 120) -> list[tuple[int, str]]:
    """Runs each program as one of several processes; their exit statuses and stderr."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            env={
                **os.environ,
                "JAX_COORDINATOR_ADDRESS": address,
                "JAX_NUM_PROCESSES": str(len(programs)),
                "JAX_PROCESS_ID": str(number),
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
        )
        for number, program in enumerate(programs)
    ]
    try:
        said = [process.communicate(timeout=timeout_s)[1] for process in processes]
        return [(process.returncode, err) for process, err in zip(processes, said, strict=True)]
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_one_that_is_done_waits_for_the_last_commit():
    """JAX's own patience is 300 s; here 3 s, of which process 0 takes more and ours covers it."""
    program = START + "{patience}\ndistributed.start()\n{work}\n"
    slow = program.format(patience="", work="time.sleep(8)")
    patient = together(slow, program.format(patience="", work=""))
    assert [code for code, _ in patient] == [0, 0], patient
    short = "distributed.SHUTDOWN_TIMEOUT_S = 3"
    hasty = together(
        program.format(patience=short, work="time.sleep(8)"),
        program.format(patience=short, work=""),
    )
    assert all(code != 0 for code, _ in hasty), "it is this setting that decides"
    assert distributed.SHUTDOWN_TIMEOUT_S >= 6 * 3600


FOLDER = """
from pathlib import Path
from phi1_jax.config import RunConfig
from phi1_jax.train import run_lock
run_lock.SEEN_WITHIN_S = 1
distributed.start()
with distributed.abort_all_on_failure(), run_lock.lock_run_dir(Path({run!r})):
    run_lock.refuse_differences(RunConfig(seed={seed}), {{"rows": {rows}}}, {{}})
"""


@pytest.mark.parametrize(
    ("different", "words"),
    [
        ({}, ""),
        ({"seed": 1}, "processes 0 and 1 differ in config fields: seed=0 and 1; start all"),
        ({"rows": 123456789}, "differ in config fields: rows=7 and 123456789"),
        ({"run": "mine"}, "is not one folder for all processes: process 1 does not see"),
    ],
)
def test_what_is_not_the_same_everywhere_is_refused_by_all(different, words, tmp_path):
    def program(**values) -> str:
        given = {"run": "shared", "seed": 0, "rows": 7, **values}
        return START + FOLDER.format(**{**given, "run": str(tmp_path / given["run"])})

    for code, err in together(program(), program(**different)):
        assert code == bool(words) and words in err, err
    assert not (tmp_path / "mine").exists()


SAVE = """
import shutil, jax.numpy as jnp
from collections import namedtuple
from pathlib import Path
from phi1_jax.run.checkpoint import Checkpointer
from phi1_jax.config import CheckpointConfig
distributed.start()
def usage(_):
    {usage}
shutil.disk_usage = usage
with distributed.abort_all_on_failure():
    checkpointer = Checkpointer(Path({run_dir!r}), CheckpointConfig())
    checkpointer._refuse_full_disk(jnp.ones(9))
    checkpointer.close()
"""


@pytest.mark.parametrize(
    ("usage", "words"),
    [
        ("return namedtuple('Usage', 'free')(1 << 60)", ""),  # as a large file server's
        ("return namedtuple('Usage', 'free')(1)", "it needs 0.00105 GB and"),
        ("raise OSError(5, 'Input/output error')", "cannot be read: [Errno 5] Input/output error"),
    ],
)
def test_all_processes_act_on_the_first_ones_free_space(usage, words, tmp_path):
    run_dir = str(tmp_path / "run")
    first = START + SAVE.format(usage=usage, run_dir=run_dir)
    second = START + SAVE.format(usage="raise AssertionError('asked for')", run_dir=run_dir)
    said = together(first, second)
    assert all(bool(code) == bool(words) for code, _ in said), said
    assert words in said[0][1], said
