"""What an untrusted program may read: the modules of the standard library, and what they link with.

Found by the interpreter that will run the programs, in a process of its own: its `sys.path` says
where the standard library lies and its loader names the shared libraries, so no system's layout is
assumed. Entries, never a `lib` folder: beside the standard library lie site-packages, and in them
benchmarks with their answers.
"""

import contextlib
import ctypes
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path

# Of no secrets, and the same for every user: the loader's cache, locales, time zones.
_SYSTEM = ("/etc/ld.so.cache", "/usr/lib/locale", "/usr/share/zoneinfo")
# ensurepip carries wheels, from which packages can be imported that are no part of the library.
_NAMES = sys.stdlib_module_names - {"ensurepip"} | {"__pycache__"}
_PACKAGES = ("site-packages", "dist-packages")


def main(path: Iterable[str]) -> None:
    """Prints `readable_paths(path)`, as JSON, for the host."""
    print(json.dumps(readable_paths(path)))


def readable_paths(path: Iterable[str]) -> list[str]:
    """The files and folders to be read, with all below them.

    Args:
      path: the interpreter's `sys.path` without `site`'s additions: a zip file, the folder of the
        standard library, `lib-dynload`.
    """
    entries = []
    for folder in map(Path, path):
        if folder.is_file():
            entries.append(folder)
        elif folder.is_dir():
            entries += [p for p in folder.iterdir() if _of_the_library(p.name) and p.exists()]
    extensions = [p for p in entries if p.suffix == ".so"]
    system = [p for p in map(Path, _SYSTEM) if p.exists()]
    return sorted({str(p) for p in [*entries, *system]} | _shared_libraries(extensions))


def _of_the_library(name: str) -> bool:
    return name.partition(".")[0] in _NAMES or name.startswith("_sysconfig")


class _Object(ctypes.Structure):
    """How struct dl_phdr_info begins."""

    _fields_ = (("address", ctypes.c_void_p), ("name", ctypes.c_char_p))


def _shared_libraries(extensions: Iterable[Path]) -> set[str]:
    """The interpreter's own and its extension modules', by the names under which they are found."""
    for extension in extensions:
        with contextlib.suppress(OSError):  # tkinter's, say, without the libraries of a screen
            ctypes.CDLL(str(extension))
    found = set()

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(_Object), ctypes.c_size_t, ctypes.c_void_p)
    def note(entry, _size, _data):  # type: ignore[no-untyped-def]
        found.add(os.fsdecode(entry.contents.name or b""))
        return 0

    ctypes.CDLL(None).dl_iterate_phdr(note, None)
    paths = {os.path.normpath(p) for p in found}
    return {p for p in paths if p.startswith("/") and Path(p).is_file()}  # the vDSO is not a file


def hidden_files(readable: Iterable[str]) -> list[str]:
    """One file of each folder of packages near what is readable or on `sys.path`, and of this one.

    None of them may be read; the sandbox's opening tries them all.
    """
    near = {parent for p in readable for parent in Path(p).parents}
    folders = {Path(p) for p in sys.path if Path(p).name in _PACKAGES}
    for parent in near:
        folders |= {parent / name for name in _PACKAGES}
        folders |= {p for name in _PACKAGES for p in parent.glob(f"python*/{name}")}
    package = Path(__file__).resolve().parents[1]
    folders |= {package / "evaluate", package / "unconventional"}
    firsts = (next((p for p in f.rglob("*") if p.is_file()), None) for f in sorted(folders))
    return [str(p) for p in firsts if p]
