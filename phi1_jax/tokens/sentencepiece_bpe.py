"""SentencePiece BPE that gives back every text exactly: the tokenizers that are trained here."""

import hashlib
import heapq
import io
import os
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import sentencepiece

from phi1_jax.corpus.documents import Document
from phi1_jax.errors import UserError
from phi1_jax.tokens.tokenizer import END_OF_TEXT, MODEL, check_texts, write_files

# SentencePiece writes a space as this character, so it cannot tell a real one from a space.
_SPACE_MARK = "\u2581"


class SentencePieceTokenizer:
    """A SentencePiece model with byte fallback and without any normalisation."""

    def __init__(self, model: bytes) -> None:
        """Takes the bytes of a model file; see `train_tokenizer` for the options it must have."""
        self._model = model
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        self.vocab_size = int(self._processor.get_piece_size())
        self.fingerprint = hashlib.sha256(model).hexdigest()
        self.eot_id = self._id(END_OF_TEXT)
        self.stop_ids = frozenset({self.eot_id})
        self._space_mark_ids = [self._id(f"<0x{byte:02X}>") for byte in _SPACE_MARK.encode()]

    def encode(self, text: str) -> list[int]:
        if _SPACE_MARK not in text:
            return self._processor.encode(text)
        first, *rest = self._processor.encode(text.split(_SPACE_MARK))
        return first + [i for part in rest for i in self._space_mark_ids + part]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Encodes with all cores; rows in the order of the texts."""
        # A list of one skips the thread pool, which costs more than a short text does.
        threads = min(len(texts), os.cpu_count() or 1)
        rows = self._processor.encode(list(texts), num_threads=max(threads, 1))
        return [
            self.encode(text) if _SPACE_MARK in text else row
            for text, row in zip(texts, rows, strict=True)
        ]

    def decode(self, ids: Sequence[int], special: bool = False) -> str:
        del special  # there is only the end of text
        # Twice as fast as the library, and every document that is tokenized is decoded.
        text = b"".join(map(self._pieces.__getitem__, ids))
        try:
            return text.decode()
        except UnicodeDecodeError:  # a cut character: as the library has it
            return str(self._processor.decode(list(map(int, ids))))

    @cached_property
    def _pieces(self) -> list[bytes]:
        """The bytes of each piece."""
        model = self._processor
        return [
            bytes([int(model.id_to_piece(i)[3:5], 16)])
            if model.is_byte(i)
            else model.decode([i]).encode()
            if model.is_control(i) or model.is_unknown(i)
            else model.id_to_piece(i).replace(_SPACE_MARK, " ").encode()
            for i in range(self.vocab_size)
        ]

    def __reduce__(self) -> Any:
        return SentencePieceTokenizer, (self._model,)

    def save(self, folder: Path | str) -> None:
        """Writes the model, which `sentencepiece` alone can load, and what identifies it."""
        write_files(self, Path(folder), "sentencepiece", MODEL, self._model)

    def _id(self, piece: str) -> int:
        found = int(self._processor.piece_to_id(piece))
        if self._processor.id_to_piece(found) != piece:
            raise UserError(f"tokenizer model has no piece {piece!r}; train it with this project")
        return found


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> SentencePieceTokenizer:
    """Trains BPE on the texts (all of them: see `sample_texts`); the same texts, the same model.

    The options keep text exact: no normalisation, no dummy prefix, bytes for what has no piece.
    End of text is a control symbol, which no text can encode to; a user-defined symbol would
    match inside a source file.

    Raises:
      UserError: `texts` is not a list of texts, or all are empty; or a vocabulary that is too small
        for the alphabet or too large for the texts.
    """
    texts = texts if isinstance(texts, str) else list(texts)
    check_texts(texts)
    # The trainer drops a text with a NUL whole; bytes pieces encode it later all the same.
    sentences = [text.replace("\0", "") for text in texts]
    if not any(text.strip("\r\n") for text in sentences):
        raise UserError("a tokenizer cannot be trained on no text: give texts that are not empty")
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=model,
            model_type="bpe",
            vocab_size=vocab_size,
            byte_fallback=True,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            add_dummy_prefix=False,
            split_digits=True,
            allow_whitespace_only_pieces=True,
            max_sentence_length=10_000_000,
            character_coverage=0.9995,
            control_symbols=[END_OF_TEXT],
            bos_id=-1,
            eos_id=-1,
            pad_id=-1,
            minloglevel=2,
        )
    except RuntimeError as error:
        reason = " ".join(str(error).split()).rsplit("] ", 1)[-1]
        raise UserError(f"--vocab_size={vocab_size}: does not fit these texts: {reason}") from error
    return SentencePieceTokenizer(model.getvalue())


def sample_texts(documents: Iterable[Document], bytes_per_source: int) -> list[str]:
    """Draws about the same number of bytes from each source, so that none drowns another.

    Which documents are drawn depends on their ids alone, not on their order or a seed; memory
    holds the sample only. A source with fewer bytes is taken whole.
    """
    heaps: dict[str, list[tuple[int, str]]] = {}
    sizes: dict[str, int] = {}
    for document in documents:
        heap = heaps.setdefault(document.source, [])
        key = hashlib.sha256(f"{document.source}\0{document.id}".encode()).digest()
        heapq.heappush(heap, (-int.from_bytes(key[:8]), document.text))
        sizes[document.source] = sizes.get(document.source, 0) + _n_bytes(document.text)
        # The largest keys go while what stays is still enough.
        while sizes[document.source] - _n_bytes(heap[0][1]) >= bytes_per_source:
            sizes[document.source] -= _n_bytes(heapq.heappop(heap)[1])
    return [text for _, heap in sorted(heaps.items()) for _, text in sorted(heap, reverse=True)]


def _n_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
