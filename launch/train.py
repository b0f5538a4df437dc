"""Pretrains or finetunes a phi model on token shards.

Example:
  python launch/train.py --config=configs/phi1_tiny.py --output=runs/mine \\
      --source=code=runs/shards/code --tokenizer=runs/tokenizer --config.steps=1000

With pass@1 and bits per byte of the reference solutions as curves in TensorBoard, and completions
as text (runs model-written code, confined; --eval_metrics=solution_bits_per_byte runs none):
  python launch/train.py ... --config.eval_every_steps=500 --eval_benchmark=humaneval \\
      --eval_problems=HumanEval.jsonl.gz --allow_code_execution

The same command again goes on from the newest checkpoint in --output. On several hosts run it once
on each, under Slurm (launch/slurm/train.sbatch) or with JAX_COORDINATOR_ADDRESS=HOST:PORT of the
first, JAX_NUM_PROCESSES and JAX_PROCESS_ID set; --output is a folder that all of them see.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import _environment
from absl import flags
from ml_collections import config_flags

from phi1_jax.cli import script
from phi1_jax.cli.dataclass_flags import DataclassFlags
from phi1_jax.config import RunConfig
from phi1_jax.config_dict import from_dict
from phi1_jax.errors import UserError
from phi1_jax.evaluate.benchmarks import Benchmark, read_benchmark
from phi1_jax.evaluate.evaluate import PASS_AT_K, EvaluationConfig
from phi1_jax.evaluate.problem_files import PUBLIC
from phi1_jax.run import distributed

CONFIG = config_flags.DEFINE_config_file("config", None, "A file of configs/; --config.x.y=value.")
OUTPUT = flags.DEFINE_string("output", None, "The run's folder; holds everything it writes.")
SOURCE = flags.DEFINE_multi_string(
    "source", [], "NAME=SHARDS, NAME=SHARDS:WEIGHT or NAME=SHARDS:EPOCHSx; for each of the mixture."
)
ALLOW_CHANGE = flags.DEFINE_multi_string(
    "allow_change", [], "A field in which a resumed run may differ, e.g. steps; repeatable."
)
PROFILE_START = flags.DEFINE_integer(
    "profile_start",
    None,
    "First step that is profiled; by default, and once it is past, the tenth from the start.",
    1,
)
PROFILE_STEPS = flags.DEFINE_integer(
    "profile_steps", 0, "Steps to profile, for TensorBoard; 0: none.", 0
)
BENCHMARK = flags.DEFINE_string(
    "eval_benchmark",
    None,
    "humaneval, mbpp, unconventional or a path to problems: its scores as curves.",
)
PROBLEMS = flags.DEFINE_string(
    "eval_problems", None, "Your copy of the benchmark, as in evaluate.py."
)
EVALUATION = DataclassFlags(EvaluationConfig, ["metrics"], names={"metrics": "eval_metrics"})
ALLOW = flags.DEFINE_bool("allow_code_execution", False, "Yes, run model-written code here.")
SAMPLE_PROMPT = flags.DEFINE_multi_string(
    "sample_prompt", [], "A prompt whose completions are shown in TensorBoard; repeatable."
)
MAX_NEW_TOKENS = flags.DEFINE_integer(
    "eval_max_new_tokens", None, "Longest completion; by default 384, or half the context.", 1
)
BATCH_SIZE = flags.DEFINE_integer("eval_batch_size", 64, "Completions drawn at once.", 1)
METRICS_WRITERS = flags.DEFINE_list(
    "metrics_writers", [], "Where else the curves go, beside TensorBoard: wandb, mlflow."
)
TOKENIZER = flags.DEFINE_string("tokenizer", None, "The shards' tokenizer, or a model that has it.")


def main() -> None:
    config = from_dict(RunConfig, resolve(script.load_config(CONFIG)))
    script.require(OUTPUT)
    if PROFILE_START.value and PROFILE_START.value > config.steps:
        raise UserError(f"--profile_start={PROFILE_START.value}: the run ends at {config.steps}")
    if PROFILE_START.value and not PROFILE_STEPS.value:
        raise UserError("--profile_start needs --profile_steps: say how many steps to profile")
    if not BENCHMARK.value:
        unread = [PROBLEMS, *EVALUATION.holders.values()]
        script.refuse_unread(unread, "is read with --eval_benchmark only")
    if not BENCHMARK.value and not SAMPLE_PROMPT.value:
        unread = [MAX_NEW_TOKENS, BATCH_SIZE]
        script.refuse_unread(unread, "is read with --eval_benchmark or --sample_prompt only")
    metrics = EVALUATION.build().metrics
    benchmark = read_watched(metrics) if BENCHMARK.value else None
    script.start_jax()
    import jax  # only here, so that --help and a wrong flag are answered at once

    from phi1_jax.evaluate.in_training import open_evaluators
    from phi1_jax.train.hooks import Profile
    from phi1_jax.train.loop import train

    hooks = []
    if PROFILE_STEPS.value:
        first = PROFILE_START.value or 0
        hooks = [Profile(Path(OUTPUT.value), config, PROFILE_STEPS.value, first)]
    # Before JAX has devices and their threads: the sandbox forks.
    with open_evaluators(
        config,
        Path(OUTPUT.value),
        benchmark,
        metrics,
        prompts=SAMPLE_PROMPT.value,
        max_new_tokens=MAX_NEW_TOKENS.value,
        batch_size=BATCH_SIZE.value,
    ) as evaluators:
        distributed.start()
        result = train(
            config,
            Path(OUTPUT.value),
            evaluators,
            allow_change=ALLOW_CHANGE.value,
            metrics_writers=METRICS_WRITERS.value,
            hooks=hooks,
        )
    if jax.process_index() == 0:
        print(json.dumps(result))


def read_watched(metrics: Sequence[str]) -> Benchmark:
    """The benchmark whose scores become curves."""
    if PASS_AT_K in metrics and not ALLOW.value:
        raise UserError(
            "--eval_benchmark runs model-written code: agree with --allow_code_execution, or"
            " measure --eval_metrics=solution_bits_per_byte alone"
        )
    if BENCHMARK.value in PUBLIC and not PROBLEMS.value:
        raise UserError(f"--eval_benchmark={BENCHMARK.value} needs --eval_problems=FILE, your copy")
    return read_benchmark(BENCHMARK.value, PROBLEMS.value)


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
    share = re.fullmatch(r"(.+):((?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)(x?)", rest)
    if share and not Path(rest).exists():  # a folder may itself be named shards:2
        parsed = {"path": share[1], "epochs" if share[3] else "weight": float(share[2])}
    if not (name and equals and rest):
        raise UserError(
            f"--source={text}: give NAME=SHARDS, NAME=SHARDS:WEIGHT or NAME=SHARDS:EPOCHSx"
        )
    if parsed.get("epochs") == 0:  # in a config, 0 epochs say that the weight counts
        raise UserError(f"--source={text}: gives 0 epochs; give more, or leave the source out")
    return {"name": name, **parsed}


if __name__ == "__main__":
    script.run(main)
