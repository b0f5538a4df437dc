"""Documents, and the files they live in: JSON lines, parquet, folders of code."""

import io
import tokenize
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from phi1_jax.corpus.records import FORMATS as JSON_LINES
from phi1_jax.corpus.records import Skip, read_records, write_records
from phi1_jax.errors import UserError

FORMATS = (".py", *JSON_LINES, ".parquet")
# Larger "source files" are data; they are not even read.
MAX_FILE_BYTES = 1 << 26


@dataclass(frozen=True)
class Document:
    """One text and where it came from.

    Attributes:
      id: unique within its source, e.g. a path.
      text: the whole text; lines end in "\\n".
      source: the name its tokens are counted under, e.g. "stdlib".
      metadata: JSON-serialisable provenance; it travels as far as the shard index.
    """

    id: str
    text: str
    source: str
    metadata: dict[str, Any] = field(default_factory=dict)


def read_documents(
    path: Path,
    source: str | None = None,
    columns: Mapping[str, str] | None = None,
    skip: Skip | None = None,
) -> Iterator[Document]:
    """Yields the documents of a file or folder, in an order that depends on names only.

    A folder stands for the files below it: Python, one document a file, or JSON lines and parquet.

    Args:
      path: a folder, or a .jsonl, .jsonl.gz, .jsonl.zst or .parquet file.
      source: overrides the source that the records name (default: that, else the file's name).
      columns: document field -> column, e.g. {"text": "content", "licence": "metadata.license"}
        (a dot looks inside a record). `prompt` is put before the text, as in an exercise; a field
        other than those, id and source lands in the metadata. None: the files that
        `write_documents` writes, or any with a column `text`.
      skip: told the name and the reason of each record that is left out; None makes a broken
        record an error.
    Raises:
      UserError: unknown format, a column that is not there (lists those that are), a broken
        record, or no document at all.
    """
    path = Path(path)
    root = path if path.is_dir() else path.parent
    found = False
    for file in list_files(path):
        for document in read_file(file, root, source, columns, skip):
            found = True
            yield document
    if not found:
        raise UserError(f"{path}: yields no document; name a file or folder that does")


def read_all(paths: Iterable[Path], columns: Mapping[str, str] | None = None) -> Iterator[Document]:
    """Yields the documents of several files or folders in turn; see `read_documents`."""
    for path in paths:
        yield from read_documents(path, columns=columns or None)


def list_files(path: Path, kind: str = "") -> list[Path]:
    """The files that `read_documents` reads, sorted; a large pool is split between tasks by file.

    Args:
      kind: "code" or "data", what to read of a folder that holds both.
    Raises:
      UserError: no such path, a folder without a file of a known format, or one with Python beside
        data: a program that loads the data, or code that comes with its data.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"{path}: no such file or folder")
    files = sorted(file for file in path.rglob("*") if file.is_file())
    found = {
        "code": [file for file in files if file.suffix == ".py"],
        "data": [file for file in files if file.name.endswith((*JSON_LINES, ".parquet"))],
    }
    if all(found.values()) and not kind:
        code, data = (files[0].relative_to(path) for files in found.values())
        raise UserError(
            f"{path}: holds code ({code}) and data ({data}); name the files, or choose with "
            "--source=code:PATH or --source=data:PATH"
        )
    if not any(found.values()):
        raise UserError(f"{path}: holds no file ending in {', '.join(FORMATS)}")
    return found.get(kind) or found["code"] or found["data"]


def read_file(
    file: Path,
    root: Path,
    source: str | None = None,
    columns: Mapping[str, str] | None = None,
    skip: Skip | None = None,
) -> Iterator[Document]:
    """Yields the documents of one file below `root`; see `read_documents`."""
    name = file.relative_to(root).as_posix()
    if file.suffix == ".py":
        if file.stat().st_size > MAX_FILE_BYTES:
            if skip is None:
                raise UserError(f"{file}: more than {MAX_FILE_BYTES:,} bytes is no source file")
            skip(name, "huge_file")
            return
        try:
            text = decode_code(file.read_bytes())
        except (UnicodeDecodeError, SyntaxError) as error:
            if skip is None:
                raise UserError(f"{file}: not readable as Python source: {error}") from error
            skip(name, "undecodable")
        else:
            yield Document(name, text, source or root.resolve().name, {"path": name})
        return
    if file.suffix == ".parquet":
        records = _read_parquet(file, columns, skip)
    elif file.name.endswith(JSON_LINES):
        records = read_records(file, skip)
    else:
        known = ", ".join(FORMATS)
        raise UserError(f"{file}: unknown format; give a folder or a file ending in {known}")
    for row, record in enumerate(records):
        document = to_document(record, f"{name}:{row}", str(file), source, columns)
        if document is not None:
            yield document
        elif skip is not None:
            skip(f"{name}:{row}", "null_text")


def write_documents(path: Path, documents: Iterable[Document]) -> int:
    """Writes JSON lines, compressed as the suffix says; returns the number of documents.

    A reader sees the old file or the whole new one, never a part.
    """
    return write_records(path, map(vars, documents))


def decode_code(data: bytes) -> str:
    """Decodes a Python file as the interpreter would (PEP 263); line ends are left alone.

    Raises:
      UnicodeDecodeError, SyntaxError: bytes that the declared encoding (or UTF-8) cannot read.
    """
    encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
    return data.decode(encoding)


def to_document(
    record: Mapping[str, Any],
    default_id: str,
    origin: str,
    source: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> Document | None:
    """The document in a row of data, or None if its text is null; see `read_documents`.

    Args:
      origin: what holds the row, for messages.
    Raises:
      UserError: a column that is not there (lists those that are), or a text that is none.
    """
    column = {"text": "text", "id": "id", "source": "source", **(columns or {})}
    fields = {name: _column(record, column[name]) for name in column}
    for name in sorted({"text", *(columns or {})}):
        if fields[name] is _MISSING:
            raise missing_column(origin, column[name], record)
    texts = [fields[name] for name in ("prompt", "text") if name in fields]
    if None in texts:
        return None
    for text in texts:
        if not isinstance(text, str):
            raise UserError(
                f"{origin}: column {column['text']!r} holds {type(text).__name__}, not text"
            )
    metadata = record.get("metadata") if columns is None else None
    metadata = dict(metadata) if isinstance(metadata, dict) else {}
    metadata |= {k: v for k, v in fields.items() if k not in ("id", "text", "source", "prompt")}
    if "prompt" in fields:
        metadata["prompt_chars"] = len(texts[0])
    found_source = fields["source"] if fields["source"] is not _MISSING else None
    return Document(
        id=str(default_id if fields["id"] is _MISSING else fields["id"]),
        text="".join(texts),
        source=source or str(found_source or Path(origin).name.split(".")[0]),
        metadata=metadata,
    )


def missing_column(origin: str, column: str, record: Mapping[str, Any]) -> UserError:
    """The error for a column that a row does not have."""
    have = ", ".join(
        f"{name}.{{{', '.join(value)}}}" if isinstance(value, Mapping) else str(name)
        for name, value in record.items()
    )
    hint = "set the column map"
    if "blob_id" in record:
        hint = "its text must be fetched from Software Heritage by blob_id first"
    return UserError(f"{origin}: no column {column!r}; it has {have}; {hint}")


_MISSING = object()


def _column(record: Mapping[str, Any], name: str) -> Any:
    """The value of a column, `a.b` being b inside a; `_MISSING` if there is none."""
    value: Any = record
    if name in record:
        return record[name]
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return _MISSING
        value = value[part]
    return value


def _read_parquet(
    path: Path, columns: Mapping[str, str] | None, skip: Skip | None
) -> Iterator[dict[str, Any]]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UserError(f"{path}: parquet needs `pip install phi1_jax[data]`") from error
    try:
        file = pyarrow.parquet.ParquetFile(path)
        names = file.schema_arrow.names
        wanted = None
        if columns is not None:
            # Of a column inside a record, the whole record.
            asked = [c if c in names else c.split(".")[0] for c in columns.values()]
            if missing := [
                c for c, name in zip(columns.values(), asked, strict=True) if name not in names
            ]:
                raise missing_column(str(path), missing[0], dict.fromkeys(names))
            wanted = [c for c in names if c in {"id", "text", *asked}]
        for batch in file.iter_batches(batch_size=1024, columns=wanted):
            yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        if skip is None:
            raise UserError(f"{path}: not a readable parquet file: {error}") from error
        skip(path.name, "damaged_archive")
