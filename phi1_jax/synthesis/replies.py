"""What no reply may hold, and how a textbook section is read (exercises: `exercises`)."""

import doctest
import re
import textwrap

from phi1_jax.corpus.syntax import parse_python
from phi1_jax.llm_client.replies import code_blocks, without_thinking

# A shorter section explains nothing: what came back is a torn reply.
MIN_SECTION_CHARS = 200
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f]")
# Said in the first person, and of the writing itself, so that a textbook's prose does not match.
_REFUSAL = re.compile(
    r"\bas an? (?:ai|artificial intelligence|(?:large )?language model)\b[^.]{0,60}\b(?:i|my)\b"
    r"|\bi(?:'m| am) (?:just |only )?an? (?:ai|(?:large )?language model)\b"
    r"|\bi(?:'m| am) (?:very |so |truly )?(?:sorry|afraid)\b.{0,40}\bi\b"
    r"|^\W*(?:sorry|apologies|unfortunately)\b.{0,40}\bi\b"
    r"|\bi (?:must|have to) (?:decline|refuse)\b"
    r"|\bi(?:'m| am)? (?:cannot|can't|can not|won't|will not|unable to|not able to)"
    r" (?:\w+ )?(?:write|create|generate|produce|provide|give|help|assist|fulfil|fulfill|comply|"
    r"continue|complete|answer|do that|do this)\b",
    re.IGNORECASE,
)


class ReplyError(ValueError):
    """A reply that holds nothing usable.

    Attributes:
      reason: a short key to count by, e.g. "syntax_error".
    """

    def __init__(self, reason: str, detail: str = ""):
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


def clean_reply(text: str) -> str:
    """A reply without what a reasoning model thought before it.

    Raises:
      ReplyError: it holds a control character (NUL, say, cuts or breaks much that would read the
        text), or a refusal.
    """
    text = without_thinking(text)
    if found := _CONTROL.search(text):
        raise ReplyError("control_character", f"{found[0]!r} at character {found.start()}")
    refuse_refusals(text)
    return text


def refuse_refusals(text: str) -> None:
    """Looks into the first three lines and the last, where models refuse.

    Raises:
      ReplyError: "refused", with the line.
    """
    lines = [line for line in text.replace("\u2019", "'").split("\n") if line.strip()]
    for line in (*lines[:3], *lines[-1:]):
        if _REFUSAL.search(line):
            raise ReplyError("refused", line.strip()[:200])


def parse_section(text: str) -> str:
    """A textbook section as it goes into the corpus: Markdown that begins with a heading.

    Raises:
      ReplyError: a refusal or a control character, no heading, too short, a code block that does
        not end, or one that calls itself Python and is not; `reason` says which.
    """
    text = clean_reply(text).replace("\r\n", "\n").strip() + "\n"
    if len(text) < MIN_SECTION_CHARS:
        raise ReplyError("short_section", f"{len(text)} characters")
    if not re.match(r"#{1,6} +\S|[^\n]*\w[^\n]*\n(?:=+|-+)\n", text):
        raise ReplyError("no_heading", text.split("\n", 1)[0][:200])
    for block in code_blocks(text):
        if not block.closed:
            raise ReplyError("open_code_block", block.code[:200])
        if block.is_python and not _is_python(block.code):
            raise ReplyError("code_syntax_error", block.code[:200])
    return text


def _is_python(code: str) -> bool:
    """A program, or what an interactive session shows."""
    code = textwrap.dedent(code)
    if not code.lstrip().startswith(">>>"):
        return parse_python(code) is not None
    try:
        examples = doctest.DocTestParser().get_examples(code)
    except ValueError:
        return False
    return all(parse_python(example.source) is not None for example in examples)
