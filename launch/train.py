"""Pretrains or finetunes a phi model on token shards.

Example:
  python launch/train.py --config=configs/phi1_tiny.py --output=runs/mine \\
      --source=code=runs/shards/code --tokenizer=runs/tokenizer --config.steps=1000

The same command again goes on from the newest checkpoint in --output. On several hosts run it once
on each, under Slurm (launch/slurm/train.sbatch) or with JAX_COORDINATOR_ADDRESS=HOST:PORT of the
first, JAX_NUM_PROCESSES and JAX_PROCESS_ID set; --output is a folder that all of them see.
"""

import json
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import config_flags

from phi1_jax import cli, distributed
from phi1_jax.config import RunConfig, from_dict
from phi1_jax.errors import UserError
from phi1_jax.stage import write_json

CONFIG = config_flags.DEFINE_config_file("config", None, "A file of configs/; --config.x.y=value.")
OUTPUT = flags.DEFINE_string("output", None, "The run's folder; holds everything it writes.")
SOURCE = flags.DEFINE_multi_string(
    "source", [], "NAME=SHARDS, NAME=SHARDS:WEIGHT or NAME=SHARDS:EPOCHSx; for each of the mixture."
)
ALLOW_CHANGE = flags.DEFINE_multi_string(
    "allow_change", [], "A field in which a resumed run may differ, e.g. steps; repeatable."
)
PROFILE_START = flags.DEFINE_integer("profile_start", 10, "First step that is profiled.", 1)
PROFILE_STEPS = flags.DEFINE_integer(
    "profile_steps", 0, "Steps to profile, for TensorBoard; 0: none.", 0
)
TRACE = flags.DEFINE_bool(
    "trace",
    False,
    "Log bits of the loss, batch hash and example ids of each step: trace.jsonl.",
)
TOKENIZER = flags.DEFINE_string("tokenizer", None, "Folder of the shards' tokenizer.")


def main(argv: Sequence[str]) -> None:
    del argv
    config = from_dict(RunConfig, resolve(cli.load_config(CONFIG)))
    if not OUTPUT.value:
        raise UserError("--output is missing: name the run's folder")
    cli.start_jax()
    distributed.start()
    import jax

    from phi1_jax.train.loop import train

    start = time.perf_counter()
    with distributed.leaving_together():
        result = train(
            config,
            Path(OUTPUT.value),
            allow_change=ALLOW_CHANGE.value,
            profile=(PROFILE_START.value, PROFILE_STEPS.value),
            trace=TRACE.value,
        )
    result["total_seconds"] = round(time.perf_counter() - start, 2)
    if jax.process_index() == 0:
        write_json(Path(OUTPUT.value) / "result.json", result)
        print(json.dumps(result))


def resolve(values: dict[str, Any]) -> dict[str, Any]:
    """Puts the flags' sources and tokenizer into the config's plain values."""
    data = values.setdefault("data", {})
    if SOURCE.value:
        data["sources"] = [parse_source(text) for text in SOURCE.value]
    if TOKENIZER.value:
        data["tokenizer"] = TOKENIZER.value
    return values


def parse_source(text: str) -> dict[str, Any]:
    name, equals, rest = text.partition("=")
    parsed: dict[str, Any] = {"path": rest}
    if share := re.fullmatch(r"(.+):(\d+\.?\d*)(x?)", rest):
        parsed = {"path": share[1], "epochs" if share[3] else "weight": float(share[2])}
    if not (name and equals and rest):
        raise UserError(
            f"--source={text}: give NAME=SHARDS, NAME=SHARDS:WEIGHT or NAME=SHARDS:EPOCHSx"
        )
    return {"name": name, **parsed}


if __name__ == "__main__":
    cli.run(main)
