"""Data stages killed at random and run again: the files are those of an undisturbed run."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest
from conftest import REPOSITORY
from flax import nnx

from phi1_jax.config import ModelConfig
from phi1_jax.corpus.documents import read_documents, write_documents
from phi1_jax.model.phi import Phi
from phi1_jax.run.checkpoint import write_model
from phi1_jax.tokens.sentencepiece_bpe import train_tokenizer

pytestmark = pytest.mark.faults
STDLIB = Path(sysconfig.get_path("stdlib"))
N_KILLS = 3
PATIENCE_S = 120
N_EXERCISES = 5000


def command(stage: str, inputs: Path, output: Path) -> list[str]:
    arguments = {
        "curate": [f"--source={STDLIB / 'asyncio'}", "--tasks=3", "--workers=2"],
        "synthesize": [
            f"--n_exercises={N_EXERCISES}",
            "--n_textbook_sections=200",
            "--n_benchmark=50",
        ],
        "decontaminate": [
            f"--corpus={inputs / 'synthesize/exercises.jsonl.zst'}",
            f"--corpus={inputs / 'synthesize/textbooks.jsonl.zst'}",
            f"--benchmark={inputs / 'synthesize/benchmark.jsonl'}",
            "--tau=0.95,0.8",
            "--workers=2",
        ],
        "tokenize_corpus": [
            f"--corpus={inputs / 'code.jsonl.zst'}",
            f"--corpus={inputs / 'synthesize/exercises.jsonl.zst'}",
            f"--tokenizer={inputs / 'tokenizer'}",
            "--part_mb=0.2",
            "--shard_tokens=300000",
            "--workers=2",
        ],
        "train_tokenizer": [f"--corpus={inputs / 'code.jsonl.zst'}", "--vocab_size=2048"],
        "annotate": [f"--corpus={inputs / 'code.jsonl.zst'}", "--n=70"],
        "embed": [
            f"--corpus={inputs / 'code.jsonl.zst'}",
            f"--checkpoint={inputs / 'model'}",
            "--documents_per_part=32",
            "--batch_tokens=1024",
        ],
        "fit_quality": [
            f"--annotated={inputs / 'annotate/annotated.jsonl.zst'}",
            f"--embeddings={inputs / 'embed'}",
        ],
        "filter": [
            f"--corpus={inputs / 'code.jsonl.zst'}",
            f"--embeddings={inputs / 'embed'}",
            f"--model={inputs / 'fit_quality'}",
            "--budget_mb=0.3",
        ],
    }
    script, flag = {"train_tokenizer": ("tokenize_corpus", stage)}.get(stage, (stage, "output"))
    script = str(REPOSITORY / f"launch/{script}.py")
    return [sys.executable, script, *arguments[stage], f"--{flag}={output}"]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    root = tmp_path_factory.mktemp("inputs")
    run(command("synthesize", root, root / "synthesize"), root / "log")
    code = [d for part in ("asyncio", "email", "idlelib") for d in read_documents(STDLIB / part)]
    write_documents(root / "code.jsonl.zst", code)
    train_tokenizer([d.text for d in code[:40]], 512).save(root / "tokenizer")
    config = ModelConfig(
        vocab_size=512, n_layers=1, d_model=16, d_mlp=32, n_heads=2, rotary_dim=4, max_seq_len=128
    )
    params = nnx.to_pure_dict(nnx.state(Phi(config, nnx.Rngs(0)), nnx.Param))
    write_model(root / "model", config, params, root / "tokenizer")
    for stage in ("annotate", "embed", "fit_quality"):
        run(command(stage, root, root / stage), root / "log")
    return root


def start(arguments: list[str], log: Path) -> subprocess.Popen:
    with log.open("a") as file:
        return subprocess.Popen(
            arguments,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            stdout=file,
            stderr=file,
            start_new_session=True,
        )


def run(arguments: list[str], log: Path) -> float:
    """Runs a command to its end; returns its seconds."""
    began = time.monotonic()
    process = start(arguments, log)
    assert process.wait(PATIENCE_S) == 0, log.read_text()
    return time.monotonic() - began


def results(folder: Path) -> dict[str, bytes]:
    """Every file that a later stage may read, and the report without its times and places."""
    files = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.name == "report.json":
            report = json.loads(path.read_text())
            report = {
                k: v for k, v in report.items() if not k.endswith(("seconds", "speed", "memory_mb"))
            }
            files[name] = json.dumps(report).replace(str(folder), "").encode()
        elif path.name == "forest.json":
            # The archive whose hash it holds numbers objects by their addresses in memory.
            files[name] = path.read_bytes().split(b'"sha256"')[0]
        elif path.is_file() and path.name.endswith(
            (".jsonl", ".zst", ".npy", ".json", ".md", ".model")
        ):
            files[name] = path.read_bytes()
    return files


def workers_left(session: int) -> list[str]:
    """Commands of a killed run's processes that are there after 10 s."""
    for _ in range(100):
        left = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                fields = stat.read_text().rpartition(")")[2].split()
                command = (stat.parent / "cmdline").read_text().replace("\0", " ")
                if int(fields[3]) == session and fields[0] != "Z":
                    left.append(command)
        if not left:
            break
        time.sleep(0.1)
    return left


STAGES = ["curate", "synthesize", "decontaminate", "train_tokenizer", "tokenize_corpus"]
STAGES += ["annotate", "embed", "fit_quality", "filter"]


@pytest.mark.parametrize("stage", STAGES)
def test_killed_at_random_the_result_is_that_of_an_undisturbed_run(stage, inputs, tmp_path):
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    log = tmp_path / "log"
    seconds = run(command(stage, inputs, undisturbed), log)
    rng = random.Random()
    delays = [rng.uniform(0.05, 0.95) * seconds for _ in range(N_KILLS)]
    print(f"{stage} takes {seconds:.1f} s; killed after", delays)
    for delay in delays:
        process = start(command(stage, inputs, killed), log)
        time.sleep(delay)
        process.kill()
        process.wait()
        try:
            assert workers_left(process.pid) == []
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    run(command(stage, inputs, killed), log)
    expected = results(undisturbed)
    assert len(expected) >= 2
    found = results(killed)
    assert sorted(found) == sorted(expected)
    assert [name for name in found if found[name] != expected[name]] == []
    if stage == "fit_quality":  # both forests choose the same
        chosen = []
        for forest in (undisturbed, killed):
            output = tmp_path / f"by_{forest.name}"
            run([*command("filter", inputs, output), f"--model={forest}"], log)
            chosen.append((output / "filtered.jsonl.zst").read_bytes())
        assert chosen[0] == chosen[1]
