"""Makes a share of the exercises wrong, proved by their own examples; for ablations.

Example: python launch/corrupt_exercises.py --corpus=runs/synth/exercises.jsonl.zst \\
             --wrong_share=0,0.25,1 --output=runs/wrong

A solution gets one small edit (off by one, a wrong branch, a wrong value) that keeps its syntax and
with which an example of the exercise no longer holds when executed in the sandbox; an exercise for
which none is found is left out at every share. Writes wrong_SHARE/exercises.jsonl.zst, whose
metadata has verdict, mutation and reason, and report.json.
"""

from pathlib import Path
from typing import Any

import _environment
from absl import flags

from phi1_jax.cli import corpus_flags as corpus
from phi1_jax.cli import script
from phi1_jax.cli import stage_flags as stage
from phi1_jax.corpus.records import SkipLog
from phi1_jax.errors import UserError
from phi1_jax.sandbox import Limits, open_sandbox
from phi1_jax.synthesis.mutate import write_with_errors

SHARES = flags.DEFINE_list("wrong_share", ["1"], "Shares of wrong solutions, from 0 to 1.")
SEED = flags.DEFINE_integer("seed", 0, "Draws the edits, and which exercises get one.")
BATCH = flags.DEFINE_integer(
    "batch", 16, "Exercises that share a process; 1 if their teacher is not trusted.", 1
)
WORKERS = flags.DEFINE_integer("workers", 2, "Sandboxes that run at once.", 1)
# An edit may make a loop endless; programs take milliseconds.
CPU_S = 1


def main() -> None:
    inputs = corpus.inputs()
    script.require(stage.OUTPUT)
    try:
        shares = sorted({float(share) for share in SHARES.value})
    except ValueError:
        shares = [-1.0]
    if not shares or not all(0 <= share <= 1 for share in shares):  # nan is not
        raise UserError(f"--wrong_share={','.join(SHARES.value)}: give numbers from 0 to 1")

    def work(output: Path, skip: SkipLog) -> dict[str, Any]:
        with open_sandbox(Limits(cpu_s=CPU_S), WORKERS.value) as sandbox:
            report = write_with_errors(
                corpus.read(skip), shares, output, sandbox.run, SEED.value, BATCH.value, skip
            )
        return {**report, "sandbox": sandbox.backend}

    settings = {"wrong_share": shares, "seed": SEED.value, "batch": BATCH.value}
    stage.run("corrupt", inputs | settings, work)


if __name__ == "__main__":
    script.run(main)
