"""SHA-256 of a folder's files; transient read errors are retried."""

import os
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from absl import logging
from tqdm import tqdm

from phi1_jax.files import NOT_THERE, file_sha256

# A read that fails is tried again after so long each time.
RETRY_AFTER_S = (0.1, 1.0, 5.0)
# What operating systems and file servers leave in any folder that is opened: .DS_Store, ._*, .nfs*,
# .fuse_hidden*, .AppleDouble/ and many more. Of hidden files, a step has those of Zarr alone.
LITTER = re.compile(
    r"\.(?!z(array|attrs|group|metadata)$).*|(eh)?thumbs\.db|desktop\.ini|@eaDir|lost\+found",
    re.IGNORECASE,
)
T = TypeVar("T")


def hashes(folder: Path, progress: str = "") -> dict[str, str]:
    """Relative path -> SHA-256 in hex, of every file below; with a bar of that name, if any.

    Raises:
      OSError: something cannot be read, also when tried again.
    """
    files = retry_io(lambda: _files(folder))
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        digests = pool.map(lambda path: retry_io(lambda: file_sha256(path)), files)
        # No silent bar where none is asked for: it would take tqdm's lock in the committing thread.
        shown = tqdm(digests, progress, len(files), unit="file", delay=1) if progress else digests
        named = (path.relative_to(folder).as_posix() for path in files)
        return dict(zip(named, shown, strict=True))


def _files(folder: Path) -> list[Path]:
    """Every file but litter, in order. Unlike rglob, it skips no folder that it cannot read."""

    def fail(error: OSError) -> None:
        raise error

    found = []
    for parent, folders, files in os.walk(folder, onerror=fail, followlinks=True):
        folders[:] = (name for name in folders if not LITTER.fullmatch(name))
        found += [Path(parent, name) for name in files if not LITTER.fullmatch(name)]
    return sorted(found)


def names(folder: Path) -> list[str]:
    """What lies in a folder; nothing if there is none."""
    try:
        return retry_io(lambda: [path.name for path in folder.iterdir()])
    except NOT_THERE:
        return []


def retry_io(read: Callable[[], T]) -> T:
    """Reads, again if need be; what is not there, or a folder, is an answer and no failure."""
    for pause_s in RETRY_AFTER_S:
        try:
            return read()
        except (*NOT_THERE, IsADirectoryError):
            raise
        except OSError as error:
            logging.warning("%s; reading it again in %g s", error, pause_s)
            time.sleep(pause_s)
    return read()


def sync(path: Path) -> None:
    """Waits until a file or a folder's entries are on the disk: the commit file must come last."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
