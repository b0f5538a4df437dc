"""Several processes on one machine that are not given, or do not find, the same."""

import os
import socket
import subprocess
import sys

import pytest
from conftest import REPOSITORY

from phi1_jax import distributed

pytestmark = pytest.mark.faults

START = "import sys, time\nfrom phi1_jax import distributed\n"


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
                "XLA_FLAGS": "",
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


def test_one_that_is_done_waits_for_the_last_seal():
    """JAX's own patience is 300 s; here 3 s, of which process 0 takes more and ours covers it."""
    program = START + "{patience}\ndistributed.start()\n{work}\n"
    slow = program.format(patience="", work="time.sleep(8)")
    patient = together(slow, program.format(patience="", work=""))
    assert [code for code, _ in patient] == [0, 0], patient
    short = "distributed.FAREWELL_TIMEOUT_S = 3"
    hasty = together(
        program.format(patience=short, work="time.sleep(8)"),
        program.format(patience=short, work=""),
    )
    assert all(code != 0 for code, _ in hasty), "it is this setting that decides"
    assert distributed.FAREWELL_TIMEOUT_S >= 6 * 3600


FOLDER = """
from pathlib import Path
from phi1_jax.config import RunConfig
from phi1_jax.train import together
together.SEEN_WITHIN_S = 1
distributed.start()
with distributed.leaving_together(), together.one_folder(Path({run!r})):
    together.refuse_differences(RunConfig(seed={seed}), {{"rows": {rows}}}, {{}}, False)
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
