"""Reads what a language model wrote: its thinking apart, its code blocks, its JSON, its grades."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

# <think>, [THINK], <seed:think>, ...; and the same with a slash
_TAG, _OF_THOUGHT = r"[<\[\u25c1]", r"(?:\w+:)?(?:think|thinking|thought|reasoning)[>\]\u25b7]"
_OPEN = _TAG + _OF_THOUGHT
_THOUGHT = re.compile(rf"\s*+(?:{_OPEN})?(?:(?!{_OPEN}).)*?{_TAG}/{_OF_THOUGHT}", re.I | re.S)
_OPEN_THOUGHT = re.compile(rf"\s*{_OPEN}", re.I)
_FENCE = re.compile(r"([ \t]*)(`{3,}|~{3,})([^\n]*)")
# It may begin an item of a list, and with a label follow a few words: "The code: ```python".
_OPENING = re.compile(
    r"([ \t]*(?:(?:[-*+]|\d+[.)])[ \t]+)?)(?:[^\s`][^`]*[ \t](?=`+\w+\s*$))?(`{3,}|~{3,})(.*)"
)
_PYTHON = re.compile(r"(?:lang(?:uage)?-)?(?:[ci]?python|py)-?[\d.]*|pycon|python-?repl", re.I)
# "7", "7.0", "7/10", "7 out of 10"
_NUMBER = r"(\d{1,9})(?:\.0*)?(?:[\s*_]*(?:/|out\s+of|of)[\s*_]*(\d{1,9})(?:\.0*)?)?"
# An escape of JSON (group 1), or a backslash that begins none.
_BACKSLASH = re.compile(r'\\(["\\/bfnrt]|u[\da-fA-F]{4})?')
_WHOLE_NUMBER = re.compile(rf"\s*{_NUMBER}\s*")


@dataclass(frozen=True)
class CodeBlock:
    """A fenced block of Markdown.

    Attributes:
      label: the first word after the fence, as written; "" if there is none.
      code: ends in a newline unless empty; without the fence's own indentation.
      closed: whether a closing fence was found.
    """

    label: str
    code: str
    closed: bool = True

    @property
    def is_python(self) -> bool:
        """Labelled as Python in one of the usual spellings: `Python`, `py3`, `python-3.11`."""
        return bool(_PYTHON.fullmatch(self.label))


def without_thinking(text: str) -> str:
    """The text after the `<think>...</think>` that reasoning models begin with.

    Some endpoints leave out the opening tag. A thought that does not end leaves nothing.
    """
    while found := _THOUGHT.match(text):
        text = text[found.end() :].lstrip("\r\n")
    return "" if _OPEN_THOUGHT.match(text) else text


def code_blocks(text: str) -> list[CodeBlock]:
    """The fenced blocks, as CommonMark reads them, at any indentation (they stand in lists too).

    A block ends at a fence of the same character, at least as long and with nothing behind it, that
    is indented by at most 3 spaces more than the opening one: a fence within a docstring is code.
    Of a last block without such an end, one with something behind it is the end.
    """
    blocks: list[CodeBlock] = []
    fence, indent, label = "", "", ""
    lines: list[str] = []
    for line in re.split(r"\r\n|\r|\n", text):
        found = (_FENCE if fence else _OPENING).fullmatch(line)
        if not fence:
            if found and not (found[2][0] == "`" and "`" in found[3]):
                indent, fence = found[1].expandtabs(4), found[2]
                word = re.match(r"[\s{.]*([\w.+#-]*)", found[3])
                label, lines = word[1] if word else "", []
        elif (
            found
            and found[2].startswith(fence)
            and not found[3].strip()
            and len(found[1].expandtabs(4)) <= len(indent) + 3
        ):
            blocks.append(CodeBlock(label, "".join(lines)))
            fence = ""
        else:
            cut = min(len(line) - len(line.lstrip(" \t")), len(indent))
            lines.append(line[cut:] + "\n")
    if fence:  # perhaps <|im_end|> stands behind its end
        end = next((at for at, line in enumerate(lines) if line.startswith(fence)), None)
        closed = end is not None and not lines[end][len(fence)].isalnum()  # a label opens another
        blocks.append(CodeBlock(label, "".join(lines[:end]), closed))
    return blocks


def fenced(code: str) -> str:
    """A block of Markdown whose fence is longer than any in the code, and so holds it whole."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", code)), default=0))
    end = "" if code.endswith("\n") else "\n"
    return f"{fence}python\n{code}{end}{fence}\n"


def python_blocks(text: str) -> list[CodeBlock]:
    """The blocks labelled as Python; if there are none, those without a label; else all."""
    blocks = code_blocks(text)
    return [b for b in blocks if b.is_python] or [b for b in blocks if not b.label] or blocks


def json_objects(text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects in a text, outermost ones only.

    Accepted are raw newlines in strings, and backslashes that begin no escape of JSON.
    """
    decoder = json.JSONDecoder(strict=False)
    text = _BACKSLASH.sub(lambda found: found[0] if found[1] else r"\\", text)
    at = text.find("{")
    while at >= 0:
        try:
            found, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            end = at + 1
        else:
            if isinstance(found, dict):
                yield found
        at = text.find("{", end)


def whole_number(value: Any, most: int) -> int | None:
    """A grade from 0 to `most`: 4, 4.0, "4", "4.0", "4/5", "4 out of 5"; None if it is not one."""
    if isinstance(value, str):
        found = _WHOLE_NUMBER.fullmatch(value)
        if not found or (found[2] and int(found[2]) != most):
            return None
        value = int(found[1])
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        return None
    return int(value) if 0 <= value <= most else None


_GRADE = re.compile(
    r"(?:^(?:[^\w\n]|_)*(?:(?:the|my|final|overall)\s+)*grade\b|\bGRADE\s*:)"  # it begins a line
    r"(?:\s*\([^()\n]*\))?"  # "Grade (out of 10): 7"
    rf"(?:[\W_]|is\b|boxed\b)*?(?<![\d.-]){_NUMBER}(?:\s+(?:points?|marks?)\b)?"
    # "7 (a slip)", "7 - a slip", "7</grade>"
    r"(?:[^\w\n]|_)*(?:\(.*|[,;:\u2013\u2014-](?![^\w\n]*\d).*|(?<=<)[/|]?\w+[|>]*\s*)?$",
    re.M | re.I,
)
# In what was meant as JSON and is none: quotes within a text, single ones, a comma too many.
_LOOSE_GRADE = re.compile(
    rf"""\bgrade["'*]*\s*:\s*["'*]*{_NUMBER}["'*]*\s*,?\s*\}}""", re.IGNORECASE
)


def json_grade(text: str, most: int) -> int | None:
    """The grade in a last field `grade` of what is JSON but for its quotes and commas.

    Returns:
      None if there is none, or several that differ.
    """
    return _only_grade(_LOOSE_GRADE.finditer(text), most)


def last_line_grade(text: str, most: int) -> int | None:
    """The grade that a text states after its reasons: "GRADE: 7", "**Grade: 7/10**", "### GRADE 7".

    Returns:
      None if none is stated, or several that differ, or one from which the text begins.
    """
    found = list(_GRADE.finditer(text))
    return _only_grade(found, most) if found and text[: found[0].start()].strip() else None


def _only_grade(found: Iterable[re.Match[str]], most: int) -> int | None:
    grades = {whole_number(f"{f[1]}/{f[2] or most}", most) for f in found}
    return grades.pop() if len(grades) == 1 else None
