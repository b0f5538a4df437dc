"""Cheap reasons to leave a document out before anything expensive looks at it."""

import re
from dataclasses import dataclass

_GENERATED = re.compile(
    r"auto-?generated|automatically generated|^#.*\bgenerated (?:by|from)\b|do not edit",
    re.I | re.M,
)
_NUMBER = re.compile(r"\b0x[0-9a-fA-F]+\b|\b\d[\d_.]*\b|\\x[0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}")
_NO_LETTERS = bytes(i for i in range(128) if not chr(i).isalpha())


@dataclass(frozen=True)
class Limits:
    """The line between a document and noise; lengths in characters."""

    min_chars: int = 200
    max_chars: int = 100_000
    # The Stack's own filters (a mean line of 100, a line of 1000), set for code that people read.
    max_mean_line_chars: int = 100
    max_line_chars: int = 1_000
    min_alphabetic: float = 0.4
    max_numbers_a_line: float = 3.0


def rejection(text: str, prose: bool = False, limits: Limits | None = None) -> str | None:
    """The reason to leave a text out, or None.

    `too_short`, `too_long`, `long_lines`, `few_letters`; for code also `generated` (its head says
    so) and `data_like` (a table of numbers or escapes).
    """
    limits = limits or Limits()
    if len(text.strip()) < limits.min_chars:
        return "too_short"
    if len(text) > limits.max_chars:
        return "too_long"
    lines = [line for line in text.split("\n") if line.strip()]
    mean = len(text) / len(lines)
    long = mean > limits.max_mean_line_chars or max(map(len, lines)) > limits.max_line_chars
    # Prose is often one line a paragraph.
    if long and not prose:
        return "long_lines"
    if _count_letters(text) < limits.min_alphabetic * (len(text) - text.count(" ")):
        return "few_letters"
    if prose:
        return None
    if _GENERATED.search(text, 0, 600):
        return "generated"
    if len(_NUMBER.findall(text)) > limits.max_numbers_a_line * len(lines):
        return "data_like"
    return None


def _count_letters(text: str) -> int:
    if text.isascii():
        # Twenty times faster than asking each character.
        return len(text.encode().translate(None, _NO_LETTERS))
    return sum(map(str.isalpha, text))
