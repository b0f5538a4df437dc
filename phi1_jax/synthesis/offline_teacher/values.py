"""The kinds of value that a program takes: how each is named, described and drawn at random."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from phi1_jax.synthesis.offline_teacher.words import draw_word

_Draw = Callable[[random.Random, Sequence[int], int], Any]


@dataclass(frozen=True)
class Kind:
    """One kind of argument or result.

    Args:
      annotation: the type as Python writes it.
      typing: the same with the names of the module `typing`.
      described: what a docstring calls it.
      short: what follows "the given" in a text that states no names.
      names: what an argument may be called, beside names drawn from the vocabulary.
      draw: (rng, numbers that matter to the program, size from 0 to 6) -> a value.
      empty: the literal that a function returns when there is nothing.
    """

    annotation: str
    typing: str
    described: tuple[str, ...]
    short: tuple[str, ...]
    names: tuple[str, ...]
    draw: _Draw
    empty: str


def _integer(rng: random.Random, near: Sequence[int], size: int) -> int:
    if near and rng.random() < 0.4:
        return rng.choice(near) * rng.choice((1, 1, 2, 3)) + rng.choice((0, 0, 1, -1))
    number = rng.random()
    return rng.randint(-9, 20) if number < 0.8 else rng.randint(-50, 150)


def _natural(rng: random.Random, near: Sequence[int], size: int) -> int:
    return rng.randint(1, 12) if rng.random() < 0.6 else rng.randint(0, 150 if size > 2 else 30)


def _float(rng: random.Random, near: Sequence[int], size: int) -> float:
    return _integer(rng, near, size) + rng.choice((0.0, 0.5, 0.25, 0.5, 0.75, 0.1, 0.2))


def _word(rng: random.Random, near: Sequence[int], size: int) -> str:
    word = draw_word(rng)
    number = rng.random()
    if number < 0.1:
        return word.capitalize()
    if number < 0.16:
        return word.upper()
    return word + str(rng.randint(0, 99)) if number < 0.22 else word


def _text(rng: random.Random, near: Sequence[int], size: int) -> str:
    number = rng.random()
    if number < 0.25:
        return "".join(rng.choices("abcABCxyz0123 ,.!", k=rng.randint(1, 8))) if size else ""
    words = [_word(rng, near, size) for _ in range(min(size, 4))]
    if len(words) > 1 and number < 0.45:
        words[-1] = words[0]
    return " ".join(words)


def _items(draw: _Draw, repeats: float) -> _Draw:
    def many(rng: random.Random, near: Sequence[int], size: int) -> list[Any]:
        values: list[Any] = []
        for _ in range(size):
            again = values and rng.random() < repeats
            values.append(rng.choice(values) if again else draw(rng, near, 2))
        if rng.random() < 0.15:
            values.sort()
        return values

    return many


_integers = _items(_integer, 0.2)
_pairs = _items(lambda rng, near, size: (draw_word(rng), rng.randint(0, 20)), 0.05)


def _rows(rng: random.Random, near: Sequence[int], size: int) -> list[list[int]]:
    width = rng.randint(1, 3)
    return [[_integer(rng, near, 1) for _ in range(width)] for _ in range(min(size, 3))]


def _counts(rng: random.Random, near: Sequence[int], size: int) -> dict[str, int]:
    return {draw_word(rng): _integer(rng, near, 1) for _ in range(min(size, 4))}


_NUMBER_NAMES = ("n", "num", "number", "x", "value", "a", "b", "m")
KINDS = {
    "int": Kind("int", "int", ("an integer", "a number", "a whole number"), ("number", "integer"),
                _NUMBER_NAMES, _integer, "0"),
    "natural": Kind("int", "int", ("a positive integer", "a non-negative integer", "an integer"),
                    ("number", "integer", "positive integer"),
                    ("n", "num", "number", "limit", "n", "size", "m"), _natural, "0"),
    "k": Kind("int", "int", ("an integer", "a number"), ("number", "limit", "value"),
              ("k", "n", "limit", "threshold", "target", "m", "x", "value", "bound", "d", "step"),
              lambda rng, near, size: rng.randint(1, 4 + size), "0"),
    "float": Kind("float", "float", ("a number", "a floating point number", "a decimal number"),
                  ("number",), ("x", "value", "amount", "y", "rate"), _float, "0.0"),
    "bool": Kind("bool", "bool", ("a flag", "a boolean"), ("flag",), ("flag", "strict", "reverse"),
                 lambda rng, near, size: rng.random() < 0.5, "False"),
    "str": Kind("str", "str", ("a string", "a text"), ("string", "text"),
                ("s", "text", "string", "sentence", "message", "line", "txt", "phrase", "st"),
                _text, "''"),
    "word": Kind("str", "str", ("a word", "a string"), ("string", "word"),
                 ("word", "name", "s", "string", "token"), _word, "''"),
    "letter": Kind("str", "str", ("a character", "a letter"), ("character", "letter"),
                   ("c", "ch", "letter", "char", "symbol"),
                   lambda rng, near, size: rng.choice("aeiourstln"), "''"),
    "sep": Kind("str", "str", ("a separator", "a delimiter"), ("separator", "delimiter"),
                ("sep", "separator", "delimiter", "mark"),
                lambda rng, near, size: rng.choice((",", "-", " ", "/", "_")), "''"),
    "ints": Kind("list[int]", "List[int]",
                 ("a list of integers", "a list of numbers", "an array of integers", "a list"),
                 ("list", "array", "list of numbers"),
                 ("nums", "numbers", "lst", "arr", "values", "l", "xs", "data", "test_list"),
                 _integers, "[]"),
    "floats": Kind("list[float]", "List[float]",
                   ("a list of numbers", "a list of floats"), ("list", "list of numbers"),
                   ("numbers", "values", "nums", "measurements", "xs"), _items(_float, 0.15), "[]"),
    "strs": Kind("list[str]", "List[str]", ("a list of strings", "a list of words", "a list"),
                 ("list of strings", "list", "list of words"),
                 ("words", "strings", "strs", "names", "lst", "items", "tokens"),
                 _items(_word, 0.15), "[]"),
    "counts": Kind("dict[str, int]", "Dict[str, int]",
                   ("a dictionary from names to numbers", "a dictionary"), ("dictionary",),
                   ("d", "counts", "table", "mapping", "dictionary", "totals"), _counts, "{}"),
    "pairs": Kind("list[tuple[str, int]]", "List[Tuple[str, int]]",
                  ("a list of (name, number) pairs", "a list of tuples"), ("list of tuples",),
                  ("pairs", "records", "entries", "items", "tuples"), _pairs, "[]"),
    "rows": Kind("list[list[int]]", "List[List[int]]",
                 ("a list of lists of integers", "a matrix", "a grid of numbers"),
                 ("matrix", "nested list", "list of lists"),
                 ("grid", "matrix", "rows", "lists", "table"), _rows, "[]"),
    "tuple": Kind("tuple[int, ...]", "Tuple[int, ...]", ("a tuple of numbers", "a tuple"),
                  ("tuple",), ("t", "tup", "test_tup", "numbers"),
                  lambda rng, near, size: tuple(_integers(rng, near, size)), "()"),
    "duo": Kind("tuple[int, int]", "Tuple[int, int]", ("a pair of numbers",), ("pair",),
                ("pair",), lambda rng, near, size: (_integer(rng, near, 1), size), "(0, 0)"),
}  # fmt: skip
