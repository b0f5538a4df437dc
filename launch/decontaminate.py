"""Takes out of a corpus whatever gives a benchmark problem away, and proves that nothing remains.

Example: python launch/decontaminate.py --corpus=runs/synth/exercises.jsonl.zst \\
             --corpus=runs/synth/textbooks.jsonl.zst --benchmark=runs/synth/benchmark.jsonl \\
             --output=runs/clean

A document goes if its chain of primitives contains a problem's, if it shares a run of words with
a problem's docstring, or if one of its functions is a problem's solution up to the names (or
nearly so, with --tau below 1). The benchmark is any file in HumanEval's format.

Writes each corpus without its leaks, dropped.jsonl.zst (with the reasons), nearest.jsonl (for each
problem the nearest documents that remain) and report.json.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from phi1_jax import cli
from phi1_jax.errors import UserError
from phi1_jax.stage import run_stage

CORPUS = flags.DEFINE_multi_string("corpus", [], "Documents to prune; repeat for several.")
BENCHMARK = flags.DEFINE_string("benchmark", None, "Problems in HumanEval's format.")
OUTPUT = flags.DEFINE_string("output", None, "Folder for the result.")
NGRAM = flags.DEFINE_integer("ngram", 13, "Words in a run that count as a leak.", 2)
TAU = flags.DEFINE_float("tau", 1.0, "Match rate of syntax trees that counts as a leak.", 0.1, 1.0)
FORCE = flags.DEFINE_bool("force", False, "Redo what is finished and unchanged.")


def main(argv: Sequence[str]) -> None:
    del argv
    if not CORPUS.value:
        raise UserError("--corpus is missing: name a file of documents")
    for flag in (BENCHMARK, OUTPUT):
        if not flag.value:
            raise UserError(f"--{flag.name} is missing")
    corpora = [Path(corpus) for corpus in CORPUS.value]
    benchmark = Path(BENCHMARK.value)
    rules = {"ngram": NGRAM.value, "tau": TAU.value}

    def work(output: Path) -> dict[str, Any]:
        from phi1_jax.data.decontaminate import decontaminate

        return decontaminate(corpora, benchmark, output, **rules)

    inputs = {"corpus": corpora, "benchmark": benchmark, **rules}
    run_stage("decontaminate", Path(OUTPUT.value), inputs, work, force=FORCE.value)


if __name__ == "__main__":
    cli.run(main)
