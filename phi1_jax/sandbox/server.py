"""The warm fork server: runs inside the isolation, starts one process for each untrusted program.

A job is a program, or a pair: a candidate and its examiner, each in its own process, joined by
two pipes. Every byte of a program is read by the process that will run it, after the fork, and
reports pass through one buffer that is wiped: the server's memory, of which each later child
gets a copy, never holds tests or answers.

Started as `python -c "from phi1_jax.sandbox.server import main; main()"` with the control socket
on stdin; `host` holds the other end. Only the standard library is at hand.
"""

import gc
import importlib
import json
import os
import random
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from phi1_jax.errors import UserError
from phi1_jax.sandbox import confine, programs
from phi1_jax.sandbox.wire import read_exactly

LENGTH = struct.Struct(">I")  # bytes of settings, as JSON, or of the layers, in words
JOB = struct.Struct(">Ii")  # bytes of the program; bytes of its examiner, or -1
REPLY = struct.Struct(">BdI")  # verdict letter, seconds, bytes of the message
# Verdict letters beyond those of `programs`. INFRA has none: a server that fails ends without a
# reply, and the host starts another.
TIMEOUT, OUTPUT_LIMIT, CRASH = b"TOC"

# Imported before the first fork, so that programs need not pay for them.
_WARM = [
    "abc", "array", "bisect", "cmath", "collections", "copy", "dataclasses", "datetime", "decimal",
    "enum", "fractions", "functools", "hashlib", "heapq", "itertools", "json", "math", "numbers",
    "operator", "queue", "re", "statistics", "string", "textwrap", "typing",
]  # fmt: skip
_LOW_FDS = 32  # the server itself holds fewer descriptors than this
_READY = b"R"


@dataclass(frozen=True)
class Limits:
    """What one program may use. No limit lets it start a process or write a file."""

    # CPU seconds of each process; the limit that counts, since it hardly depends on the machine's
    # load. MBPP's slowest reference solution (123) takes 3 s of a quiet core and 6 of a shared one.
    cpu_s: float = 10.0
    wall_s: float = 30.0  # of the whole job; generous, for programs that sleep
    memory_mb: int = 512  # of each process, on top of the interpreter's own
    output_bytes: int = 1 << 20  # printed, stdout and stderr together; it is discarded

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise UserError(f"limit {name}={value}: must be above 0")


def main() -> None:
    control = socket.socket(fileno=os.dup(0))
    (size,) = LENGTH.unpack(read_exactly(control.recv, LENGTH.size))
    settings = json.loads(read_exactly(control.recv, size))
    for name in _WARM:
        importlib.import_module(name)
    sys.path[:] = [p for p in sys.path if not (Path(p) / "phi1_jax").exists()]
    for name in [name for name in sys.modules if name.partition(".")[0] == "phi1_jax"]:
        del sys.modules[name]
    os.environ.clear()
    # Local times are the same on every machine.
    os.environ["TZ"] = "UTC0"
    time.tzset()
    os.chdir("/")
    server = _Server(control, Limits(**settings["limits"]))
    confine.no_new_privileges()
    landlock = confine.landlock(settings["readable"], sys.path)
    layers = [confine.drop_root(), landlock, "seccomp", "rlimits"]
    hello = ", ".join(filter(None, layers)).encode()
    control.sendall(LENGTH.pack(len(hello)) + hello)
    gc.collect()
    gc.freeze()
    while header := read_exactly(control.recv, JOB.size):
        server.run_job(*JOB.unpack(header))


def _mapped_bytes() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:  # bubblewrap's namespace has no /proc
        return 256 << 20
    return pages * os.sysconf("SC_PAGE_SIZE")


class _Server:
    def __init__(self, control: socket.socket, limits: Limits) -> None:
        self._control = control
        self._limits = limits
        # RLIMIT_AS counts the interpreter's own mappings too; a program gets its share on top. They
        # are measured here, since Landlock hides them.
        self._memory_bytes = (limits.memory_mb << 20) + _mapped_bytes()
        self._seccomp = confine.Seccomp()
        self._null = os.open("/dev/null", os.O_RDONLY)
        self._report = bytearray(programs.MESSAGE_BYTES + 1)

    def run_job(self, program_bytes: int, examiner_bytes: int) -> None:
        start = time.perf_counter()
        output, output_end = os.pipe()
        report, report_end = os.pipe()
        pipes = [output_end, report_end]
        ends = [self._null, output_end, output_end, report_end]
        works = [(programs.run_program, program_bytes, ends)]
        if examiner_bytes >= 0:
            calls, calls_end = os.pipe()
            replies, replies_end = os.pipe()
            pipes += [calls, calls_end, replies, replies_end]
            works = [
                (programs.run_candidate, program_bytes, [*ends, calls, replies_end]),
                (programs.run_examiner, examiner_bytes, [*ends, replies, calls_end]),
            ]
        # In the order of their texts on the control socket.
        children = [self._fork(*work, report) for work in works]
        for fd in pipes:
            os.close(fd)
        verdict, message = self._watch(children, output, report, start)
        os.close(output)
        os.close(report)
        seconds = time.perf_counter() - start
        self._control.sendall(REPLY.pack(verdict, seconds, len(message)))
        self._control.sendall(message)
        message.release()
        self._report[:] = bytes(len(self._report))

    def _fork(
        self, work: Callable[[bytes], None], source_bytes: int, ends: list[int], report: int
    ) -> "_Child":
        """Starts a confined child that runs `source_bytes` of the control socket.

        Args:
          ends: descriptors that become the child's 0, 1, 2, ...; it gets no other.
          report: where the child says that it has its program and is confined.
        """
        pid = os.fork()
        if pid == 0:
            try:
                confine.die_with_parent()
                source = read_exactly(self._control.recv, source_bytes)
                high = [os.dup2(fd, _LOW_FDS + i) for i, fd in enumerate(ends)]
                for i, fd in enumerate(high):
                    os.dup2(fd, i)
                os.closerange(len(ends), _LOW_FDS + len(ends))
                random.seed(0)
                confine.limit_resources(self._limits.cpu_s, self._memory_bytes)
                self._seccomp.install()
                os.write(programs.REPORT_FD, _READY)
                if work is programs.run_candidate:
                    os.close(programs.REPORT_FD)
            except BaseException:
                os._exit(1)
            work(source)
            os._exit(0)
        child = _Child(pid)
        poll = select.poll()
        poll.register(report, select.POLLIN)
        poll.register(child.fd, select.POLLIN)
        if report not in dict(poll.poll(60_000)) or os.read(report, 1) != _READY:
            sys.exit(f"child {pid} did not get ready")
        return child

    def _watch(
        self, children: list["_Child"], output: int, report: int, start: float
    ) -> tuple[int, memoryview]:
        """Sees a job to its end; returns its verdict and message."""
        over = self._wait(children, output, start)
        if over is None:
            os.set_blocking(report, False)
            try:
                size = os.readv(report, [self._report])
            except BlockingIOError:
                size = 0
            if size and self._report[0] in (programs.PASS, programs.FAIL, programs.MEMORY):
                self._end(children)
                return self._report[0], memoryview(self._report)[1:size]
            # Lost: the candidate's own end tells why. Silent: so does the program's.
            over = self._verdict_of(children[0 if size else -1])
        self._end(children)
        verdict, text = over
        self._report[1 : 1 + len(text)] = text.encode()
        return verdict, memoryview(self._report)[1 : 1 + len(text)]

    def _verdict_of(self, child: "_Child") -> tuple[int, str]:
        """What a process that stopped without a report tells."""
        status = child.end(grace_s=0.2)
        if status is None:
            return programs.FAIL, "closed its pipes and stayed"
        if not os.WIFSIGNALED(status):
            return programs.FAIL, f"ended the process, exit status {os.WEXITSTATUS(status)}"
        number = os.WTERMSIG(status)
        if child.used_s >= self._limits.cpu_s:  # its own hard limit came before this busy server
            return TIMEOUT, f"took more than {self._limits.cpu_s:g} s of CPU time"
        if number == signal.SIGKILL:
            # Programs cannot send it: it was the machine, short of memory perhaps.
            sys.exit("a program was killed from outside")
        return CRASH, f"crashed: {signal.Signals(number).name}"

    def _wait(self, children: list["_Child"], output: int, start: float) -> tuple[int, str] | None:
        """Waits until the last child ends (None), or a limit is passed (verdict, message)."""
        written = 0
        poll = select.poll()
        for fd in (output, self._control.fileno(), *(child.fd for child in children)):
            poll.register(fd, select.POLLIN)
        pause_s = min(self._limits.cpu_s, self._limits.wall_s)
        while True:
            ready = dict(poll.poll(pause_s * 1000))
            if self._control.fileno() in ready:
                sys.exit("the host is gone")
            if output in ready:
                count = len(os.read(output, 1 << 16))
                written += count
                if written > self._limits.output_bytes:
                    return OUTPUT_LIMIT, f"printed more than {self._limits.output_bytes} bytes"
                if not count:
                    poll.unregister(output)
            elif children[-1].fd in ready:  # and all that it printed is counted
                return None
            elif children[0].fd in ready:
                poll.unregister(children[0].fd)  # the examiner notices by itself
            cpu_left_s = self._limits.cpu_s - max(child.cpu_s() for child in children)
            wall_left_s = self._limits.wall_s - (time.perf_counter() - start)
            if cpu_left_s <= 0:
                return TIMEOUT, f"took more than {self._limits.cpu_s:g} s of CPU time"
            if wall_left_s <= 0:
                return TIMEOUT, f"took more than {self._limits.wall_s:g} s"
            # A single thread cannot use up its CPU time sooner than the clock on the wall.
            pause_s = max(0.005, min(cpu_left_s, wall_left_s))

    def _end(self, children: list["_Child"]) -> None:
        for child in children:
            child.end()


class _Child:
    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._ended = False
        self._status: int | None = None
        self.used_s = 0.0
        self.fd = os.pidfd_open(pid)

    def cpu_s(self) -> float:
        try:
            return time.clock_gettime((~self._pid << 3) | 2)  # Linux: the CPU clock of a process
        except OSError:
            return 0.0

    def end(self, grace_s: float = 0) -> int | None:
        """Its wait status; None if it had to be killed because it outstayed the grace."""
        if not self._ended:
            poll = select.poll()
            poll.register(self.fd, select.POLLIN)
            by_itself = bool(poll.poll(grace_s * 1000))
            if not by_itself:
                os.kill(self._pid, signal.SIGKILL)
            _, status, usage = os.wait4(self._pid, 0)
            self.used_s = usage.ru_utime + usage.ru_stime
            self._status = status if by_itself else None
            self._ended = True
            os.close(self.fd)
        return self._status
