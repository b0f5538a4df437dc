"""Asks what data, size or optimizer does to a small model: one question, its variants, some seeds.

Example: python launch/ablate.py --question=data_mix --output=runs/ablations/data_mix --dry_run
Example: python launch/ablate.py --question=data_mix --output=runs/ablations/data_mix \\
             --seeds=3 --allow_code_execution

A question is a file of configs/ablations/, by name or path; docs/ablations.md lists those that come
with the package. Every stage is one of the scripts beside this one. Stages lie in --stages, beside
OUTPUT by default, and are shared: between variants, seeds and questions, and with what ran before.
An interrupted run goes on when the same command is given again. OUTPUT gets ablation.json,
ablation.md, figure.png and tensorboard/ (HParams).

On several machines with one file system: --shard=0/4 to --shard=3/4; or as a Slurm array job:
  python launch/ablate.py --question=data_mix --output=runs/ablations/data_mix --slurm=8 \\
      --allow_code_execution | sbatch --partition=cpu --cpus-per-task=2
"""

import shutil
import sys
from pathlib import Path

import _environment
from absl import flags

from phi1_jax.cli import script
from phi1_jax.cli.dataclass_flags import DataclassFlags
from phi1_jax.cli.recipe import GUESSED_TOKENS_PER_S, Recipe, smoke
from phi1_jax.curation.sources import local_paths
from phi1_jax.errors import REPOSITORY, UserError

QUESTION = flags.DEFINE_string("question", None, "Name in configs/ablations/, or a file.")
OUTPUT = flags.DEFINE_string("output", None, "Folder for the results.")
STAGES = flags.DEFINE_string("stages", None, "Folder of the stages; default OUTPUT/../stages.")
SEEDS = flags.DEFINE_integer("seeds", 3, "Runs of each variant: seeds 0, 1, ...", 1)
ALLOW = flags.DEFINE_bool(
    "allow_code_execution", False, "Yes, run model-written code here: pass@1 on own problems."
)
PUBLIC_PASS = flags.DEFINE_bool(
    "public_pass_at_1", False, "Also execute completions of HumanEval and MBPP."
)
DRY_RUN = flags.DEFINE_bool("dry_run", False, "Say what would run and for how long, then stop.")
WORKERS = flags.DEFINE_integer("workers", 1, "Stages at once, here.", 1)
SHARD = flags.DEFINE_string("shard", None, "I/N: every N-th run from the I-th on; I from 0.")
SLURM = flags.DEFINE_integer("slurm", None, "Print an array job of so many shards, for sbatch.", 1)
TOKENS_PER_S = flags.DEFINE_float(
    "tokens_per_s",
    GUESSED_TOKENS_PER_S,
    "Speed of training for --dry_run, until it was measured here.",
    1,
)
SMOKE = flags.DEFINE_bool("smoke", False, "Some steps on little data: shows only that it runs.")
CONFIG = flags.DEFINE_string("config", "phi1_tiny", "Config of every training run.")
SOURCE = flags.DEFINE_multi_string("source", ["stdlib", "prose"], "See launch/curate.py.")
RECIPE = DataclassFlags(
    Recipe,
    ["n_exercises", "n_problems", "pretrain_steps", "finetune_steps", "max_new_tokens",
     "validation_rows"],
)  # fmt: skip
HUMANEVAL = flags.DEFINE_string("humaneval", None, "HumanEval.jsonl.gz (default: looked for).")
MBPP = flags.DEFINE_string("mbpp", None, "mbpp.jsonl (default: looked for).")
PUBLISH = flags.DEFINE_bool(
    "publish", False, "Copy finished results into benchmarks/ablations and docs/ablations.md."
)
PAGE = REPOSITORY / "docs" / "ablations.md"  # not there where the package is installed


def main() -> None:
    script.require(QUESTION, OUTPUT)
    if PUBLISH.value and SMOKE.value:
        raise UserError("--publish: the scores of --smoke mean nothing; add --nopublish")
    if PUBLISH.value and not PAGE.is_file():
        raise UserError("--publish writes into the repository's docs: run it in a clone")
    # matplotlib and JAX's neighbours take a while to import; --help need not wait for them.
    from phi1_jax.ablation.question import load_question
    from phi1_jax.ablation.results import TABLE, fill, write_results
    from phi1_jax.ablation.runs import Ablation, slurm_script

    file = Path(QUESTION.value)
    if file.suffix != ".py":
        file = REPOSITORY / "configs" / "ablations" / f"{file}.py"
    name, output = file.stem, Path(OUTPUT.value)
    if PUBLISH.value:
        fill(PAGE.read_text("utf-8"), name, "")  # refuses now what it would refuse in the end
    if output.exists() and not output.is_dir():
        raise UserError(f"--output={output} is a file; name a folder")
    if SLURM.value is not None:
        kept = [argument for argument in sys.argv if argument != f"--slurm={SLURM.value}"]
        if len(kept) == len(sys.argv):
            raise UserError(f"--slurm: write --slurm={SLURM.value}")
        script.refuse_unread([SHARD, DRY_RUN], "is not read with --slurm")
        script.make_folder(output, "output")
        print(slurm_script(kept, SLURM.value, output.absolute()), end="")
        return
    stages = Path(STAGES.value) if STAGES.value else output.absolute().parent / "stages"
    question = load_question(file, recipe(stages))
    execute = ["own"] * ALLOW.value + list(question.recipe.public) * PUBLIC_PASS.value
    if PUBLIC_PASS.value and not ALLOW.value:
        raise UserError("--public_pass_at_1 runs model-written code: add --allow_code_execution")
    ablation = Ablation(
        question, stages, range(SEEDS.value), execute=execute, tokens_per_s=TOKENS_PER_S.value
    )
    runs = ablation.part(*script.parse_shard(SHARD.value)) if SHARD.value else ablation.runs
    print(f"{name}: {len(runs)} runs of {len(question.variants)} variants; stages in {stages}")
    if not ALLOW.value:
        print("without --allow_code_execution: bits per byte and validation loss, no pass@1")
    print(ablation.plan(runs, WORKERS.value), flush=True)
    if DRY_RUN.value:
        return
    ablation.run(runs, WORKERS.value)
    if left := ablation.missing():
        print(
            f"{len(left)} of {len(ablation.runs)} runs are left to other shards; the last to end"
            " writes the results, or this command without --shard"
        )
        return
    write_results(ablation, output, name)
    print("\n" + (output / TABLE).read_text("utf-8") + f"\n{output / 'ablation.json'}")
    if PUBLISH.value:
        publish(name, output)


def recipe(stages: Path) -> Recipe:
    """What the flags say."""
    from phi1_jax.evaluate.problem_files import find_all

    if SMOKE.value:
        unread = [SOURCE, HUMANEVAL, MBPP, *RECIPE.holders.values()]
        script.refuse_unread(unread, "is not read with --smoke, which has sizes of its own")
    full = RECIPE.build(
        config=Path(CONFIG.value),
        overrides={},
        public={} if SMOKE.value else find_all(
            {"humaneval": HUMANEVAL.value, "mbpp": MBPP.value}, stages / "public"
        )[0],
        source=SOURCE.value,
        local=local_paths(SOURCE.value),
    )  # fmt: skip
    return smoke(full) if SMOKE.value else full


def publish(name: str, output: Path) -> None:
    """Copies results to where the repository keeps them, and into the page of docs/."""
    from phi1_jax.ablation.results import FIGURE, RESULT, TABLE, fill

    kept = REPOSITORY / "benchmarks" / "ablations"
    kept.mkdir(exist_ok=True)
    shutil.copyfile(output / RESULT, kept / f"{name}.json")
    shutil.copyfile(output / FIGURE, kept / f"{name}.png")
    text = fill(PAGE.read_text("utf-8"), name, (output / TABLE).read_text("utf-8"))
    PAGE.write_text(text, encoding="utf-8")
    print(f"copied to {kept} and {PAGE}")


if __name__ == "__main__":
    script.run(main)
