"""Flags that mirror a dataclass."""

from dataclasses import dataclass, replace
from typing import Literal

import pytest
from absl import flags

from phi1_jax.bounds import bounded, check_bounds
from phi1_jax.cli.dataclass_flags import DataclassFlags
from phi1_jax.errors import UserError


@dataclass(frozen=True)
class Recipe:
    """A cake.

    Attributes:
      eggs, spoons: how many of
        each.
    """

    name: str
    eggs: int = bounded(2, ge=0)
    spoons: float | None = None
    # how it rises
    yeast: Literal["dry", "fresh"] = "dry"
    sweet: bool = True  # with sugar (any kind), or not
    layers: tuple[int, ...] = (1, 2)
    notes: tuple[str, ...] | None = None
    secret: str = "x"

    def __post_init__(self):
        check_bounds(self)


NAMES = ("name", "eggs", "spoons", "yeast", "sweet", "layers", "notes")


def parse(*arguments: str, **options) -> DataclassFlags[Recipe]:
    values = flags.FlagValues()
    found = DataclassFlags(Recipe, NAMES, flag_values=values, **options)
    values(["script", *arguments])
    return found


def test_the_dataclass_comes_back():
    assert parse("--name=a").build() == Recipe("a")
    given = ("--eggs=3", "--spoons=1", "--yeast=fresh", "--nosweet", "--layers=4,5", "--layers=6")
    cake = parse("--name=a", "--notes=b,c", *given).build(secret="y")
    assert cake == Recipe("a", 3, 1.0, "fresh", False, (4, 5, 6), ("b", "c"), "y")
    assert parse("--name=a", "--layers=").build().layers == ()


def test_only_what_was_given_replaces():
    found = parse("--eggs=0", "--layers=7", optional=True)
    assert replace(Recipe("a", spoons=5), **found.given()) == Recipe("a", 0, 5, layers=(7,))


def test_help_says_what_the_class_says():
    found = parse("--title=a", names={"name": "title"})
    assert found.build().name == "a"
    words = {name: holder._flagvalues[holder.name].help for name, holder in found.holders.items()}
    assert words["eggs"] == words["spoons"] == "How many of each."
    assert "How it rises." in words["yeast"]
    assert words["sweet"] == "With sugar (any kind), or not."
    assert words["name"] == "Recipe.name."


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((), UserError, "--name is missing: Recipe.name."),
        (("--name=a", "--layers=1,x"), UserError, "--layers=1,x: give ints"),
        (("--name=a", "--eggs=-1"), UserError, "--eggs=-1 must be at least 0"),
        (("--yeast=wet",), flags.IllegalFlagValueError, "should be one of <dry|fresh>"),
        (("--eggs=many",), flags.IllegalFlagValueError, "--eggs=many"),
    ],
)
def test_a_wrong_value_is_named(arguments, error, words):
    with pytest.raises(error, match=words.replace("|", r"\|")):
        parse(*arguments).build()
