"""launch/benchmark.py as a user runs it, without a peer; `tests_hf` runs it with one."""

import json
import os
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from conftest import REPOSITORY

from phi1_jax.benchmark import smoke
from phi1_jax.benchmark.convert import compare_bits
from phi1_jax.benchmark.report import OURS, Row, compare
from phi1_jax.benchmark.timing import run_process, take_turns
from phi1_jax.errors import UserError

SIZE = [
    "--config=configs/bench_cpu.py",
    *(
        f"--config.model.{name}={value}"
        for name, value in (
            ("vocab_size", 512),
            ("n_layers", 1),
            ("d_model", 32),
            ("d_mlp", 64),
            ("n_heads", 2),
            ("rotary_dim", 8),
        )
    ),
    "--config.data.seq_len=16",
    "--config.data.global_batch_size=2",
    "--calls=2",
]


def run(*arguments, fails=False):
    done = subprocess.run(
        [sys.executable, REPOSITORY / "launch" / "benchmark.py", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"},
    )
    assert (done.returncode != 0) == fails, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1] if fails else done.stdout


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_take_turns_interleaves_and_leaves_the_first_of_each_block_out():
    order = []
    calls = {name: lambda name=name: order.append(name) for name in "ab"}
    timings = take_turns(calls, calls=4, block=2)
    assert "".join(order) == "ab" + "aaabbb" * 2
    assert [len(timings[name].seconds) for name in "ab"] == [4, 4]
    order.clear()
    take_turns(calls, calls=2, block=1, warm=False)
    assert "".join(order) == "ab" + "ab" * 2


def test_times_and_ratio():
    calls = {OURS: lambda: time.sleep(0.002), "slow": lambda: time.sleep(0.02)}
    ours, slow = compare("case", take_turns(calls, calls=4, block=2), {OURS: {"x": 1}})
    assert 0.002 <= ours.seconds < 0.02 <= slow.seconds
    assert ours.ratio == pytest.approx(ours.seconds / slow.seconds) and slow.ratio is None
    assert ours.spread_s[0] <= ours.seconds <= ours.spread_s[1]
    assert ours.values == {"x": 1}


def test_a_process_is_timed_and_weighed():
    code = "import time; x = bytearray(200_000_000); time.sleep(0.3); print('done')"
    found = run_process(["-c", code])
    assert found.output == "done\n" and found.seconds > 0.3
    assert 200e6 < found.peak_bytes < 400e6
    with pytest.raises(UserError, match="failed with 3: broken"):
        run_process(["-c", "import sys; print('broken', file=sys.stderr); sys.exit(3)"])


def test_train_and_decode(tmp_path):
    output = tmp_path / "rows.jsonl"
    assert "tokens_per_s" in run("train", *SIZE, f"--output={output}")
    run("decode", *SIZE, "--batch=3", "--prompt_tokens=4", "--new_tokens=5", f"--output={output}")
    ours = [row for row in rows_of(output) if row["contender"] == OURS]
    assert [row["case"] for row in ours] == [
        "2 x 16, dropout 0",
        "2 x 16, dropout 0.1",
        "batch 3, 4 + 5 tokens",
    ]
    assert ours[1]["values"]["remat"] == "none"
    for row in ours:
        low, high = row["spread_s"]
        assert 0 < low <= row["seconds"] <= high < row["first_s"] * 2
        assert row["versions"]["jax"] == jax.__version__ and row["date"] and row["device"]
        assert row["config"]["model"]["d_model"] == 32 and row["ratio"] is None
    tokens = 2 * 16 / ours[0]["seconds"]
    assert ours[0]["values"]["tokens_per_s"] == pytest.approx(tokens)
    assert any(row["case"] == "ceiling" for row in rows_of(output))


@pytest.mark.slow
def test_convert_is_weighed_and_exact(tmp_path):
    output = tmp_path / "rows.jsonl"
    run("convert", *SIZE, f"--output={output}")
    there, back = rows_of(output)
    assert there["values"]["peak_by_weights"] > 0
    assert back["values"]["bit_identical_tensors"] == 14 + 5
    assert not list(REPOSITORY.glob(".benchmark-*"))


def test_a_flipped_bit_is_noticed(tmp_path):
    from safetensors.numpy import save_file

    for name, value in (("a", 1.0), ("b", np.nextafter(np.float32(1), np.float32(2)))):
        (tmp_path / name).mkdir()
        array = np.full((2, 2), value, np.float32)
        save_file({"w": array}, tmp_path / name / "model.safetensors")
    assert compare_bits(tmp_path / "a", tmp_path / "a") == 1
    with pytest.raises(AssertionError, match="w came back otherwise"):
        compare_bits(tmp_path / "a", tmp_path / "b")


def test_smoke_compares_ratios(tmp_path):
    rows = [Row("train", OURS, 1.0, ratio=0.5), Row("train", "torch", 2.0)]
    smoke.store(tmp_path / "smoke.json", rows)
    smoke.compare(tmp_path / "smoke.json", {"train": 1.2})
    with pytest.raises(UserError, match=r"train: 1\.300 of the peer's time, stored 0\.500"):
        smoke.compare(tmp_path / "smoke.json", {"train": 1.3})
    with pytest.raises(UserError, match="train was not measured"):
        smoke.compare(tmp_path / "smoke.json", {})
    with pytest.raises(UserError, match="no stored ratios"):
        smoke.compare(tmp_path / "nothing.json", {})


def test_mistakes_get_one_line():
    for arguments, words in (
        (["nothing", *SIZE], "subject 'nothing': name one of decode"),
        (["humaneval", *SIZE], "--problems is missing"),
        (["train"], "--config is missing"),
    ):
        error = run(*arguments, fails=True)
        assert error.startswith("error: ") and words in error


@pytest.mark.gpu
def test_train_on_a_gpu(tmp_path):
    if jax.default_backend() != "gpu":
        pytest.skip("the training step on a GPU was NOT MEASURED: there is no GPU here")
    output = tmp_path / "rows.jsonl"
    subprocess.run(
        [sys.executable, "launch/benchmark.py", "train", *SIZE, f"--output={output}",
         "--config.model.compute_dtype=bfloat16", "--config.model.attention=cudnn",
         "--config.data.seq_len=128"],
        cwd=REPOSITORY, check=True,
    )  # fmt: skip
    assert rows_of(output)[0]["device"].startswith("1 x NVIDIA")
