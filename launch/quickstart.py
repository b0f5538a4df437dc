"""phi-1's whole pipeline at tiny scale on a CPU: from raw code to pass@1, in minutes.

Example: python launch/quickstart.py --output=runs/quickstart      (or: make quickstart)

Every stage is one of the scripts beside this one; its command and output are in OUTPUT/stages/, or
on the terminal where one runs at a time (on a GPU). A rerun reuses the stages whose inputs are
unchanged, an interrupted one goes on, and --force starts over. The result is OUTPUT/report.md,
summary.json, figure.png, samples.md, and curves for TensorBoard.

Four trained models are compared, and an untrained one: trained on raw code; on CodeTextbook; on
CodeTextbook for as many tokens more as the last one is finetuned on (the control); and finetuned on
CodeExercises. They are scored by pass@1 on held-out problems of the teacher's own, and by bits per
byte of the reference solutions of HumanEval and MBPP (lower is better; nothing of theirs is
executed). All that is trained on is decontaminated against the public problems, and what the
teacher wrote against its own too. The public problems are looked for in the folder PHI1_JAX_DATA,
else fetched; a benchmark not found is left out.

Generated and trained programs are executed, in the sandbox; see launch/evaluate.py.
"""

import shutil
from pathlib import Path

import _environment
from absl import flags

from phi1_jax.cli import script
from phi1_jax.cli.dataclass_flags import DataclassFlags
from phi1_jax.cli.pipeline import Pipeline
from phi1_jax.cli.recipe import Recipe
from phi1_jax.curation.sources import local_paths
from phi1_jax.errors import launch_command
from phi1_jax.evaluate.problem_files import find_all
from phi1_jax.evaluate.report import write_report

LAUNCH = Path(__file__).resolve().parent
CONFIG = LAUNCH.parent / "configs" / "phi1_tiny.py"

OUTPUT = flags.DEFINE_string("output", "runs/quickstart", "Folder for all that is made.")
SOURCE = flags.DEFINE_multi_string(
    "source", ["stdlib", "prose"], "Raw code and prose; see launch/curate.py --help."
)
RECIPE = DataclassFlags(Recipe, ["n_exercises", "n_problems", "pretrain_steps", "finetune_steps"])
HUMANEVAL = flags.DEFINE_string("humaneval", None, "HumanEval.jsonl.gz (default: looked for).")
MBPP = flags.DEFINE_string("mbpp", None, "mbpp.jsonl (default: looked for).")
WORKERS = flags.DEFINE_integer(
    "workers", None, "Stages at a time; default 2, which keep two cores busy, and 1 on a GPU.", 1
)
OPTIMIZER = flags.DEFINE_enum("optimizer", "muon", ["muon", "adamw"], "For every model alike.")
FORCE = flags.DEFINE_bool("force", False, "Start over.")


def main() -> None:
    root = Path(OUTPUT.value).absolute()
    script.make_folder(root, "output")
    local = local_paths(SOURCE.value)  # refuses a wrong one now, before anything is fetched
    given = {"humaneval": HUMANEVAL.value, "mbpp": MBPP.value}
    public, missing = find_all(given, root / "public")
    recipe = RECIPE.build(
        config=CONFIG,
        overrides={"optimizer.name": OPTIMIZER.value},
        public=public,
        source=SOURCE.value,
        local=local,
    )
    pipeline = Pipeline(root, LAUNCH)
    models, runs, own = add_stages(recipe, pipeline)
    if FORCE.value:  # now, when no flag can be refused any more
        shutil.rmtree(root / "stages", ignore_errors=True)
    gpu = Path("/dev/nvidia0").exists()
    pipeline.run(workers=WORKERS.value or (1 if gpu else 2))
    seconds = pipeline.seconds, pipeline.wall_seconds
    summary = write_report(root, models, runs, list(public), missing, seconds)
    print_result(root, own, summary)


def add_stages(recipe: Recipe, pipeline: Pipeline) -> tuple[list[str], list[Path], Path]:
    """The names of the models compared, the runs of all but the first, and the own problems."""
    data = recipe.add_data(pipeline)
    corpora = {
        "code_textbook": [data.corpora["filtered"], data.corpora["textbooks"]],
        "code_exercises": [data.corpora["exercises"]],
    }
    shards = {name: recipe.add_shards(data, name, corpora[name]) for name in corpora}

    def train(name: str, mixture: dict[str, float], steps: int, start: Path | None = None) -> Path:
        sources = {source: (shards[source], weight) for source, weight in mixture.items()}
        return recipe.add_training(data, name, sources, steps, start)

    textbook = {"code_textbook": 1.0}
    mixture = {"code_exercises": 1 - recipe.replay, "code_textbook": recipe.replay}
    base = train("code_textbook", textbook, recipe.pretrain_steps)
    runs = {
        "raw_code": pipeline.root / "raw_code",  # trained for the filter
        "code_textbook": base,
        "control": train("control", textbook, recipe.finetune_steps, base),
        "code_exercises": train("code_exercises", mixture, recipe.finetune_steps, base),
    }
    models = {"untrained": f"{runs['raw_code']}@0"} | {name: str(run) for name, run in runs.items()}
    recipe.add_scores(data, "evaluate", "own", models, execute=True)
    for name in recipe.public:
        recipe.add_scores(data, f"bits_{name}", name, models, execute=False)
    return list(models), list(runs.values()), data.own


def print_result(root: Path, benchmark: Path, summary: dict[str, object]) -> None:
    """The table, and what to do next."""
    print("\n" + (root / "report.md").read_text("utf-8"))
    best = root / "code_exercises"
    print(
        f"""Next:
  tensorboard --logdir={root}
  {launch_command("generate.py", f"--checkpoint={best}", "--interactive")}
  {launch_command("evaluate.py", f"--benchmark={benchmark}", f"--checkpoint={best}")} \\
      --n_samples=10 --temperature=0.4 --k=1,10 --output={root}/evaluate_sampled \\
      --allow_code_execution
  {launch_command("train.py", "--config=configs/phi1_small_base.py", "--help")}      a larger run

{summary["total_seconds"]} s in all; {root / "summary.json"}"""
    )


if __name__ == "__main__":
    script.run(main)
