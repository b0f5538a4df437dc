"""Takes a part of the exercises, for ablations: by kind, by construct, by verdict.

Example: python launch/select_exercises.py --corpus=runs/synth/exercises.jsonl.zst \\
             --without=while --output=runs/no_while
Example: python launch/select_exercises.py --corpus=runs/synth/exercises.jsonl.zst \\
             --by=program --kinds=0.25 --output=runs/quarter

Writes exercises.jsonl.zst and report.json, which counts what went and why.
"""

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import _environment

from phi1_jax.cli import corpus_flags as corpus
from phi1_jax.cli import script
from phi1_jax.cli import stage_flags as stage
from phi1_jax.cli.dataclass_flags import DataclassFlags
from phi1_jax.corpus.documents import write_documents
from phi1_jax.corpus.records import SkipLog
from phi1_jax.synthesis.select import Selection, select
from phi1_jax.synthesis.synthesize import EXERCISES

SELECTION = DataclassFlags(Selection)


def main() -> None:
    inputs = corpus.inputs()
    script.require(stage.OUTPUT)
    selection = SELECTION.build()

    def work(output: Path, skip: SkipLog) -> dict[str, Any]:
        dropped = Counter[str]()
        kept = select(corpus.read(skip), selection, dropped)
        n = write_documents(output / EXERCISES, kept)
        return {
            "in": {"exercises": n + dropped.total()},
            "out": {"exercises": n},
            "dropped": dict(dropped),
        }

    stage.run("select", {**inputs, **asdict(selection)}, work)


if __name__ == "__main__":
    script.run(main)
