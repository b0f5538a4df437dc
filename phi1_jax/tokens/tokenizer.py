"""What every stage asks of a tokenizer, and the files that one is saved in."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from phi1_jax.errors import UserError
from phi1_jax.files import write_json

END_OF_TEXT = "<|endoftext|>"
MODEL = "tokenizer.model"
TOKENIZER_JSON = "tokenizer.json"
INFO = "tokenizer_info.json"


class Tokenizer(Protocol):
    """Text to token ids and back.

    `decode(encode(text), special=True) == text` for any text. `encode` never gives `eot_id`, which
    joins documents, and `decode` always leaves it out. `stop_ids` are the tokens that end a
    completion: `eot_id` alone, except in models that were finetuned elsewhere to end in another
    token. The fingerprint changes whenever an id could mean something else.
    """

    vocab_size: int
    eot_id: int
    stop_ids: frozenset[int]
    fingerprint: str

    def encode(self, text: str) -> list[int]: ...
    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]: ...
    def decode(self, ids: Sequence[int], special: bool = False) -> str:
        """With `special`, tokens such as <|im_start|> are written out; else they are left out."""

    def save(self, folder: Path | str) -> None: ...


def write_files(
    tokenizer: Tokenizer,
    folder: Path,
    kind: str,
    name: str,
    model: bytes,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Writes a tokenizer's file, which its library alone can load, and what identifies it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(model)
    info = {
        "kind": kind,
        "vocab_size": tokenizer.vocab_size,
        "eot_id": tokenizer.eot_id,
        "fingerprint": tokenizer.fingerprint,
    }
    write_json(folder / INFO, {**info, **(more or {})})


def check_texts(texts: Sequence[str], name: str = "text") -> None:
    """What a tokenizer would take for something else.

    Args:
      name: of one of them, for the error.
    Raises:
      UserError: one text in place of a list, no text, or one that no UTF-8 file can hold; names it.
    """
    if isinstance(texts, str):
        raise UserError(f"{name}s={texts[:20]!r} must be a list of texts")
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise UserError(f"{name} {index} must be text, not {text!r:.40}")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UserError(
                f"{name} {index} is not text in UTF-8: character {error.start} is"
                f" {text[error.start]!r}"
            ) from error


def check_vocabulary(tokenizer: Tokenizer, vocab_size: int) -> None:
    """Raises:
    UserError: the tokenizer has more pieces than the model's `vocab_size`.
    """
    if tokenizer.vocab_size > vocab_size:
        raise UserError(
            f"the tokenizer has {tokenizer.vocab_size} pieces and the model only"
            f" model.vocab_size={vocab_size}; name the one that it was trained with"
        )
