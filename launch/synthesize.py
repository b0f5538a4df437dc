"""Has a teacher write textbooks and exercises, and verifies the exercises in the sandbox.

Example: python launch/synthesize.py --output=runs/synth --n_exercises=15000
Example: python launch/synthesize.py --output=runs/synth --teacher=api --model=NAME --dry_run
Example: python launch/synthesize.py --output=runs/kodcode --teacher=public --source=@kodcode

OUTPUT gets textbooks.jsonl.zst, exercises.jsonl.zst (each executed with the examples that it
states), rejects.jsonl.zst (the raw replies that were not kept, with the reason) and report.json.
The offline teacher needs no network, and adds benchmark.jsonl (HumanEval's format, held out). The
api teacher is any OpenAI-compatible endpoint: docs/synthesis.md. With public, exercises that exist
are kept if their solution passes the tests that come with them.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import _environment
from absl import flags
from ml_collections import config_flags

from phi1_jax.cli import api_flags as language_model
from phi1_jax.cli import script
from phi1_jax.cli import stage_flags as stage
from phi1_jax.corpus.records import SkipLog
from phi1_jax.curation.sources import check_source, declared_sources, parse_source, read_sources
from phi1_jax.sandbox import open_sandbox
from phi1_jax.synthesis import offline_teacher, topics
from phi1_jax.synthesis.offline_teacher import OfflineTeacher, build_benchmark
from phi1_jax.synthesis.public import keep_passing
from phi1_jax.synthesis.synthesize import synthesize
from phi1_jax.synthesis.teacher import APITeacher
from phi1_jax.synthesis.verify import VERDICTS

PUBLIC = Path(__file__).resolve().parent.parent / "configs" / "sources" / "public.py"
# The offline teacher is trusted, so its exercises may share a process; see `verify`.
OFFLINE_BATCH = 16

T = TypeVar("T")
TEACHER = flags.DEFINE_enum("teacher", "offline", ["offline", "api", "public"], "Who writes.")
SOURCE = flags.DEFINE_multi_string(
    "source", [], "public: exercises with tests, as launch/curate.py reads sources; repeatable."
)
COLUMNS = flags.DEFINE_list(
    "columns", [], "public: column map of the files named, e.g. prompt=question,test=unit_tests."
)
SOURCES = config_flags.DEFINE_config_file(
    "sources", str(PUBLIC), "public: file that declares the sources named @NAME."
)
N_EXERCISES = flags.DEFINE_integer("n_exercises", 15000, "Exercises to ask for, or to read.", 0)
N_TEXTBOOKS = flags.DEFINE_integer("n_textbook_sections", 2500, "Sections to ask for.", 0)
REQUIRE = flags.DEFINE_enum(
    "require", "doctest_passes", list(VERDICTS), "What an exercise needs to be kept."
)
SEED = flags.DEFINE_integer("seed", 0, "Another seed asks for other exercises.")
WORKERS = flags.DEFINE_integer("workers", 2, "Sandboxes that run at once.", 1)
TOPICS = flags.DEFINE_string(
    "topics", None, "api: a topic tree of your own, JSON as phi1_jax/synthesis/course.json."
)
TEMPERATURE = flags.DEFINE_float("temperature", 1.0, "api: of sampling.", 0)
N_BENCHMARK = flags.DEFINE_integer("n_benchmark", 200, "offline: held-out problems.", 1, 2000)


def main() -> None:
    script.require(stage.OUTPUT)
    if TEACHER.value != "public":
        script.refuse_unread([SOURCE, COLUMNS, SOURCES], "is read with --teacher=public only")
    if TEACHER.value == "offline":
        run_offline()
    elif TEACHER.value == "public":
        run_public()
    else:
        run_api()


def run_offline() -> None:
    script.refuse_unread([language_model, TOPICS, TEMPERATURE], "is read with --teacher=api only")

    def work(folder: Path, _: SkipLog) -> dict[str, Any]:
        problems = build_benchmark(N_BENCHMARK.value, SEED.value)
        held_out = {problem.composition for problem in problems}
        plan = offline_teacher.plan_exercises(N_EXERCISES.value, SEED.value)
        with open_sandbox(workers=WORKERS.value) as sandbox, ExitStack() as bars:
            return synthesize(
                folder,
                OfflineTeacher(),
                offline_teacher.plan_textbooks(N_TEXTBOOKS.value, SEED.value, held_out),
                with_bar(bars, plan, "exercises", N_EXERCISES.value),
                problems,
                sandbox.run,
                batch=OFFLINE_BATCH,
                require=REQUIRE.value,
            ) | {"sandbox": sandbox.backend}

    run({"n_benchmark": N_BENCHMARK.value}, work)


def run_api() -> None:
    script.refuse_unread([N_BENCHMARK], "is read with --teacher=offline only")
    course = Path(TOPICS.value or topics.COURSE)
    tree = topics.read_topics(course)
    textbooks = list(topics.plan_textbooks(tree, N_TEXTBOOKS.value, SEED.value))
    exercises = list(topics.plan_exercises(tree, N_EXERCISES.value, SEED.value))

    def work(folder: Path, _: SkipLog) -> dict[str, Any]:
        with open_sandbox(workers=WORKERS.value) as sandbox, ExitStack() as bars:
            return synthesize(
                folder,
                teacher,
                with_bar(bars, textbooks, "textbooks", len(textbooks)),
                with_bar(bars, exercises, "exercises", len(exercises)),
                [],
                sandbox.run,
                require=REQUIRE.value,
            ) | {"sandbox": sandbox.backend, **model.report()}

    with language_model.open_language_model(Path(stage.OUTPUT.value)) as model:
        teacher = APITeacher(model, TEMPERATURE.value)
        for name, plan in (("textbook sections", textbooks), ("exercises", exercises)):
            print(f"{name}: {model.estimate(map(teacher.completion, plan))}", flush=True)
        if not language_model.DRY_RUN.value:
            asked = model.settings.identity | {"temperature": teacher.temperature, "topics": course}
            run(asked, work)


def run_public() -> None:
    others = [language_model, TOPICS, TEMPERATURE, N_BENCHMARK, N_TEXTBOOKS, REQUIRE, SEED]
    script.refuse_unread(others, "is not read with --teacher=public")
    script.require(SOURCE)
    declared = declared_sources(script.load_config(SOURCES))
    columns = script.pairs(COLUMNS)
    sources = [parse_source(text, columns or None, declared) for text in SOURCE.value]
    for source in sources:
        check_source(source)

    def work(folder: Path, skip: SkipLog) -> dict[str, Any]:
        rows = read_sources(sources, skip)
        with open_sandbox(workers=WORKERS.value) as sandbox, ExitStack() as bars:
            shown = with_bar(bars, islice(rows, N_EXERCISES.value), "exercises", N_EXERCISES.value)
            counts = keep_passing(shown, sandbox.run, folder)
            if next(rows, None):
                print(f"--n_exercises={N_EXERCISES.value}: there are more, which were not read")
            return counts | {"sandbox": sandbox.backend}

    files = [source.path for source in sources if source.path]
    run({"source": [repr(source) for source in sources], "files": files}, work)


def run(inputs: dict[str, Any], work: Callable[[Path, SkipLog], dict[str, Any]]) -> None:
    shared = {
        "teacher": TEACHER.value,
        "n_exercises": N_EXERCISES.value,
        "n_textbook_sections": N_TEXTBOOKS.value,
        "seed": SEED.value,
        "require": REQUIRE.value,
    }
    stage.run("synthesize", shared | inputs, work)


def with_bar(bars: ExitStack, requests: Iterable[T], name: str, total: int) -> Iterator[T]:
    """Shows how many were asked, from the first on; ended with `bars`, before an error is told."""
    from tqdm import tqdm

    yield from bars.enter_context(tqdm(requests, name, total, unit="", mininterval=1))


if __name__ == "__main__":
    script.run(main)
