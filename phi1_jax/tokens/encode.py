"""Documents to tokens, a part of some megabytes at a time, over processes; finished parts stay."""

import multiprocessing
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from unicodedata import normalize

import numpy as np

from phi1_jax.corpus.arrays import is_whole, read_arrays, write_arrays
from phi1_jax.corpus.documents import Document, chunks
from phi1_jax.corpus.parallel import ordered_map
from phi1_jax.errors import UserError
from phi1_jax.tokens.tokenizer import Tokenizer

# A second of encoding: little to lose, little to hold, and much more than a task costs.
PART_CHARS = 4_000_000
_SURROGATE = re.compile("[\ud800-\udfff]")


class Part(NamedTuple):
    """The tokens of consecutive documents.

    Attributes:
      tokens: of all of them, each followed by end-of-text; uint16, or uint32 above 65,536 pieces.
      lengths: int64[documents], tokens of each with its end-of-text.
      prompts: int64[documents], how many of them belong to an exercise's prompt.
    """

    tokens: np.ndarray
    lengths: np.ndarray
    prompts: np.ndarray


def encode_parts(
    documents: Iterable[Document],
    tokenizer: Tokenizer,
    folder: Path,
    part_chars: int,
    workers: int,
) -> Iterator[tuple[list[Document], Part]]:
    """Yields runs of documents and their tokens, in order, and keeps each in `folder`.

    A part that is in `folder` already is read, not encoded again: the caller sees to it that it
    comes from the same documents, tokenizer and `part_chars`. A document that states its
    `prompt_chars` is encoded in two, so that the boundary that the model sees when it generates is
    the one it was trained on.

    Raises:
      UserError: a document that the tokenizer does not give back exactly, but for Unicode's two
        spellings of an accented letter.
    """
    folder.mkdir(parents=True, exist_ok=True)

    def items() -> Iterator[tuple[Path, list[Document], bool]]:
        for number, run in enumerate(chunks(documents, n_chars=part_chars)):
            path = folder / f"{number:06d}.npz"
            yield path, run, is_whole(path, Part._fields)

    for (path, run, _), part in ordered_map(_encode, tokenizer, items(), workers, 8):
        if part is None:
            part = Part(*read_arrays(path, Part._fields))
        else:
            write_arrays(path, part._asdict())
        yield run, part


def token_dtype(tokenizer: Tokenizer) -> np.dtype:
    return np.dtype(np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32)


def _encode(tokenizer: Tokenizer, item: tuple[Path, Sequence[Document], bool]) -> Part | None:
    _, documents, done = item
    if done:
        return None
    cuts = [document.metadata.get("prompt_chars") or 0 for document in documents]
    texts = [document.text[:cut] for document, cut in zip(documents, cuts, strict=True)]
    texts += [document.text[cut:] for document, cut in zip(documents, cuts, strict=True)]
    try:
        if multiprocessing.parent_process() is None:
            rows = tokenizer.encode_batch(texts)
        else:  # one of several workers, which shall not start threads for all cores each
            rows = [tokenizer.encode(text) if text else [] for text in texts]
    except (UnicodeEncodeError, TypeError, RuntimeError) as error:  # as the library has it
        for document in documents:
            if found := _SURROGATE.search(document.text):
                raise UserError(
                    f"document {document.id!r} of {document.source!r}: character {found.start()}, "
                    f"U+{ord(found[0]):04X}, is half of a surrogate pair, so the text is not valid "
                    "Unicode; replace it, as launch/curate.py does"
                ) from error
        raise
    tokens, lengths, prompts = [], [], []
    for document, prompt, rest in zip(documents, rows, rows[len(documents) :], strict=False):
        text = tokenizer.decode(prompt, special=True) if prompt else ""
        if not _same_text(text + tokenizer.decode(rest, special=True), document.text):
            raise UserError(
                f"document {document.id!r} of {document.source!r}: the tokenizer does not give its "
                "text back exactly; train one with tokenize_corpus --train_tokenizer"
            )
        ids = [*prompt, *rest, tokenizer.eot_id]
        tokens.append(np.array(ids, token_dtype(tokenizer)))
        lengths.append(len(ids))
        prompts.append(len(prompt))
    return Part(np.concatenate(tokens), np.array(lengths), np.array(prompts))


def _same_text(one: str, two: str) -> bool:
    """Unicode has two spellings of an accent; some tokenizers, such as Qwen's, make them one."""
    return one == two or normalize("NFC", one) == normalize("NFC", two)
