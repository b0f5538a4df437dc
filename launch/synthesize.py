"""Has a teacher write textbooks and exercises, verifies them, and makes a held-out benchmark.

Example: python launch/synthesize.py --output=runs/synth --n_exercises=15000

OUTPUT gets benchmark.jsonl (HumanEval's format), textbooks.jsonl.zst, exercises.jsonl.zst (each
executed in the sandbox with the examples that it states), rejects.jsonl.zst (the raw replies that
were not kept, with the reason) and report.json. The offline teacher needs no network.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from phi1_jax import cli
from phi1_jax.data.offline_teacher import (
    OfflineTeacher,
    TeacherSettings,
    build_benchmark,
    plan_exercises,
    plan_textbooks,
)
from phi1_jax.data.synthesize import synthesize
from phi1_jax.data.verify import VERDICTS
from phi1_jax.errors import UserError
from phi1_jax.sandbox import open_sandbox
from phi1_jax.stage import run_stage

# The offline teacher is trusted, so its exercises may share a process; see `verify`.
OFFLINE_BATCH = 16

OUTPUT = flags.DEFINE_string("output", None, "Folder for the results.")
TEACHER = flags.DEFINE_enum("teacher", "offline", ["offline"], "Who writes.")
N_EXERCISES = flags.DEFINE_integer("n_exercises", 15000, "Exercises to ask for.", 0)
N_TEXTBOOKS = flags.DEFINE_integer("n_textbook_sections", 2500, "Sections to ask for.", 0)
N_BENCHMARK = flags.DEFINE_integer("n_benchmark", 200, "Held-out problems to make.", 1, 2000)
LENGTHS = flags.DEFINE_list("lengths", None, "Weights of tasks of 1, 2 and 3 steps.")
STYLES = flags.DEFINE_list("styles", None, "Weights of comprehension, loop and helper style.")
KINDS = flags.DEFINE_list(
    "kinds", None, "Kinds of value in use, e.g. ints,strs,int (default: all)."
)
STEPS = flags.DEFINE_enum("steps", "core", ["core", "all"], "How much of the catalog is in use.")
N_PHRASINGS = flags.DEFINE_integer("n_phrasings", 2, "Phrasings of each step in use.", 1, 3)
REQUIRE = flags.DEFINE_enum(
    "require", "doctest_passes", list(VERDICTS), "What an exercise needs to be kept."
)
SEED = flags.DEFINE_integer("seed", 0, "Another seed asks for other exercises.")
WORKERS = flags.DEFINE_integer("workers", 2, "Sandboxes that run at once.", 1)
FORCE = flags.DEFINE_bool("force", False, "Redo what is finished and unchanged.")


def main(argv: Sequence[str]) -> None:
    del argv
    if not OUTPUT.value:
        raise UserError("--output is missing: name a folder for the results")
    defaults = TeacherSettings()
    settings = TeacherSettings(
        lengths=weights("lengths", LENGTHS.value) or defaults.lengths,
        styles=weights("styles", STYLES.value) or defaults.styles,
        kinds=tuple(KINDS.value) if KINDS.value else None,
        steps=None if STEPS.value == "all" else defaults.steps,
        n_phrasings=N_PHRASINGS.value,
    )
    inputs = {
        "teacher": TEACHER.value,
        "settings": settings,
        "n_exercises": N_EXERCISES.value,
        "n_textbook_sections": N_TEXTBOOKS.value,
        "n_benchmark": N_BENCHMARK.value,
        "seed": SEED.value,
        "require": REQUIRE.value,
    }

    def work(output: Path) -> dict[str, Any]:
        from tqdm import tqdm

        problems = build_benchmark(N_BENCHMARK.value, SEED.value, settings)
        held_out = {problem.composition for problem in problems}
        exercises = plan_exercises(N_EXERCISES.value, SEED.value, settings)
        with open_sandbox(workers=WORKERS.value) as sandbox:
            return synthesize(
                output,
                OfflineTeacher(settings),
                plan_textbooks(N_TEXTBOOKS.value, SEED.value, settings, held_out),
                tqdm(exercises, "exercises", N_EXERCISES.value, unit="", mininterval=1),
                problems,
                sandbox.run,
                batch=OFFLINE_BATCH,
                require=REQUIRE.value,
            ) | {"sandbox": sandbox.backend}

    run_stage("synthesize", Path(OUTPUT.value), inputs, work, force=FORCE.value)


def weights(flag: str, given: list[str] | None) -> tuple[float, ...]:
    try:
        return tuple(float(weight) for weight in given or ())
    except ValueError as error:
        raise UserError(f"--{flag}={','.join(given or ())}: give numbers, e.g. 1,2,1") from error


if __name__ == "__main__":
    cli.run(main)
