"""Documents, and the files and folders they live in: Python, records, text for readers."""

import io
import math
import os
import re
import tokenize
import warnings
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from phi1_jax.corpus.records import (
    FORMATS,
    Skip,
    SkipLog,
    is_records,
    plain,
    read_numbered,
    write_records,
)
from phi1_jax.errors import UserError
from phi1_jax.files import BOOKKEEPING, STAGE_MARKER, read_json_if_whole

CODE, PROSE = (".py",), (".md", ".rst", ".txt")
_KNOWN = ", ".join((*CODE, *FORMATS, *PROSE))
# Larger "source files" are data; they are not even read.
MAX_FILE_BYTES = 1 << 26
# So many records may lack a mapped column, at the start, before the map is called wrong.
_MAX_PROBED = 1000
_SURROGATES = re.compile("[\ud800-\udfff]")
_MISSING = object()
# Null in these is the same as their absence.
_NULLABLE = {"metadata", "prompt_chars", "test"}
# Metadata that later stages read as one text, or as a list of texts, from anyone's records.
_TEXTS, _LISTS = ("entry_point", "topic", "audience"), ("composition", "normalizations")


@dataclass(frozen=True)
class Document:
    """One text and where it came from.

    Attributes:
      id: unique within its source, e.g. a path.
      text: the whole text.
      source: the name its tokens are counted under, e.g. "stdlib".
      metadata: JSON-serialisable provenance; it travels as far as the shard index. `prompt_chars`
        says how much of the text is an exercise's prompt.
    """

    id: str
    text: str
    source: str
    metadata: dict[str, Any] = field(default_factory=dict)


# The name of a record that may become a document, FILE:NUMBER, and its values.
Row = tuple[str, Mapping[str, Any]]
# Reads documents, the same ones at each call.
Read = Callable[[], Iterable[Document]]


def read_documents(
    path: Path | str,
    source: str | None = None,
    columns: Mapping[str, str] | None = None,
    skip: Skip | None = None,
    *,
    kind: str = "",
) -> Iterator[Document]:
    """Yields the documents of a file or folder, in an order that depends on names only.

    A record with `text` is a document; so is one with `prompt` and `solution` (or `text`), an
    exercise: the two are joined, on lines of their own, and the boundary kept as `prompt_chars`;
    its `test` and `entry_point`, if there are any, go into the metadata. Of other columns only
    `id`, `source` and `metadata` are read unless `columns` names them.

    Args:
      path: a folder, or a file of a format that `list_files` or `read_numbered` names.
      source: overrides the source that the records name (default: that, else the file's name, or
        the folder's of code).
      columns: document field -> column, e.g. {"text": "content", "licence": "metadata.license"}
        (a dot looks inside a record). Fields other than `text`, `prompt`, `id` and `source` land
        in the metadata. Where it names what the text is of, the record's `metadata` is not read.
      skip: told the name and the reason of each file and record that is left out; None tells on
        stderr (see `SkipLog`).
      kind: see `list_files`.
    Raises:
      UserError: no such path, unknown format, a column that no record has (lists those that
        there are), or no document at all.
    """
    path = Path(path)
    told = SkipLog() if skip is None else skip
    reasons: Counter[str] = Counter()

    def leave_out(name: str, reason: str) -> None:
        reasons[reason] += 1
        told(name, reason)

    files = list_files(path, kind, leave_out)
    found = False
    for document in read_files(files, path, source, columns, leave_out, check=True):
        found = True
        yield document
    if not found:
        for file in filter(is_records, files):  # if it is damaged: raises the reason in full
            deque(read_numbered(file), maxlen=0)
        raise no_document(str(path), reasons)


def no_document(origin: str, reasons: Counter[str]) -> UserError:
    """The error for a source that yields nothing, with what was left out of it."""
    why = ", ".join(f"{reason} {n}" for reason, n in reasons.most_common())
    return UserError(
        f"{origin}: yields no document ({why or 'it is empty'}); name a file or folder that does"
    )


def read_all(
    paths: Iterable[Path],
    columns: Mapping[str, str] | None = None,
    skip: Skip | None = None,
) -> Iterator[Document]:
    """Yields the documents of several files or folders in turn; see `read_documents`."""
    for path in paths:
        yield from read_documents(path, columns=columns, skip=with_folder(path, skip))


def chunks(
    documents: Iterable[Document], n: float = math.inf, n_chars: float = math.inf
) -> Iterator[list[Document]]:
    """Runs of at most `n` documents; one ends with the document that brings it to `n_chars`."""
    chunk: list[Document] = []
    size = 0
    for document in documents:
        chunk.append(document)
        size += len(document.text)
        if len(chunk) >= n or size >= n_chars:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def with_folder(path: Path, skip: Skip | None) -> Skip:
    """The same, told names with their folder: several corpora may hold files of the same name."""
    tell, root = SkipLog() if skip is None else skip, path if path.is_dir() else path.parent
    return lambda name, reason: tell((root / name).as_posix(), reason)


def list_files(path: Path, kind: str = "", skip: Skip | None = None) -> list[Path]:
    """The files that are read of a path, sorted; a large pool is split between tasks by file.

    Args:
      kind: what to read of a folder that holds several: "code" (.py), "data" (JSON lines, JSON,
        parquet) or "prose" (.md, .rst, .txt, and data). By default code or data, else prose.
      skip: told of the other files: `not_python`, `not_data`, `not_prose`, `unknown_format`,
        `unreadable`, and of folders that are not entered: `linked_folder`, `virtual_environment`.
        Those of Git and caches are not told.
    Raises:
      UserError: no such path, a pipe, a folder without a file of a known format, one with Python
        beside data (a program that loads the data, or code that comes with its data), or one that
        is or holds a stage's output, where what was dropped lies beside what was kept.
    """
    if path.is_file():
        return [path]
    if path.exists() and not path.is_dir():  # some stages read twice, and a pipe may never end
        raise UserError(f"{path}: is a pipe or a device; write what it gives to a file first")
    if not path.is_dir():
        raise UserError(f"{path}: no such file or folder")
    found: dict[str, list[Path]] = {"code": [], "data": [], "prose": [], "": []}
    left_out: list[tuple[str, str]] = []

    def leave_out(file: str | Path, reason: str) -> None:
        left_out.append((Path(file).relative_to(path).as_posix(), reason))

    for folder, below, names in os.walk(
        path, onerror=lambda e: leave_out(e.filename, "unreadable")
    ):
        if kind != "code" and STAGE_MARKER in names:  # a stage writes no .py
            _refuse_stage(Path(folder))
        for name in [*below]:
            if name in BOOKKEEPING:
                below.remove(name)
            elif Path(folder, name).is_symlink():
                leave_out(Path(folder, name), "linked_folder")
            elif Path(folder, name, "pyvenv.cfg").is_file():
                leave_out(Path(folder, name), "virtual_environment")
                below.remove(name)
        for file in (Path(folder, name) for name in names):
            if file.is_file():
                found[_kind_of(file)].append(file)
            else:
                leave_out(file, "unreadable")
    if found["code"] and found["data"] and not kind:
        code, data = (min(found[k]).relative_to(path) for k in ("code", "data"))
        raise UserError(
            f"{path}: holds code ({code}) and data ({data}); name the files, or choose with "
            "--source=code:PATH or --source=data:PATH"
        )
    read = {"prose": ("prose", "data")}.get(kind, (kind,))
    if not kind or not any(found[k] for k in read):
        kind = next((k for k in ("code", "data", "prose") if found[k]), "")
        read = (kind,)
    if not kind:
        raise UserError(f"{path}: holds no file ending in {_KNOWN}")
    if skip is not None:
        for other in found.keys() - set(read):
            reason = f"not_{'python' if kind == 'code' else kind}"
            for file in found[other]:
                leave_out(file, reason if other or kind == "code" else "unknown_format")
        for name, reason in sorted(left_out):
            skip(plain(name), reason)
    return sorted(file for k in read for file in found[k])


def name_of(path: Path) -> str:
    """What a corpus is called, after its file or folder, also after "."; "" if that has no name."""
    return (path if path.name.strip(".") else path.resolve()).name.split(".")[0]


def _refuse_stage(folder: Path) -> None:
    if stage := read_json_if_whole(folder / STAGE_MARKER).get("stage"):
        found = ", ".join(map(str, sorted(folder.rglob("*.jsonl.zst"))[:5]))
        raise UserError(
            f"{folder}: is the output of stage {stage!r}, with what it dropped and its report; name"
            f" the files that are meant{f', of {found}' if found else ''}"
        )


def read_files(
    files: Iterable[Path],
    path: Path,
    source: str | None,
    columns: Mapping[str, str] | None,
    skip: Skip,
    *,
    check: bool = False,
) -> Iterator[Document]:
    """Yields the documents of some of the files that `list_files` found; see `read_documents`.

    Args:
      path: the file or folder that was listed; ids of code are relative to it.
      check: whether a column that no record has is an error; it may be that of one file only.
    """
    root = path if path.is_dir() else path.parent
    names = {file: file.relative_to(root).as_posix() for file in files}
    for file, name in names.items():
        if is_records(file):
            continue
        try:
            text = _read_text(file)
        except _LeftOut as reason:
            skip(plain(name), str(reason))
        else:
            yield make_document(name, text, source or root.resolve().name, {"path": name})
    needed = partial(_needed, columns or {})
    rows = (
        (f"{name}:{number}", record)
        for file, name in names.items()
        if is_records(file)
        for number, record in read_numbered(file, skip, needed, plain(name))
    )
    yield from read_rows(rows, str(path), source, columns, skip, check=check)


def read_rows(
    rows: Iterable[Row],
    origin: str,
    source: str | None,
    columns: Mapping[str, str] | None,
    skip: Skip,
    *,
    check: bool = False,
) -> Iterator[Document]:
    """Yields the documents in rows of data; see `read_documents`.

    Args:
      origin: what holds the rows, for messages.
      check: raise if the first rows all lack a column; else such rows are left out.
    Raises:
      UserError: see `check`; lists the columns that there are.
    """
    for name, record in _check_columns(rows, origin, columns or {}) if check else rows:
        try:
            document = _to_document(name, record, source, columns or {})
        except _LeftOut as reason:
            skip(plain(name), str(reason))
        else:
            yield document


def make_document(
    name: object, text: str, source: object, metadata: Mapping[str, Any] | None = None
) -> Document:
    """A document that every writer and tokenizer takes: half surrogates in the text become U+FFFD.

    `normalizations` in the metadata says so; other values become those of `plain`, and fields that
    later stages read become texts or lists of texts.
    """
    about: dict[str, Any] = {}
    for field_name, value in plain(metadata or {}).items():
        if field_name in (*_TEXTS, *_LISTS):
            if value is None:
                continue
            values = [_plain_text(v) for v in (value if isinstance(value, list) else [value])]
            value = values if field_name in _LISTS else ", ".join(values)
        about[field_name] = value
    if not text.isascii():
        text, n_surrogates = _SURROGATES.subn("\ufffd", text)
        if n_surrogates:
            note(about, "surrogates")
    return Document(_plain_text(name), text, _plain_text(source), about)


def note(metadata: dict[str, Any], *normalizations: str) -> None:
    """Adds to the list of what was changed in a text."""
    known = metadata.get("normalizations")
    metadata["normalizations"] = [*(known if isinstance(known, list) else ()), *normalizations]


def _plain_text(value: object) -> str:
    return str(plain(value if isinstance(value, str) else str(plain(value))))


def write_documents(path: Path, documents: Iterable[Document]) -> int:
    """Writes JSON lines, compressed as the suffix says; returns the number of documents.

    A reader sees the old file or the whole new one, never a part.
    """
    return write_records(path, map(vars, documents))


class _LeftOut(Exception):
    """The reason why a file or record is not a document."""


def _kind_of(file: Path) -> str:
    suffix = file.suffix.lower()
    if suffix == ".arrow" and file.name.startswith("cache-"):
        return ""  # what `map` of `datasets` gave, beside the data that it was given
    kind = "code" if suffix in CODE else "prose" if suffix in PROSE else ""
    return "data" if is_records(file) else kind


def _read_text(file: Path) -> str:
    kind = _kind_of(file)
    if not kind:
        raise UserError(f"{file}: unknown format; give a folder or a file ending in {_KNOWN}")
    try:
        if file.stat().st_size > MAX_FILE_BYTES:
            raise _LeftOut("huge_file")
        data = file.read_bytes()
    except OSError as error:
        raise _LeftOut("unreadable") from error
    try:
        if kind != "code":
            return data.decode("utf-8-sig")
        # As the interpreter would (PEP 263); line ends are left alone.
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # unicode_escape warns of the text
            return data.decode(encoding)
    except (ValueError, LookupError, SyntaxError) as error:
        raise _LeftOut("undecodable") from error


def _needed(columns: Mapping[str, str], names: Collection[str]) -> set[str] | None:
    """The columns of a parquet file to read; all of them if one that is mapped is not there."""
    text = _column(dict.fromkeys(names), "text", columns)
    mapped = {c if c in names else c.split(".")[0] for c in (text, *columns.values())}
    if not mapped <= set(names):
        return None
    wanted = {"text", "prompt", "solution", "test", "entry_point"}
    wanted |= {"id", "task_id", "source", "metadata"}
    return {name for name in names if name in mapped | wanted}


def _check_columns(rows: Iterable[Row], origin: str, columns: Mapping[str, str]) -> Iterator[Row]:
    """The same rows; reads ahead until each mapped column was seen in one of them.

    Null says nothing of a column inside it: some rows have no metadata.
    """
    if {"text", "solution"} <= columns.keys():
        raise UserError(
            "--columns: text and solution are both the text, so that one would not be read; name"
            " what comes before the solution as prompt=NAME"
        )
    rows = iter(rows)
    ahead: list[Row] = []
    unseen, missing = {"text", *columns} - {"solution"}, set()
    for row in rows:
        ahead.append(row)
        _, record = row
        for name in sorted(unseen):
            column = _column(record, name, columns)
            value = _value(record, column)
            if value is _MISSING:
                missing.add(name)
            elif value is not None or column in record:
                unseen.remove(name)
        if not unseen or len(ahead) == _MAX_PROBED:
            break
    missing &= unseen
    if missing:
        name = "text" if "text" in missing else min(missing)
        _, record = ahead[0]
        raise _missing_column(origin, _column(record, name, columns), record)
    yield from ahead
    yield from rows


def _missing_column(origin: str, column: str, record: Mapping[str, Any]) -> UserError:
    have = ", ".join(
        f"{name}.{{{', '.join(value)}}}" if isinstance(value, Mapping) else str(name)
        for name, value in record.items()
    )
    hint = "say which it is with --columns=text=NAME,id=NAME"
    if column == "text":
        hint += ", or of exercises with --columns=prompt=NAME,solution=NAME"
    if "blob_id" in record:
        hint = "its text must be fetched from Software Heritage by blob_id first"
    return UserError(f"{origin}: no column {column!r}; it has {plain(have)}; {hint}")


def _column(record: Mapping[str, Any], name: str, columns: Mapping[str, str]) -> str:
    """The column of a document's field."""
    if name == "text" and "text" not in columns:
        is_exercise = "solution" in record and ("prompt" in record or "prompt" in columns)
        # A table of exercises and other documents has null in the columns of the other kind.
        if is_exercise and record.get("text") is not None:
            prompt = _value(record, columns.get("prompt", "prompt"))
            is_exercise = record["solution"] is not None and prompt not in (None, _MISSING)
        return columns.get("solution", "solution" if is_exercise else "text")
    if name == "id" and "id" not in columns:
        return "task_id" if record.get("id") is None else "id"
    return columns.get(name, name)


def _value(record: Mapping[str, Any], column: str) -> Any:
    """The value of a column, `a.b` being b inside a; None inside null, `_MISSING` if not there."""
    value: Any = record
    if column in record:
        return record[column]
    for part in column.split("."):
        if value is None:
            return None
        if not isinstance(value, Mapping) or part not in value:
            return _MISSING
        value = value[part]
    return value


def _to_document(
    called: str, record: Mapping[str, Any], source: str | None, columns: Mapping[str, str]
) -> Document:
    def value(name: str) -> Any:
        found = _value(record, _column(record, name, columns))
        return None if found is _MISSING and name != "text" else found

    text = _text(value("text"))
    metadata: dict[str, Any] = {}
    if not columns.keys() & {"text", "prompt", "solution"}:  # else it may be anything
        found = record.get("metadata")
        metadata = dict(found) if isinstance(found, Mapping) else {"metadata": found}
    fields = columns.keys() - {"id", "text", "solution", "source", "prompt"}
    metadata |= {name: value(name) for name in columns if name in fields}
    prompt = None if "text" in columns and "prompt" not in columns else value("prompt")
    if prompt is not None:
        prompt = _text(prompt)
        if not text.startswith(prompt):
            if prompt and not prompt.endswith("\n") and not text.startswith("\n"):
                prompt += "\n"
            text = prompt + text
        about = {name: value(name) for name in ("test", "entry_point")}
        metadata = {**about, **metadata, "prompt_chars": len(prompt)}
    elif metadata.get("prompt_chars") is not None:
        cut = metadata["prompt_chars"]
        if not (isinstance(cut, int | float) and 0 <= cut <= len(text) and cut == int(cut)):
            raise _LeftOut("bad_prompt_chars")
        metadata["prompt_chars"] = int(cut)  # 2.0 where a column holds nulls too
    metadata = {k: v for k, v in metadata.items() if v is not None or k not in _NULLABLE | fields}
    told = source or value("source")
    if told is None:
        told = called.rpartition("/")[2].split(".")[0]  # what the file is called
    name = value("id")
    return make_document(called if name in (None, "") else name, text, told, metadata)


def _text(value: Any) -> str:
    if value is _MISSING:
        raise _LeftOut("missing_text")
    if value is None:
        raise _LeftOut("null_text")
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise _LeftOut("not_utf8") from error
    if not isinstance(value, str):
        raise _LeftOut("not_text")
    return value
