"""Chains of steps: which make sense, how one is drawn, and what it does to an input."""

import functools
import itertools
import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from phi1_jax.errors import UserError
from phi1_jax.synthesis.offline_teacher import (
    catalog_dates,
    catalog_maths,
    catalog_numbers,
    catalog_objects,
    catalog_parsing,
    catalog_search,
    catalog_sequences,
    catalog_tables,
)
from phi1_jax.synthesis.offline_teacher.primitives import Primitive
from phi1_jax.synthesis.offline_teacher.values import KINDS, draw_value

CATALOG: tuple[Primitive, ...] = (
    *catalog_numbers.SCALARS,
    *catalog_numbers.LISTS,
    *catalog_sequences.SEQUENCES,
    *catalog_sequences.TEXTS,
    *catalog_sequences.WORDS,
    *catalog_tables.DICTS,
    *catalog_tables.GROUPS,
    *catalog_tables.ROWS,
    *catalog_maths.NUMBERS,
    *catalog_maths.LISTS,
    *catalog_search.LISTS,
    *catalog_search.SEQUENCES,
    *catalog_parsing.TEXTS,
    *catalog_parsing.PATTERNS,
    *catalog_parsing.WORDS,
    *catalog_parsing.FIELDS,
    *catalog_dates.DATES,
    *catalog_dates.PAIRS,
    *catalog_objects.OBJECTS,
    *catalog_objects.MATRICES,
)
STEPS = {(p.name, p.source): p for p in CATALOG}
NAMES = frozenset(p.name for p in CATALOG)
_KIND_OF = {kind.annotation: name for name, kind in KINDS.items()}

# No input or output of an example is longer.
EXAMPLE_CHARS = 44
# A chain makes sense if every step matters for at least this many of the inputs tried.
_TRIED, _MATTERS = 24, 4
# How many steps are tried next to another before a chain is given up.
_PICKS = 12


@dataclass(frozen=True)
class Chain:
    """One to three steps, each taking what the one before gives."""

    steps: tuple[Primitive, ...]

    @property
    def composition(self) -> tuple[str, ...]:
        return tuple(step.name for step in self.steps)

    def holds(self, compositions: Collection[tuple[str, ...]]) -> bool:
        """Whether one of the compositions is this one's, or a stretch of it."""
        names, n = self.composition, len(self.steps)
        return any(names[i:j] in compositions for i in range(n) for j in range(i + 1, n + 1))

    @property
    def topic(self) -> str:
        """The chain as a request states it, e.g. "list[int]: keep_even, sum_of"."""
        return f"{KINDS[self.steps[0].source].annotation}: {', '.join(self.composition)}"

    @property
    def wants(self) -> str:
        return " ".join(step.wants for step in self.steps)

    @property
    def target(self) -> str:
        return self.steps[-1].target


def parse_topic(topic: str) -> Chain:
    """The chain that `Chain.topic` wrote.

    Raises:
      UserError: the topic names no chain of this catalog.
    """
    annotation, _, names = topic.partition(": ")
    kind, found = _KIND_OF.get(annotation, ""), []
    for name in names.split(", "):
        if (step := STEPS.get((name, kind))) is None:
            raise UserError(
                f"topic {topic!r}: the offline teacher has no step {name!r} on {kind or annotation}"
            )
        found.append(step)
        kind = step.target
    return Chain(tuple(found))


def draw_constants(chain: Chain, rng: random.Random) -> tuple[Any, ...]:
    return tuple(rng.choice(s.constants) if s.constants else None for s in chain.steps)


def apply_chain(chain: Chain, constants: Sequence[Any], value: Any, without: int = -1) -> Any:
    """What the chain makes of a value; `without` leaves out one step.

    Raises:
      Exception: whatever a step raises on a value of the wrong kind, once a step is left out.
    """
    for index, (step, constant) in enumerate(zip(chain.steps, constants, strict=True)):
        if index != without:
            value = step.apply(value, constant)
    return value


def steps_that_matter(
    chain: Chain, constants: Sequence[Any], value: Any, result: Any
) -> list[bool]:
    """Per step: whether leaving it out changes the result for this value."""
    return [
        not _same_without(chain, constants, value, result, index)
        for index in range(len(chain.steps))
    ]


def _same_without(
    chain: Chain, constants: Sequence[Any], value: Any, result: Any, index: int
) -> bool:
    try:
        other = apply_chain(chain, constants, value, without=index)
    except (TypeError, ValueError, AttributeError, IndexError, KeyError):
        return False  # without the step, the next one meets a kind that it does not take
    return type(other) is type(result) and other == result


@functools.cache
def makes_sense(steps: tuple[Primitive, ...]) -> bool:
    """Whether every step matters and the result depends on the input.

    No step follows itself, and none that needs an input of the task follows another. The rest is
    found out by running, without a table of what goes with what: sorting before summing, reversing
    before counting, keeping the odd of the even numbers.
    """
    for before, step in itertools.pairwise(steps):
        if step.first_only or step.name == before.name:
            return False
    if len(steps) > 1 and not makes_sense(steps[1:]):
        return False
    if len(steps) > 2 and not makes_sense(steps[:-1]):
        return False
    chain = Chain(steps)
    rng = random.Random(chain.topic)
    matters = [0] * len(steps)
    results: list[Any] = []
    for _ in range(_TRIED):
        constants = draw_constants(chain, rng)
        value = draw_value(steps[0].source, rng, chain.wants, list(constants), rng.randint(1, 5))
        result = apply_chain(chain, constants, value)
        if len(repr(result)) > EXAMPLE_CHARS:
            continue
        for index, yes in enumerate(steps_that_matter(chain, constants, value, result)):
            matters[index] += yes
        if result not in results:
            results.append(result)
        if min(matters) >= _MATTERS and len(results) >= (2 if chain.target == "bool" else 3):
            return True
    return False


@dataclass(frozen=True)
class Steps:
    """The steps in use.

    Attributes:
      by_name: each step's variants.
      followers, leaders: by kind, the steps that take it and those that give it.
    """

    by_name: dict[str, list[Primitive]]
    followers: dict[str, list[Primitive]]
    leaders: dict[str, list[Primitive]]


@functools.cache
def catalog(kinds: tuple[str, ...] | None = None, names: tuple[str, ...] | None = None) -> Steps:
    """The steps that stay within some kinds and names.

    Raises:
      UserError: nothing is left, or a kind or name is unknown.
    """
    unknown = [kind for kind in kinds or () if kind not in KINDS]
    unknown += [name for name in names or () if name not in NAMES]
    if unknown:
        raise UserError(
            f"offline teacher: no kind or step {unknown[0]!r}; kinds: {', '.join(KINDS)}"
        )
    inside = [
        p
        for p in CATALOG
        if (kinds is None or {p.source, p.target} <= {*kinds, "bool"})
        and (names is None or p.name in names)
    ]
    if not inside:
        raise UserError("offline teacher: no step stays within the kinds and names asked for")
    by_name: dict[str, list[Primitive]] = {}
    for p in inside:
        by_name.setdefault(p.name, []).append(p)
    return Steps(
        by_name,
        {k: [p for p in inside if p.source == k and not p.first_only] for k in KINDS},
        {k: [p for p in inside if p.target == k] for k in KINDS},
    )


def draw_chain(length: int, rng: random.Random, steps: Steps) -> Chain:
    """Draws a chain that makes sense.

    It grows both ways from a step drawn evenly by name, so that a step which few others go with
    still occurs often enough to be learnt.

    Args:
      length: 1, 2 or 3 steps.
      steps: what `catalog` returned.
    Raises:
      UserError: the steps make no chain of this length.
    """
    names = list(steps.by_name)
    for _ in range(10_000):
        found: tuple[Primitive, ...] = (rng.choice(steps.by_name[rng.choice(names)]),)
        n_before = rng.randrange(length)
        for index in range(1, length):
            before = index <= n_before
            pool = steps.leaders[found[0].source] if before else steps.followers[found[-1].target]
            for _ in range(_PICKS if pool else 0):
                step = rng.choice(pool)
                longer = (step, *found) if before else (*found, step)
                if makes_sense(longer):
                    found = longer
                    break
            else:
                break
        if len(found) == length:
            return Chain(found)
    raise UserError(f"offline teacher: {len(names)} steps make no chain of {length}")
