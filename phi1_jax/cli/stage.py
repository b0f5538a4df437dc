"""A pipeline stage: told apart by its inputs, reused while they are unchanged, and reported."""

import hashlib
import json
import resource
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import phi1_jax
from phi1_jax.errors import UserError
from phi1_jax.files import (
    BOOKKEEPING,
    file_sha256,
    lock_folder,
    read_json_if_whole,
    remove,
    write_json,
)
from phi1_jax.files import STAGE_MARKER as MARKER

REPORT = "report.json"
# Where a stage works, inside its folder: the last result stays until the new one is whole.
UNFINISHED = "unfinished"
_REMOVED = "removed.json"  # in UNFINISHED: the report of the result that is being replaced
_LOCK = ".lock"
_ABOUT = {REPORT, MARKER, _LOCK}
# In a stage's folder: the name and reason of everything in the corpus that was not read.
LEFT_OUT = "left_out.jsonl"
_NO_WORK = {MARKER, LEFT_OUT}


def run_stage(
    name: str,
    output: Path,
    inputs: Mapping[str, Any],
    work: Callable[[Path], dict[str, Any]],
    *,
    force: bool = False,
    keep_partial: bool = False,
    late: Collection[str] = (),
    flag: str = "output",
) -> dict[str, Any]:
    """Runs `work(folder)` unless `output` already holds its result for the same inputs.

    `folder` lies inside `output`. Once the work is done, what it wrote takes the place of the last
    result, the report last, so a folder with a report is a finished stage. A stage that was
    interrupted, or whose inputs changed, starts over. What else lies in `output` stays.

    Args:
      name: what the console calls the stage.
      output: the folder that the stage owns.
      inputs: settings, and `Path`s whose content counts (see `fingerprint`).
      work: does the stage and returns its counts, JSON-serialisable; by habit `in`, `out` and
        `dropped` (reason -> count).
      force: redo a finished stage.
      keep_partial: leave what an interrupted run of the same inputs wrote; `work` resumes from it.
      late: names of settings that `work` reads only at its end; unfinished work that was begun with
        other values of them is kept too.
      flag: the flag that named `output`, for messages.
    Returns:
      The report: `stage`, `fingerprint`, `inputs`, `seconds`, `peak_memory_mb` (of this process)
      and what `work` returned.
    Raises:
      UserError: `check_output` refuses the folder, it cannot be made, it holds the result or the
        unfinished work of other settings, or another process writes there.
    """
    check_output(name, output, inputs, flag)
    identity = _fingerprint(name, inputs)

    def finished() -> dict[str, Any] | None:
        last = read_json_if_whole(output / REPORT)
        if force or last.get("fingerprint") != identity:
            return None
        print(f"[{name}] unchanged, reused ({last['seconds']:.1f} s when it ran)", flush=True)
        return last

    if report := finished():
        return report
    folder = output / UNFINISHED
    with lock_folder(output, _LOCK, flag):
        if not (output / MARKER).exists():
            write_json(output / MARKER, {"stage": name})
        if (folder / REPORT).exists():
            _replace_last(output)  # it was killed as it did so
        if report := finished():
            return report
        settings = json.loads(json.dumps(inputs, default=str))
        if last := read_json_if_whole(output / REPORT):
            # The same command on files that have changed replaces its result; another does not.
            if (differ := _differing(last.get("inputs"), settings)) and not force:
                raise UserError(
                    f"--{flag}={output} holds the result of other settings ({differ}); name"
                    " another folder, or replace it with --force"
                )
            print(f"[{name}] replaces the result in {output} when it is done", flush=True)
        begun = read_json_if_whole(folder / MARKER)
        early = {key: value for key, value in inputs.items() if key not in late}
        begun_as = _fingerprint(name, early) if late else identity
        if not keep_partial or begun.get("fingerprint") != begun_as:
            # A run that ended at a wrong column, say, has left nothing to lose.
            has_work = any(p.is_file() and p.name not in _NO_WORK for p in folder.rglob("*"))
            if keep_partial and has_work and "inputs" in begun:
                differ = _differing(begun["inputs"], settings, late)
                if differ and not force:
                    raise UserError(
                        f"--{flag}={output} holds the unfinished work of other settings ({differ});"
                        " give these to go on with it, name another folder, or drop it with --force"
                    )
                print(f"[{name}] inputs changed: drops the unfinished work in {folder}", flush=True)
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(exist_ok=True)
        write_json(folder / MARKER, {"stage": name, "fingerprint": begun_as, "inputs": settings})
        start = time.perf_counter()
        result = work(folder)
        report = {
            "stage": name,
            "fingerprint": identity,
            "inputs": settings,
            "seconds": round(time.perf_counter() - start, 2),
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,  # of KiB
            **result,
        }
        files = sorted(path.name for path in folder.iterdir() if path.name != MARKER)
        write_json(folder / MARKER, {"stage": name, "files": files})
        write_json(folder / REPORT, report)
        _replace_last(output)
    print(summary_line(report), flush=True)
    return report


def check_output(name: str, output: Path, reads: Any, flag: str = "output") -> None:
    """Refuses a folder that stage `name` must not replace.

    Args:
      reads: the stage's inputs; every `Path` in them counts.
    Raises:
      UserError: `output` is a file, holds the result of another stage or anything else, or is,
        holds or lies in what the stage reads.
    """
    if output.exists() and not output.is_dir():
        raise UserError(f"--{flag}={output} is a file; name a folder")
    own = output.resolve()
    for path in _paths(reads):
        theirs = path.resolve()
        if own == theirs or own in theirs.parents or theirs in own.parents:
            raise UserError(
                f"--{flag}={output}: is, holds or lies in {path}, which is read; name another one"
            )
    # A run that was killed as it made the folder leaves the marker's temporary file alone.
    litter = {MARKER + ".tmp", _LOCK}
    if output.is_dir() and {path.name for path in output.iterdir()} - litter:
        owner = read_json_if_whole(output / MARKER).get("stage")
        if owner is None:
            raise UserError(f"--{flag}={output} holds other files; name a new or empty folder")
        if owner != name:
            raise UserError(f"--{flag}={output} is that of stage {owner!r}; name another folder")


def _paths(value: Any) -> Iterator[Path]:
    if isinstance(value, Path):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _paths(item)


def _replace_last(output: Path) -> None:
    """Removes what the last result wrote, by its marker, and puts the finished one in its place."""
    folder = output / UNFINISHED
    if (output / REPORT).exists():
        (output / REPORT).replace(folder / _REMOVED)  # what is left is not a finished stage
    if (folder / _REMOVED).exists():
        ours = {UNFINISHED, MARKER, _LOCK}
        everything = [path.name for path in output.iterdir() if path.name not in ours]
        for name in read_json_if_whole(output / MARKER).get("files", everything):
            remove(output / name)
        (folder / _REMOVED).unlink()
    for path in sorted(folder.iterdir(), key=lambda path: path.name == REPORT):
        target = output / path.name
        if path.is_dir() or target.is_dir():  # a file takes another's place at once
            remove(target)
        path.replace(target)
    folder.rmdir()


def _differing(old: Any, new: dict[str, Any], besides: Collection[str] = ()) -> str:
    """The first setting that differs, in words; empty if none does."""
    old = old if isinstance(old, dict) else {}
    for name in sorted((old.keys() | new.keys()).difference(besides)):
        if old.get(name) != new.get(name):
            return f"{name} was {json.dumps(old.get(name), ensure_ascii=False)[:60]}"
    return ""


def summary_line(report: Mapping[str, Any]) -> str:
    """One line: what went in, what came out, what was dropped and why, and the time."""
    told = [key for key in ("in", "out", "dropped", "left_out") if report.get(key)]
    parts = " | ".join(f"{key}: {_words(report[key])}" for key in told)
    return f"[{report['stage']}] {parts} | {report['seconds']:.1f} s"


def _fingerprint(name: str, inputs: Mapping[str, Any]) -> str:
    """Of a stage and what it reads; another version of the package does it anew."""
    return fingerprint({"version": phi1_jax.__version__, "stage": name, **inputs})


def fingerprint(inputs: Mapping[str, Any]) -> str:
    """SHA-256 over settings and the content behind every `Path`, and its name without its folder.

    A finished stage, and a file of one, counts by the fingerprint in its report as long as nothing
    was changed since, and by the names and sizes of its files; any other file by its bytes, any
    other folder by the names, sizes and modification times below it (not those of Git and Python's
    caches), since hashing a whole pool of code would take longer than curating it.
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
    if value.is_file():
        # The finished stage that wrote the file, if there is one, has already hashed its inputs.
        if theirs := _stage_fingerprint(value.parent, [value]):
            return f"{theirs}/{value.name}/{value.stat().st_size}"
        return f"{value.name}/{file_sha256(value)}"  # sources and outputs are named after it
    if value.is_dir():
        files = sorted(
            p
            for p in value.rglob("*")
            if p.is_file() and not any(n in BOOKKEEPING for n in p.relative_to(value).parts)
        )
        if mine := _stage_fingerprint(value, files):
            # Not what a rerun that changes nothing else rewrites: its report tells the seconds.
            kept = (p for p in _own(value, files) if p.parent != value or p.name not in _ABOUT)
            return f"{mine}/{[(str(p.relative_to(value)), p.stat().st_size) for p in kept]}"
        rows = ((p.relative_to(value), p.stat().st_size, p.stat().st_mtime_ns) for p in files)
        return hashlib.sha256(repr([value.resolve().name, *rows]).encode()).hexdigest()
    raise UserError(f"{value}: no such file or folder")


def _stage_fingerprint(folder: Path, files: Iterable[Path]) -> str | None:
    """Of the finished stage that owns the folder, if none of its files is newer than its report.

    A report.json may also come from another program.
    """
    report = read_json_if_whole(folder / REPORT)
    if "fingerprint" not in report:
        return None
    done = (folder / REPORT).stat().st_mtime_ns
    changed = any(path.stat().st_mtime_ns > done for path in _own(folder, files))
    return None if changed else report["fingerprint"]


def _own(folder: Path, files: Iterable[Path]) -> Iterator[Path]:
    """Those of a stage's files that are not of a rerun under way."""
    return (path for path in files if folder / UNFINISHED not in path.parents)


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        groups = {k: f"({_words(v)})" for k, v in value.items() if isinstance(v, Mapping)}
        return ", ".join(f"{k} {groups.get(k) or _words(v)}" for k, v in value.items())
    return f"{value:,}" if isinstance(value, int) else str(value)
