"""Tokenizers that Hugging Face's `tokenizers` runs, as the released phi-1 has one: CodeGen's."""

import codecs
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from phi1_jax.errors import UserError
from phi1_jax.tokens.tokenizer import END_OF_TEXT, TOKENIZER_JSON, write_files

# A U+FFFD for each byte of a cut character, as SentencePiece has it.
_MARK_EACH_BYTE = "phi1_jax.mark_each_byte"
codecs.register_error(_MARK_EACH_BYTE, lambda e: ("\ufffd" * (e.end - e.start), e.end))  # type: ignore[attr-defined]


class BytePairTokenizer:
    """A tokenizer.json; a `Tokenizer` like those that are trained here.

    Attributes:
      tokenizer_json: the file's content.
      ids: of all tokens, by name.
      end_of_text: the token that joins documents.
      files: what else a Hugging Face folder holds for the use of the tokenizer, by file name
        (objects of JSON files, text of others), to be written back on export.
    """

    def __init__(
        self,
        tokenizer_json: bytes,
        stop_ids: Iterable[int] = (),
        files: Mapping[str, Any] | None = None,
        end_of_text: str = END_OF_TEXT,
    ) -> None:
        """Args:
        stop_ids: the tokens that end a completion; none is the end of text alone.
        end_of_text: the token that joins documents.

        Raises:
          UserError: the library is not installed, cannot read this, or finds no end of text in it.
        """
        try:
            import tokenizers
        except ImportError as error:
            raise UserError(f"{TOKENIZER_JSON} needs: pip install 'phi1_jax[hf]'") from error
        try:
            values = json.loads(tokenizer_json)
            added = values.get("added_tokens", [])
            self._special_ids = {int(t["id"]) for t in added if t["special"]}
            # What reads like the end of text in a document is text. The library has one switch for
            # all special tokens, so the others, such as <|im_start|>, become ordinary ones here.
            for token in added:
                token["special"] = token["content"] == end_of_text
            # BPE-dropout, a means of training, would give a text other ids each time.
            values["model"].pop("dropout", None)
            self._tokenizer = tokenizers.Tokenizer.from_str(json.dumps(values))
        except Exception as error:  # the library's errors have no common type
            raise UserError(f"{TOKENIZER_JSON} is not a tokenizer: {error}") from error
        self._tokenizer.encode_special_tokens = True
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.tokenizer_json = tokenizer_json
        # The largest id counts, not the number of pieces: ids may have gaps.
        self.ids = self._tokenizer.get_vocab(with_added_tokens=True)
        self.vocab_size = max(self.ids.values(), default=-1) + 1
        self.fingerprint = hashlib.sha256(tokenizer_json).hexdigest()
        if end_of_text not in self.ids:
            raise UserError(
                f"{TOKENIZER_JSON} has no {end_of_text}, which ends every document; add it as a"
                " special token, or name another as eos_token in tokenizer_config.json"
            )
        self.eot_id = self.ids[end_of_text]
        self._special_ids.add(self.eot_id)
        self.stop_ids = frozenset(map(int, stop_ids)) or frozenset({self.eot_id})
        self.files = dict(files or {})
        self.end_of_text = end_of_text

    def encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Encodes with all cores; rows in the order of the texts."""
        rows = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [list(row.ids) for row in rows]

    def decode(self, ids: Sequence[int], special: bool = False) -> str:
        hidden = {self.eot_id} if special else self._special_ids
        ids = [int(i) for i in ids if i not in hidden]
        if self._pieces is not None:
            return b"".join(map(self._pieces.__getitem__, ids)).decode(errors=_MARK_EACH_BYTE)
        return str(self._tokenizer.decode(ids))

    @cached_property
    def _pieces(self) -> list[bytes] | None:
        """The bytes of each piece, for an exported SentencePiece model; None for any other.

        The library's byte fallback loses a whole run of bytes when its last character is cut: a
        text that grows token by token would lose what it had.
        """
        decoders = [{"type": "ByteFallback"}, {"type": "Fuse"}]
        decoder = json.loads(self.tokenizer_json).get("decoder")
        if decoder != {"type": "Sequence", "decoders": decoders}:
            return None
        pieces = [b""] * self.vocab_size
        for piece, index in self.ids.items():
            byte = re.fullmatch("<0x([0-9A-F]{2})>", piece)
            pieces[index] = bytes.fromhex(byte[1]) if byte else piece.encode()
        return pieces

    def __reduce__(self) -> Any:
        arguments = (self.tokenizer_json, self.stop_ids, self.files, self.end_of_text)
        return BytePairTokenizer, arguments

    def save(self, folder: Path | str) -> None:
        """Writes tokenizer.json, which `tokenizers` alone can load, and what identifies it."""
        more = {
            "end_of_text": self.end_of_text,
            "stop_ids": sorted(self.stop_ids),
            "files": self.files,
        }
        write_files(self, Path(folder), "byte_pair", TOKENIZER_JSON, self.tokenizer_json, more)
