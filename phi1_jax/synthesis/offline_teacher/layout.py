"""Lays a program out as people do who follow no style guide, as in MBPP.

MBPP has indents of two spaces or a tab, blanks at the ends of lines, parentheses around conditions;
a third of its characters are white space. Its functions are called find_Min_Sum or
max_sum_of_three, which the tests alone tell. The shares are those of its training split (task ids
601 to 974, 374 problems). What a trained model answers to that split was read too, to see what it
lacks; the test split was not looked at.
"""

import random
import re
from collections.abc import Sequence

_INDENTS = {"    ": 0.45, "  ": 0.33, "\t": 0.11, " ": 0.07, "        ": 0.04}
_TRAILING = 0.56  # solutions with blanks at the ends of lines,
_TRAILING_LINES = 0.58  # and of those, lines
_TIGHT_COMMAS = 0.52
_TIGHT_OPERATORS = 0.17
_TIGHT_TESTS = 0.39  # f(x)==y
_TIGHT_TEST_COMMAS = 0.42
_NAME_WORDS = {1: 0.06, 2: 0.65, 3: 0.25, 4: 0.04}
_CAPITALS = 0.22  # names with capitals, and of those:
_FIRST_CAPITAL, _LATER_CAPITAL = 0.17, 0.91
_PARENTHESES = {"return": 0.24, "if": 0.47, "elif": 0.47, "while": 0.47}
_LITERAL = re.compile(r"""('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""")
_OPERATOR = re.compile(r" ((?:[-+*/%<>=!]=?|//|\*\*)=?) (?=[\w(\[{'\"-])")
_STATEMENT = re.compile(r"(return|if|elif|while) ([^\n]+?)(:?)$", re.MULTILINE)


def lay_out(program: str, rng: random.Random) -> str:
    """The program in a drawn layout; it parses to the same syntax tree.

    Args:
      program: indented by four spaces, no string over several lines.
    """
    indent = rng.choices(list(_INDENTS), list(_INDENTS.values()))[0]
    tight_commas, tight_operators = rng.random() < _TIGHT_COMMAS, rng.random() < _TIGHT_OPERATORS
    parentheses = rng.random()  # one habit of the writer for all statements of a kind
    trailing = _TRAILING_LINES if rng.random() < _TRAILING else 0.0

    def parenthesize(found: re.Match[str]) -> str:
        word, expression, colon = found.groups()
        if parentheses >= _PARENTHESES[word] or (word != "return" and not colon):
            return found[0]
        return f"{word} ({expression}){colon}"

    lines = []
    for line in program.splitlines():
        code = line.lstrip(" ")
        depth = (len(line) - len(code)) // 4
        code = _STATEMENT.sub(parenthesize, code)
        parts = _LITERAL.split(code)
        for at in range(0, len(parts), 2):  # literals stand at odd places
            if tight_commas:
                parts[at] = parts[at].replace(", ", ",")
            if tight_operators:
                parts[at] = _OPERATOR.sub(r"\1", parts[at])
        blank = " " if code and rng.random() < trailing else ""
        lines.append(indent * depth + "".join(parts) + blank)
    return "\n".join(lines) + "\n"


def lay_out_tests(tests: Sequence[str], rng: random.Random) -> list[str]:
    """Tests of the form `assert f(x) == y`, all in one drawn layout."""
    tight, tight_commas = rng.random() < _TIGHT_TESTS, rng.random() < _TIGHT_TEST_COMMAS
    made = []
    for test in tests:
        parts = _LITERAL.split(test)
        for at in range(0, len(parts), 2):
            if tight:
                parts[at] = parts[at].replace(") == ", ")==")
            if tight_commas:
                parts[at] = parts[at].replace(", ", ",")
        made.append("".join(parts))
    return made


def draw_length(rng: random.Random) -> int:
    """Of how many words a function's name is."""
    return rng.choices(list(_NAME_WORDS), list(_NAME_WORDS.values()))[0]


def spell(words: Sequence[str], rng: random.Random) -> str:
    """A function's name of the words, some with a capital."""
    if rng.random() < _CAPITALS:
        shares = [_FIRST_CAPITAL, *[_LATER_CAPITAL] * (len(words) - 1)]
        words = [
            word.capitalize() if rng.random() < share else word
            for word, share in zip(words, shares, strict=True)
        ]
    return "_".join(words)
