"""Reads grammar.txt: its rules, and its tables of what is drawn by weight."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from random import Random
from typing import Any, Generic, TypeVar

T = TypeVar("T")
_TOKEN = re.compile(r"\{([A-Za-z]\w*~?)\}|`(\w):|([|`])")


class Table(Generic[T]):
    """Items that are drawn by weight."""

    def __init__(self, weighted: Iterable[tuple[T, float]]):
        pairs = list(weighted)
        self._items = [item for item, _ in pairs]
        self._weights = [weight for _, weight in pairs]
        self._sums: dict[float, list[float]] = {}

    def __iter__(self) -> Iterator[T]:
        return iter(self._items)

    def draw(self, rng: Random, power: float = 1.0) -> T:
        """One item; with a power of the weights above 1, the usual ones yet more often."""
        if power not in self._sums:
            self._sums[power] = list(accumulate(weight**power for weight in self._weights))
        return rng.choices(self._items, cum_weights=self._sums[power])[0]


def tables(weighted: Iterable[tuple[str, T, float]]) -> dict[str, Table[T]]:
    """A table for each key of (key, item, weight)."""
    by_key: dict[str, list[tuple[T, float]]] = {}
    for key, item, weight in weighted:
        by_key.setdefault(key, []).append((item, weight))
    return {key: Table(pairs) for key, pairs in by_key.items()}


def compile_text(text: str) -> tuple[Any, ...]:
    """Text as parts: literals, ("slot", name) and (label, option, option, ...), options alike."""
    stack: list[tuple[str, list[list[Any]]]] = [("", [[]])]
    place = 0
    for token in _TOKEN.finditer(text):
        options = stack[-1][1]
        slot, label, mark = token.groups()
        if mark == "|" and len(stack) == 1:
            continue
        if token.start() > place:
            options[-1].append(text[place : token.start()])
        place = token.end()
        if slot:
            options[-1].append(("slot", slot))
        elif label:
            stack.append((label, [[]]))
        elif mark == "|":
            options.append([])
        else:
            name, made = stack.pop()
            stack[-1][1][-1].append((name, *(tuple(option) for option in made)))
    if len(stack) > 1:
        raise ValueError(f"a choice is not closed: {text}")
    return (*stack[0][1][-1], text[place:])


_CONDITION = re.compile(r"^( *)(\w)=(\d)\? ?")


@dataclass
class Line:
    """A line of code or words that may depend on a choice."""

    parts: tuple[Any, ...]
    label: str = ""
    index: int = 0

    @classmethod
    def read(cls, text: str) -> "Line":
        if found := _CONDITION.match(text):
            indent, label, index = found.groups()
            return cls(compile_text(indent + text[found.end() :]), label, int(index))
        return cls(compile_text(text))


@dataclass
class Rule:
    topic: str
    name: str
    weight: float
    slots: dict[str, tuple[Any, ...]]
    variants: list[list[Line]] = field(default_factory=lambda: [[]])
    result: str = ""
    said: list[tuple[str, tuple[Any, ...], tuple[Any, ...]]] = field(default_factory=list)
    notes: list[tuple[bool, Line]] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)

    @property
    def is_chain(self) -> bool:
        """Whether the second condition is asked where the first one fails, and a rest is left."""
        lines = (line.parts[0] for variant in self.variants for line in variant)
        return any(isinstance(part, str) and part.strip() == "elif" for part in lines)


def read_slots(text: str) -> dict[str, tuple[Any, ...]]:
    found = {}
    for slot in filter(None, text.strip().split(";")):
        match = re.match(r"(\w+\??):?(.*)", slot)
        assert match
        found[match[1]] = compile_text(match[2])
    return found


def _count_options(parts: tuple[Any, ...], sizes: dict[str, int]) -> None:
    for part in parts:
        if isinstance(part, tuple) and part[0] != "slot":
            sizes[part[0]] = max(sizes.get(part[0], 0), len(part) - 1)
            for option in part[1:]:
                _count_options(option, sizes)


def read_rules(text: str) -> list[Rule]:
    rules = []
    for block in text.strip().split("\n@ "):
        first, *lines = block.removeprefix("@ ").split("\n")
        topic, name, weight, slots = first.split(" | ", 3)
        rule = Rule(topic, name, float(weight), read_slots(slots))
        for line in lines:
            stripped = _CONDITION.sub("", line)
            if line == "--":
                rule.variants.append([])
            elif line.startswith("=> "):
                rule.result = line[3:]
            elif line.startswith("= "):
                kind, said = line[2:].split(" | ", 1)
                rule.said.append(("what", compile_text(kind), compile_text(said)))
            elif line.startswith("? "):
                rule.said.append(("whether", compile_text("bool"), compile_text(line[2:])))
            elif stripped.startswith((". ", ".. ")):
                note = Line.read(line.replace("? .. ", "? ").replace("? . ", "? ").lstrip(". "))
                rule.notes.append((stripped.startswith(".."), note))
            else:
                rule.variants[-1].append(Line.read(line))
        for made in [made for variant in rule.variants for made in variant]:
            _count_options(made.parts, rule.sizes)
            if made.label:
                rule.sizes[made.label] = max(rule.sizes.get(made.label, 0), made.index + 1)
        for parts in (*rule.slots.values(), *(part for said in rule.said for part in said[1:])):
            _count_options(parts, rule.sizes)
        rules.append(rule)
    return rules


def read_rows(text: str) -> list[list[str]]:
    """Lines of " | " between fields, outside of choices."""
    return [
        [part.strip() for part in re.split(r"\|(?=(?:[^`]*`[^`]*`)*[^`]*$)", line)]
        for line in text.strip().split("\n")
    ]


def read_sections(text: str) -> dict[str, str]:
    """The grammar's parts by name, without remarks."""
    kept = "\n".join(line for line in text.split("\n") if not line.startswith("#"))
    names = re.findall(r"^\[(\w+)\]$", kept, re.MULTILINE)
    return dict(zip(names, re.split(r"^\[\w+\]$", kept, flags=re.MULTILINE)[1:], strict=True))
