"""Where raw text comes from: the interpreter's own library and manual, or any files named."""

import ast
import io
import os
import re
import sysconfig
import tokenize
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from phi1_jax.data.documents import Document, Skip, list_files, read_file
from phi1_jax.data.syntax import parse_python
from phi1_jax.errors import UserError

STDLIB = "stdlib"
PROSE = "prose"
_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Source:
    """One named source.

    Attributes:
      name: the name its documents and tokens are counted under.
      path: a folder or file (see `read_documents`); None for the two that are built in.
      prose: its documents are text for readers, not Python.
      columns: document field -> column, for foreign files.
    """

    name: str
    path: Path | None = None
    prose: bool = False
    columns: Mapping[str, str] | None = None


def parse_source(text: str, columns: Mapping[str, str] | None = None) -> Source:
    """Reads `stdlib`, `prose`, `PATH`, `NAME=PATH`, or a path of text as `prose:[NAME=]PATH`.

    Raises:
      UserError: no such path.
    """
    if text == STDLIB:
        return Source(STDLIB)
    if text == PROSE:
        return Source(PROSE, prose=True)
    kind, _, rest = text.rpartition("prose:")
    name, _, path = rest.rpartition("=")
    if not Path(path).exists():
        raise UserError(f"--source={text}: {path} is no file or folder, nor is it stdlib or prose")
    return Source(
        name=name or Path(path).resolve().name.split(".")[0],
        path=Path(path),
        prose=text.startswith("prose:") and not kind,
        columns=columns,
    )


def read_source(source: Source, skip: Skip, part: int = 0, n_parts: int = 1) -> Iterator[Document]:
    """Yields part `part` of `n_parts` of a source's documents, split by file and mended.

    Metadata gains `mended`: what was changed (`byte_order_mark`, `line_ends`, `surrogates`) or is
    unusual but kept (`line_separators`: U+2028 and its kin, which are legal inside strings).

    Args:
      skip: told the name and the reason of each file or record that cannot be read.
    """
    if source.path is None:
        root = Path(sysconfig.get_path("stdlib"))
        files = _library_files(root)[part::n_parts]
        if source.prose:
            documents = _manual(root, files, with_topics=part == 0)
        else:
            documents = (d for f in files for d in read_file(f, root, source.name, None, skip))
    else:
        root = source.path if source.path.is_dir() else source.path.parent
        files = list_files(source.path)[part::n_parts]
        documents = (
            d for f in files for d in read_file(f, root, source.name, source.columns, skip)
        )
    for document in documents:
        if "\0" in document.text:
            skip(document.id, "nul_characters")
        else:
            yield mend(document)


def mend(document: Document) -> Document:
    """Gives lines that end in "\\n" and valid Unicode; says in the metadata what it found."""
    text, mended = document.text, []
    if text.startswith("\ufeff"):
        text = text[1:]
        mended.append("byte_order_mark")
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        mended.append("line_ends")
    if not text.isascii():
        text, n_surrogates = _SURROGATES.subn("\ufffd", text)
        if n_surrogates:
            mended.append("surrogates")
        if any(character in text for character in "\u2028\u2029\x85"):
            mended.append("line_separators")
    if not mended:
        return document
    return replace(document, text=text, metadata={**document.metadata, "mended": mended})


def module_docstring(text: str) -> str | None:
    """The docstring of a module, read from its first statement alone; None if it has none."""
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.NEWLINE:
                end = token.end[0]
                break
            if token.type not in (tokenize.COMMENT, tokenize.NL, tokenize.STRING):
                return None
        else:
            return None
    except (tokenize.TokenError, SyntaxError):
        return None
    first = parse_python("".join(io.StringIO(text).readlines()[:end]))
    return ast.get_docstring(first) if first is not None else None


@cache
def _library_files(root: Path) -> list[Path]:
    """Every Python file of the running interpreter's library, its tests included."""
    found = []
    # Path.rglob would walk all of site-packages first, which may hold ten times as much.
    for folder, below, names in os.walk(root):
        below[:] = [n for n in below if n not in ("site-packages", "dist-packages", "__pycache__")]
        found += [Path(folder, name) for name in names if name.endswith(".py")]
    return sorted(found, key=str)


def _manual(root: Path, files: list[Path], with_topics: bool) -> Iterator[Document]:
    """The language reference that `help()` shows, and the docstrings of the library's modules."""
    if with_topics:
        from pydoc_data.topics import topics

        for topic, text in sorted(topics.items()):
            yield Document(f"topics/{topic}", text, PROSE, {"topic": topic})
    for file in files:
        # Files that cannot be decoded are told when they are read as code.
        for document in read_file(file, root, PROSE, None, lambda name, reason: None):
            if docstring := module_docstring(document.text):
                yield replace(document, id=f"docstrings/{document.id}", text=docstring + "\n")
