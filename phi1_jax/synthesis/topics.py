"""What a language-model teacher is asked about: a tree of topics, audiences, function names.

phi-1 constrains textbooks by topic and target audience (section 2.2) and exercises by the name of
the function (section 2.3); its lists were not published. `course.json` has ours; yours may take its
place.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice, product
from pathlib import Path
from typing import Any, TypeVar

from phi1_jax.errors import UserError
from phi1_jax.files import read_json
from phi1_jax.synthesis.teacher import DIFFICULTIES, TeacherRequest

# The built-in tree: an introductory course in Python.
COURSE = Path(__file__).with_name("course.json")
T = TypeVar("T")


@dataclass(frozen=True)
class Area:
    """One branch of the tree.

    Attributes:
      topics: its leaves.
      verbs, nouns, qualifiers: function names are verb_noun or verb_noun_qualifier.
    """

    topics: tuple[str, ...]
    verbs: tuple[str, ...]
    nouns: tuple[str, ...]
    qualifiers: tuple[str, ...] = ()

    @property
    def function_names(self) -> list[str]:
        endings = ["", *(f"_{qualifier}" for qualifier in self.qualifiers)]
        return [f"{v}_{n}{e}" for v, n, e in product(self.verbs, self.nouns, endings)]


@dataclass(frozen=True)
class Topics:
    """The tree and the audiences. A leaf is written "area > topic"."""

    areas: Mapping[str, Area]
    audiences: tuple[str, ...]

    @property
    def leaves(self) -> list[str]:
        return [f"{name} > {topic}" for name, area in self.areas.items() for topic in area.topics]


def plan_textbooks(topics: Topics, n_sections: int, seed: int) -> Iterator[TeacherRequest]:
    """Requests for sections; the i-th depends on (topics, seed, i) only.

    Every leaf comes once, in an order drawn by the seed, before any comes again; it comes with
    every audience before any pair comes again, then under another `TeacherRequest.seed`.
    """
    leaves = [(leaf, topics.audiences) for leaf in topics.leaves]
    for leaf, audience, drawn in islice(_draw(leaves, seed), n_sections):
        yield TeacherRequest("textbook", leaf, audience, seed=drawn)


def plan_exercises(topics: Topics, n_exercises: int, seed: int) -> Iterator[TeacherRequest]:
    """Requests for exercises; the i-th depends on (topics, seed, i) only.

    Every function name comes once before any comes again; it comes with every topic of its area
    and every difficulty before the three come together again, then under another seed.
    """
    names: list[tuple[str, Sequence[tuple[str, str]]]] = []
    for area_name, area in topics.areas.items():
        leaves = [f"{area_name} > {topic}" for topic in area.topics]
        about = list(product(leaves, DIFFICULTIES))
        names += [(function, about) for function in area.function_names]
    for name, (leaf, difficulty), drawn in islice(_draw(names, seed), n_exercises):
        yield TeacherRequest(
            "exercise", leaf, function_name=name, difficulty=difficulty, seed=drawn
        )


def read_topics(path: Path) -> Topics:
    """Reads a tree from JSON of the shape of `COURSE`.

    Raises:
      UserError: another shape, an empty list, or a word that no function name can hold.
    """
    given = read_json(path, ("audiences", "areas"), f"{COURSE} is an example")
    try:
        areas = {name: Area(**_tuples(fields)) for name, fields in given["areas"].items()}
        topics = Topics(areas, **_tuples({"audiences": given["audiences"]}))
    except (TypeError, AttributeError) as error:
        raise UserError(f"--topics={path}: {error}; {COURSE} is an example") from None
    if not (topics.leaves and topics.audiences):
        raise UserError(f"--topics={path}: has no topic or no audience")
    for name, area in areas.items():
        if not (area.topics and area.function_names):
            raise UserError(f"--topics={path}: area {name!r} has no topics, no verbs or no nouns")
        for function in area.function_names:
            if not function.isidentifier():
                raise UserError(f"--topics={path}: {function!r} of {name!r} is not a function name")
    return topics


def _tuples(fields: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    for key, words in fields.items():
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise TypeError(f"{key!r} must be a list of texts")
    return {key: tuple(words) for key, words in fields.items()}


def _draw(items: Sequence[tuple[str, Sequence[T]]], seed: int) -> Iterator[tuple[str, T, int]]:
    """All items in a drawn order, then all in another, ..., each time with its next partner.

    Args:
      items: each with its partners, of which a drawn one comes first.
    Yields:
      The item, its partner, and a seed that is another each time the partners begin anew.
    """
    for turn in count():
        for item, partners in random.Random(f"{seed} {turn}").sample(items, len(items)):
            again, place = divmod(turn, len(partners))
            first = random.Random(f"{seed} {item}").getrandbits(31)
            partner = partners[(first + place) % len(partners)]
            yield item, partner, random.Random(f"request {seed} {again}").getrandbits(31)
