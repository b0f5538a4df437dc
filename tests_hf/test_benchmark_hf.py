"""launch/benchmark.py beside its baseline, at a small size: both must do the same work."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import llama_cpp

REPOSITORY = Path(__file__).parents[1]
SIZE = [
    "--config=configs/bench_cpu.py",
    "--config.model.vocab_size=512",
    "--config.model.n_layers=2",
    "--config.model.d_model=64",
    "--config.model.d_mlp=128",
    "--config.model.n_heads=2",
    "--config.model.rotary_dim=16",
    "--config.data.seq_len=32",
    "--config.data.global_batch_size=2",
    "--baseline=torch",
    "--calls=2",
]
DATA = Path(os.environ.get("PHI1_JAX_DATA") or REPOSITORY.parent / "shared/data")


def rows(tmp_path, *arguments, modes="eager"):
    arguments = (*arguments, f"--baseline_modes={modes}")
    output = tmp_path / "rows.jsonl"
    subprocess.run(
        [sys.executable, REPOSITORY / "launch/benchmark.py", *arguments, f"--output={output}"],
        check=True,
        cwd=REPOSITORY,
        env={"JAX_PLATFORMS": "cpu", "PATH": "/usr/bin:/bin", "PYTHONPATH": str(REPOSITORY)},
    )
    return [json.loads(line) for line in output.read_text().splitlines()]


def test_train(tmp_path):
    # A first loss that differs from ours would end the run.
    found = rows(tmp_path, "train", *SIZE)
    (ours,) = [row for row in found if row["variant"] == "ours"]
    select_fastest = [row["variant"] for row in found if row["variant"].endswith("(screening)")]
    ran = [row for row in found if row["variant"].startswith("torch") and row["seconds"]]
    (best,) = [row for row in ran if row["variant"] not in select_fastest]
    assert {"torch eager, sdpa (screening)", "torch eager, sdpa math (screening)"} <= set(
        select_fastest
    )
    assert ours["ratio"] == ours["seconds"] / best["seconds"]
    assert ours["versions"]["torch"] and ours["versions"]["transformers"]
    assert ours["first_s"] > ours["seconds"]  # it compiles
    matmuls = [row for row in found if row["variant"].startswith("square matmul")]
    assert [row["variant"] for row in matmuls] == ["square matmul", "square matmul, torch"]
    assert all(row["values"]["flops"] > 0 for row in matmuls)


def test_decode(tmp_path):
    flags = ("--batch=1", "--batch=3", "--prompt_tokens=8", "--new_tokens=12")
    found = rows(tmp_path, "decode", *SIZE, *flags)
    ran = [row for row in found if "torch" in row["variant"] and row["seconds"]]
    assert {row["values"]["same_tokens"] for row in ran} == {1.0}
    names = {row["variant"] for row in ran}
    for cache in ("dynamic", "static"):
        for attention in ("eager", "sdpa", "sdpa math"):
            assert f"torch eager, {cache} cache, {attention} (screening)" in names
    assert sum(row["ratio"] is not None for row in found) == 2
    assert sum(row["variant"] == llama_cpp.NAME for row in found) == 2 * llama_cpp.is_installed()


@pytest.mark.slow
def test_the_compiled_peer_decodes_the_same(tmp_path):
    flags = ("--batch=2", "--prompt_tokens=8", "--new_tokens=4", "--calls=1")
    found = rows(tmp_path, "decode", *SIZE, *flags, modes="compiled")
    ran = {row["variant"]: row for row in found if row["variant"].startswith("torch")}
    for attention in ("eager", "sdpa"):
        heat = ran[f"torch compiled, static cache, {attention} (screening)"]
        assert heat["values"]["same_tokens"] == 1.0


@pytest.mark.slow
def test_humaneval_is_the_same_work_on_both_sides(tmp_path):
    problems = DATA / "HumanEval.jsonl.gz"
    if not problems.exists():
        pytest.skip(f"{problems} is missing: name a folder that holds it in PHI1_JAX_DATA")
    # A context that most prompts do not fit into.
    flags = ("--config.model.max_seq_len=64", "--new_tokens=8", "--n_sampled=1", "--n_samples=2")
    found = rows(tmp_path, "humaneval", *SIZE, *flags, f"--problems={problems}")
    (ours,) = [row for row in found if row["ratio"] is not None]
    (best,) = [r for r in found if r["case"] == ours["case"] and r["spread_s"] and r != ours]
    assert best["values"]["same_tokens"] == 1.0
    for row in (ours, best):
        assert row["values"]["tokens_per_s"] * row["seconds"] == pytest.approx(164 * 8)
