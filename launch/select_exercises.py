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
from absl import flags

from phi1_jax.cli import corpus_flags as corpus
from phi1_jax.cli import script
from phi1_jax.cli.dataclass_flags import DataclassFlags
from phi1_jax.cli.stage import LEFT_OUT, run_stage
from phi1_jax.corpus.documents import write_documents
from phi1_jax.corpus.records import SkipLog
from phi1_jax.synthesis.select import Selection, select
from phi1_jax.synthesis.synthesize import EXERCISES

flags.adopt_module_key_flags(corpus)  # so that --help shows them
OUTPUT = flags.DEFINE_string("output", None, "Folder for the result.")
SELECTION = DataclassFlags(Selection)
FORCE = flags.DEFINE_bool("force", False, "Start over, also where a result of other flags lies.")


def main() -> None:
    inputs = corpus.inputs()
    script.require(OUTPUT)
    selection = SELECTION.build()

    def work(output: Path) -> dict[str, Any]:
        skip, dropped = SkipLog(output / LEFT_OUT), Counter[str]()
        kept = select(corpus.read(skip), selection, dropped)
        n = write_documents(output / EXERCISES, kept)
        return {
            "in": {"exercises": n + dropped.total()},
            "out": {"exercises": n},
            "dropped": dict(dropped),
            **skip.report(),
        }

    run_stage(
        "select", Path(OUTPUT.value), {**inputs, **asdict(selection)}, work, force=FORCE.value
    )


if __name__ == "__main__":
    script.run(main)
