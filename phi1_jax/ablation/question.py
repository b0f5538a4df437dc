"""A question: named variants of data, config and steps, as a file of configs/ablations returns."""

import ast
import math
import re
import runpy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from phi1_jax.cli.recipe import Recipe
from phi1_jax.errors import UserError, did_you_mean
from phi1_jax.synthesis.diversity import CONSTRUCTS

# What `Recipe.add_data` makes; see `recipe.Data`.
MADE = ("raw_code", "filtered", "textbooks", "exercises", "exercises_as_written")


@dataclass(frozen=True)
class Change:
    """A launch script that makes one corpus of another, with --corpus and --output.

    Attributes:
      flags: its further flags; a list repeats the flag.
      part: folder in its output to read, where it writes several corpora.
      benchmarks: give it `--benchmark` with the own and the public problems.
      seeded: give it `--seed`, the run's, so that the interval covers its draw too.
    """

    script: str
    flags: Mapping[str, Any] = field(default_factory=dict)
    part: str = ""
    benchmarks: bool = False
    seeded: bool = False


@dataclass(frozen=True)
class Corpus:
    """What one source of a mixture holds.

    Attributes:
      of: some of MADE.
      changes: done to it in turn; then it is one corpus.
      max_tokens: about how many tokens of it are used, from its beginning; None: all.
    """

    of: tuple[str, ...]
    changes: tuple[Change, ...] = ()
    max_tokens: int | None = None


@dataclass(frozen=True)
class Phase:
    """One training run, from the weights of the phase before.

    Attributes:
      mixture: corpus -> share of the rows; together they are 1.
      config: fields of the config that differ, e.g. {"optimizer.name": "adamw"}.
    """

    mixture: Mapping[str, float]
    steps: int
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Question:
    """What is compared, and with what.

    Attributes:
      recipe: how data, models and scores are made.
      corpora: the names that mixtures use.
      variants: name -> its phases; the last one is scored.
      baseline: the variant that the others are compared with.
      construct: problems whose solution uses it are scored apart; see `diversity.CONSTRUCTS`.
      similar: corpus made by launch/decontaminate.py with several --tau; problems with and without
        something similar in it are scored apart.
      about: what the paper says, what varies and what is fixed; by default the file's docstring.
    """

    recipe: Recipe
    corpora: Mapping[str, Corpus]
    variants: Mapping[str, tuple[Phase, ...]]
    baseline: str
    construct: str = ""
    similar: str = ""
    about: str = ""

    def __post_init__(self) -> None:
        used = {name for phases in self.variants.values() for p in phases for name in p.mixture}
        for kind, names, known in (
            ("a mixture names corpus", used, self.corpora),
            ("a corpus is made of", {n for c in self.corpora.values() for n in c.of}, MADE),
            ("the baseline is", {self.baseline}, self.variants),
            ("similar names corpus", {self.similar} - {""}, self.corpora),
            ("the construct is", {self.construct} - {""}, CONSTRUCTS),
        ):
            for name in sorted(names - set(known)):
                raise UserError(
                    f"question: {kind} {name!r}, which is not one of {', '.join(known)}"
                    f"{did_you_mean(name, known)}"
                )
        for name in (*self.corpora, *self.variants):
            if not re.fullmatch(r"[\w.+-]+", name):  # it becomes a folder's
                raise UserError(f"question: name {name!r}: use letters, digits and _ . + -")
        if empty := [name for name, phases in self.variants.items() if not phases]:
            raise UserError(f"question: variant {empty[0]!r} has no phase")
        for name, phases in self.variants.items():
            for phase in phases:
                shares = phase.mixture.values()
                if min(shares, default=0) <= 0 or not math.isclose(sum(shares), 1):
                    raise UserError(
                        f"question: variant {name!r}: the shares of the mixture"
                        f" {dict(phase.mixture)} must be above 0 and add up to 1"
                    )


def code_textbook() -> Corpus:
    """The paper's CodeTextbook: filtered code and textbooks."""
    return Corpus(("filtered", "textbooks"))


def pretrain(
    recipe: Recipe, corpus: str = "code_textbook", config: Mapping[str, Any] | None = None
) -> Phase:
    """The first phase of the paper, on CodeTextbook."""
    return Phase({corpus: 1.0}, recipe.pretrain_steps, config or {})


def finetune(
    recipe: Recipe, corpus: str = "exercises", config: Mapping[str, Any] | None = None
) -> Phase:
    """The second phase, on exercises, with the recipe's share of CodeTextbook."""
    mixture = {corpus: 1 - recipe.replay, "code_textbook": recipe.replay}
    return Phase(mixture, recipe.finetune_steps, config or {})


def load_question(path: Path, recipe: Recipe) -> Question:
    """What `get_question(recipe)` of a Python file returns.

    Raises:
      UserError: no such file, no such function, or what it returns is no `Question`.
    """
    if not path.is_file():
        known = [file.stem for file in path.parent.glob("*.py")]
        names = f"; there are {', '.join(sorted(known))}" if known else ""
        raise UserError(f"--question: no such file {path}{did_you_mean(path.stem, known) or names}")
    try:
        found = runpy.run_path(str(path))
        if "get_question" not in found:
            raise UserError("has no get_question(recipe)")
        question = found["get_question"](recipe)
    except Exception as error:  # the user's code: anything can come out of it
        what = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
        raise UserError(f"--question={path}: {what}{error}") from error
    if not isinstance(question, Question):
        raise UserError(f"--question={path}: get_question() must return a Question")
    about = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return question if question.about else replace(question, about=about)
