"""Takes out of a corpus what gives a benchmark problem away, and shows what is near it.

Example: python launch/decontaminate.py --corpus=runs/synth/exercises.jsonl.zst \\
             --corpus=runs/synth/textbooks.jsonl.zst --benchmark=HumanEval.jsonl.gz \\
             --benchmark=mbpp.jsonl --tau=0.95,0.9,0.85,0.8 --output=runs/clean

A document goes if the chain of steps that its metadata states contains a problem's, if it shares a
run of words with a problem's docstring, if one of its functions matches a problem's solution at a
rate of at least --tau (1: up to names and the order of statements), or if the embedding that the
model --embedder gives it is within --max_distance of a problem's.
A benchmark is a file in HumanEval's format, MBPP's (either) or EvalPlus's, or `unconventional`.
docs/decontamination.md says what is missed.

Writes each corpus without its leaks (one for each tau, in tau_0.95/ and so on, if there are
several), dropped.jsonl.zst (with the reasons, and at which tau), nearest.jsonl (for each problem
the nearest documents, of all and of those left), splits.json (the problems with and without a
similar document at each tau, for launch/evaluate.py) and report.json.
"""

import os
from pathlib import Path
from typing import Any

import _environment
from absl import flags

from phi1_jax.cli import corpus_flags as corpus
from phi1_jax.cli import script
from phi1_jax.cli import stage_flags as stage
from phi1_jax.corpus.records import SkipLog
from phi1_jax.errors import UserError

BENCHMARK = flags.DEFINE_multi_string(
    "benchmark", None, "File of problems; or: unconventional. May be repeated."
)
NGRAM = flags.DEFINE_integer("ngram", 13, "Words in a run that count as a leak.", 2)
TAU = flags.DEFINE_list("tau", "1.0", "Match rates of syntax trees that count as a leak.")
MAX_DISTANCE = flags.DEFINE_float(
    "max_distance", None, "L2 distance of embeddings that counts as a leak; default none.", 0, 2
)
EMBEDDER = flags.DEFINE_string(
    "embedder", None, "Folder of a run, or of Hugging Face, to embed texts with."
)
WORKERS = flags.DEFINE_integer("workers", os.cpu_count(), "Processes.", 1)


def main() -> None:
    corpora = corpus.inputs()
    script.require(BENCHMARK, stage.OUTPUT)
    from phi1_jax.evaluate.benchmarks import read_for_comparison

    problems = [problem for name in BENCHMARK.value for problem in read_for_comparison(name)]
    try:
        taus = tuple(sorted({float(tau) for tau in TAU.value}, reverse=True))
    except ValueError as error:
        raise UserError(f"--tau={','.join(TAU.value)}: give numbers, e.g. 0.95,0.9") from error
    # Here, since they take a while to import; --help need not wait for it.
    from phi1_jax.decontamination.contamination import Rules
    from phi1_jax.decontamination.decontaminate import decontaminate

    rules = Rules(NGRAM.value, taus, MAX_DISTANCE.value)
    embed, embedder = None, None
    if EMBEDDER.value:
        script.start_jax()
        from phi1_jax.quality.embedder import Embedder

        model = Embedder.from_checkpoint(EMBEDDER.value)
        embed, embedder = model.unit_vectors, model.fingerprint

    def work(output: Path, skip: SkipLog) -> dict[str, Any]:
        return decontaminate(
            corpora["corpus"], problems, output, rules, embed=embed,
            workers=WORKERS.value, columns=corpora["columns"], skip=skip,
        )  # fmt: skip

    known = [Path(name) if Path(name).exists() else name for name in BENCHMARK.value]
    inputs = {**corpora, "benchmark": known, "rules": rules, "embedder": embedder}
    stage.run("decontaminate", inputs, work)


if __name__ == "__main__":
    script.run(main)
