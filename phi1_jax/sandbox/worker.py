"""One server process of the sandbox, and the records that pass to it and from it."""

import contextlib
import json
import socket
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from enum import StrEnum

from phi1_jax.errors import UserError
from phi1_jax.sandbox import programs, server

BOOT_TIMEOUT_S = 60.0
# Sets are walked in one order, so that a program has one outcome.
ENVIRONMENT = {"PYTHONHASHSEED": "0"}


class Verdict(StrEnum):
    PASS = "PASS"
    FAIL = "FAIL"
    TIMEOUT = "TIMEOUT"
    MEMORY = "MEMORY"
    OUTPUT_LIMIT = "OUTPUT_LIMIT"
    CRASH = "CRASH"
    INFRA = "INFRA"  # the sandbox failed, not the program: never to be scored


_VERDICTS = {
    programs.PASS: Verdict.PASS,
    programs.FAIL: Verdict.FAIL,
    programs.MEMORY: Verdict.MEMORY,
    server.TIMEOUT: Verdict.TIMEOUT,
    server.OUTPUT_LIMIT: Verdict.OUTPUT_LIMIT,
    server.CRASH: Verdict.CRASH,
}


@dataclass(frozen=True)
class Limits:
    """What one program may use. It can start no process and write no file, whatever the limits."""

    cpu_s: float = 5.0  # of each process; decides, since it hardly depends on the machine's load
    wall_s: float = 30.0  # of the whole job; generous, for programs that sleep
    memory_mb: int = 512  # of each process, on top of the interpreter's own
    output_bytes: int = 1 << 20  # printed, stdout and stderr together; nobody reads it

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise UserError(f"limit {name}={value}: must be above 0")


@dataclass(frozen=True)
class Outcome:
    """How a program ended; `message` says more, on a pass what it left in `__result__`."""

    verdict: Verdict
    message: str
    seconds: float


@dataclass(frozen=True)
class Job:
    """A self-contained program, or a candidate's definitions with the examiner that tests them."""

    program: str
    examiner: str | None = None


class WorkerFailed(Exception):
    """A server ended, or could not start; the message says why."""


class Worker:
    """One server process and its control socket."""

    def __init__(self, command: list[str], limits: Limits, readable: list[str]) -> None:
        self._socket, theirs = socket.socketpair()
        self._socket.settimeout(BOOT_TIMEOUT_S)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by close)
        with theirs:
            self._process = subprocess.Popen(
                command,
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                env=ENVIRONMENT,
                start_new_session=True,
            )
        paths = json.dumps(readable).encode()
        settings = server.SETTINGS.pack(
            limits.cpu_s, limits.wall_s, limits.memory_mb << 20, limits.output_bytes, len(paths)
        )
        try:
            with contextlib.suppress(OSError):  # it ended already; what it said comes next
                self._socket.sendall(settings + paths)
            (size,) = struct.unpack(">I", self._exactly(4))
            self.layers = self._exactly(size).decode()
        except (OSError, WorkerFailed) as error:
            self.close()
            raise WorkerFailed(f"it did not start: {error}") from None

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, job: Job) -> None:
        """Hands over a job; a failure shows when its outcome is received."""
        program = job.program.encode("utf-8", "backslashreplace")
        examiner = (
            None if job.examiner is None else job.examiner.encode("utf-8", "backslashreplace")
        )
        with contextlib.suppress(OSError):
            self._socket.sendall(
                server.JOB.pack(len(program), -1 if examiner is None else len(examiner))
            )
            self._socket.sendall(program + (examiner or b""))

    def receive(self) -> Outcome:
        try:
            letter, seconds, size = server.REPLY.unpack(self._exactly(server.REPLY.size))
            message = self._exactly(size).decode("utf-8", "replace")
        except OSError as error:
            raise WorkerFailed(f"the sandbox's server failed: {error}") from None
        return Outcome(_VERDICTS[letter], message, seconds)

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        self._socket.close()  # the server sees it, ends its children, and ends
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def _exactly(self, count: int) -> bytes:
        data = server.receive(self._socket, count) if count else b""
        if len(data) < count:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=5)
            self._errors.seek(0)
            text = self._errors.read().decode("utf-8", "replace").strip().splitlines()
            raise WorkerFailed(text[-1] if text else f"exit {self._process.returncode}")
        return data
