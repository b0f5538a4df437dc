"""Several processes: who takes part, how they start, agree to stop, and leave when one is lost."""

import json
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, cast

import numpy as np

from phi1_jax.errors import AllProcessesError, UserError

# A process that sends no heartbeat for so long is lost, and the others leave. The heartbeats come
# from a thread of their own: long compilations and file systems that stall do not hold them up.
HEARTBEAT_TIMEOUT_S = 60
# For the others to be started; JAX's own.
START_TIMEOUT_S = 300
# A process that is done waits so long for the others, as for the first while it commits the last
# checkpoint: hashing 100 GB from a slow disk takes longer than JAX's own 300 s.
SHUTDOWN_TIMEOUT_S = 24 * 3600
T = TypeVar("T")
GO_ON = "run the same command again on all of them to go on from the last checkpoint"

VARIABLES = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
SLURM_VARIABLES = (
    "SLURM_JOB_ID",
    "SLURM_STEP_NODELIST",
    "SLURM_STEP_NUM_TASKS",
    "SLURM_STEP_NUM_NODES",
    "SLURM_PROCID",
    "SLURM_LOCALID",
)


@dataclass(frozen=True)
class Membership:
    """This process's place among those of a run."""

    coordinator: str  # host:port of process 0
    n_processes: int
    process: int
    local_devices: tuple[int, ...] | None = None  # of its host's; None is all


def membership(environ: Mapping[str, str]) -> Membership | None:
    """What the environment says of this run's processes; None if it says nothing.

    `JAX_COORDINATOR_ADDRESS`, `JAX_NUM_PROCESSES` and `JAX_PROCESS_ID` come first; else the
    variables of a Slurm step with several tasks. Those of a Slurm job alone, as in an interactive
    allocation, say nothing: no other process has been started.

    Raises:
      UserError: some of the variables are missing, or one is not a number in its range.
    """
    if any(environ.get(name) for name in VARIABLES):
        _refuse_missing(environ, VARIABLES)
        address = environ[VARIABLES[0]]
        if not re.fullmatch(r".+:\d+", address):
            raise UserError(f"{VARIABLES[0]}={address}: give HOST:PORT, of process 0")
        n_processes = _number(environ, VARIABLES[1], 1)
        process = _number(environ, VARIABLES[2], 0, n_processes)
        return Membership(address, n_processes, process)
    if environ.get("SLURM_STEP_NUM_TASKS", "1") != "1":
        _refuse_missing(environ, SLURM_VARIABLES)
        n_processes = _number(environ, "SLURM_STEP_NUM_TASKS", 1)
        # "node[001-003,7],other" -> "node001"
        first = re.match(r"([^,\[]+)(?:\[(\w+))?", environ["SLURM_STEP_NODELIST"])
        if first is None:
            raise UserError(f"SLURM_STEP_NODELIST={environ['SLURM_STEP_NODELIST']} names no host")
        # The same port for all of a job, in the range that systems leave free.
        port = 61_440 + _number(environ, "SLURM_JOB_ID", 0) % 4096
        # One task a node has all of its devices; of several, each has one, or as many as
        # --gpus-per-task says (also as TYPE:N), and may see no other.
        tasks = n_processes / _number(environ, "SLURM_STEP_NUM_NODES", 1)
        seen = environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        per_task = environ.get("SLURM_GPUS_PER_TASK", "").rpartition(":")[2]
        sees_its_own = bool(seen[0]) and (len(seen) < tasks or str(len(seen)) == per_task)
        return Membership(
            f"{first[1]}{first[2] or ''}:{port}",
            n_processes,
            _number(environ, "SLURM_PROCID", 0, n_processes),
            (_number(environ, "SLURM_LOCALID", 0),) if tasks > 1 and not sees_its_own else None,
        )
    return None


def start() -> None:
    """Joins the other processes, if the environment announces any; before JAX's first array.

    A process on its own opens no port: everything that several need works for it without.

    Raises:
      UserError: see `membership`; or the others cannot be reached.
    """
    place = membership(os.environ)
    if place is None or place.n_processes == 1:
        return
    import jax

    # Its handler of SIGTERM would take the place of ours, know no Ctrl-C and no second signal.
    jax.config.update("jax_enable_preemption_service", False)
    interrupt = signal.getsignal(signal.SIGINT)
    if interrupt is signal.default_int_handler:  # it would be heard after the wait only
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    me = f"process {place.process} of {place.n_processes}"
    say = partial(print, file=sys.stderr, flush=True)
    # Said before: where one does not come, JAX aborts this process in words of its own.
    say(
        f"{me}: waits up to {START_TIMEOUT_S} s for all {place.n_processes} to be started and to"
        f" reach process 0 at {place.coordinator}"
    )
    try:
        jax.distributed.initialize(
            place.coordinator,
            place.n_processes,
            place.process,
            place.local_devices,
            cluster_detection_method="deactivate",
            initialization_timeout=START_TIMEOUT_S,
            heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT_S,
            shutdown_timeout_seconds=SHUTDOWN_TIMEOUT_S,
        )
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{me} does not reach the others through {place.coordinator}: {reason}"
        ) from error
    finally:
        signal.signal(signal.SIGINT, interrupt)
    # Said now: a process that waits inside a collective is ended by JAX itself, in JAX's words.
    say(f"{me}: if one is lost, all leave within {HEARTBEAT_TIMEOUT_S} s; {GO_ON}")


def any_process(asked: Callable[[], bool]) -> Callable[[], bool]:
    """Lets all processes act at the same step if one of them is asked to.

    Returns:
      A function that every process calls once a step. It returns the same everywhere: whether any
      process was asked at the call before (at this one, if there is one process only). One call's
      delay keeps the host from waiting for the devices.
    """
    import jax
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    if jax.process_count() == 1:
        return asked
    mesh = Mesh(np.array(jax.devices()), "all")
    requests = NamedSharding(mesh, PartitionSpec("all"))
    shape = (jax.device_count(),)
    any_of = jax.jit(lambda x: x.any(), out_shardings=NamedSharding(mesh, PartitionSpec()))
    answers: list[jax.Array] = []

    def ask() -> bool:
        request = np.array([asked()])
        flags = jax.make_array_from_callback(shape, requests, lambda _: request)
        answers.append(any_of(flags))
        return len(answers) > 1 and bool(answers.pop(0))

    return ask


def gather(value: Any) -> list[Any]:
    """Every process's value, in their order, on all of them: what JSON can write, as read back."""
    import jax
    from jax.experimental import multihost_utils

    if jax.process_count() == 1:
        return [value]
    text = np.frombuffer(json.dumps(value).encode(), np.uint8)
    sizes = multihost_utils.process_allgather(np.int32(text.size))
    # Filled up with copies, in few sizes: each is a program of its own.
    rows = multihost_utils.process_allgather(np.resize(text, -(-sizes.max() // 1024) * 1024))
    return [json.loads(bytes(row[:size])) for row, size in zip(rows, sizes, strict=True)]


def decide(work: Callable[[], T]) -> T:
    """What the first process's `work` returns, or the error that it raises, on all of them.

    Raises:
      AllProcessesError: in place of a UserError or an OSError.
    """
    import jax

    result, problem = None, ""
    if jax.process_index() == 0:
        try:
            result = work()
        except (UserError, OSError) as error:
            problem = str(error)
    result, problem = gather([result, problem])[0]
    if problem:
        raise AllProcessesError(problem)
    return cast(T, result)


@contextmanager
def abort_all_on_failure() -> Iterator[None]:
    """Ends this process soon if its work fails while others may wait for it, or it for them.

    What usually runs on the way out (a checkpoint's last barrier, JAX's farewell to the others)
    waits for minutes for a process that was killed. A process on its own leaves as usual.
    """
    try:
        yield
    except BaseException as error:
        import jax

        alike = isinstance(error, SystemExit | AllProcessesError)
        if alike or jax.process_count() == 1:
            raise
        if isinstance(error, UserError):
            print(f"error: {error}", file=sys.stderr)
        else:
            traceback.print_exc()
        print(
            f"error: process {jax.process_index()} failed, or lost one of the others, and leaves;"
            f" {GO_ON}",
            file=sys.stderr,
            flush=True,
        )
        os._exit(2 if isinstance(error, UserError) else 1)


def _refuse_missing(environ: Mapping[str, str], names: tuple[str, ...]) -> None:
    missing = [name for name in names if not environ.get(name)]
    if missing:
        given = next(name for name in names if environ.get(name))
        raise UserError(
            f"{missing[0]} is not set although {given}={environ[given]} is; set all of"
            f" {', '.join(names)}, or none of them for one process"
        )


def _number(environ: Mapping[str, str], name: str, least: int, end: int | None = None) -> int:
    text = environ[name]
    if not text.isdecimal() or int(text) < least or (end is not None and int(text) >= end):
        bound = f"at least {least}" if end is None else f"from {least} to {end - 1}"
        raise UserError(f"{name}={text} must be a number {bound}")
    return int(text)
