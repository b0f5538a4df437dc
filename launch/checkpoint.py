"""Looks after the checkpoints of a run's folder.

  python launch/checkpoint.py list runs/mine
  python launch/checkpoint.py verify runs/mine --step=1000
  python launch/checkpoint.py prune runs/mine --keep_last=1 --dry_run
  python launch/checkpoint.py export runs/mine --step=best --output=runs/weights

list      every step: size, loss and best_metric, whether it is committed, and what keeps it.
verify    reads every file and compares its SHA-256; exit status 1 if a step is damaged or lost, or
          if there is none.
prune     deletes the steps that nothing keeps, by the run's config or the --keep_... flags here.
          First reads what it keeps: a damaged step stays, and another is kept in its place.
export    writes the weights of one step alone, with config and tokenizer, as a new run's folder:
          for launch/generate.py, launch/evaluate.py, init_from, and launch/convert.py --to_hf.

list, verify and export do not disturb a run that is training into the folder.
"""

import dataclasses
import sys
from functools import partial
from pathlib import Path

import _environment
from absl import flags

from phi1_jax.cli import script
from phi1_jax.cli.dataclass_flags import DataclassFlags
from phi1_jax.config import CheckpointConfig
from phi1_jax.config_dict import from_dict
from phi1_jax.errors import UserError, launch_command
from phi1_jax.run import folder as run_folder

STEP = flags.DEFINE_string(
    "step", None, "A number, or best. verify: else every step; export: else the newest."
)
RESTORE = flags.DEFINE_bool("restore", False, "verify: also restore what the saved arrays say.")
OUTPUT = flags.DEFINE_string("output", None, "export: the new folder.")
DRY_RUN = flags.DEFINE_bool("dry_run", False, "prune: only say what would be deleted.")
KEEP = ("keep_last", "keep_every_steps", "keep_steps", "best_metric", "best_mode", "keep_best")
POLICY = DataclassFlags(CheckpointConfig, KEEP, optional=True)
LOSS = "train/loss"


def main(*arguments: str) -> None:
    commands = {  # each with the flags that it does not read
        "list": (show, [STEP, RESTORE, OUTPUT, DRY_RUN]),
        "verify": (verify, [OUTPUT, DRY_RUN]),
        "prune": (prune, [STEP, RESTORE, OUTPUT]),
        "export": (export, [RESTORE, DRY_RUN]),
    }
    if len(arguments) != 2 or arguments[0] not in commands:
        raise UserError(f"give one of {', '.join(commands)}, and a run's folder (see --help)")
    (command, unread), run_dir = commands[arguments[0]], Path(arguments[1])
    script.refuse_unread(unread, f"is not for {arguments[0]} (see --help)")
    config = from_dict(
        CheckpointConfig, run_folder.read_config(run_dir).get("checkpoint", {}), "checkpoint."
    )
    command(run_dir, dataclasses.replace(config, **POLICY.given()))


def show(run_dir: Path, config: CheckpointConfig) -> None:
    names = [LOSS, config.best_metric] if config.best_metric else [LOSS]
    curves = [run_folder.scores(run_dir, name) for name in names]
    width = max(10, *map(len, names))
    reasons = run_folder.reasons_to_keep(run_dir, config)
    print(f"{'step':>9} {'size':>12}", *(f"{name:>{width}}" for name in names), " kept")
    for step in run_folder.steps_in(run_dir):
        files = [p for p in run_folder.step_folder(run_dir, step).rglob("*") if p.is_file()]
        size = sum(path.stat().st_size for path in files)
        points = [f"{curve[step]:.4g}" if step in curve else "" for curve in curves]
        why = (
            ", ".join(reasons[step]) or "-" if step in reasons else "not committed: never restored"
        )
        print(f"{step:>9,} {size / 1e6:>9,.1f} MB", *(f"{p:>{width}}" for p in points), f" {why}")
    if aside := run_folder.quarantined(run_dir):
        print(f"in {run_dir / run_folder.QUARANTINE}: {', '.join(aside)}")


def verify(run_dir: Path, config: CheckpointConfig) -> None:
    steps = run_folder.known_steps(run_dir)
    if STEP.value is not None:
        steps = [run_folder.find_step(run_dir, STEP.value, config)]
    if not steps:
        print(f"{run_dir}: no checkpoint yet")
    whole = [is_whole(run_dir, step) for step in steps]
    if not whole or not all(whole):
        sys.exit(1)


def is_whole(run_dir: Path, step: int) -> bool:
    """Reads a step and prints what it finds."""
    try:
        problem = run_folder.damage(run_dir, step)
        if RESTORE.value and not problem:
            from phi1_jax.run.read_back import not_restorable

            saved = run_folder.read_commit(run_dir, step)
            problem = not_restorable(run_folder.step_folder(run_dir, step), saved)
        print(f"step {step:,}: {'DAMAGED: ' + problem if problem else 'ok'}")
    except UserError as error:
        problem = str(error)
        print(f"step {step:,}: NOT KNOWN: {problem}")
    return not problem


def prune(run_dir: Path, config: CheckpointConfig) -> None:
    committed = run_folder.committed_steps(run_dir)
    gone = run_folder.prunable_steps(run_dir, config, partial(is_whole, run_dir))
    for step in [] if DRY_RUN.value else gone:
        run_folder.discard(run_dir, step)
    verb, stay = ("would delete", "would keep") if DRY_RUN.value else ("deleted", "kept")
    print(f"{verb} {gone}, {stay} {[step for step in committed if step not in gone]}")


def export(run_dir: Path, config: CheckpointConfig) -> None:
    script.require(OUTPUT)
    output = Path(OUTPUT.value)
    if output.exists():
        raise UserError(f"--output={output} exists already; name a new folder")
    step = run_folder.find_step(run_dir, STEP.value, config)
    script.make_folder(output.parent, "output")
    from phi1_jax.run.checkpoint import load_params, write_model

    model, params = run_folder.read_model_config(run_dir), load_params(run_dir, step)
    tokenizer = run_dir / run_folder.TOKENIZER
    dtype = run_folder.read_config(run_dir).get("source_dtype", "float32")
    write_model(output, model, params, tokenizer if tokenizer.exists() else None, dtype)
    print(f"{output}: the weights of step {step:,} of {run_dir}")
    print(f"for Hugging Face: {launch_command('convert.py', f'--from={output}')} --to_hf=DIR")


if __name__ == "__main__":
    script.run(main, positional=2)
