"""launch/benchmark.py as a user runs it, without a baseline; `tests_hf` runs it with one."""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from conftest import REPOSITORY

from benchmarks import smoke
from benchmarks.baseline import same_tokens, select_fastest
from benchmarks.convert import compare_bits
from benchmarks.decode import random_params
from benchmarks.report import OURS, Row, compare
from benchmarks.starts import interval
from benchmarks.timing import run_process, take_turns
from benchmarks.train import our_step
from phi1_jax.errors import UserError
from phi1_jax.run.checkpoint import write_model
from phi1_jax.tokens.sentencepiece_bpe import train_tokenizer

DATA = Path(os.environ.get("PHI1_JAX_DATA") or Path(__file__).parents[3] / "shared/data")
SMALL = [
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
SIZE = ["--config=configs/bench_cpu.py", *SMALL]


def run(*arguments, fails=False, cwd=REPOSITORY):
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    # As it is for most users; and without LLVM's optimizations the rooflines alone take 11 s.
    del environment["XLA_FLAGS"], environment["JAX_DISABLE_MOST_OPTIMIZATIONS"]
    done = subprocess.run(
        [sys.executable, REPOSITORY / "launch" / "benchmark.py", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
    )
    assert (done.returncode != 0) == fails, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1] if fails else done.stdout


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def problems():
    path = DATA / "HumanEval.jsonl.gz"
    if not path.exists():
        pytest.skip(f"{path} is missing: name a folder that holds it in PHI1_JAX_DATA")
    return path.resolve()


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


def test_a_heat_keeps_the_fastest_and_survives_what_does_not_run(tiny_model, monkeypatch):
    monkeypatch.setattr("benchmarks.baseline.free", lambda: None)
    want = np.arange(6).reshape(2, 3)

    def without_room():
        raise RuntimeError("out of memory. Tried to allocate")

    def way(seconds, found=want):
        return lambda: lambda: time.sleep(seconds) or found

    ways = {"slow": way(0.05), "too large": without_room, "fast": way(0.0), "late": way(0.02)}
    rows = select_fastest("case", ways.items(), same_tokens(tiny_model, want))
    found = []
    while True:
        try:
            found.append(next(rows))
        except StopIteration as end:
            fastest, values = end.value
            break
    assert list(fastest) == ["fast"] and values == {"same_tokens": 1.0}
    assert [row.variant for row in found] == [
        "slow (screening)",
        "too large",
        "fast (screening)",
        "late (screening)",
    ]
    assert found[1].seconds is None and found[1].values["why"] == "out of memory"
    other = want.copy()
    other[1, 2] = 0
    with pytest.raises(AssertionError, match=r"other: only 0\.8333 of its tokens are ours"):
        list(select_fastest("case", [("other", way(0, other))], same_tokens(tiny_model, want)))
    half = replace(tiny_model, compute_dtype="bfloat16")
    (row,) = select_fastest("case", [("other", way(0, other))], same_tokens(half, want))
    assert row.values["same_tokens"] == pytest.approx(5 / 6)


@pytest.mark.slow
def test_our_step_is_the_same_with_accumulation_on_every_device(run_config):
    data = replace(run_config.data, global_batch_size=16)
    shape = (1, 16, data.seq_len + 1)
    batches = np.random.default_rng(0).integers(0, 264, shape, np.int32)
    losses = [
        our_step(replace(run_config, data=data, micro_batch_size=micro), batches)[0]()
        for micro in (0, 1)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    with pytest.raises(UserError, match="global_batch_size=16 must be a multiple of 24"):
        our_step(replace(run_config, data=data, micro_batch_size=3), batches)


def check_ours(row):
    low, high = row["spread_s"]
    assert 0 < low <= row["seconds"] <= high < row["first_s"] * 2
    assert row["versions"]["jax"] == jax.__version__ and row["date"] and row["device"]
    assert row["config"]["model"]["d_model"] == 32 and row["ratio"] is None


@pytest.mark.slow
def test_decode(tmp_path):
    output = tmp_path / "rows.jsonl"
    flags = ("--batch=3", "--prompt_tokens=4", "--new_tokens=5", f"--output={output}")
    assert "tokens_per_s" in run("decode", *SIZE, *flags)
    ours, *rooflines = rows_of(output)
    assert (ours["case"], ours["variant"]) == ("batch 3, 4 + 5 tokens", OURS)
    check_ours(ours)
    assert [row["case"] for row in rooflines] == ["roofline"] * 2
    assert [row["variant"] for row in rooflines] == ["square matmul", "copy"]


@pytest.mark.slow
def test_all_goes_on_after_a_subject_that_fails(tmp_path, problems):
    # A relative path of one's own, the subject last, as users write them.
    shutil.copy(REPOSITORY / "configs/bench_cpu.py", tmp_path / "mine.py")
    arguments = [
        *("--config", "mine.py", *SMALL, "--calls=1"),
        # Rows of 16 tokens would take `input` twenty seconds.
        *("--config.data.seq_len=128", "--config.data.global_batch_size=64"),
        *("--output=rows.jsonl", "--new_tokens=4", "--n_sampled=1", "--n_samples=2"),
        *("--prompt_tokens=5000", f"--problems={problems}", "all"),
    ]
    error = run(*arguments, fails=True, cwd=tmp_path)
    assert error == "error: failed: decode (2); the other subjects' results stand"
    found = rows_of(tmp_path / "rows.jsonl")
    ours = {(row["subject"], row["case"]) for row in found if row["variant"] == OURS}
    assert ours == {
        ("train", "64 x 128, dropout 0"),
        ("input", "64 x 128, one core"),
        ("checkpoint", "training waits"),
        ("checkpoint", "on disk and committed"),
        ("compile", "first step, cold"),
        ("compile", "first step, cached"),
        ("convert", "Hugging Face to Orbax"),
        ("convert", "Orbax to Hugging Face"),
        ("humaneval", "164 prompts, greedy, one batch"),
        ("humaneval", "1 prompts x 2 samples"),
    }
    assert all(row["seconds"] > 0 for row in found if row["variant"] == OURS)
    by_case = {row["case"]: row for row in found}
    train = by_case["64 x 128, dropout 0"]
    check_ours(train)
    assert train["values"]["tokens_per_s"] == pytest.approx(64 * 128 / train["seconds"])
    # Random weights end no completion: 164 and 2 completions of 4 tokens.
    for case, n_tokens in (("164 prompts, greedy, one batch", 656), ("1 prompts x 2 samples", 8)):
        row = by_case[case]
        assert row["values"]["tokens_per_s"] * row["seconds"] == pytest.approx(n_tokens)
    for case in ("Hugging Face to Orbax", "Orbax to Hugging Face"):
        values = by_case[case]["values"]
        # 512 x 32 in and out of the model and 512 biases; a block of 8,480; the last LayerNorm.
        assert values["weights_bytes"] == 4 * (2 * 512 * 32 + 512 + 8_480 + 2 * 32)
        assert values["peak_by_weights"] == values["peak_bytes"] / values["weights_bytes"]
        assert 50e6 < values["peak_bytes"] < 2e9  # Python with JAX, and next to no model
    assert by_case["Orbax to Hugging Face"]["values"]["bit_identical_tensors"] == 14 + 5
    assert not list(tmp_path.glob(".benchmark-*"))


@pytest.mark.slow
def test_humaneval_of_a_checkpoint_records_the_checkpoints_model(tmp_path, run_config, problems):
    train_tokenizer(["def f(x):\n    return x\n"] * 50, 280).save(tmp_path / "tokenizer")
    model = replace(run_config.model, vocab_size=280)
    params = random_params(replace(run_config, model=model))
    write_model(tmp_path / "run", model, params, tmp_path / "tokenizer")
    output = tmp_path / "rows.jsonl"
    run(
        *("humaneval", "--config=configs/bench_cpu.py", f"--problems={problems}", "--new_tokens=4"),
        *(f"--checkpoint={tmp_path / 'run'}", "--n_samples=2", "--n_sampled=1", "--calls=1"),
        f"--output={output}",
    )
    for row in rows_of(output):
        assert row["checkpoint"] == str(tmp_path / "run")
        assert row["config"]["model"]["d_model"] == model.d_model


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
    with pytest.raises(UserError, match=r"train: 1\.300 of the baseline's time, stored 0\.500"):
        smoke.compare(tmp_path / "smoke.json", {"train": 1.3})
    with pytest.raises(UserError, match="train was not measured"):
        smoke.compare(tmp_path / "smoke.json", {})
    with pytest.raises(UserError, match="no stored ratios"):
        smoke.compare(tmp_path / "nothing.json", {})


@pytest.mark.slow
def test_mistakes_get_one_line():
    for arguments, words in (
        (["nothing", *SIZE], "subject 'nothing': name one of decode"),
        (["humaneval", *SIZE], "--problems is missing"),
        (["train"], "--config is missing"),
        (["decode", *SIZE, "--batch=0"], "--batch"),
        (["decode", *SIZE, "--new_tokens=512"], "must fit into model.max_seq_len=512"),
        (
            ["humaneval", *SIZE, "--problems=x", "--checkpoint=run", "--baseline=torch"],
            "--checkpoint=run: its completions end",
        ),
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


@pytest.mark.slow
def test_check_compares_every_attention_with_the_cpu(tmp_path):
    output = tmp_path / "rows.jsonl"
    run("check", *SIZE, f"--output={output}")
    rows = {row["variant"]: row["values"] for row in rows_of(output)}
    assert rows["cpu, xla, float32"]["relative_error"] == 0
    assert "needs a GPU" in rows["cpu, cudnn, bfloat16"]["why"]


@pytest.mark.slow
def test_the_interval_of_a_ratio_over_starts():
    low, high = interval([0.9, 1.0, 1.1])
    assert low < 0.997 < high and high - low == pytest.approx(0.49, abs=0.02)
    assert "--baseline=torch" in run("train", *SIZE, "--starts=3", fails=True)
