"""Tokenizers that Hugging Face's `tokenizers` runs, as the released phi-1 has one: CodeGen's."""

import codecs
import hashlib
import json
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from phi1_jax.errors import UserError
from phi1_jax.files import write_json
from phi1_jax.tokens.tokenizer import END_OF_TEXT, INFO, TOKENIZER_JSON

# A U+FFFD for each byte of a cut character, as SentencePiece has it.
_MARK_EACH_BYTE = "phi1_jax.mark_each_byte"
codecs.register_error(_MARK_EACH_BYTE, lambda e: ("\ufffd" * (e.end - e.start), e.end))  # type: ignore[attr-defined]


class BytePairTokenizer:
    """A tokenizer.json; a `Tokenizer` like those that are trained here."""

    def __init__(self, tokenizer_json: bytes) -> None:
        """Raises:
        UserError: the library is not installed, cannot read this, or finds no end of text in it.
        """
        try:
            import tokenizers
        except ImportError as error:
            raise UserError(f"{TOKENIZER_JSON} needs: pip install 'phi1_jax[hf]'") from error
        try:
            self._tokenizer = tokenizers.Tokenizer.from_buffer(tokenizer_json)
        except Exception as error:  # the library's errors have no common type
            raise UserError(f"{TOKENIZER_JSON} is not a tokenizer: {error}") from error
        self.tokenizer_json = tokenizer_json
        # What reads like the end of text in a document is text.
        self._tokenizer.encode_special_tokens = True
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.vocab_size = int(self._tokenizer.get_vocab_size(with_added_tokens=True))
        self.fingerprint = hashlib.sha256(tokenizer_json).hexdigest()
        eot_id = self._tokenizer.token_to_id(END_OF_TEXT)
        if eot_id is None:
            raise UserError(f"{TOKENIZER_JSON} has no {END_OF_TEXT}, which ends every document")
        self.eot_id = int(eot_id)

    def encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Encodes with all cores; rows in the order of the texts."""
        rows = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [list(row.ids) for row in rows]

    def decode(self, ids: Sequence[int]) -> str:
        if self._pieces is not None:
            return b"".join(map(self._pieces.__getitem__, ids)).decode(errors=_MARK_EACH_BYTE)
        return str(self._tokenizer.decode(list(map(int, ids)), skip_special_tokens=True))

    @cached_property
    def _pieces(self) -> list[bytes] | None:
        """The bytes of each piece, for an exported SentencePiece model; None for any other.

        The library's byte fallback loses a whole run of bytes when its last character is cut: a
        text that grows token by token would lose what it had.
        """
        decoders = [{"type": "ByteFallback"}, {"type": "Fuse"}]
        decoder = json.loads(self.tokenizer_json)["decoder"]
        if decoder != {"type": "Sequence", "decoders": decoders}:
            return None
        pieces = [b""] * self.vocab_size
        for piece, index in self._tokenizer.get_vocab(with_added_tokens=True).items():
            byte = re.fullmatch("<0x([0-9A-F]{2})>", piece)
            pieces[index] = bytes.fromhex(byte[1]) if byte else piece.encode()
        for index, token in self._tokenizer.get_added_tokens_decoder().items():
            if token.special:
                pieces[index] = b""
        return pieces

    def __reduce__(self) -> Any:
        return BytePairTokenizer, (self.tokenizer_json,)

    def save(self, folder: Path) -> None:
        """Writes tokenizer.json, which `tokenizers` alone can load, and what identifies it."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / TOKENIZER_JSON).write_bytes(self.tokenizer_json)
        write_json(
            folder / INFO,
            {
                "kind": "byte_pair",
                "vocab_size": self.vocab_size,
                "eot_id": self.eot_id,
                "fingerprint": self.fingerprint,
            },
        )
