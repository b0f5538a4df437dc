"""EvalPlus reads what we executed, and comes to our verdicts: `make test-lm-eval`."""

import json
import os
import subprocess
import sys

from phi1_jax.evaluate.benchmarks import read_benchmark
from phi1_jax.evaluate.executor import TestExecutor
from phi1_jax.evaluate.samples import read_samples
from phi1_jax.evaluate.scoring import score_samples
from phi1_jax.sandbox import Limits, open_sandbox

ROWS = [
    {
        "task_id": f"HumanEval/{i}",
        "prompt": f'def f{i}(x):\n    """Returns {what}."""\n',
        "entry_point": f"f{i}",
        "canonical_solution": f"    return {right}\n",
        "base_input": [[1]],
        "plus_input": [[5], [-7]],
        "atol": atol,
        "contract": "",
        "test": "",
    }
    for i, (what, right, atol) in enumerate(
        [("the double", "2 * x", 0), ("a third", "x / 3", 1e-6), ("both in a list", "[x, x]", 0)]
    )
]
COMPLETIONS = {
    0: ["    return x + x\n", "    return 2\n", "    return x +\n", "    return 2.0 * x\n"],
    1: ["    return x / 3 + 1e-9\n", "    return round(x / 3, 3)\n", "    raise ValueError\n"],
    2: ["    return [x] * 2\n", "    return (x, x)\n", "    return [x, 1]\n"],
}


def test_verdicts_are_the_same(tmp_path):
    problems, samples = tmp_path / "plus.jsonl", tmp_path / "samples.jsonl"
    problems.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    drawn = [
        {"task_id": f"HumanEval/{i}", "completion": text}
        for i, texts in COMPLETIONS.items()
        for text in texts
    ]
    samples.write_text("".join(json.dumps(row) + "\n" for row in drawn))
    benchmark = read_benchmark(str(problems), problems)
    with open_sandbox(Limits(cpu_s=5), workers=1) as sandbox:
        found = read_samples(samples, benchmark)
        score_samples(found, benchmark, TestExecutor(sandbox), tmp_path)
    results = tmp_path / "results.jsonl"
    ours = [json.loads(line) for line in results.read_text().splitlines()]
    command = ("-m", "evalplus.evaluate", "--dataset=humaneval", f"--samples={results}")
    environment = {"HUMANEVAL_OVERRIDE_PATH": str(problems), "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, *command, "--parallel=1"],
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    scored = json.loads((tmp_path / "results_eval_results.json").read_text())["eval"]
    for row in ROWS:
        name = row["task_id"]
        mine = [r["verdict"] == "PASS" for r in ours if r["task_id"] == name]
        theirs = [r["base_status"] == r["plus_status"] == "pass" for r in scored[name]]
        assert mine == theirs and any(mine) and not all(mine)
