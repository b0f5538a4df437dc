"""launch/evaluate.py from any folder: one line for every mistake, a summary for every model."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import run_script

from phi1_jax.config import ModelConfig
from phi1_jax.corpus.problems import Problem, write_problems
from phi1_jax.errors import UserError
from phi1_jax.evaluate.benchmarks import humaneval
from phi1_jax.evaluate.evaluate import Checkpoint, EvaluationConfig, evaluate_checkpoints
from phi1_jax.evaluate.samples import SamplingPlan
from phi1_jax.files import find_model

TINY = humaneval([Problem("own/1", "def f(x):\n", "f", "    return x\n", "")], "own")
SCRIPT = Path(__file__).resolve().parents[2] / "launch/evaluate.py"


def evaluate(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    return run_script("evaluate.py", *arguments, cwd=cwd)


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


@pytest.mark.slow
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
    assert "of 5 problems scored, 0 samples not executed\n" in done.stdout
    assert "pass@10" not in done.stdout
    asked = evaluate(*arguments, "--k=1,10", "--allow_code_execution", cwd=folder)
    assert "no pass@10: needs 10 samples of each problem, and there is one with 1" in asked.stdout
    summary = json.loads((folder / "out/summary.json").read_text())
    assert summary["verdicts"] == {"FAIL": 1, "PASS": 4}
    assert len((folder / "out/results.jsonl").read_text().splitlines()) == 5


GIVEN = ("--benchmark=own.jsonl", "--samples=samples.jsonl")


@pytest.mark.slow
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
        (
            ("--benchmark=own.jsonl", "--output=o", "--samples=samples.jsonl", "--k=1,x"),
            "--k=1,x: give ints",
        ),
        (("--benchmark=unconventionel", "--output=o", "--checkpoint=."), "mean unconventional?"),
        (
            ("--benchmark=own.jsonl", "--output=o", "--checkpoint=.", "--metrics=bits"),
            "--metrics=b",
        ),
        (("--no_such_flag",), "no_such_flag"),
        (
            (*GIVEN, "--output=own.jsonl"),
            "--output=own.jsonl: nothing can be written there: File ex",
        ),
        ((*GIVEN, "--output=own.jsonl/x"), "--output=own.jsonl/x: nothing can be written there"),
        ((*GIVEN, "--output=o", "--strip_prompt"), "--strip_prompt: asks a model: it needs --chec"),
        ((*GIVEN, "--output=o", "--problems=x"), "--problems: is for --benchmark=humaneval and"),
        (("--benchmark=own.jsonl", "--output=o", "--checkpoint=.", "--truncation=stop"), "--trunc"),
        (
            (
                *("--benchmark=own.jsonl", "--output=o", "--checkpoint=."),
                *("--metrics=solution_bits_per_byte", "--seed=1"),
            ),
            "--seed: is for --metrics=pass_at_k",
        ),
    ],
)
def test_a_mistake_gets_one_line(folder, arguments, message):
    done = evaluate(*arguments, "--allow_code_execution", cwd=folder)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert message in line


# The sandbox fails on every program that says so; the self_check is not touched.
FLAKY = """
import runpy, sys
from phi1_jax.evaluate.executor import TestExecutor
from phi1_jax.sandbox import Outcome, Verdict
real = TestExecutor.execute
def flaky(self, programs):
    programs = list(programs)
    for (_, code), outcome in zip(programs, real(self, programs), strict=True):
        yield Outcome(Verdict.INFRA, "killed", 0.0) if "# hog" in code else outcome
TestExecutor.execute = flaky
sys.argv = sys.argv[1:]
sys.path.insert(0, sys.argv[0].rpartition("/")[0])
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.slow
def test_what_was_not_executed_is_said_and_executed_by_the_same_command(folder):
    path = folder / "samples.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[1]["completion"] += "# hog\n"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = (*GIVEN, "--output=out", "--k=1,5", "--allow_code_execution")
    command = [sys.executable, "-c", FLAKY, str(SCRIPT), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240)
    assert done.returncode == 1
    assert "of 4 problems scored, 1 sample not executed (0.6000 if those failed)" in done.stdout
    assert (
        done.stderr.strip()
        .splitlines()[-1]
        .startswith("error: the sandbox failed on 1 sample (INFRA")
    )
    before = [json.loads(row) for row in (folder / "out/results.jsonl").read_text().splitlines()]
    assert json.loads((folder / "out/summary.json").read_text())["n_scored"] == 4
    done = evaluate(*arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "pass@1 0.8000" in done.stdout
    after = [json.loads(row) for row in (folder / "out/results.jsonl").read_text().splitlines()]
    assert [row["verdict"] for row in before] == ["FAIL", "INFRA", "PASS", "PASS", "PASS"]
    assert after[1]["verdict"] == "PASS"
    assert after[:1] + after[2:] == before[:1] + before[2:]


def test_help_shows_an_example(tmp_path):
    done = evaluate("--help", cwd=tmp_path)
    assert done.stdout.startswith("Scores code completions")
    assert "python launch/evaluate.py --benchmark=humaneval" in done.stdout
    assert "allow_code_execution" in done.stdout


@pytest.mark.slow
def test_evaluates_checkpoints_and_resumes(folder):
    from flax import nnx

    from phi1_jax.model.phi import Phi
    from phi1_jax.run.checkpoint import write_model
    from phi1_jax.tokens.sentencepiece_bpe import train_tokenizer

    lines = [f"def f{i}(x):\n    return x + {i}\n# {'abcdefghij'[i % 10] * 9}" for i in range(400)]
    tokenizer = train_tokenizer(lines, 320)
    tokenizer.save(folder / "tokenizer")
    config = ModelConfig(
        vocab_size=320, n_layers=1, d_model=16, d_mlp=32, n_heads=2, rotary_dim=4, max_seq_len=64
    )
    for seed, name in enumerate(("lr=1e-3", "two")):
        params = nnx.to_pure_dict(nnx.state(Phi(config, nnx.Rngs(seed)), nnx.Param))
        write_model(folder / name, config, params, folder / "tokenizer")
    arguments = (
        "--benchmark=own.jsonl", "--checkpoint=a=lr=1e-3", "--checkpoint=b=two@0", "--output=out",
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
    bits = {}
    for name in "ab":
        path = folder / "out" / name / "bits_per_byte.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        assert [row["task_id"] for row in rows] == [f"own/{i}" for i in range(1, 6)]
        bits[name] = sum(row["bits"] for row in rows) / sum(row["n_bytes"] for row in rows)
        found = both[name]["solution_bits_per_byte"]
        assert found["value"] == pytest.approx(bits[name])
        assert found["low"] < found["value"] < found["high"]
    (difference,) = json.loads((folder / "out/differences.json").read_text())
    assert (difference["model"], difference["baseline"]) == ("b", "a")
    assert difference["difference"] == pytest.approx(bits["b"] - bits["a"])
    assert "b - a: " in done.stdout
    # By itself the measure executes nothing, so nothing has to be allowed, and prompts may be long.
    measure = (
        "--benchmark=own.jsonl", "--checkpoint=a=lr=1e-3", "--output=bits",
        "--metrics=solution_bits_per_byte",
    )  # fmt: skip
    alone = evaluate(*measure, cwd=folder)
    assert alone.returncode == 0, alone.stderr
    summary = json.loads((folder / "bits/a/summary.json").read_text())
    assert summary["solution_bits_per_byte"] == both["a"]["solution_bits_per_byte"]
    assert not (folder / "bits/a/samples.jsonl").exists() and "sandbox" not in alone.stdout
    # What was found before stays in the summary: pass@k, and other models.
    again = evaluate(*measure, "--output=out", cwd=folder)
    assert again.returncode == 0, again.stderr
    assert json.loads((folder / "out/summary.json").read_text()) == both
    assert json.loads((folder / "out/differences.json").read_text()) == [difference]
    # Other problems in a file of the same name are another evaluation.
    kept = (folder / "own.jsonl").read_text()
    (folder / "own.jsonl").write_text("".join(kept.splitlines(keepends=True)[:4]))
    refused = evaluate(*measure, cwd=folder)
    (folder / "own.jsonl").write_text(kept)
    assert refused.returncode == 2
    assert "summary.json is of other settings (benchmark): name another" in refused.stderr
    # A torn end, as after a kill: what was finished stays, the rest is drawn again, the same.
    rows = samples.splitlines(keepends=True)
    (folder / "out/a/samples.jsonl").write_bytes(b"".join(rows[:4]) + rows[4][:9])
    done = evaluate(*arguments, "--metrics=pass_at_k", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert (folder / "out/a/samples.jsonl").read_bytes() == samples
    # Bits per byte that were measured before stay in the summary, too.
    for name, summary in json.loads((folder / "out/summary.json").read_text()).items():
        assert summary["solution_bits_per_byte"] == both[name]["solution_bits_per_byte"]
    # A prompt that does not fit is named before anything runs; the folder's = is no NAME=.
    long = Problem("own/long", "def f(x):\n" + "    # q\n" * 60, "f", "    return x\n", "")
    write_problems(folder / "long.jsonl", [long])
    done = evaluate(
        "--benchmark=long.jsonl", "--checkpoint=lr=1e-3", "--output=o", "--allow_code_execution",
        cwd=folder,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("error: lr=1e-3: the prompt of own/long in long.jsonl has ")
    assert "context of 64: cut it with --on_overflow=left, and --max_new_toke" in done.stderr
    assert not (folder / "o").exists()
    (folder / "own").mkdir()
    (folder / "own/evaluated.json").write_text("{}")
    plan, config = SamplingPlan(), EvaluationConfig()
    one = [Checkpoint(f"a={folder / 'two'}")]
    with pytest.raises(UserError, match="own holds an evaluation itself: name another folder"):
        evaluate_checkpoints(one, humaneval([long], "long"), folder / "own", config, plan)
    for name in ("../x", "summary.json"):
        with pytest.raises(UserError, match=f"'{name}' names a folder of the output"):
            Checkpoint(f"{name}={folder / 'lr=1e-3'}")


def test_a_completion_as_long_as_the_context_is_refused_at_the_start():
    """With prompts cut from the left none of the prompt would be left."""
    checkpoint, plan = Checkpoint("models/phi1_tiny"), SamplingPlan(on_overflow="left")
    checkpoint.refuse_long_prompts(TINY, plan)
    with pytest.raises(UserError, match=r"--max_new_tokens=512: must be below 512, the context of"):
        checkpoint.refuse_long_prompts(TINY, replace(plan, max_new_tokens=512))


def test_an_edited_tokenizer_is_another_evaluation(tmp_path):
    """A Hugging Face folder's end of completions is a line in a file, which people mend."""
    model = shutil.copytree(find_model("models/phi1_tiny"), tmp_path / "model")
    bits = EvaluationConfig(metrics=("solution_bits_per_byte",))
    evaluate_checkpoints([Checkpoint(str(model))], TINY, tmp_path / "out", bits, SamplingPlan())
    (model / "generation_config.json").write_text('{"eos_token_id": [1, 300]}')
    with pytest.raises(UserError, match=r"is of other settings \(tokenizer\)"):
        evaluate_checkpoints([Checkpoint(str(model))], TINY, tmp_path / "out", bits, SamplingPlan())
