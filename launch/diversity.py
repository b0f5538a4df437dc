"""Measures how diverse synthetic corpora are, side by side, and which constructs they use.

Example: python launch/diversity.py --corpus=runs/quickstart/synthesize/exercises.jsonl.zst \\
             --against=HumanEval.jsonl.gz --output=runs/diversity

Prints which share of the functions has a loop, an early return, two arguments and so on, in the
corpora and in the problems of --against (HumanEval's format, MBPP's or EvalPlus's), and how many of
the problems' solutions are covered: each of their statements, with those around it, and their
number of arguments occur in the corpus. OUTPUT gets diversity.md with its figure, and report.json.
The corpora are what `synthesize.py` writes, or any corpus of docs/data.md; docs/synthesis.md
explains the figures.
"""

from functools import partial
from pathlib import Path
from typing import Any

import _environment
from absl import flags

from phi1_jax.cli import corpus_flags as corpus
from phi1_jax.cli import script
from phi1_jax.cli import stage_flags as stage
from phi1_jax.corpus.documents import name_of
from phi1_jax.corpus.records import SkipLog
from phi1_jax.errors import UserError
from phi1_jax.tokens.load import find_tokenizer

AGAINST = flags.DEFINE_multi_string("against", [], "File of problems; repeat for several.")
TOPICS = flags.DEFINE_string(
    "topics",
    None,
    "The topic tree to cover, JSON (default: the built-in course, or the offline teacher's).",
)
WORKERS = flags.DEFINE_integer("workers", 2, "Processes that parse.", 1)
LONG_PROMPT = flags.DEFINE_integer(
    "long_prompt", 200, "Characters beyond which a prompt is long.", 1
)
TOKENIZER = flags.DEFINE_string("tokenizer", None, "Counts --long_prompt in its tokens instead.")


def main() -> None:
    named = corpus.paths()
    script.require(stage.OUTPUT)
    paths, problems = name_apart(named, [Path(file) for file in AGAINST.value])
    own = Path(TOPICS.value) if TOPICS.value else None
    tokenizer = find_tokenizer(TOKENIZER.value) if TOKENIZER.value else None
    inputs = {
        **corpus.inputs(), "against": list(problems.values()), "topics": own or "",
        "long_prompt": LONG_PROMPT.value, "tokenizer": tokenizer or "",
    }  # fmt: skip
    stage.run("diversity", inputs, partial(measure_all, paths, problems, own, tokenizer))


def measure_all(
    paths: dict[str, Path],
    problems: dict[str, Path],
    own: Path | None,
    tokenizer: Path | None,
    output: Path,
    skip: SkipLog,
) -> dict[str, Any]:
    from tqdm import tqdm

    from phi1_jax.corpus.documents import read_documents, with_folder
    from phi1_jax.evaluate.benchmarks import read_benchmark
    from phi1_jax.synthesis.diversity import (
        ConstructCounter,
        Constructs,
        construct_table,
        measure,
        write_report,
    )  # fmt: skip
    from phi1_jax.synthesis.exercises import Exercise

    counter = ConstructCounter(LONG_PROMPT.value)
    if tokenizer:
        from phi1_jax.tokens.load import load_tokenizer

        counter = ConstructCounter(LONG_PROMPT.value, load_tokenizer(tokenizer).encode)
    solutions = {
        name: [
            counter.of_exercise(
                Exercise(t.prompt, t.reference.removeprefix(t.prompt), t.entry_point)
            )
            for t in read_benchmark(str(path.absolute()), None).tasks
        ]
        for name, path in problems.items()
    }
    rows = {name: Constructs.total(each).shares() for name, each in solutions.items()}
    corpora = {}
    columns = script.pairs(corpus.COLUMNS)
    for name, path in paths.items():
        tell = with_folder(path, skip)
        first = next(read_documents(path, None, columns, tell))
        tree = topic_tree(own, "composition" in first.metadata)
        read = read_documents(path, None, columns, tell)
        with tqdm(read, name, unit="", mininterval=1) as documents:
            corpora[name], found = measure(documents, tree, WORKERS.value, counter)
        rows[name] = found.shares()
        for other, constructs in solutions.items():
            covered = sum(found.covers(one) for one in constructs)
            rows[name][f"solutions covered, % of {other}"] = round(
                100 * covered / len(constructs), 1
            )
    write_report(output, corpora, rows)
    print(construct_table(rows))
    return {
        "in": {name: c["size"]["documents"] for name, c in corpora.items()},
        "corpora": corpora,
        "constructs": rows,
    }


def name_apart(
    corpora: list[Path], problems: list[Path]
) -> tuple[dict[str, Path], dict[str, Path]]:
    """Names for the corpora and for the problems, which share a table: short, or whole paths."""
    paths = [*corpora, *problems]
    short = [name_of(path) for path in paths]
    names = short if len(set(short)) == len(paths) else [str(path) for path in paths]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise UserError(f"--against={repeated[0]}: is named twice; name it once")
    named = list(zip(names, paths, strict=True))
    return dict(named[: len(corpora)]), dict(named[len(corpora) :])


def topic_tree(own: Path | None, offline: bool) -> list[str]:
    """All leaves of the tree that a corpus should cover."""
    from phi1_jax.synthesis.offline_teacher import TOPICS as OFFLINE
    from phi1_jax.synthesis.topics import COURSE, read_topics

    if offline and not own:
        return [f"programs > {topic}" for topic in OFFLINE]
    return read_topics(own or COURSE).leaves


if __name__ == "__main__":
    script.run(main)
