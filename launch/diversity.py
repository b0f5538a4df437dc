"""Measures how diverse synthetic corpora are, side by side, and shows what repeats.

Example: python launch/diversity.py --corpus=runs/quickstart/synthesize/exercises.jsonl.zst \\
    --output=runs/diversity

OUTPUT gets diversity.html (one file with plots) and report.json with all figures. The corpora are
what `synthesize.py` writes, or any JSON lines with a column `text`; docs/synthesis.md explains the
figures.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from phi1_jax.cli import script
from phi1_jax.cli.stage import run_stage
from phi1_jax.errors import UserError

CORPUS = flags.DEFINE_multi_string("corpus", [], "A corpus; may be given several times.")
OUTPUT = flags.DEFINE_string("output", None, "Folder for the results.")
TOPICS = flags.DEFINE_string(
    "topics", None, "The topic tree to cover, JSON (default: the built-in course, or the catalog "
    "of the offline teacher).",
)  # fmt: skip
WORKERS = flags.DEFINE_integer("workers", 2, "Processes that parse.", 1)
SEED = flags.DEFINE_integer("seed", 0, "Draws the documents whose near variants are counted.")
FORCE = flags.DEFINE_bool("force", False, "Redo what is finished and unchanged.")


def main(argv: Sequence[str]) -> None:
    del argv
    from phi1_jax.corpus.documents import read_documents
    from phi1_jax.synthesis.diversity import measure
    from phi1_jax.synthesis.diversity_page import plot, write_page

    if not CORPUS.value:
        raise UserError("--corpus is missing: --corpus=runs/synth/exercises.jsonl.zst, say")
    if not OUTPUT.value:
        raise UserError("--output is missing: name a folder for the results")
    paths = name_corpora([Path(corpus) for corpus in CORPUS.value])
    own = Path(TOPICS.value) if TOPICS.value else None

    def work(output: Path) -> dict[str, Any]:
        from tqdm import tqdm

        corpora = {}
        for name, path in paths.items():
            first = next(read_documents(path))
            steps, tree = topic_tree(own, "composition" in first.metadata)
            with tqdm(read_documents(path), name, unit="", mininterval=1) as documents:
                corpora[name] = measure(documents, steps, tree, WORKERS.value, SEED.value)
        (output / "diversity.html").write_text(write_page(corpora), encoding="utf-8")
        (output / "diversity.png").write_bytes(plot(corpora))
        return {"in": {name: c["documents"] for name, c in corpora.items()}, "corpora": corpora}

    inputs = {"corpora": list(paths.values()), "topics": own or "", "seed": SEED.value}
    run_stage("diversity", Path(OUTPUT.value), inputs, work, force=FORCE.value)


def name_corpora(paths: list[Path]) -> dict[str, Path]:
    """Short names where they differ, else whole paths."""
    short = [path.name.split(".")[0] for path in paths]
    names = short if len(set(short)) == len(paths) else [str(path) for path in paths]
    return dict(zip(names, paths, strict=True))


def topic_tree(own: Path | None, offline: bool) -> tuple[dict[str, str], list[str]]:
    """The leaf of each step of the offline catalog, and all leaves of the tree."""
    if own:
        from phi1_jax.synthesis.topics import read_topics

        return {}, read_topics(own).leaves
    from phi1_jax.synthesis.course import COURSE
    from phi1_jax.synthesis.offline_teacher.chains import catalog

    steps = {name: f"{variants[0].family} > {name}" for name, variants in catalog().by_name.items()}
    return (steps, sorted(set(steps.values()))) if offline else ({}, COURSE.leaves)


if __name__ == "__main__":
    script.run(main)
