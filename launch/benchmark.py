"""Times this project, and beside it transformers on torch, in one run.

  python launch/benchmark.py train --config=configs/bench_cpu.py --peer=torch
  python launch/benchmark.py all --config=configs/phi1_base.py --config.model.dropout=0.0 \\
      --config.model.remat=none --config.data.global_batch_size=8 --peer=torch --output=h200.jsonl

Subjects: decode, train, input, checkpoint, compile, convert, humaneval, or all of them, each in a
process of its own; smoke compares ratios at a small size with stored ones. Contenders take turns
(A B A B ...) on the same cores; times are medians with the 10th and 90th percentile; ratio is our
time by that of the fastest other. The machine's ceilings are measured beside them.
"""

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import config_flags
from tqdm import tqdm

from phi1_jax import cli
from phi1_jax.config import RunConfig
from phi1_jax.config_dict import from_dict
from phi1_jax.errors import UserError

SUBJECTS = ("decode", "train", "input", "checkpoint", "compile", "convert", "humaneval")

CONFIG = config_flags.DEFINE_config_file("config", None, "A file of configs/; --config.x.y=value.")
PEER = flags.DEFINE_enum("peer", "none", ("torch", "none"), "What to time beside this project.")
PEER_MODES = flags.DEFINE_list("peer_modes", ["eager", "compiled"], "How the peer may run.")
OUTPUT = flags.DEFINE_string("output", None, "File to append JSON lines to.")
CALLS = flags.DEFINE_integer("calls", 20, "Timed calls of each contender, at least.", 1)
BATCH = flags.DEFINE_multi_integer("batch", [1, 16], "decode: rows; repeat for several.")
PROMPT_TOKENS = flags.DEFINE_integer("prompt_tokens", 64, "decode: length of a prompt.", 1)
NEW_TOKENS = flags.DEFINE_integer("new_tokens", 128, "decode, humaneval: tokens to generate.", 1)
PROBLEMS = flags.DEFINE_string("problems", None, "humaneval: HumanEval.jsonl.gz.")
CHECKPOINT = flags.DEFINE_string("checkpoint", None, "humaneval: a run's folder; else random.")
N_SAMPLES = flags.DEFINE_integer("n_samples", 200, "humaneval: samples of a prompt.", 1)
N_SAMPLED = flags.DEFINE_integer("n_sampled", 164, "humaneval: prompts that are sampled.", 1)
SWEEP = flags.DEFINE_bool("sweep", False, "train: each set of XLA's GPU flags, ours only.")
STORE = flags.DEFINE_string("store", None, "smoke: file to write the ratios to.")
AGAINST = flags.DEFINE_string("against", None, "smoke: file of ratios not to exceed by far.")
FIRST_STEP_OF = flags.DEFINE_string("first_step_of", "ours", "What `compile` starts; by itself.")


def main(argv: Sequence[str]) -> None:
    subject = argv[1] if len(argv) > 1 else ""
    if subject not in (*SUBJECTS, "all", "smoke", "first_step"):
        raise UserError(f"subject {subject!r}: name one of {', '.join(SUBJECTS)}, all, smoke")
    config = from_dict(RunConfig, cli.load_config(CONFIG))
    if peer_flag():
        from phi1_jax.benchmark import peer

        peer.require()
        if unknown := set(PEER_MODES.value) - set(peer.MODES):
            raise UserError(f"--peer_modes={unknown.pop()}: name some of {', '.join(peer.MODES)}")
        # Both sides share the GPU's memory.
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if subject in ("humaneval", "all") and not PROBLEMS.value:
        raise UserError("--problems is missing: name your copy of HumanEval.jsonl.gz")
    if subject == "all":
        run_all()
        return
    if subject not in ("convert", "compile"):
        cli.start_jax()
    if subject == "first_step":
        from phi1_jax.benchmark.compile import first_step

        print(json.dumps(first_step(config, FIRST_STEP_OF.value)))
        return
    report(subject, config)


def report(subject: str, config: RunConfig) -> None:
    from phi1_jax.benchmark.report import context, print_table, write_lines
    from phi1_jax.config_dict import to_dict

    if subject in ("convert", "compile") or SWEEP.value:
        # The processes that they start need the GPU's memory.
        os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    rows = []
    for row in tqdm(measure(subject, config), desc=subject, unit="row"):
        rows.append(row)
        if OUTPUT.value:  # at once: what was measured stands, whatever becomes of the rest
            about = context(to_dict(config), peer_flag())
            write_lines(Path(OUTPUT.value), subject, [row], about)
    print_table(subject, rows)
    if subject == "smoke":
        from phi1_jax.benchmark import smoke

        if STORE.value:
            smoke.store(Path(STORE.value), rows)
        if AGAINST.value:
            smoke.compare(Path(AGAINST.value), smoke.ratios(rows))


def measure(subject: str, config: RunConfig) -> Iterator[Any]:
    from phi1_jax.benchmark.report import Options

    options = Options(peer_flag(), CALLS.value, tuple(PEER_MODES.value))
    if subject == "decode":
        from phi1_jax.benchmark import decode

        return decode.measure(config, options, BATCH.value, PROMPT_TOKENS.value, NEW_TOKENS.value)
    if subject == "smoke":
        from phi1_jax.benchmark import smoke

        return smoke.measure(config)
    if subject == "humaneval":
        from phi1_jax.benchmark import humaneval

        return humaneval.measure(
            config,
            options,
            Path(PROBLEMS.value),
            Path(CHECKPOINT.value) if CHECKPOINT.value else None,
            NEW_TOKENS.value,
            N_SAMPLES.value,
            N_SAMPLED.value,
        )
    if subject == "compile":
        from phi1_jax.benchmark import compile as first

        return first.measure(config_arguments(), options)
    if subject == "convert":
        from phi1_jax.benchmark import convert

        return convert.measure(config)
    if subject == "checkpoint":
        from phi1_jax.benchmark import checkpoint

        return checkpoint.measure(config, options)
    if subject == "input":
        from phi1_jax.benchmark import input as pipeline

        return pipeline.measure(config, options)
    from phi1_jax.benchmark import train

    if SWEEP.value:
        with tempfile.TemporaryDirectory() as folder:
            arguments = ["train", *config_arguments(), f"--calls={CALLS.value}"]
            return iter(list(train.sweep(arguments, Path(folder))))
    return train.measure(config, options)


def run_all() -> None:
    """Every subject in a process of its own, so that none inherits another's memory."""
    import subprocess

    given = [argument for argument in sys.argv[1:] if argument != "all"]
    for subject in SUBJECTS:
        done = subprocess.run([sys.executable, sys.argv[0], subject, *given], check=False)
        if done.returncode:
            raise UserError(f"{subject} failed with {done.returncode}; what came before it stands")


def config_arguments() -> list[str]:
    """--config and its overrides as they were given."""
    given, found = sys.argv[1:], []
    for index, argument in enumerate(given):
        if argument.lstrip("-").split("=")[0].split(".")[0] == "config":
            found.append(argument)
            if "=" not in argument:
                found.append(given[index + 1])
    return found


def peer_flag() -> bool:
    return PEER.value == "torch" or "smoke" in sys.argv[1:2]


if __name__ == "__main__":
    cli.run(main, positional=1)
