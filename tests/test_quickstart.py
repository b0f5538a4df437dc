"""The README's first command in miniature: interrupted, resumed, and reused."""

import json
import os
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


def start(root: Path, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [
            sys.executable,
            str(REPOSITORY / "launch" / "quickstart.py"),
            f"--output={root}",
            f"--source=code={STDLIB / 'asyncio'}",
            f"--source=prose:{STDLIB / 'json'}",
            "--n_exercises=400",
            "--n_problems=12",
            "--pretrain_steps=30",
            "--finetune_steps=30",
            *arguments,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "XLA_FLAGS": ""},
    )


@pytest.mark.slow
def test_interrupted_resumed_and_reused(tmp_path):
    root = tmp_path / "quickstart"
    with start(root) as first:
        for line in first.stdout:
            if line.startswith("code_textbook: started"):
                first.send_signal(signal.SIGTERM)
                break
        rest = first.stdout.read()
    assert first.returncode == 130, rest
    assert "run the same command again" in rest
    assert not (root / "summary.json").exists()

    with start(root) as second:
        printed = second.stdout.read()
    assert second.returncode == 0, printed
    assert "\nraw_code: reused" in printed
    assert "\ncode_textbook: reused" not in printed
    summary = json.loads((root / "summary.json").read_text())
    models = ["untrained", "raw_code", "code_textbook", "control", "code_exercises"]
    assert list(summary["pass_at_1"]) == models
    assert all(0 <= value <= 1 for value in summary["pass_at_1"].values())
    assert summary["n_problems"] == 12
    assert summary["train_tokens"] == 4 * 30 * 4 * 256
    seconds = summary["stage_seconds"].values()
    assert max(seconds) < summary["total_seconds"] < sum(seconds)  # two stages at a time
    report = (root / "report.md").read_text()
    assert "](figure.png)" in report and "## One prompt, 5 answers" in report
    assert (root / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert (root / "samples.md").read_text().count("```python") == 10
    report = json.loads((root / "decontaminate_own" / "report.json").read_text())
    problems = read_problems(root / "synthesize" / "benchmark.jsonl")
    kept = list(read_documents(root / "decontaminate_own" / "exercises.jsonl.zst"))
    assert kept and not Comparison(problems, Rules()).compare(kept).leaks
    assert len(report["nearest_per_problem"]) == 12
    for command in ("tensorboard", "generate.py", "evaluate.py", "train.py"):
        assert command in printed.rpartition("Next:")[2]

    with start(root) as third:
        again = third.stdout.read()
    assert again.count(": reused") == len(summary["stage_seconds"]), again
    assert json.loads((root / "summary.json").read_text()) == summary
