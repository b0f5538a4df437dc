"""launch/evaluate.py from any folder: one line for every mistake, a summary for every model."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from phi1_jax.config import ModelConfig
from phi1_jax.data.problems import Problem, write_problems

SCRIPT = Path(__file__).resolve().parents[2] / "launch/evaluate.py"


def evaluate(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=240)


@pytest.fixture
def folder(tmp_path) -> Path:
    problems = [
        Problem(
            f"own/{i}", f'def f{i}(x):\n    """Adds {i}."""\n', f"f{i}", f"    return x + {i}\n",
            f"def check(f):\n    assert f(1) == {i + 1} and f(5) == {i + 5}\n",
        )
        for i in range(1, 6)
    ]  # fmt: skip
    write_problems(tmp_path / "own.jsonl", problems)
    rows = [{"task_id": p.task_id, "completion": p.canonical_solution} for p in problems]
    rows[0]["completion"] = "    return 0\n"
    (tmp_path / "samples.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return tmp_path


def test_scores_samples(folder):
    arguments = ("--benchmark=own.jsonl", "--samples=samples.jsonl", "--output=out")
    refused = evaluate(*arguments, cwd=folder)
    assert refused.returncode == 2
    assert refused.stderr.strip().splitlines() == [
        "error: scoring runs model-written code: agree with --allow_code_execution"
    ]
    assert not (folder / "out").exists()
    done = evaluate(*arguments, "--allow_code_execution", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "sandbox: " in done.stdout
    assert "cpu_s=" in done.stdout
    assert "pass@1 0.8000" in done.stdout
    summary = json.loads((folder / "out/summary.json").read_text())
    assert summary["verdicts"] == {"FAIL": 1, "PASS": 4}
    assert len((folder / "out/results.jsonl").read_text().splitlines()) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--benchmark is missing"),
        (("--benchmark=own.jsonl",), "--output is missing"),
        (("--benchmark=own.jsonl", "--output=o"), "give one of --samples=FILE.jsonl and"),
        (("--benchmark=no.jsonl", "--output=o", "--samples=samples.jsonl"), "no.jsonl"),
        (("--benchmark=humaneval", "--output=o", "--samples=samples.jsonl"), "needs --problems"),
        (("--benchmark=own.jsonl", "--output=o", "--checkpoint=x=none"), "none is not a folder"),
        (
            ("--benchmark=own.jsonl", "--output=o", "--checkpoint=x=.@last"),
            ".@last is not a folder",
        ),
        (("--benchmark=own.jsonl", "--output=o", "--checkpoint=.", "--checkpoint=."), "names"),
        (
            ("--benchmark=own.jsonl", "--output=o", "--checkpoint=.", "--n_samples=4"),
            "--temperature=0",
        ),
        (("--benchmark=own.jsonl", "--output=o", "--samples=own.jsonl"), "neither `completion`"),
        (("--benchmark=own.jsonl", "--output=o", "--samples=samples.jsonl", "--k=1,x"), "'x'"),
        (("--no_such_flag",), "no_such_flag"),
    ],
)
def test_a_mistake_gets_one_line(folder, arguments, message):
    done = evaluate(*arguments, "--allow_code_execution", cwd=folder)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert message in line


def test_help_shows_an_example(tmp_path):
    done = evaluate("--help", cwd=tmp_path)
    assert done.stdout.startswith("Scores code completions")
    assert "python launch/evaluate.py --benchmark=humaneval" in done.stdout
    assert "allow_code_execution" in done.stdout


def test_evaluates_checkpoints_and_resumes(folder):
    from flax import nnx

    from phi1_jax.checkpoint import write_model
    from phi1_jax.data.tokenizer import train_tokenizer
    from phi1_jax.model.phi import Phi

    lines = [f"def f{i}(x):\n    return x + {i}\n# {'abcdefghij'[i % 10] * 9}" for i in range(400)]
    tokenizer = train_tokenizer(lines, 320)
    tokenizer.save(folder / "tokenizer")
    config = ModelConfig(
        vocab_size=320, n_layers=1, d_model=16, d_mlp=32, n_heads=2, rotary_dim=4, max_seq_len=64
    )
    for seed, name in enumerate(("one", "two")):
        params = nnx.to_pure_dict(nnx.state(Phi(config, nnx.Rngs(seed)), nnx.Param))
        write_model(folder / name, config, params, folder / "tokenizer")
    arguments = (
        "--benchmark=own.jsonl", "--checkpoint=a=one", "--checkpoint=b=two@0", "--output=out",
        "--max_new_tokens=8", "--batch_size=5", "--n_samples=2", "--temperature=0.7", "--k=1,2",
        "--allow_code_execution",
    )  # fmt: skip
    done = evaluate(*arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    both = json.loads((folder / "out/summary.json").read_text())
    assert list(both) == ["a", "b"]
    for name in "ab":
        summary = json.loads((folder / "out" / name / "summary.json").read_text())
        assert summary == both[name]
        assert sorted(summary["pass_at_k"]) == ["1", "2"]
        assert sum(summary["verdicts"].values()) == 10
    samples = (folder / "out/a/samples.jsonl").read_bytes()
    assert samples != (folder / "out/b/samples.jsonl").read_bytes()
    # A torn end, as after a kill: what was finished stays, the rest is drawn again, the same.
    rows = samples.splitlines(keepends=True)
    (folder / "out/a/samples.jsonl").write_bytes(b"".join(rows[:4]) + rows[4][:9])
    done = evaluate(*arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert (folder / "out/a/samples.jsonl").read_bytes() == samples
