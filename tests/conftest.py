"""Eight CPU devices for every test, a shared compile cache, no network."""

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import ExitStack
from functools import cache
from importlib.metadata import version
from pathlib import Path

# Programs that run for a moment need not be fast. Without LLVM's optimizations test_step.py and
# test_skip_step.py took 113 s of processor time in place of 180; without XLA's newer code generator
# as well, a training step compiles in 3.5 s in place of 6.9. From JAX 0.11 on there is no other
# generator, and XLA refuses a flag that it does not know.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + (
    " --xla_cpu_use_fusion_emitters=false" if version("jaxlib") < "0.11" else ""
)
# XLA ends the whole process where one device comes 40 s after the others to a collective, as it can
# on a loaded machine or a full disk.
os.environ["XLA_FLAGS"] += " --xla_cpu_collective_call_terminate_timeout_seconds=300"
# A program's collectives block a thread each on every device: with a pool of two cores' size, eight
# devices wait for each other for ever.
os.environ["NPROC"] = "32"
os.environ["JAX_PLATFORMS"] = os.environ.get("JAX_PLATFORMS", "cpu")

import jax
import numpy as np
import pytest

from phi1_jax.config import (
    CheckpointConfig,
    DataConfig,
    MeshConfig,
    ModelConfig,
    OptimizerConfig,
    RunConfig,
    SourceConfig,
)
from phi1_jax.corpus.documents import Document
from phi1_jax.tokens.shards import write_shards

# Here only: scripts that tests start run on one device, as most users' do.
jax.config.update("jax_num_cpu_devices", 8)
# Programs are shared between tests and runs.
jax.config.update("jax_compilation_cache_dir", str(Path("~/.cache/phi1_jax_tests").expanduser()))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)

# Processes that a test starts inherit what nohup or a background job ignores, and would not see the
# signals that the test sends. Handlers are not inherited; the tests themselves go on ignoring.
for number in (signal.SIGHUP, signal.SIGINT):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, lambda *_: None)

REPOSITORY = Path(__file__).parent.parent


@cache
def _script_server() -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        server = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("script_server.py"), str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
    ours.settimeout(300)
    atexit.register(server.wait)
    atexit.register(ours.close)
    return ours


def run_script(
    name: str, *arguments: object, cwd: Path | None = None, typed: str = "", **environment: str
) -> subprocess.CompletedProcess:
    """Runs launch/`name` as a user does, but in a fork of a process that has imported JAX.

    A test of what a process imports, of signals, or of variables that Python or JAX reads when it
    starts has to start one of its own.
    """
    command = [str(REPOSITORY / "launch" / name), *map(str, arguments)]
    request: dict = {"command": command, "cwd": str(cwd or Path.cwd())}
    request["environment"] = {**os.environ, **environment}
    with ExitStack() as stack:
        files = [
            stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8")) for _ in range(3)
        ]
        files[0].write(typed)
        files[0].seek(0)
        message = json.dumps(request).encode()
        socket.send_fds(_script_server(), [message], [file.fileno() for file in files])
        code = json.loads(_script_server().recv(100))
        for file in files:
            file.seek(0)
        return subprocess.CompletedProcess(command, code, files[1].read(), files[2].read())


def pytest_collection_modifyitems(items):
    """Files with slow tests come first: begun last, one of them would run on one core alone."""
    seconds = Counter()
    for item in items:
        if slow := item.get_closest_marker("slow"):
            seconds[item.path] += slow.args[0] if slow.args else 2
    items.sort(key=lambda item: -seconds[item.path])


class ByteTokenizer:
    """One id a byte, 256 for end of text: for tests that need a tokenizer but not a good one."""

    vocab_size = 257
    eot_id = 256
    stop_ids = frozenset({256})
    fingerprint = "bytes"

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def encode_batch(self, texts) -> list[list[int]]:
        return [self.encode(text) for text in texts]

    def decode(self, ids, special=False) -> str:
        return bytes(i for i in ids if i < 256).decode(errors="replace")


@pytest.fixture(scope="session")
def byte_tokenizer() -> ByteTokenizer:
    return ByteTokenizer()


@pytest.fixture(scope="session")
def tiny_model() -> ModelConfig:
    return ModelConfig(
        vocab_size=264,
        n_layers=2,
        d_model=32,
        d_mlp=64,
        n_heads=4,
        rotary_dim=4,
        max_seq_len=64,
        attention_dropout=0.0,
        residual_dropout=0.0,
        compute_dtype="float32",
    )


@pytest.fixture(scope="session")
def shards(tmp_path_factory, byte_tokenizer) -> dict[str, Path]:
    """Two sources of token shards: plain text in several files, and exercises with prompts."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("shards")
    words = ["def", "return", "for", "x", "in", "range", "(", ")", ":", "print", "\n"]
    code = [
        Document(f"c{i}", " ".join(rng.choice(words, size=rng.integers(5, 60))), "code")
        for i in range(200)
    ]
    exercises = [
        Document(
            f"e{i}", f"add {i}\n  return {i}\n", "exercises", {"prompt_chars": len(f"add {i}\n")}
        )
        for i in range(300)
    ]
    write_shards(code, byte_tokenizer, folder / "code", shard_tokens=9_000)
    write_shards(exercises, byte_tokenizer, folder / "exercises")
    return {"code": folder / "code", "exercises": folder / "exercises"}


@pytest.fixture(scope="session")
def run_config(tiny_model, shards) -> RunConfig:
    """Twelve steps on both sources."""
    sources = (
        SourceConfig("code", str(shards["code"]), 2.0),
        SourceConfig("exercises", str(shards["exercises"]), 1.0),
    )
    return RunConfig(
        model=tiny_model,
        optimizer=OptimizerConfig(name="adamw", peak_learning_rate=1e-2, warmup_steps=2),
        data=DataConfig(sources=sources, seq_len=32, global_batch_size=16),
        mesh=MeshConfig(),
        checkpoint=CheckpointConfig(every_steps=4, keep_last=2),
        steps=12,
        log_every_steps=2,
    )
