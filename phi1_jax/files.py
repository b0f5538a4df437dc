"""Files that are whole or not there, locks, and copies of folders."""

import errno
import fcntl
import filecmp
import hashlib
import json
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from phi1_jax.errors import REPOSITORY, UserError

# In the folder of every pipeline stage, finished or not; see cli/stage.py.
STAGE_MARKER = "stage.json"
NOT_THERE = (FileNotFoundError, NotADirectoryError)
# Numbers of errors that say nothing of what is in a file, so that none is told as damage: the disk
# is full, over a quota or a limit, read-only or broken; no permission; too many open files; a name
# that is too long.
OF_THE_SYSTEM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ESTALE}
OF_THE_SYSTEM |= {errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENAMETOOLONG}
# Folders beside what is read, which change while that does not.
BOOKKEEPING = (".git", "__pycache__")


def cache_folder() -> Path:
    """Where this project keeps what can be made or fetched again: in XDG_CACHE_HOME or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "phi1_jax"


def make_cache_folder(folder: Path) -> None:
    """Makes a folder of the cache.

    Raises:
      UserError: nothing can be written there, as in a home that is read-only.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be written: {error.strerror}; the variable XDG_CACHE_HOME names"
            " another place for what is cached"
        ) from None


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A file to write, which takes its name once it is whole; after an error it is gone."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # or a power cut may leave the new name with no content
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Writes JSON so that a reader sees either the old file or the whole new one."""
    with whole_file(path) as file:
        file.write((json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def remove(path: Path) -> None:
    """Deletes a file, a link or a whole folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def take_lock(file: IO[Any]) -> bool:
    """Takes a file's lock until it is closed; False if another process has it.

    The kernel takes it back however a process ends. Where the file system knows no locks, a warning
    says so, and it counts as taken.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        message = f"warning: {file.name} cannot be locked ({error}): start no second run there"
        print(message, file=sys.stderr)
    return True


@contextmanager
def lock_folder(folder: Path, name: str, flag: str, **who: str) -> Iterator[None]:
    """Makes a folder and keeps other processes from it, by a file that is there meanwhile.

    Args:
      name: of the file; it holds host and process, and `who`.
      flag: that named the folder, for messages.
    Raises:
      UserError: the folder cannot be written, or another process has it.
    """
    path = folder / name
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(path.open("a+", encoding="utf-8"))
            # Who has it removes it at the end: then this one has no name any more.
            if not take_lock(file) or not os.fstat(file.fileno()).st_nlink:
                found = read_json_if_whole(path)
                holder = ", ".join(f"{k} {found[k]}" for k in ("host", "pid", "job") if k in found)
                raise UserError(
                    f"--{flag}={folder}: another process writes there now ({holder or 'unknown'});"
                    " let it end, or name another folder"
                )
            stack.callback(path.unlink, missing_ok=True)
            file.truncate(0)
            file.write(json.dumps({"host": socket.gethostname(), "pid": os.getpid(), **who}))
            file.flush()
            os.fsync(file.fileno())
        except OSError as error:
            raise UserError(
                f"--{flag}={folder}: no folder can be made there: {error.strerror}"
            ) from error
        yield


def parse_json(text: str | bytes) -> Any:
    """What a text of JSON says.

    Raises:
      ValueError: it is not JSON, not UTF-8, or nested too deep.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None


def read_json(path: Path, keys: Sequence[str] = (), fix: str = "") -> dict[str, Any]:
    """A file of one JSON object.

    Args:
      keys: what the object must hold.
      fix: what to do where that is not so; the message ends with it.
    Raises:
      UserError: it is not there, not JSON (empty, torn, not UTF-8, too deep), no object, or one
        that lacks a key.
      OSError: it cannot be read, so nothing is known of its content.
    """
    fix = fix and f"; {fix}"
    try:
        values = parse_json(path.read_text(encoding="utf-8"))
    except (*NOT_THERE, IsADirectoryError) as error:
        raise UserError(f"{path}: no such file{fix}") from error
    except ValueError as error:
        raise UserError(f"{path} is damaged: not JSON ({error}){fix}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} is damaged: not a JSON object{fix}")
    if missing := [key for key in keys if key not in values]:
        raise UserError(f"{path} is damaged: it has no {missing[0]!r}{fix}")
    return values


def read_json_if_whole(path: Path) -> dict[str, Any]:
    """The same, or {}: of a file that is damaged a warning says so."""
    if not path.is_file():
        return {}
    try:
        return read_json(path)
    except UserError as error:
        print(f"warning: {error}; it is taken as missing", file=sys.stderr)
        return {}


def find_model(place: Path | str) -> Path:
    """The path as it is; of `models/phi1_tiny`, which comes along, from any working directory."""
    path = Path(place)
    comes_along = path.parts[:1] == ("models",) and not path.exists()
    return REPOSITORY / path if comes_along else path


def is_hugging_face(folder: Path) -> bool:
    """Whether its config.json is one of transformers, in the current or the older layout."""
    config = read_json_if_whole(folder / "config.json")
    return "architectures" in config or "n_embd" in config


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def copy_folder(source: Path, target: Path) -> None:
    """Copies the files of a folder with ordinary modes, over older ones.

    shutil.copytree would copy the modes too: the copy of a read-only folder could not be copied
    over again, nor deleted.
    """
    for parent, _, names in os.walk(source, followlinks=True):
        folder = target / Path(parent).relative_to(source)
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            theirs, ours = Path(parent, name), folder / name
            if not ours.is_file() or not filecmp.cmp(theirs, ours, shallow=False):
                ours.unlink(missing_ok=True)
                shutil.copyfile(theirs, ours)
