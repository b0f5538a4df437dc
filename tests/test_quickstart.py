"""The README's first command in miniature: interrupted, resumed, and reused."""

import json
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from conftest import REPOSITORY

from phi1_jax.corpus.documents import read_documents
from phi1_jax.corpus.problems import read_problems
from phi1_jax.decontamination.contamination import Comparison, Rules

STDLIB = Path(sysconfig.get_paths()["stdlib"])
HUMANEVAL = {
    "task_id": "HumanEval/0",
    "prompt": 'def add(a, b):\n    """The sum of a and b."""\n',
    "entry_point": "add",
    "canonical_solution": "    return a + b\n",
    "test": "def check(candidate):\n    assert candidate(1, 2) == 3\n",
}
MBPP = {
    "task_id": 11,
    "text": "Write a function to add two numbers.",
    "code": "def add(a, b):\n    return a + b\n",
    "test_list": ["assert add(1, 2) == 3"],
}
# The quickstart's script, with files of one problem in place of the public benchmarks, which take
# half of this test's time and must be the known ones.
PROGRAM = """
import runpy, sys
from phi1_jax.evaluate import problem_files
problem_files._is_known = lambda name, path: True
sys.argv = sys.argv[1:]
sys.path.insert(0, sys.argv[0].rpartition("/")[0])
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def start(root: Path, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [
            sys.executable,
            *("-c", PROGRAM, str(REPOSITORY / "launch" / "quickstart.py")),
            f"--output={root}",
            f"--source=code={STDLIB / 'asyncio'}",
            f"--source=prose:{STDLIB / 'json'}",
            "--n_exercises=400",
            "--n_problems=12",
            "--pretrain_steps=3",
            "--finetune_steps=3",
            *arguments,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.slow(120)
def test_interrupted_resumed_and_reused(tmp_path):
    root = tmp_path / "quickstart"
    problems = []
    for name, problem in (("humaneval", HUMANEVAL), ("mbpp", MBPP)):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(problem) + "\n")
        problems.append(f"--{name}={tmp_path / name}.jsonl")
    with start(root, *problems) as first:
        for line in first.stdout:
            if line.startswith("code_textbook: started"):
                first.send_signal(signal.SIGTERM)
                break
        rest = first.stdout.read()
    assert first.returncode == 130, rest
    assert "run the same command again" in rest
    assert not (root / "summary.json").exists()

    with start(root, *problems) as second:
        printed = second.stdout.read()
    assert second.returncode == 0, printed
    assert "\nraw_code: reused" in printed
    assert "\ncode_textbook: reused" not in printed
    summary = json.loads((root / "summary.json").read_text())
    models = ["untrained", "raw_code", "code_textbook", "control", "code_exercises"]
    assert list(summary["pass_at_1"]) == models
    assert all(0 <= value <= 1 for value in summary["pass_at_1"].values())
    assert summary["n_problems"] == 12
    assert [bits["raw_code"]["n_tasks"] for bits in summary["bits_per_byte"].values()] == [1, 1]
    assert summary["train_tokens"] == 4 * 3 * 4 * 256
    seconds = summary["stage_seconds"].values()
    assert max(seconds) < summary["total_seconds"] < sum(seconds)  # two stages at a time
    report = (root / "report.md").read_text()
    assert "](figure.png)" in report and "## One prompt, 5 answers" in report
    assert (root / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert (root / "samples.md").read_text().count("```python") == 10
    report = json.loads((root / "decontaminate_own" / "report.json").read_text())
    own = read_problems(root / "synthesize" / "benchmark.jsonl")
    kept = list(read_documents(root / "decontaminate_own" / "exercises.jsonl.zst"))
    assert kept and not Comparison(own, Rules()).compare(kept).leaks
    assert report["n_problems"] == 12
    for command in ("tensorboard", "generate.py", "evaluate.py", "train.py"):
        assert command in printed.rpartition("Next:")[2]

    with start(root, *problems, "--force", "--n_problems=1") as refused:
        assert "--n_problems=1 must be at least 10" in refused.stdout.read()
    with start(root, *problems) as third:
        again = third.stdout.read()
    assert again.count(": reused") == len(summary["stage_seconds"]), again
    assert json.loads((root / "summary.json").read_text()) == summary
