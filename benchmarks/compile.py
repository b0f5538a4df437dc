"""The first training step in a fresh process, with and without compiled programs on disk."""

import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks import baseline
from benchmarks.report import OURS, Options, Row
from benchmarks.timing import launch, run_process
from phi1_jax.config import RunConfig


def measure(arguments: Sequence[str], options: Options) -> Iterator[Row]:
    """Cold and cached, for ours and for the baseline, each in a process of its own.

    Args:
      arguments: flags of launch/benchmark.py that give the config.
    """
    command = [launch("benchmark.py"), "compile", *arguments]
    for name in (OURS, *(f"torch {mode}" for mode in options.modes if options.baseline)):
        with tempfile.TemporaryDirectory() as cache:
            for case in ("cold", "cached"):
                done = run_process(
                    [*command, f"--compile_cache={cache}", f"--first_step_of={name}"],
                    {"TORCHINDUCTOR_CACHE_DIR": cache, "TORCHINDUCTOR_FX_GRAPH_CACHE": "1"},
                )
                found = json.loads(done.output.splitlines()[-1])
                values = {**found, "whole_process_s": done.seconds, "peak_bytes": done.peak_bytes}
                yield Row(f"first step, {case}", name, found["first_step_s"], values=values)


def first_step(config: RunConfig, name: str) -> dict[str, float]:
    """What the processes above do: initialise, then compile and run one step.

    Returns:
      Seconds of both parts, and of a second step.
    """
    shape = (1, config.data.global_batch_size, config.data.seq_len + 1)
    batches = np.random.default_rng(0).integers(0, config.model.vocab_size, shape, np.int32)
    start = time.perf_counter()
    if name == OURS:
        from benchmarks.train import our_step

        step, _ = our_step(config, batches)
    else:
        ways = baseline.training_steps(config.model, config.optimizer, None, batches)
        make = next(make for kind, make in ways(name.split()[-1]) if kind.endswith(", sdpa"))
        start = time.perf_counter()  # torch is imported, as JAX was
        step = make()
    times = [time.perf_counter()]
    for _ in range(2):
        step()
        times.append(time.perf_counter())
    return {
        "initialise_s": times[0] - start,
        "first_step_s": times[1] - times[0],
        "second_step_s": times[2] - times[1],
        "cores": float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0),
    }
