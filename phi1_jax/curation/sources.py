"""Where raw text comes from: the interpreter's own library and manual, or any files named."""

import ast
import hashlib
import io
import os
import platform
import re
import sysconfig
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from phi1_jax.config_dict import from_dict
from phi1_jax.corpus.documents import (
    Document,
    list_files,
    no_document,
    note,
    read_files,
    read_rows,
    with_folder,
)
from phi1_jax.corpus.packages import fetch_package
from phi1_jax.corpus.records import Skip
from phi1_jax.corpus.syntax import parse_python
from phi1_jax.curation.hub import Hub, count_hub_files, parse_hub, stream_rows
from phi1_jax.errors import UserError

STDLIB = "stdlib"
PROSE = "prose"
_LIBRARY = Path(sysconfig.get_path("stdlib"))
_PYTHON_LICENCE = "PSF-2.0"


@dataclass(frozen=True)
class Source:
    """One named source.

    Attributes:
      name: the name its documents and tokens are counted under.
      path: a folder or file (see `read_documents`); None for the two that are built in.
      prose: its documents are text for readers, not Python.
      kind: "code", "data" or "prose": what to read of a folder (see `list_files`).
      columns: document field -> column, for foreign files.
      hub: a data set to stream instead of a path.
      where: field -> the value that a document's metadata must have to be read, in any case.
      licence: of documents that name none themselves.
      about: metadata of every document, such as the package it is from.
    """

    name: str
    path: Path | None = field(default=None, repr=False)  # a stage counts what is in it instead
    prose: bool = False
    kind: str = ""
    columns: Mapping[str, str] | None = None
    hub: Hub | None = None
    where: Mapping[str, str] = field(default_factory=dict)
    licence: str = "unknown"
    about: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DeclaredSource:
    """A source as `configs/sources/` declares it; what each field means stands there."""

    hub: str = ""
    package: str = ""
    folder: str = ""
    sha256: str = ""
    subset: str = ""
    data_dir: str = ""
    split: str = "train"
    columns: dict = field(default_factory=dict)
    where: dict = field(default_factory=dict)
    prose: bool = False
    licence: str = "unknown"
    size: str = ""
    before: str = "nothing"
    unusable: str = ""


def declared_sources(values: Mapping[str, Any]) -> dict[str, DeclaredSource]:
    """The sources of a config file, by name.

    Raises:
      UserError: a field that no source has; names it.
    """
    return {name: from_dict(DeclaredSource, v, f"sources.{name}.") for name, v in values.items()}


def parse_source(
    text: str,
    columns: Mapping[str, str] | None = None,
    declared: Mapping[str, DeclaredSource] | None = None,
) -> Source:
    """Reads a source as it is given on the command line.

    `stdlib`, `prose`, or after `NAME=` or alone: `PATH`, `hub:DATASET`, `pip:PACKAGE==VERSION` (its
    Python) or `apt:PACKAGE` (its text), which are fetched; each as text for readers with `prose:`
    before it; `code:` or `data:` before it chooses in a folder that holds both. `@DECLARED`, or
    `@DECLARED:PATH` for a copy on disk.

    Args:
      columns: column map of files and data sets that are not declared.
      declared: name -> source of a config file.
    Raises:
      UserError: no such path, nothing of that name declared, or a source that cannot be read.
    """
    if text in (STDLIB, PROSE):
        about = {"python": platform.python_version()}  # another Python's is another source
        return Source(text, prose=text == PROSE, licence=_PYTHON_LICENCE, about=about)
    if text.startswith("@"):
        return _declared(text, declared or {})
    kind, colon, rest = text.partition(":")
    if not colon or kind not in ("prose", "code", "data"):
        kind, rest = "", text
    prose = kind == "prose"
    if match := re.fullmatch(r"(?:([^=:,]*)=)?hub:(.*)", rest):
        hub = parse_hub(match[2])
        name = match[1] or hub.name.rpartition("/")[2]
        return Source(name, prose=prose, columns=columns, hub=hub)
    if match := re.fullmatch(r"(?:([^=:,]*)=)?((?:pip|apt):.*)", rest):
        name = match[1] or re.split("[:=]", match[2])[1]
        return _from_package(name, match[2], prose or match[2].startswith("apt:"))
    name, equals, path = rest.partition("=")
    if not equals or Path(rest).exists():
        name, path = "", rest
    if not Path(path).exists():
        raise UserError(f"--source={text}: {path} is not a file or folder, nor stdlib or prose")
    return Source(
        name=name or Path(path).resolve().name.split(".")[0],
        path=Path(path),
        prose=prose,
        kind=kind,
        columns=columns,
    )


def local_paths(sources: Iterable[str]) -> list[Path]:
    """The files and folders that sources name, as on the command line; none of what is fetched.

    Raises:
      UserError: as `parse_source`, for those that are not declared in a file.
    """
    found = []
    for text in sources:
        if text.startswith("@"):
            _, _, path = text.partition(":")
            found += [Path(path)] if path else []
        elif (source := parse_source(text)).path and "package" not in source.about:
            found.append(source.path)
    return found


def _declared(text: str, declared: Mapping[str, DeclaredSource]) -> Source:
    name, _, path = text.removeprefix("@").partition(":")
    if name not in declared:
        raise UserError(f"--source={text}: --sources declares only {', '.join(declared)}")
    config = declared[name]
    if config.unusable and not path:
        raise UserError(f"--source={text}: {config.unusable}")
    if path and not Path(path).exists():
        raise UserError(f"--source={text}: {path} is not a file or folder")
    if not (path or config.hub or config.package):
        raise UserError(f"--source={text}: declares neither hub nor package; give @{name}:PATH")
    if config.package and not path:
        return _from_package(name, config.package, config.prose, config.folder, config.sha256)
    return Source(
        name=name,
        path=Path(path) if path else None,
        prose=config.prose,
        kind="data",  # copies often lie beside a loading script
        columns=config.columns or None,
        hub=None if path else Hub(config.hub, config.subset, config.data_dir, config.split),
        where=config.where,
        licence=config.licence,
    )


def _from_package(
    name: str, package: str, prose: bool, folder: str = "", sha256: str = ""
) -> Source:
    found = fetch_package(package, sha256)
    path = found.folder / folder
    if not path.is_dir():
        raise UserError(f"--source={package}: has no folder {folder}")
    return Source(
        name=name,
        path=path,
        prose=prose,
        kind="prose" if prose else "code",
        licence=found.licence,
        about={"package": package, "package_sha256": found.sha256},
    )


def check_source(source: Source) -> None:
    """Reads one document, so that a wrong column or an empty source stops the run at its start.

    Raises:
      UserError: as above, or nothing there to read.
    """
    reasons: Counter[str] = Counter()

    def skip(name: str, reason: str) -> None:
        reasons[reason] += 1

    if next(_where(source, _documents(source, skip, check=True), skip), None) is None:
        raise no_document(f"--source={source.path or source.name}", reasons)


def count_files(source: Source) -> int:
    """How many parts a source can be split into."""
    if source.hub is not None:
        return count_hub_files(source.hub)
    return len(list_files(source.path, source.kind) if source.path else _library_files())


def read_source(source: Source, skip: Skip, part: int = 0, n_parts: int = 1) -> Iterator[Document]:
    """Yields part `part` of `n_parts` of a source's documents, split by file and normalized.

    Metadata gains the provenance that travels with the document: `licence`, `sha256` of the text,
    and `normalizations` (see `normalize`).

    Args:
      skip: told the name and the reason of each file or record that cannot be read.
    """
    for document in _where(source, _documents(source, skip, part, n_parts), skip):
        document = normalize(document)
        for key, value in {"licence": source.licence, **source.about}.items():
            document.metadata.setdefault(key, value)
        document.metadata["sha256"] = hashlib.sha256(document.text.encode()).hexdigest()
        yield document


def read_sources(sources: Iterable[Source], skip: Skip) -> Iterator[Document]:
    """Yields the documents of several sources in turn; `skip` is told names with their folder."""
    for source in sources:
        yield from read_source(source, with_folder(source.path, skip) if source.path else skip)


def _documents(
    source: Source, skip: Skip, part: int = 0, n_parts: int = 1, check: bool = False
) -> Iterator[Document]:
    if source.hub is not None:
        label, first = f"{source.hub.name}/{source.hub.split}", part + 1
        records = enumerate(stream_rows(source.hub, part, n_parts))
        rows = ((f"{label}:{first + i * n_parts}", record) for i, record in records)
        return read_rows(
            rows, f"hub:{source.hub.name}", source.name, source.columns, skip, check=check
        )
    if source.path is not None:
        files = list_files(source.path, source.kind, skip if part == 0 else None)[part::n_parts]
        return read_files(files, source.path, source.name, source.columns, skip, check=check)
    files = _library_files()[part::n_parts]
    if source.prose:
        return _manual(files, with_topics=part == 0)
    return read_files(files, _LIBRARY, source.name, None, skip)


def _where(source: Source, documents: Iterator[Document], skip: Skip) -> Iterator[Document]:
    for document in documents:
        about = document.metadata
        other = [k for k, v in source.where.items() if str(about.get(k)).lower() != v.lower()]
        if other:
            skip(document.id, f"other_{other[0]}")
        elif "\0" in document.text:
            skip(document.id, "nul_characters")
        else:
            yield document


def normalize(document: Document) -> Document:
    """Gives lines that end in "\\n", and no byte-order mark; says so in the metadata.

    `normalizations` there gains `byte_order_mark` and `line_ends`, or `line_separators` for what is
    unusual but kept (U+2028 and its kin, which are legal inside strings).
    """
    text, metadata, found = document.text, dict(document.metadata), []
    if text.startswith("\ufeff"):
        found.append("byte_order_mark")
    if "\r" in text:
        found.append("line_ends")
    if found:
        if cut := metadata.get("prompt_chars"):
            metadata["prompt_chars"] = len(_plain_lines(text[:cut]))
        text = _plain_lines(text)
    if not text.isascii() and any(character in text for character in "\u2028\u2029\x85"):
        found.append("line_separators")
    if not found:
        return document
    note(metadata, *found)
    return replace(document, text=text, metadata=metadata)


def _plain_lines(text: str) -> str:
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


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
def _library_files() -> list[Path]:
    """Every Python file of the running interpreter's library, its tests included."""
    found = []
    # Path.rglob would walk all of site-packages first, which may hold ten times as much.
    for folder, below, names in os.walk(_LIBRARY):
        below[:] = [n for n in below if n not in ("site-packages", "dist-packages", "__pycache__")]
        found += [Path(folder, name) for name in names if name.endswith(".py")]
    return sorted(found, key=str)


def _manual(files: list[Path], with_topics: bool) -> Iterator[Document]:
    """The language reference that `help()` shows, and the docstrings of the library's modules."""
    if with_topics:
        from pydoc_data.topics import topics

        for topic, text in sorted(topics.items()):
            yield Document(f"topics/{topic}", text, PROSE, {"topic": topic})
    # Files that cannot be decoded are told when they are read as code.
    for document in read_files(files, _LIBRARY, PROSE, None, lambda name, reason: None):
        if docstring := module_docstring(document.text):
            yield replace(document, id=f"docstrings/{document.id}", text=docstring + "\n")
