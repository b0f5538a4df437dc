"""Lays a program out as people do who follow no style guide, as in MBPP.

MBPP has indents of two spaces or a tab, blanks at the ends of lines, parentheses around conditions;
a third of its characters are white space. The shares are those of its training split (task ids 601
to 974, 374 solutions), of which no more than these counts was used; its test split was not looked
at.
"""

import random
import re

_INDENTS = {"    ": 0.45, "  ": 0.33, "\t": 0.11, " ": 0.07, "        ": 0.04}
_TRAILING = 0.56  # solutions with blanks at the ends of lines,
_TRAILING_LINES = 0.58  # and of those, lines
_TIGHT_COMMAS = 0.48
_TIGHT_OPERATORS = 0.14
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
