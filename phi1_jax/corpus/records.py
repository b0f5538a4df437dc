"""Records in files: the one place that reads and writes them, so that none can end a run.

Read are JSON lines and JSON, plain or compressed, parquet and Arrow; written are JSON lines.
Lines are bytes split at b"\\n": `str.splitlines` would also break a record at U+2028, which is
legal inside JSON and occurs in real code.
"""

import bz2
import codecs
import gzip
import io
import json
import lzma
import math
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from functools import cache
from itertools import chain
from pathlib import Path
from typing import IO, Any, cast

import zstandard

from phi1_jax.errors import UserError
from phi1_jax.files import whole_file

# Compression -> the bytes that its files start with (zstd also has frames to be skipped).
_MAGIC = {
    ".gz": (b"\x1f\x8b",),
    ".zst": (b"\x28\xb5\x2f\xfd", *(bytes([0x50 + i]) + b"\x2a\x4d\x18" for i in range(16))),
    ".xz": (b"\xfd7zXZ\0",),
    ".bz2": (b"BZh",),
}
_JSON = (".jsonl", ".ndjson", ".json")
_TABLES = (".parquet", ".arrow")
FORMATS = (*_JSON, *_TABLES)
_WRITTEN = (".jsonl", ".jsonl.gz", ".jsonl.zst")
_ZSTD_LEVEL = 3
_COMPRESSED_BYTES = 1 << 13
_ZSTD_WINDOW_BYTES = 1 << 31  # what `zstd --long=31` writes; the library's default is 128 MB
# A longer record is not read into memory.
MAX_LINE_BYTES = 1 << 28
_BATCH_ROWS = 1024
_STREAM_END = b"\xff\xff\xff\xff\0\0\0\0"
_MAX_DEPTH = 64
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)

# Called with the name of what is left out and the reason, one word such as `broken_json`.
Skip = Callable[[str, str], None]
Choose = Callable[[list[str]], Collection[str] | None]


class SkipLog:
    """Tells on stderr what is left out, the first few for each reason, and counts all of it."""

    _SHOWN = 3

    def __init__(self, path: Path | None = None) -> None:
        """Args:
        path: JSON lines to write every name and reason to; there only if something is left out.
        """
        self.counts: Counter[str] = Counter()
        self._path = path
        if path is not None:  # that of an interrupted run
            path.unlink(missing_ok=True)
        self._told: set[tuple[str, str]] = set()

    def __call__(self, name: str, reason: str) -> None:
        if (name, reason) in self._told:  # the corpus is read a second time
            return
        self._told.add((name, reason))
        self.counts[reason] += 1
        if self._path is not None:
            with self._path.open("ab") as file:
                file.write(encode_record({"id": name, "reason": reason}))
        if self.counts[reason] <= self._SHOWN:
            print(f"left out: {plain(name)} ({reason})", file=sys.stderr)
        elif self.counts[reason] == self._SHOWN + 1:
            # Without its folder: a stage's result is moved when it is done.
            where = f"; all names will be in the result's {self._path.name}" if self._path else ""
            print(f"left out: more for the same reason ({reason}){where}", file=sys.stderr)

    def report(self) -> dict[str, Any]:
        """What a stage's report says of it: nothing if nothing was left out."""
        return {"left_out": dict(self.counts.most_common())} if self.counts else {}


def is_records(path: Path) -> bool:
    """Whether the name is one that `read_records` reads, in upper or lower case."""
    return _format(path) in FORMATS


def read_records(path: Path, skip: Skip | None = None) -> Iterator[dict[str, Any]]:
    """Yields the objects of a file; see `read_numbered`."""
    for _, record in read_numbered(path, skip):
        yield record


def read_numbered(
    path: Path, skip: Skip | None = None, choose: Choose | None = None, name: str = ""
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields the objects of a file with their line or row, counted from 1.

    Args:
      path: .jsonl, .ndjson or .json (lines, or one array), each also .gz, .zst, .xz or .bz2; or
        .parquet or .arrow, as `save_to_disk` of `datasets` writes it.
      skip: told the name and reason of what cannot be read: `unreadable` (the file),
        `damaged_archive` (from there on), `misnamed` (plain text named .gz, say, or the other way
        round), `broken_json`, `huge_record`, `not_utf8`, `unreadable_value`.
      choose: given the columns of a table, says which to read; None is all.
      name: what `skip` is told the file is called; without it, its name alone.
    Raises:
      UserError: another format, no such file; without `skip` also what `skip` would be told.
    """
    if not is_records(path):
        raise UserError(f"{path}: unknown format; give a file ending in {', '.join(FORMATS)}")
    if not path.exists():
        raise UserError(f"{path}: no such file")

    called = name or path.name
    unit = "row" if _format(path) in _TABLES else "line"

    def leave_out(number: int, reason: str, what: object) -> None:
        if skip is None:
            raise UserError(f"{path}, {unit} {number}: {what}")
        skip(f"{called}:{number}", reason)

    last = 0
    try:
        if unit == "row":
            rows = _read_table(path, choose, leave_out)
        else:
            rows = _read_json(path, leave_out)
        for last, record in rows:
            yield last, record
        return
    except _FileError as error:
        reason, what = error.args
    except (OSError, EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError) as error:
        reason, what = "damaged_archive", f"damaged after {unit} {last}: {error}"
        if isinstance(error, OSError) and error.errno:  # what is damaged has no number
            reason, what = "unreadable", f"cannot be read: {error.strerror}"
    if skip is None:
        raise UserError(f"{path}: {what}")
    skip(called, reason)


def write_records(path: Path, records: Iterable[Mapping[str, Any]]) -> int:
    """Writes one JSON object a line, atomically; the same records give the same bytes."""
    count = 0
    with open_records(path) as write:
        for record in records:
            write(record)
            count += 1
    return count


@contextmanager
def open_records(path: Path) -> Iterator[Callable[[Mapping[str, Any] | bytes], None]]:
    """Yields what writes one record; the file is there once the block ends without an error.

    Values that JSON lacks become those of `plain`. A record may come as `encode_record`'s line, so
    that what goes to several files is encoded once.
    """
    path = Path(path)
    if not path.name.endswith(_WRITTEN):
        raise UserError(f"{path}: unknown format; end it in {', '.join(_WRITTEN)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as raw, _compressed(raw, path.suffix) as file:
        yield lambda record: cast(
            None, file.write(record if isinstance(record, bytes) else encode_record(record))
        )


def encode_record(record: Mapping[str, Any]) -> bytes:
    """One line of JSON, for any values; see `plain`."""
    return _ENCODER.encode(plain(record)).encode() + b"\n"


def plain(value: Any, depth: int = 0) -> Any:
    """The same value as every reader of JSON can hold it.

    Half surrogates, and bytes that are not UTF-8, become escapes such as `\\udce9`; NaN and
    infinity null; a decimal a number where that is exact, else text; integers beyond 64 bits, dates
    and other objects text; what is nested deeper than 64 levels a text that says so.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, int):
        return int(value) if -(1 << 63) <= value < 1 << 63 else hex(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return _plain_decimal(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode("utf-8", "backslashreplace")
    if depth == _MAX_DEPTH:
        return f"(nested deeper than {_MAX_DEPTH} levels)"
    if isinstance(value, Mapping):
        return {_plain_key(key): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item, depth + 1) for item in value]
    try:
        if hasattr(value, "tolist"):  # NumPy's
            return plain(value.tolist(), depth + 1)
        return plain(value.isoformat() if hasattr(value, "isoformat") else str(value))
    except Exception:
        return f"({type(value).__name__})"


def _plain_key(key: Any) -> str:
    key = plain(key)
    return key if isinstance(key, str) else _ENCODER.encode(key)


def _plain_decimal(value: Decimal) -> int | float | str | None:
    if not value.is_finite():
        return None
    if value == value.to_integral_value() and abs(value) < 1 << 63:
        return int(value)
    return float(value) if Decimal(repr(float(value))) == value else str(value)


class _FileError(Exception):
    """Why a file is not read, or not to its end: the reason, and what a person wants to know."""


# Told the line or row, the reason, and what a person wants to know.
_LeaveOut = Callable[[int, str, object], None]


def _format(path: Path) -> str:
    """`.jsonl` of `a.JSONL.gz`."""
    name = Path(path.name.lower())
    if name.suffix in _MAGIC:
        return suffix if (suffix := Path(name.stem).suffix) in _JSON else ""
    return name.suffix


def _read_json(path: Path, leave_out: _LeaveOut) -> Iterator[tuple[int, dict[str, Any]]]:
    # NaN and Infinity are not JSON.
    decoder = json.JSONDecoder(parse_constant=lambda name: _tell_of_constants(path))
    with _open_read(path) as file:
        first = file.readline(MAX_LINE_BYTES).removeprefix(codecs.BOM_UTF8)
        # Lines to parse, or what was parsed already.
        items: Iterable[Any] = chain([first], iter(lambda: file.readline(MAX_LINE_BYTES), b""))
        # One array, or an object over several lines?
        is_array = first.lstrip()[:1] == b"["
        if is_array or (_format(path) == ".json" and not _is_object(first, decoder)):
            # To the end of a line, for it may be lines after all.
            whole = first + file.read(MAX_LINE_BYTES) + file.readline(MAX_LINE_BYTES)
            try:
                value = _parse(whole, decoder)
                items = value if isinstance(value, list) else [value]
            except ValueError:
                if is_array and file.peek(1):
                    what = f"an array of more than {MAX_LINE_BYTES:,} bytes; write it as JSON lines"
                    raise _FileError("huge_record", what) from None
                items = chain(io.BytesIO(whole), iter(lambda: file.readline(MAX_LINE_BYTES), b""))
        for number, item in enumerate(items, start=1):
            is_line = isinstance(item, bytes)
            if is_line and len(item) == MAX_LINE_BYTES and not item.endswith(b"\n"):
                while (rest := file.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
                    pass
                leave_out(number, "huge_record", f"longer than {MAX_LINE_BYTES:,} bytes")
                continue
            if is_line and not item.strip():
                continue
            try:
                record = _object(_parse(item, decoder) if is_line else item)
            except ValueError as error:
                leave_out(number, "broken_json", error)
            else:
                yield number, record


@cache
def _tell_of_constants(path: Path) -> None:
    """Once a file, however often it is read."""
    print(f"warning: {path}: NaN and Infinity are not JSON and are read as null", file=sys.stderr)


def _parse(data: bytes, decoder: json.JSONDecoder) -> Any:
    try:
        # Each of several files that were joined may have begun with a mark.
        return decoder.decode(data.removeprefix(codecs.BOM_UTF8).decode())
    except UnicodeDecodeError as error:
        raise ValueError("not UTF-8") from error
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, found {type(value).__name__}")
    return value


def _is_object(line: bytes, decoder: json.JSONDecoder) -> bool:
    try:
        return isinstance(_parse(line, decoder), dict)
    except ValueError:
        return False


def _read_table(
    path: Path, choose: Choose | None, leave_out: _LeaveOut
) -> Iterator[tuple[int, dict[str, Any]]]:
    kind = _format(path)[1:]
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UserError(f"{path}: {kind} needs `pip install phi1_jax[data]`") from error
    unconvertible = (ValueError, OverflowError, TypeError, pyarrow.ArrowException)
    number = 0
    try:
        for batch in (_parquet_batches if kind == "parquet" else _arrow_batches)(path, choose):
            try:
                rows = batch.to_pylist()
            except unconvertible:  # one row or more: each by itself
                rows = [None] * len(batch)
            for index, row in enumerate(rows):
                number += 1
                try:
                    record = row or _read_row(batch, index)
                except UnicodeDecodeError:
                    leave_out(number, "not_utf8", "text that is not UTF-8")
                except unconvertible as error:
                    leave_out(number, "unreadable_value", error)
                else:
                    yield number, record
    except pyarrow.ArrowException as error:
        what = " ".join(str(error).split())  # some of Arrow's messages have several lines
        raise OSError(f"not a readable {kind} file: {what}") from error


def _parquet_batches(path: Path, choose: Choose | None) -> Iterator[Any]:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        columns = choose(file.schema_arrow.names) if choose else None
        wanted = None if columns is None else sorted(columns)
        yield from file.iter_batches(batch_size=_BATCH_ROWS, columns=wanted)


def _arrow_batches(path: Path, choose: Choose | None) -> Iterator[Any]:
    """Of a stream of batches, or of a file with an index, which begins with its name."""
    import pyarrow

    with pyarrow.memory_map(str(path)) as raw:
        if raw.read_at(6, 0) == b"ARROW1":
            file = pyarrow.ipc.open_file(raw)
            batches = map(file.get_batch, range(file.num_record_batches))
        else:
            batches = file = pyarrow.ipc.open_stream(raw)
        columns = choose(file.schema.names) if choose else None
        for batch in batches:
            if columns is not None:
                batch = batch.select([name for name in file.schema.names if name in columns])
            for column in batch.columns:
                try:
                    column.validate(full=True)  # a flipped bit could end the process
                except pyarrow.ArrowInvalid as error:
                    if "UTF8" not in str(error):  # that is one row's affair
                        raise
            for start in range(0, len(batch), _BATCH_ROWS):
                yield batch.slice(start, _BATCH_ROWS)
        # Without its mark at the end a stream that was cut between two batches would pass.
        if batches is file and raw.read_at(8, max(0, raw.size() - 8)) != _STREAM_END:
            raise EOFError("the stream ends too early")


def _read_row(batch: Any, index: int) -> dict[str, Any]:
    """One row of a batch; of a time in nanoseconds the last three digits are dropped."""
    import pyarrow

    row = batch.slice(index, 1)
    for place, field in enumerate(row.schema):
        if pyarrow.types.is_timestamp(field.type):
            micro = pyarrow.timestamp("us", field.type.tz)
            row = row.set_column(place, field.name, row.column(place).cast(micro, safe=False))
    return row.to_pylist()[0]


@contextmanager
def _open_read(path: Path) -> Iterator[io.BufferedReader]:
    suffix = path.suffix.lower()
    with path.open("rb") as raw:
        head = raw.peek(6)
        held = next((s for s, magic in _MAGIC.items() if head.startswith(magic)), "")
        if head and held != (suffix if suffix in _MAGIC else ""):
            name = path.stem if suffix in _MAGIC else path.name
            what = f"is not {suffix[1:]} data"
            if held:
                what = f"is {held[1:]} data; rename it to {name}{held}"
            elif head.lstrip()[:1] in (b"{", b"["):
                what = f"is plain text; rename it to {name}, or compress it"
            raise _FileError("misnamed", f"ends in {path.suffix} but {what}")
        if suffix in _MAGIC:
            yield io.BufferedReader(_ArchiveReader(raw, _DECOMPRESSORS[suffix]), 1 << 20)
        else:
            yield raw


@contextmanager
def _compressed(raw: IO[bytes], suffix: str) -> Iterator[IO[bytes]]:
    if suffix == ".zst":
        # Without the checksum a flipped bit may give other records, and no error.
        compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True)
        with compressor.stream_writer(raw, closefd=False) as writer:
            yield cast(IO[bytes], writer)
    elif suffix == ".gz":
        # No name and no time in the header: the same records give the same bytes.
        with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as writer:
            yield cast(IO[bytes], writer)
    else:
        yield raw


_DECOMPRESSORS: dict[str, Callable[[], Any]] = {
    ".gz": lambda: zlib.decompressobj(16 + zlib.MAX_WBITS),
    ".zst": lambda: zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES).decompressobj(),
    ".xz": lzma.LZMADecompressor,
    ".bz2": bz2.BZ2Decompressor,
}


class _ArchiveReader(io.RawIOBase):
    """Reads all frames of a file (each writer may add one) and misses no damage.

    The libraries' own readers take for the end of the text what is not: zstandard's the end of the
    first frame or of a truncated file, bz2's and lzma's anything that follows a frame and is none.
    """

    def __init__(self, raw: io.BufferedReader, decompressor: Callable[[], Any]) -> None:
        self._raw = raw
        self._new = decompressor
        self._frame: Any = None
        self._compressed = b""
        self._text = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._text:
            # Little at a time: it may stand for a hundred thousand times as much.
            self._compressed = self._compressed or self._raw.read(_COMPRESSED_BYTES)
            if self._frame is None:  # zeros between frames, or behind the last, are padding
                self._compressed = self._compressed.lstrip(b"\0")
                if self._compressed:
                    self._frame = self._new()
                elif not self._raw.peek(1):
                    return 0
                continue
            if not self._compressed:
                raise EOFError("the last frame is not complete")
            self._text = memoryview(self._frame.decompress(self._compressed))
            self._compressed = self._frame.unused_data
            if self._frame.eof:
                self._frame = None
        size = min(len(buffer), len(self._text))
        buffer[:size] = self._text[:size]
        self._text = self._text[size:]
        return size
