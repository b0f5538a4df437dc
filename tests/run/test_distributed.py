import os
import signal
import socket
import subprocess
import sys
import time

import jax
import pytest
from conftest import REPOSITORY

from phi1_jax.errors import AllProcessesError, UserError
from phi1_jax.run import distributed
from phi1_jax.run.distributed import VARIABLES, Membership, membership

JAX = {
    "JAX_COORDINATOR_ADDRESS": "first:1234",
    "JAX_NUM_PROCESSES": "4",
    "JAX_PROCESS_ID": "3",
}
SLURM = {
    "SLURM_JOB_ID": "4097",
    "SLURM_NTASKS": "2",
    "SLURM_STEP_NODELIST": "gpu[007-008]",
    "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "0",
}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        (JAX, Membership("first:1234", 4, 3)),
        # A job without a step of several tasks: an interactive allocation, a plain `python`.
        ({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "8", "SLURM_PROCID": "0"}, None),
        ({**SLURM, "SLURM_STEP_NUM_TASKS": "1"}, None),
        (SLURM, Membership("gpu007:61441", 2, 1)),
        ({**SLURM, "SLURM_STEP_NODELIST": "a-1,b[2-3]"}, Membership("a-1:61441", 2, 1)),
        ({**SLURM, "SLURM_STEP_NODELIST": "n[3,5-9]"}, Membership("n3:61441", 2, 1)),
        # Several tasks on a node: one device each.
        (
            {**SLURM, "SLURM_STEP_NUM_NODES": "1", "SLURM_LOCALID": "1"},
            Membership("gpu007:61441", 2, 1, (1,)),
        ),
        (
            {
                **SLURM,
                "SLURM_STEP_NUM_NODES": "1",
                "SLURM_LOCALID": "1",
                "CUDA_VISIBLE_DEVICES": "0,1",
            },
            Membership("gpu007:61441", 2, 1, (1,)),
        ),
        # As --gpus-per-task=1 has it: the one that the task sees has the number 0.
        (
            {
                **SLURM,
                "SLURM_STEP_NUM_NODES": "1",
                "SLURM_LOCALID": "1",
                "CUDA_VISIBLE_DEVICES": "0",
            },
            Membership("gpu007:61441", 2, 1),
        ),
        *[
            (
                {
                    **SLURM,
                    "SLURM_STEP_NUM_NODES": "1",
                    "SLURM_LOCALID": "1",
                    "SLURM_GPUS_PER_TASK": per_task,
                    "CUDA_VISIBLE_DEVICES": "0,1",
                },
                Membership("gpu007:61441", 2, 1, devices),
            )
            for per_task, devices in [("2", None), ("a100:2", None), ("1", (1,))]
        ],
        ({**SLURM, **JAX}, Membership("first:1234", 4, 3)),
    ],
)
def test_the_environment_says_who_takes_part(environ, expected):
    assert membership(environ) == expected


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({**JAX, "JAX_PROCESS_ID": ""}, "JAX_PROCESS_ID is not set although JAX_COORDINATOR"),
        ({"JAX_NUM_PROCESSES": "2"}, "JAX_COORDINATOR_ADDRESS is not set"),
        ({**JAX, "JAX_COORDINATOR_ADDRESS": "first"}, "JAX_COORDINATOR_ADDRESS=first: give HOST:P"),
        ({**JAX, "JAX_NUM_PROCESSES": "two"}, "JAX_NUM_PROCESSES=two must be a number"),
        ({**JAX, "JAX_PROCESS_ID": "4"}, "JAX_PROCESS_ID=4 must be a number from 0 to 3"),
        ({k: v for k, v in SLURM.items() if k != "SLURM_LOCALID"}, "SLURM_LOCALID is not set"),
    ],
)
def test_half_set_variables_are_refused_by_name(environ, words):
    with pytest.raises(UserError, match=words):
        membership(environ)


def test_a_process_on_its_own_acts_at_once_and_leaves_as_usual(monkeypatch):
    for name in (*JAX, *SLURM):
        monkeypatch.delenv(name, raising=False)
    distributed.start()
    assert not jax.distributed.is_initialized()
    asked = iter([False, True])
    stopping = distributed.any_process(lambda: next(asked))
    assert [stopping(), stopping()] == [False, True]
    with pytest.raises(ValueError, match="mine"), distributed.abort_all_on_failure():
        raise ValueError("mine")


def test_what_every_process_raises_needs_no_hurry(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(distributed.os, "_exit", lambda status: pytest.fail(f"left with {status}"))
    with pytest.raises(AllProcessesError, match="all of us"), distributed.abort_all_on_failure():
        raise AllProcessesError("all of us")


def test_a_process_that_waits_for_the_others_says_so_and_hears_ctrl_c():
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from phi1_jax.run import distributed; distributed.start()"
    )
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    variables = dict(zip(VARIABLES, (address, "2", "0"), strict=True))
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **variables},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        said = process.stderr.readline()
        assert "process 0 of 2: waits up to 300 s" in said and address in said
        time.sleep(1)  # to be in the wait
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == -signal.SIGINT
    finally:
        process.kill()
        process.communicate()
