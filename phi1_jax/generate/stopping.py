"""Where a completion ends: at a token that ends it, or before a stop string."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from phi1_jax.tokens.tokenizer import Tokenizer

FinishReason = Literal["stop", "eos", "length"]


class End(NamedTuple):
    """How much of a completion counts."""

    text: str
    n_tokens: int
    reason: FinishReason


def find_end(
    tokenizer: Tokenizer, ids: Sequence[int], checked: int, limit: int, stop: Sequence[str]
) -> End | None:
    """The end of a completion, or None if it goes on.

    The result does not depend on how many tokens are looked at together: the first token with
    which the text holds a stop string ends it, and the text is cut before the stop string that
    begins first.

    Args:
      ids: the completion so far.
      checked: tokens at its beginning that are known to hold no end.
      limit: tokens at which it ends for length.
    """
    ids = list(ids[:limit])
    reason: FinishReason | None = "length" if len(ids) == limit else None
    ends = (n for n, i in enumerate(ids[checked:], checked + 1) if i in tokenizer.stop_ids)
    if end := next(ends, None):
        ids = ids[:end]
        reason = "eos"
    # Some tokenizers would write out the token that ends the text.
    text = tokenizer.decode(ids[:-1] if reason == "eos" else ids)
    if any(s in text for s in stop):
        for n in range(checked + 1, len(ids) + 1):
            text = tokenizer.decode(ids[:n])
            if found := [text.index(s) for s in stop if s in text]:
                return End(text[: min(found)], n, "stop")
    return End(text, len(ids), reason) if reason else None


def printable(text: str, stop: Sequence[str]) -> str:
    """What can be shown of a text that goes on: no half character, no beginning of a stop string.

    Nothing that this returns is taken back by what is generated later.
    """
    text = text.rstrip("\ufffd")
    held = max(
        (n for s in stop for n in range(1, len(s)) if text.endswith(s[:n])),
        default=0,
    )
    return text[: len(text) - held]
