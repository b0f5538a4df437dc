"""The value types of the offline teacher: how each is named, drawn at random and left empty."""

import random
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Kind:
    """One value type.

    Args:
      annotation: the type as Python writes it.
      described: the type in prose.
      arguments: names that a function's argument of this type may take.
      item, items: what its elements are called in a task.
      variable: the loop variable over its elements; dicts also have the key `k`.
      element: the kind of its elements.
      empty: the literal of the value that a function returns when there is nothing.
    """

    annotation: str
    described: str
    arguments: tuple[str, ...]
    item: str
    items: str
    variable: str
    element: str
    empty: str


# No argument name is a step or loop variable, so that a solution never shadows its argument.
KINDS = {
    "int": Kind(
        "int", "a whole number",
        ("num", "number", "value", "amount", "score", "level", "size", "age"),
        "number", "numbers", "n", "int", "0",
    ),
    "float": Kind(
        "float", "a number with decimals",
        ("price", "weight", "height", "ratio", "speed", "rate", "cost", "width"),
        "number", "numbers", "x", "float", "0",
    ),
    "str": Kind(
        "str", "a text",
        ("text", "sentence", "line", "phrase", "message", "title", "string", "note"),
        "character", "characters", "c", "str", "''",
    ),
    "ints": Kind(
        "list[int]", "a list of whole numbers",
        ("nums", "numbers", "values", "scores", "points", "ages", "parts", "totals"),
        "number", "numbers", "n", "int", "[]",
    ),
    "floats": Kind(
        "list[float]", "a list of numbers with decimals",
        ("prices", "weights", "heights", "temps", "speeds", "rates", "costs", "sizes"),
        "number", "numbers", "x", "float", "[]",
    ),
    "strs": Kind(
        "list[str]", "a list of words",
        ("words", "names", "items", "labels", "tags", "tokens", "terms", "cities"),
        "string", "strings", "w", "str", "[]",
    ),
    "counts": Kind(
        "dict[str, int]", "a dictionary from names to whole numbers",
        ("stock", "votes", "orders", "sales", "marks", "wins", "coins", "hits"),
        "value", "values", "v", "int", "{}",
    ),
    "rows": Kind(
        "list[list[int]]", "a list of rows, each a list of whole numbers",
        ("rows", "grid", "matrix", "table", "lists", "board", "cells", "batches"),
        "row", "rows", "r", "ints", "[]",
    ),
    "groups": Kind(
        "dict[str, list[int]]", "a dictionary from names to lists of whole numbers",
        ("groups", "teams", "records", "logs", "series", "samples", "classes", "runs"),
        "list", "lists", "v", "ints", "{}",
    ),
    "pairs": Kind(
        "list[tuple[str, int]]", "a list of (name, number) pairs",
        ("pairs", "results", "entries", "prizes", "loans", "bids", "ranks", "deals"),
        "pair", "pairs", "p", "pairs", "[]",
    ),
    "date": Kind(
        "tuple[int, int, int]", "a date as (year, month, day)",
        ("day", "birthday", "start", "due", "moment", "deadline", "holiday", "launch"),
        "part", "parts", "d", "int", "(2000, 1, 1)",
    ),
    "dates": Kind(
        "list[tuple[int, int, int]]", "a list of dates as (year, month, day)",
        ("dates", "days", "visits", "events", "trips", "meetings", "exams", "matches"),
        "date", "dates", "d", "date", "[]",
    ),
    "fields": Kind(
        "str of key=value", "a text of fields such as 'ant=3;bee=5'",
        ("fields", "setting", "config", "header", "query", "options", "payload", "log"),
        "field", "fields", "f", "fields", "''",
    ),
    "bool": Kind("bool", "True or False", (), "answer", "answers", "b", "bool", "False"),
}  # fmt: skip

_WORDS = (
    "apple", "ant", "bee", "cat", "dog", "egg", "fig", "goat", "hat", "ice", "jam", "kite",
    "lamp", "map", "net", "oak", "pen", "queen", "rain", "sea", "tea", "urn", "van", "wind",
    "yak", "zoo", "blue", "cold", "dark", "east", "fast", "green", "high", "kind", "long", "moon",
    "north", "open", "pink", "red", "salt", "tall", "warm", "bird", "cake", "door", "fish",
    "gold", "hill", "lake", "milk", "nose", "rose", "sand", "tree", "wolf", "star", "book",
)  # fmt: skip
_MIRRORS = ("level", "noon", "eye", "pop", "wow", "dad", "kayak", "mom", "civic", "aa", "o")


def draw_value(kind: str, rng: random.Random, wants: str, near: list[Any], size: int) -> Any:
    """A random value of a kind, rich in what the task is about.

    Args:
      kind: a key of KINDS.
      wants: what to make likely, some of: repeats, mirror, order, digits, case, gaps, positive.
      near: the constants of the task; values equal or close to them are made likely.
      size: about how many elements a list or dict has; 0 gives the empty value.
    """
    numbers = [c for c in near if isinstance(c, int)]
    letters = [c for c in near if isinstance(c, str)]
    if kind == "int":
        number = _number(rng, numbers, 40 if size else 0)
        return max(abs(number), 1) if "positive" in wants else number
    if kind == "float":
        return _number(rng, numbers, 20) + rng.choice((0.5, 0.0, 0.25)) if size else 0.0
    if kind == "str":
        return _text(rng, wants, letters, size)
    if kind == "rows":
        return [_list("ints", rng, wants, near, rng.randint("gaps" not in wants, 3))
                for _ in range(min(size, 3))]  # fmt: skip
    if kind == "date":
        return _date(rng, size)
    if kind == "dates":
        return [_date(rng, 1) for _ in range(min(size, 3))]
    if kind in ("pairs", "fields"):
        names = dict.fromkeys(rng.choice(_WORDS) for _ in range(min(size, 3)))
        pairs = [(name, _number(rng, numbers, 12)) for name in names]
        return pairs if kind == "pairs" else ";".join(f"{name}={n}" for name, n in pairs)
    if kind in ("counts", "groups"):
        keys = dict.fromkeys(rng.choice(_WORDS) for _ in range(min(size, 3)))
        if kind == "counts":
            return {key: _number(rng, numbers, 12) for key in keys}
        return {key: _list("ints", rng, wants, near, rng.randint("gaps" not in wants, 3))
                for key in keys}  # fmt: skip
    return _list(kind, rng, wants, near, size)


def _list(kind: str, rng: random.Random, wants: str, near: list[Any], size: int) -> list[Any]:
    numbers = [c for c in near if isinstance(c, int)]
    letters = [c for c in near if isinstance(c, str)]
    values: list[Any] = []
    for _ in range(size):
        if values and rng.random() < (0.4 if "repeats" in wants else 0.1):
            values.append(rng.choice(values))
        elif kind == "ints":
            values.append(_number(rng, numbers, 12))
        elif kind == "floats":
            values.append(_number(rng, numbers, 9) + rng.choice((0.5, 0.0, 0.5, 0.25)))
        else:
            values.append(_word(rng, wants, letters))
    if "order" in wants and rng.random() < 0.5:
        values.sort()
    return values


def _number(rng: random.Random, near: list[int], top: int) -> int:
    if near and rng.random() < 0.4:
        return rng.choice(near) * rng.choice((1, 1, 2, 3)) + rng.choice((0, 0, 1, -1))
    return rng.randint(-top // 3, top)


def _date(rng: random.Random, size: int) -> tuple[int, int, int]:
    if size == 0:
        return (2000, 1, 1)
    # Near the ends of months and years, where date arithmetic goes wrong.
    month = rng.choice((1, 2, 2, 3, 4, 6, 9, 11, 12))
    day = rng.choice((1, 2, 15, 27, 28, rng.randint(1, 28)))
    return (rng.choice((2000, 2019, 2020, 2023, 2024, 2025)), month, day)


def _word(rng: random.Random, wants: str, letters: list[str]) -> str:
    if "mirror" in wants and rng.random() < 0.5:
        return rng.choice(_MIRRORS)
    if "gaps" in wants and rng.random() < 0.25:
        return ""
    word = rng.choice(_WORDS)
    if letters and rng.random() < 0.5:
        near = [w for w in _WORDS if letters[0] in w]
        word = rng.choice([w for w in near if w[0] == letters[0] or rng.random() < 0.5] or near)
    if "case" in wants:
        word = rng.choice((word, word.capitalize(), word.upper()))
    return word


def _text(rng: random.Random, wants: str, letters: list[str], size: int) -> str:
    if size == 0:
        return ""
    if "mirror" in wants and rng.random() < 0.5:
        return rng.choice(_MIRRORS)
    words = [_word(rng, wants.replace("gaps", ""), letters) for _ in range(min(size, 3))]
    if "digits" in wants or rng.random() < 0.1:
        words[-1] = words[-1] + str(rng.randint(1, 99))
    if "repeats" in wants and rng.random() < 0.5:
        words[-1] = words[0]
    return " ".join(words)
