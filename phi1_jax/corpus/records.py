"""Records in files: JSON lines, plain, gzip or zstd, read and written as bytes split at b"\\n".

`str.splitlines` would also break a record at U+2028, which is legal inside JSON and occurs in
real code.
"""

import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import zstandard

from phi1_jax.errors import UserError

FORMATS = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".json.gz")
ZSTD_LEVEL = 3
# A longer record is not read into memory.
MAX_LINE_BYTES = 1 << 28
# Called with the name of what is left out and the reason.
Skip = Callable[[str, str], None]


def read_records(path: Path, skip: Skip | None = None) -> Iterator[dict[str, Any]]:
    """Yields the objects of a .jsonl, .jsonl.gz or .jsonl.zst file.

    Raises:
      UserError: another format, a line that is no JSON object, or a broken archive. If `skip` is
        there it is told instead; the rest of a broken archive is given up.
    """
    number = 0
    try:
        with _open_read(path) as file:
            while line := file.readline(MAX_LINE_BYTES):
                number += 1
                if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
                    while (rest := file.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
                        pass
                    if skip is None:
                        raise UserError(
                            f"{path}, line {number}: longer than {MAX_LINE_BYTES:,} bytes"
                        )
                    skip(f"{path.name}:{number}", "huge_record")
                    continue
                if not line.strip():
                    continue
                try:
                    record = json.loads(line)
                    if not isinstance(record, dict):
                        raise ValueError(f"expected a JSON object, found {type(record).__name__}")
                except ValueError as error:
                    if skip is None:
                        problem = "not UTF-8" if isinstance(error, UnicodeDecodeError) else error
                        raise UserError(f"{path}, line {number}: {problem}") from error
                    skip(f"{path.name}:{number}", "broken_json")
                    continue
                yield record
    except (EOFError, gzip.BadGzipFile, zstandard.ZstdError, zlib.error) as error:
        if skip is None:
            raise UserError(f"{path}: damaged after line {number}: {error}") from error
        skip(path.name, "damaged_archive")


def write_records(path: Path, records: Iterable[Mapping[str, Any]]) -> int:
    """Writes one JSON object a line, atomically; the same records give the same bytes."""
    count = 0
    with open_records(path) as write:
        for record in records:
            write(record)
            count += 1
    return count


@contextmanager
def open_records(path: Path) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Yields what writes one record; the file is there once the block ends without an error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    with _open_write(temporary, path.suffix) as file:

        def write(record: Mapping[str, Any]) -> None:
            file.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")

        yield write
    temporary.replace(path)


@contextmanager
def _open_read(path: Path) -> Iterator[IO[bytes]]:
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if path.suffix == ".zst":
        with path.open("rb") as raw:
            yield io.BufferedReader(_ZstdReader(raw), 1 << 20)
    elif path.suffix == ".gz":
        with gzip.open(path, "rb") as archive:
            yield cast(IO[bytes], archive)
    elif path.suffix == ".jsonl":
        with path.open("rb") as file:
            yield file
    else:
        raise UserError(f"{path}: unknown format; give a file ending in {', '.join(FORMATS)}")


@contextmanager
def _open_write(path: Path, suffix: str) -> Iterator[IO[bytes]]:
    if suffix not in (".zst", ".gz", ".jsonl"):
        raise UserError(f"{path}: unknown format {suffix!r}; end it in .jsonl, .jsonl.gz or .zst")
    with path.open("wb") as raw:
        if suffix == ".zst":
            with zstandard.ZstdCompressor(level=ZSTD_LEVEL).stream_writer(raw) as writer:
                yield writer
        elif suffix == ".gz":
            # No name and no time in the header: the same records give the same bytes.
            with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as writer:
                yield cast(IO[bytes], writer)
        else:
            yield raw


class _ZstdReader(io.RawIOBase):
    """Reads all frames of a file (each writer may add one) and misses no truncation.

    zstandard's own reader stops after the first frame by default, and takes the end of a
    truncated file for the end of the text.
    """

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._frame: Any = None
        self._compressed = b""
        self._text = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._text:
            self._compressed = self._compressed or self._raw.read(1 << 20)
            if not self._compressed:
                if self._frame is not None:
                    raise EOFError("the last zstd frame is not complete")
                return 0
            if self._frame is None:
                self._frame = zstandard.ZstdDecompressor().decompressobj()
            self._text = memoryview(self._frame.decompress(self._compressed))
            self._compressed = self._frame.unused_data
            if self._frame.eof:
                self._frame = None
        size = min(len(buffer), len(self._text))
        buffer[:size] = self._text[:size]
        self._text = self._text[size:]
        return size
