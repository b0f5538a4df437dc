"""Times this project, and beside it transformers on torch, in one run.

  python launch/benchmark.py train --config=configs/bench_cpu.py --baseline=torch
  python launch/benchmark.py all --config=configs/bench_cpu.py --baseline=torch \\
      --problems=HumanEval.jsonl.gz --output=results.jsonl
  benchmarks/one_gpu.sh results.jsonl

Subjects: decode, train, input, checkpoint, compile, convert, humaneval, or all of them, each in a
process of its own. `all` leaves out: serve (the HTTP server with 1, 8 and 32 clients); check (are
losses those of the CPU?); smoke, which compares ratios at a small size with stored ones.

Variants take turns (A B A B ...) on the same cores; times are medians with the 10th and 90th
percentile; ratio is our time by that of the fastest other. The machine's rooflines are measured
beside them.
"""

import dataclasses
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import _environment
from absl import flags
from ml_collections import config_flags
from tqdm import tqdm

from phi1_jax.cli import script
from phi1_jax.config import RunConfig
from phi1_jax.config_dict import from_dict
from phi1_jax.errors import UserError

if TYPE_CHECKING:
    from benchmarks.report import Options, Row

SUBJECTS = ("decode", "train", "input", "checkpoint", "compile", "convert", "humaneval")

CONFIG = config_flags.DEFINE_config_file("config", None, "A file of configs/; --config.x.y=value.")
BASELINE = flags.DEFINE_enum(
    "baseline", "none", ("torch", "none"), "What to time beside this project."
)
BASELINE_MODES = flags.DEFINE_list(
    "baseline_modes", ["eager", "compiled"], "How the baseline may run."
)
BASELINE_ATTENTIONS = flags.DEFINE_list(
    "baseline_attentions", [], "Of the baseline, such as sdpa,eager (default: all that it has)."
)
WITH_OURS = flags.DEFINE_bool("ours", True, "train: ours, too; --noours for the baseline alone.")
OUTPUT = flags.DEFINE_string("output", None, "File to append JSON lines to.")
CALLS = flags.DEFINE_integer("calls", 20, "Timed calls of each variant; fewer where long.", 1)
STARTS = flags.DEFINE_integer(
    "starts", 1, "train, decode: fresh processes; the ratio's mean and interval over them.", 1
)
BATCH = flags.DEFINE_multi_integer("batch", [1, 16], "decode: rows; repeat for several.", 1)
PROMPT_TOKENS = flags.DEFINE_integer("prompt_tokens", 64, "decode, serve: a prompt's length.", 1)
NEW_TOKENS = flags.DEFINE_integer(
    "new_tokens", 128, "decode, humaneval, serve: tokens to generate.", 1
)
CLIENTS = flags.DEFINE_multi_integer("clients", [1, 8, 32], "serve: requests at once.", 1)
PROBLEMS = flags.DEFINE_string("problems", None, "humaneval: HumanEval.jsonl.gz.")
CHECKPOINT = flags.DEFINE_string("checkpoint", None, "humaneval: a run's folder; else random.")
N_SAMPLES = flags.DEFINE_integer("n_samples", 200, "humaneval: samples of a prompt.", 1)
N_SAMPLED = flags.DEFINE_integer("n_sampled", 164, "humaneval: prompts that are sampled.", 1)
STORE = flags.DEFINE_string("store", None, "smoke: file to write the ratios to.")
AGAINST = flags.DEFINE_string("against", None, "smoke: file of ratios not to exceed by far.")
FIRST_STEP_OF = flags.DEFINE_string(
    "first_step_of", None, "What `compile` starts itself with, once for each row; not for users."
)


def main(subject: str = "") -> None:
    if subject not in (*SUBJECTS, "serve", "check", "all", "smoke"):
        raise UserError(
            f"subject {subject!r}: name one of {', '.join(SUBJECTS)}, serve, check, all, smoke"
        )
    config = from_dict(RunConfig, script.load_config(CONFIG))
    options = check(subject)
    if options.baseline:
        # Both sides share the GPU's memory.
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if subject == "all":
        run_all()
    elif FIRST_STEP_OF.value:
        from benchmarks.compile import first_step

        script.start_jax()
        print(json.dumps(first_step(config, FIRST_STEP_OF.value)))
    else:
        report(subject, config, options)


def check(subject: str) -> "Options":
    """What the flags ask for.

    Raises:
      UserError: they lack something, or ask for what this subject does not do.
    """
    from benchmarks.report import Options

    options = Options(
        BASELINE.value == "torch" or subject == "smoke",
        CALLS.value,
        tuple(BASELINE_MODES.value),
        tuple(BASELINE_ATTENTIONS.value),
        WITH_OURS.value,
    )
    if not options.ours and (subject != "train" or not options.baseline):
        raise UserError("--noours is for train --baseline=torch: nothing would be timed")
    if STARTS.value > 1 and (subject not in ("train", "decode") or not options.baseline):
        raise UserError("--starts is for train and decode with --baseline=torch: it is of a ratio")
    if subject in ("humaneval", "all"):
        script.require(PROBLEMS)
        if CHECKPOINT.value and options.baseline:
            raise UserError(
                f"--checkpoint={CHECKPOINT.value}: its completions end where it ends them, so the"
                " baseline would do other work; take --baseline=none, or leave --checkpoint out"
            )
    if options.baseline:
        from benchmarks import baseline

        baseline.require()
        if unknown := set(BASELINE_MODES.value) - set(baseline.MODES):
            raise UserError(
                f"--baseline_modes={unknown.pop()}: name some of {', '.join(baseline.MODES)}"
            )
        baseline.attentions(options.attentions)
    return options


def report(subject: str, config: RunConfig, options: "Options") -> None:
    from benchmarks.report import context, print_table, write_line
    from phi1_jax.config_dict import to_dict

    if subject in ("convert", "compile", "serve") or STARTS.value > 1:
        # The processes that they start need the GPU's memory.
        os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    else:
        script.start_jax()
    about: dict[str, Any] = {"config": to_dict(config)}
    if subject == "humaneval" and CHECKPOINT.value:
        from phi1_jax.interop.opened import OpenModel

        model = OpenModel(CHECKPOINT.value)
        about["config"] = {"model": dataclasses.asdict(model.config)}
        about["checkpoint"] = str(model.path.resolve())
    rows = []
    for row in tqdm(measure(subject, config, options), desc=subject, unit="row"):
        rows.append(row)
        if OUTPUT.value:  # at once: what was measured is kept if a later one fails
            write_line(Path(OUTPUT.value), subject, row, context(options.baseline) | about)
    print_table(subject, rows)
    if subject == "smoke":
        from benchmarks import smoke

        if STORE.value:
            smoke.store(Path(STORE.value), rows)
        if AGAINST.value:
            smoke.compare(Path(AGAINST.value), smoke.ratios(rows))


def measure(subject: str, config: RunConfig, options: "Options") -> "Iterator[Row]":
    if STARTS.value > 1:
        from benchmarks import starts

        return starts.measure(subject, given("output", "starts"), STARTS.value)
    lengths = PROMPT_TOKENS.value, NEW_TOKENS.value
    arguments = {
        "decode": (config, options, BATCH.value, *lengths),
        "serve": (config, options, CLIENTS.value, *lengths),
        "humaneval": (
            config,
            options,
            Path(PROBLEMS.value or ""),
            Path(CHECKPOINT.value) if CHECKPOINT.value else None,
            NEW_TOKENS.value,
            N_SAMPLES.value,
            N_SAMPLED.value,
        ),
        "compile": (given("output", "baseline", "compile_cache"), options),
        **dict.fromkeys(("smoke", "check", "convert"), (config,)),
    }
    module = importlib.import_module(f"benchmarks.{subject}")
    return module.measure(*arguments.get(subject, (config, options)))


def run_all() -> None:
    """Every subject in a process of its own, so that none inherits another's memory.

    Raises:
      UserError: one or more failed; the others were measured all the same.
    """
    failed = []
    for subject in SUBJECTS:
        done = subprocess.run([sys.executable, sys.argv[0], subject, *given()], check=False)
        if done.returncode:
            failed.append(f"{subject} ({done.returncode})")
    if failed:
        raise UserError(f"failed: {', '.join(failed)}; the other subjects' results stand")


def given(*without: str) -> list[str]:
    """The flags of this command, but for some, for a process of its own."""
    return [
        argument
        for name in flags.FLAGS
        if flags.FLAGS[name].present and name not in without
        for argument in flags.FLAGS[name].serialize().splitlines()
    ]


if __name__ == "__main__":
    script.run(main, positional=1)
