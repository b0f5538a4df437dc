"""What an evaluation leaves in its folder: read back after a kill, refused to another one."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from phi1_jax.errors import UserError
from phi1_jax.files import parse_json, read_json_if_whole, whole_file, write_json

EVALUATED, SAMPLING, EXECUTION = "evaluated.json", "sampling.json", "execution.json"
SAMPLES, RESULTS, SUMMARY = "samples.jsonl", "results.jsonl", "summary.json"
BITS, DIFFERENCES = "bits_per_byte.jsonl", "differences.json"
DRAWN = (SAMPLES, SAMPLING)
SCORED = (RESULTS, SUMMARY, "robustness.json", EXECUTION)
MEASURED = (BITS, DIFFERENCES, EVALUATED)


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


def claim(folder: Path, settings: Mapping[str, Any]) -> None:
    """Makes a folder that of one evaluation: of one model or file of samples, on one benchmark.

    Raises:
      UserError: it is that of another one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    note_settings(folder / EVALUATED, settings, DRAWN + SCORED + MEASURED)


def note_settings(path: Path, settings: Mapping[str, Any], files: Iterable[str]) -> None:
    """Writes to `path` what the `files` beside it are made with.

    Raises:
      UserError: one of them holds something, and was made with other settings.
    """
    before = read_json_if_whole(path)
    found = map(path.with_name, files)
    there = [file for file in found if file.exists() and file.stat().st_size]
    if there and before != settings:
        changed = [key for key in settings if before.get(key) != settings[key]]
        source = f"other settings ({', '.join(changed)})" if before else "another run"
        raise UserError(f"{there[0]} is of {source}: name another folder, or empty this one")
    write_json(path, settings)


def sha256(text: str) -> str:
    """Of a text; JSON can put half a surrogate pair into a program."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
