"""launch/benchmark_data.py at sizes that say only that they run."""

import json
import subprocess
import sys

import pytest
from conftest import REPOSITORY


def figures(script, *flags):
    done = subprocess.run(
        [sys.executable, REPOSITORY / "launch" / script, *flags],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout[done.stdout.index("{") :])


@pytest.fixture
def problems(tmp_path):
    problem = {
        "task_id": "test/0",
        "prompt": 'def add(a, b):\n    """Add two numbers."""\n',
        "canonical_solution": "    return a + b\n",
        "test": "def check(candidate):\n    assert candidate(1, 2) == 3\n",
        "entry_point": "add",
    }
    path = tmp_path / "problems.jsonl"
    path.write_text(json.dumps(problem) + "\n")
    return path


@pytest.mark.slow
def test_decontamination_is_timed(problems):
    found = figures(
        "benchmark_data.py", f"--problems={problems}", "--n_documents=1000", "--mean_chars=650"
    )
    assert found["documents"] == 1000 and found["problems"] == 1 and found["wall_seconds"] > 0


def test_the_teacher_is_timed():
    found = figures("benchmark_data.py", "--n_exercises=50")
    assert 45 <= found["distinct"] <= 50 and found["per_cpu_second"] > 0
