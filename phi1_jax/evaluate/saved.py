"""What an evaluation leaves in its folder: read back after a kill, set aside by another one."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from phi1_jax.files import parse_json, read_json_if_whole, whole_file, write_json

SAMPLING, EXECUTION, BITS = "sampling.json", "execution.json", "bits_per_byte.json"
DRAWN = ("samples.jsonl", SAMPLING)
SCORED = ("results.jsonl", "summary.json", "robustness.json", EXECUTION)
DIFFERENCES = "differences.json"
MEASURED = ("bits_per_byte.jsonl", BITS, DIFFERENCES)


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yields what an earlier run finished; nothing from the first damaged line on."""
    for line in path.read_bytes().split(b"\n") if path.exists() else []:
        try:
            row = parse_json(line)
        except ValueError:  # a kill struck in mid-line
            return
        if not isinstance(row, dict):
            return
        yield row


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Puts the rows in place of what `path` holds, at once."""
    with whole_file(path) as file:
        # In ASCII: a completion may hold half a surrogate pair.
        file.writelines(json.dumps(row).encode() + b"\n" for row in rows)


def note_settings(path: Path, settings: Mapping[str, Any], files: Iterable[str]) -> None:
    """Writes the settings to `path`; `files` beside it that come of others are set aside first."""
    before = read_json_if_whole(path)
    if before != settings:
        changed = [key for key in settings if before.get(key) != settings[key]]
        source = f"other settings ({', '.join(changed)})" if before else "another run"
        set_aside(path.parent, files, source)
    write_json(path, settings)


def set_aside(folder: Path, files: Iterable[str], source: str) -> None:
    """Renames files to NAME.N.SUFFIX, one N for all of them; nothing is ever deleted.

    Args:
      source: what they are of, for the console.
    """
    there = [folder / name for name in files if (folder / name).exists()]
    if all(path.name in (SAMPLING, EXECUTION, BITS) for path in there):
        return
    number = 1
    while any(_numbered(folder / name, number).exists() for name in DRAWN + SCORED + MEASURED):
        number += 1
    for path in there:
        path.replace(_numbered(path, number))
    first, *others = (_numbered(path, number).name for path in there)
    beside = f", beside {', '.join(others)}" if others else ""
    print(f"{there[0]} is of {source}; it is now {first}{beside}")


def sha256(text: str) -> str:
    """Of a text; JSON can put half a surrogate pair into a program."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.stem}.{number}{path.suffix}")
