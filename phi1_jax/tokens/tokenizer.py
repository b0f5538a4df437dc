"""What every stage asks of a tokenizer, and the files that one is saved in."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

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

    @property
    def vocab_size(self) -> int: ...
    @property
    def eot_id(self) -> int: ...
    @property
    def stop_ids(self) -> frozenset[int]: ...
    @property
    def fingerprint(self) -> str: ...
    def encode(self, text: str) -> list[int]: ...
    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]: ...
    def decode(self, ids: Sequence[int], special: bool = False) -> str:
        """With `special`, tokens such as <|im_start|> are written out; else they are left out."""
        ...

    def save(self, folder: Path | str) -> None: ...
