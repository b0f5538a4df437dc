"""Cheap reasons to leave a document out before anything expensive looks at it."""

import re

_GENERATED = re.compile(
    r"auto-?generated|automatically generated|^#.*\bgenerated (?:by|from)\b|do not edit",
    re.I | re.M,
)
_NUMBER = re.compile(r"\b0x[0-9a-fA-F]+\b|\b\d[\d_.]*\b|\\x[0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}")
_NO_LETTERS = bytes(i for i in range(128) if not chr(i).isalpha())
# The line between a document and noise.
_MIN_CHARS, _MAX_CHARS = 200, 100_000
# The Stack's own filters, set for code that people read.
_MAX_MEAN_LINE_CHARS, _MAX_LINE_CHARS = 100, 1_000
_MIN_ALPHABETIC = 0.4
_MAX_NUMBERS_A_LINE = 3.0


def rejection(text: str, prose: bool = False) -> str | None:
    """The reason to leave a text out, or None.

    `too_short`, `too_long`, `long_lines`, `few_letters`; for code also `generated` (its head says
    so) and `data_like` (a table of numbers or escapes).
    """
    if len(text.strip()) < _MIN_CHARS:
        return "too_short"
    if len(text) > _MAX_CHARS:
        return "too_long"
    lines = [line for line in text.split("\n") if line.strip()]
    mean = len(text) / len(lines)
    long = mean > _MAX_MEAN_LINE_CHARS or max(map(len, lines)) > _MAX_LINE_CHARS
    # Prose is often one line a paragraph.
    if long and not prose:
        return "long_lines"
    if _count_letters(text) < _MIN_ALPHABETIC * (len(text) - text.count(" ")):
        return "few_letters"
    if prose:
        return None
    if _GENERATED.search(text, 0, 600):
        return "generated"
    if len(_NUMBER.findall(text)) > _MAX_NUMBERS_A_LINE * len(lines):
        return "data_like"
    return None


def _count_letters(text: str) -> int:
    if text.isascii():
        # Twenty times faster than asking each character.
        return len(text.encode().translate(None, _NO_LETTERS))
    return sum(map(str.isalpha, text))
