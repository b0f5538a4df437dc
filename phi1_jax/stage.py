"""A pipeline stage: told apart by its inputs, reused while they are unchanged, and reported."""

import hashlib
import json
import resource
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import phi1_jax
from phi1_jax.errors import UserError

REPORT = "report.json"


def run_stage(
    name: str,
    output: Path,
    inputs: Mapping[str, Any],
    work: Callable[[Path], dict[str, Any]],
    *,
    force: bool = False,
    keep_partial: bool = False,
) -> dict[str, Any]:
    """Runs `work(output)` unless `output` already holds its result for the same inputs.

    The report is written last and atomically, so a folder with a report is a finished stage. A
    stage that was interrupted, or whose inputs changed, starts over in an empty folder.

    Args:
      name: what the console calls the stage.
      output: the folder that the stage owns; it is emptied before work starts.
      inputs: settings, and `Path`s whose content counts (see `fingerprint`).
      work: does the stage and returns its counts, JSON-serialisable; by habit `in`, `out` and
        `dropped` (reason -> count).
      force: redo a finished stage.
      keep_partial: leave what an interrupted run of the same inputs wrote; `work` resumes from it.
    Returns:
      The report: `stage`, `fingerprint`, `inputs`, `seconds`, `peak_memory_mb` (of this
      process, without workers) and what `work` returned.
    Raises:
      UserError: `output` is a file, or a folder with other content in it.
    """
    identity = fingerprint({"version": phi1_jax.__version__, "stage": name, **inputs})
    marker = output / "stage.json"
    _refuse_foreign_folder(output, marker)
    if not force and (report := _read(output / REPORT)) and report["fingerprint"] == identity:
        print(f"[{name}] unchanged, reused ({report['seconds']:.1f} s when it ran)", flush=True)
        return report
    started = _read(marker)
    if force or not keep_partial or started is None or started["fingerprint"] != identity:
        shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True, exist_ok=True)
    (output / REPORT).unlink(missing_ok=True)
    write_json(marker, {"stage": name, "fingerprint": identity})
    start = time.perf_counter()
    result = work(output)
    report = {
        "stage": name,
        "fingerprint": identity,
        "inputs": json.loads(json.dumps(inputs, default=str)),
        "seconds": round(time.perf_counter() - start, 2),
        "peak_memory_mb": _peak_memory_mb(),
        **result,
    }
    write_json(output / REPORT, report)
    print(summary_line(report), flush=True)
    return report


def _peak_memory_mb() -> int:
    """Of this process; workers are not seen from here."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024  # KiB on Linux


def summary_line(report: Mapping[str, Any]) -> str:
    """One line: what went in, what came out, what was dropped and why, and the time."""
    parts = []
    for key in ("in", "out", "dropped"):
        if value := report.get(key):
            parts.append(f"{key}: {_words(value)}")
    return f"[{report['stage']}] {' | '.join(parts)} | {report['seconds']:.1f} s"


def fingerprint(inputs: Mapping[str, Any]) -> str:
    """SHA-256 over settings and the content behind every `Path`.

    A folder that is a finished stage counts by its own fingerprint; any other folder by the
    names, sizes and modification times below it, since hashing a whole pool of code would take
    longer than curating it.
    """
    digest = hashlib.sha256()
    for key in sorted(inputs):
        digest.update(f"{key}={_identity(inputs[key])}\n".encode())
    return digest.hexdigest()


def _identity(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + ",".join(_identity(item) for item in value) + "]"
    if not isinstance(value, Path):
        return repr(value)
    if mine := _stage_fingerprint(value):
        return mine
    if value.is_file():
        # The finished stage that wrote the file, if there is one, has already hashed its inputs.
        if theirs := _stage_fingerprint(value.parent):
            return f"{theirs}/{value.name}"
        with value.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    if value.is_dir():
        files = sorted(p for p in value.rglob("*") if p.is_file())
        rows = ((p.relative_to(value), p.stat().st_size, p.stat().st_mtime_ns) for p in files)
        return hashlib.sha256(repr(list(rows)).encode()).hexdigest()
    raise UserError(f"{value}: no such file or folder")


def _stage_fingerprint(folder: Path) -> str | None:
    """Of the finished stage that owns the folder; a report.json may also be somebody else's."""
    report = _read(folder / REPORT)
    return report.get("fingerprint") if isinstance(report, dict) else None


def _refuse_foreign_folder(output: Path, marker: Path) -> None:
    if output.exists() and not output.is_dir():
        raise UserError(f"--output={output} is a file; name a folder")
    if output.is_dir() and any(output.iterdir()) and not marker.exists():
        raise UserError(f"--output={output} holds other files; name a new or empty folder")


def write_json(path: Path, value: Any) -> None:
    """Writes JSON so that a reader sees either the old file or the whole new one."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(path)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except json.JSONDecodeError:
        print(f"warning: {path} is damaged; the stage runs again", file=sys.stderr)
        return None


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        inner = {
            k: f"({_words(v)})" if isinstance(v, Mapping) else _words(v) for k, v in value.items()
        }
        return ", ".join(f"{k} {v}" for k, v in inner.items())
    return f"{value:,}" if isinstance(value, int) else str(value)
