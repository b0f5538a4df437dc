"""Times of several variants, taken in turn, and the machine's rooflines beside them."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from phi1_jax.errors import REPOSITORY, UserError


@dataclass(frozen=True)
class Timing:
    """Seconds of one variant's timed calls, and of its very first call, which compiles."""

    first_s: float
    seconds: tuple[float, ...]

    @property
    def median_s(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread_s(self) -> tuple[float, float]:
        """The 10th and the 90th percentile."""
        low, high = np.percentile(self.seconds, [10, 90])
        return float(low), float(high)


def take_turns(
    variants: Mapping[str, Callable[[], object]],
    calls: int = 20,
    block: int = 5,
    warm: bool = True,
) -> dict[str, Timing]:
    """Times every variant at least `calls` times, in blocks A B C, A B C, ...

    Each call must end when its work has ended. The first call of all is not among the timed ones,
    nor, unless `warm` is off, the first of each block, which finds the caches full of another's
    data: that is nothing beside calls of many seconds.
    """
    first, seconds = {}, {name: list[float]() for name in variants}
    for name, call in variants.items():
        first[name] = _time(call)
    while any(len(times) < calls for times in seconds.values()):
        for name, call in variants.items():
            if warm:
                call()
            seconds[name] += [_time(call) for _ in range(min(block, calls))]
    return {name: Timing(first[name], tuple(times)) for name, times in seconds.items()}


def matmul_size() -> int:
    """The width of the square matrices whose product is a roofline."""
    return 1024 if jax.default_backend() == "cpu" else 8192


def rooflines(dtype: jnp.dtype) -> dict[str, float]:
    """What the device does at best, on random data: FLOP/s of a square matmul, bytes/s of a copy.

    A copy counts what it reads and what it writes.
    """
    n, n_bytes = matmul_size(), 1 << 26 if jax.default_backend() == "cpu" else 1 << 32
    key = jax.random.key(0, impl="rbg")
    a, b = (jax.random.normal(k, (n, n), dtype) for k in jax.random.split(key))
    x = jax.random.normal(key, (n_bytes // 4,), jnp.float32)
    matmul, copy = jax.jit(jnp.matmul), jax.jit(lambda x: x + 1)
    calls = {
        "matmul": lambda: jax.block_until_ready(matmul(a, b)),
        "copy": lambda: jax.block_until_ready(copy(x)),
    }
    times = {name: t.median_s for name, t in take_turns(calls, calls=10).items()}
    return {
        "matmul_flops": 2 * n**3 / times["matmul"],
        "copy_bytes_per_s": 2 * x.nbytes / times["copy"],
    }


# Between this process and the command: Linux counts what the starting process holds as the started
# one's peak. Its last line on stderr is the command's peak in KiB, which subprocess does not tell.
_WEIGH = """
import os, subprocess, sys
child = subprocess.Popen(sys.argv[1:])
_, status, usage = os.wait4(child.pid, 0)
print(usage.ru_maxrss, file=sys.stderr)
sys.stderr.flush()
os._exit(os.waitstatus_to_exitcode(status) & 255)
"""


@dataclass(frozen=True)
class Process:
    """What became of a process that was started for its own sake."""

    seconds: float
    peak_bytes: int  # of resident memory
    output: str


def run_process(command: Sequence[str], env: Mapping[str, str] | None = None) -> Process:
    """Runs Python with `command` to its end, in the folder that this process is in.

    Raises:
      UserError: it failed; with the end of what it said.
    """
    with tempfile.TemporaryFile("w+") as errors:
        start = time.perf_counter()
        child = subprocess.Popen(
            [sys.executable, "-c", _WEIGH, sys.executable, *command],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, **(env or {})},
        )
        output, _ = child.communicate()
        seconds = time.perf_counter() - start
        errors.seek(0)
        *said, peak = errors.read().strip().splitlines()
        if child.returncode:
            tail = " ".join(said[-3:])
            raise UserError(f"{' '.join(command[:3])} ... failed with {child.returncode}: {tail}")
    return Process(seconds, int(peak) * 1024, output)


def launch(script: str) -> str:
    """The path of one of the launch scripts, from wherever one stands."""
    return str(REPOSITORY / "launch" / script)


def _time(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
