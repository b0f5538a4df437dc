"""The sandbox's outside: opened only if it holds, it deals programs out to its servers."""

import contextlib
import itertools
import json
import os
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from phi1_jax.errors import UserError
from phi1_jax.sandbox import server
from phi1_jax.sandbox.readable import hidden_files
from phi1_jax.sandbox.server import Limits
from phi1_jax.sandbox.wire import read_exactly

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


# The letters of `programs` and `server` are the first ones of these.
_VERDICTS = {ord(verdict[0]): verdict for verdict in Verdict}


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


class WorkerFailed(UserError):
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
        settings = json.dumps({"limits": asdict(limits), "readable": readable}).encode()
        try:
            with contextlib.suppress(OSError):  # it ended already; what it said comes next
                self._socket.sendall(server.LENGTH.pack(len(settings)) + settings)
            (size,) = server.LENGTH.unpack(self._exactly(server.LENGTH.size))
            self.layers = self._exactly(size).decode()
        except (OSError, WorkerFailed) as error:
            self.close()
            raise WorkerFailed(f"the sandbox's server did not start: {error}") from None

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, job: Job) -> None:
        """Hands over a job; a failure shows when its outcome is received."""
        # Half a surrogate pair arrives as it is, and is no Python there.
        program = job.program.encode("utf-8", "surrogatepass")
        examiner = (job.examiner or "").encode("utf-8", "surrogatepass")
        header = server.JOB.pack(len(program), -1 if job.examiner is None else len(examiner))
        with contextlib.suppress(OSError):
            self._socket.sendall(header + program + examiner)

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
        data = b""
        with contextlib.suppress(ConnectionResetError):  # it ended with something still unread
            data = read_exactly(self._socket.recv, count)
        if len(data) < count:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=5)
            self._errors.seek(0)
            text = self._errors.read().decode("utf-8", "replace").strip().splitlines()
            raise WorkerFailed(text[-1] if text else f"exit {self._process.returncode}")
        return data


_ROOT = Path(__file__).resolve().parents[2]
_DEFAULT_LIMITS = Limits()
_INFRA_TRIES = 3
_LOOKAHEAD = 64  # jobs per worker that may be finished before their turn
_Try = tuple[int, Job, int]  # its number, the job, how often it was tried


class Sandbox:
    """Runs untrusted Python, each program in its own confined process; see `open_sandbox`."""

    def __init__(
        self, limits: Limits, workers: int, command: list[str], outer: str, readable: list[str]
    ) -> None:
        self.limits = limits
        self._command, self._outer, self._readable = command, outer, readable
        self._workers: list[Worker | None] = [None] * workers
        try:
            self._self_check()
        except BaseException:
            self.close()
            raise

    def run(self, programs: Iterable[str]) -> Iterator[Outcome]:
        """Runs self-contained programs; outcomes come in the order of the programs.

        PASS: the program ended without an exception. A hostile program that carries its own
        tests can make them pass; whoever must not be fooled uses `examine`.
        """
        return self.examine(Job(program) for program in programs)

    def examine(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        """Runs candidates against examiners; outcomes come in the order of the jobs.

        The examiner's program calls the candidate's function `f` as `remote("f")`. PASS: the
        examiner ended without an exception; nothing the candidate does can forge that.

        Raises:
          UserError: a server ended, and no other can be started.
        """
        waiting = ((number, job, 1) for number, job in enumerate(jobs))
        again: deque[_Try] = deque()
        running: dict[int, _Try] = {}  # by worker
        done: dict[int, Outcome] = {}
        following = 0
        try:
            while True:
                for index in set(range(len(self._workers))) - set(running):
                    ahead = len(done) < _LOOKAHEAD * len(self._workers)
                    task = again.popleft() if again else next(waiting, None) if ahead else None
                    if task is None:
                        break
                    running[index] = task
                    self._worker(index).send(task[1])
                if not running:
                    break
                for index in self._ready(running):
                    number, job, tries = running.pop(index)
                    try:
                        done[number] = self._worker(index).receive()
                    except WorkerFailed as failure:
                        self._discard(index)
                        if tries < _INFRA_TRIES:
                            again.append((number, job, tries + 1))
                        else:
                            done[number] = Outcome(Verdict.INFRA, str(failure), 0.0)
                while following in done:
                    yield done.pop(following)
                    following += 1
        finally:
            for index in running:  # the caller stopped half-way: their replies are not wanted
                self._discard(index)

    def close(self) -> None:
        for index in range(len(self._workers)):
            self._discard(index)

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _ready(self, running: Iterable[int]) -> list[int]:
        poll = selectors.PollSelector()
        for index in running:
            poll.register(self._worker(index), selectors.EVENT_READ, index)
        ready = [key.data for key, _ in poll.select(self.limits.wall_s + BOOT_TIMEOUT_S)]
        if not ready:  # no server kept its own wall limit
            for index in running:
                self._worker(index).kill()
        return ready or list(running)

    def _worker(self, index: int) -> Worker:
        worker = self._workers[index]
        if worker is None:
            worker = self._workers[index] = Worker(self._command, self.limits, self._readable)
        return worker

    def _discard(self, index: int) -> None:
        if worker := self._workers[index]:
            worker.close()
        self._workers[index] = None

    def _self_check(self) -> None:
        """Starts every server, and has each isolation claim tried by a program before any use."""
        layers = [self._worker(index).layers for index in range(len(self._workers))]
        self.backend = ", ".join(filter(None, [self._outer, layers[0]]))
        if not self._outer and "Landlock" not in layers[0]:
            raise WorkerFailed("the kernel has no Landlock")
        with tempfile.NamedTemporaryFile("w", suffix=".secret") as secret:
            secret.write("secret")
            secret.flush()
            Path(secret.name).chmod(0o644)
            hidden = [secret.name, "/etc/passwd", *hidden_files(self._readable)]
            probes = [_PROBE.format(path=secret.name, hidden=hidden), "raise ValueError"]
            outcomes = list(self.run(itertools.chain(probes, *[["pass"]] * len(layers))))
        verdicts = [outcome.verdict for outcome in outcomes]
        if Verdict.TIMEOUT in verdicts:
            why = outcomes[verdicts.index(Verdict.TIMEOUT)].message
            raise UserError(f"a program of one line {why}: raise that limit")
        if verdicts[1] is not Verdict.FAIL or {verdicts[0], *verdicts[2:]} != {Verdict.PASS}:
            raise WorkerFailed(f"the isolation leaks: {outcomes[0].message or outcomes}")


# Each of these must be refused by the operating system.
_PROBE = """
import os, socket
def refused(what, *arguments):
    try:
        what(*arguments)
    except (OSError, ValueError):
        return
    raise AssertionError(f"{{what.__name__}}{{arguments}} was not refused")
for path in {hidden!r}:
    refused(open, path, "rb")
refused(open, f"/proc/{{os.getppid()}}/environ")
refused(open, "/tmp/phi1_jax_probe", "w")
refused(open, "/phi1_jax_probe", "w")
refused(os.fork)
refused(os.execv, "/bin/true", ["true"])
refused(os.kill, os.getppid(), 0)
refused(os.unlink, {path!r})
for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
    refused(socket.socket, family, socket.SOCK_DGRAM)
assert [*os.environ] == ["TZ"], "the environment is not empty"
"""


def open_sandbox(
    limits: Limits = _DEFAULT_LIMITS, workers: int = 2, isolation: str = "auto"
) -> Sandbox:
    """Opens the strongest isolation that works here, after trying it; a context manager.

    Args:
      limits: for each program.
      workers: servers, each running one program at a time; as many as there are cores.
      isolation: "auto", or one of "bubblewrap", "landlock" to insist on it.
    Raises:
      UserError: nothing works on this machine; the message says what to install.
    """
    if isolation not in ("auto", "bubblewrap", "landlock"):
        raise UserError(f"isolation={isolation!r}: must be auto, bubblewrap or landlock")
    if workers < 1:
        raise UserError(f"workers={workers}: must be at least 1")
    if not sys.platform.startswith("linux"):
        raise UserError(
            f"untrusted code cannot be isolated on {sys.platform}: run this on Linux, "
            "in a virtual machine or in a container"
        )
    python = os.path.realpath(sys.executable)
    boot = [python, "-P", "-s", "-S", "-B", "-X", "utf8", "-c"]
    # Appended: where this package is installed lie others, which must not come before the library.
    start = "import sys; sys.path.append({!r}); from phi1_jax.sandbox.server import main; main()"
    readable = _readable_by(boot)
    commands = {}  # the strongest first
    if bwrap := shutil.which("bwrap"):
        within = _bubblewrap(bwrap, [*readable, python])
        commands["bubblewrap"] = [*within, *boot, start.format("/code")]
    commands[""] = [*boot, start.format(str(_ROOT))]
    failures = [] if bwrap else ["bubblewrap: not installed"]
    for outer, command in commands.items():
        name = outer or "landlock"
        if isolation in ("auto", name):
            try:
                return Sandbox(limits, workers, command, outer, readable)
            except WorkerFailed as failure:
                failures.append(f"{name}: {failure}")
    raise UserError(
        f"untrusted code cannot be isolated here ({'; '.join(failures)}): install bubblewrap "
        "(apt install bubblewrap), or use a Linux kernel 5.13 or later with Landlock"
    )


def _readable_by(boot: list[str]) -> list[str]:
    """The `readable_paths` of the interpreter that will run the programs, asked of itself."""
    ask = f"import sys; path = sys.path[:]; sys.path.append({str(_ROOT)!r}); "
    ask += "from phi1_jax.sandbox.readable import main; main(path)"
    try:
        done = subprocess.run(
            [*boot, ask], env=ENVIRONMENT, capture_output=True, text=True, timeout=BOOT_TIMEOUT_S
        )
    except subprocess.TimeoutExpired as error:
        raise UserError(
            f"{boot[0]} did not start within {BOOT_TIMEOUT_S} s: is the machine overloaded?"
        ) from error
    if done.returncode:
        raise UserError(f"{boot[0]} cannot tell what it reads: {done.stderr.strip()[-300:]}")
    return list(json.loads(done.stdout))


def _bubblewrap(bwrap: str, readable: list[str]) -> list[str]:
    """Namespaces with nothing in them but `readable`, read-only, and this package's folder."""
    command = [bwrap, "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    for entry in readable:
        command += ["--ro-bind", entry, entry]
    package = Path(__file__).parent
    for path in (package.parent / "__init__.py", package.parent / "errors.py", package):
        command += ["--ro-bind", str(path), f"/code/phi1_jax/{path.relative_to(package.parent)}"]
    return [*command, "--dev-bind", "/dev/null", "/dev/null", "--remount-ro", "/", "--chdir", "/"]
