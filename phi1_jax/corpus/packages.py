"""Files of packages: wheels of the Python package index and Debian packages, never installed.

A package is fetched once, by `pip download` or `apt-get download`, and unpacked into the cache;
nothing of it is run. Of the index only wheels are read: to download a source archive, pip would run
its setup.
"""

import email
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from phi1_jax.errors import UserError
from phi1_jax.files import (
    OF_THE_SYSTEM,
    cache_folder,
    make_cache_folder,
    read_json_if_whole,
    write_json,
)

_MAX_BYTES = 1 << 30  # unpacked
_PIP = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--retries=1"]
_PIP += ["--no-input"]  # an index that wants a password would ask for it where nobody sees it
_UNREACHABLE = re.compile(r"retrying|resolv|connection|proxy|timed? ?out|ssl", re.I)


@dataclass(frozen=True)
class Package:
    """An unpacked package.

    Attributes:
      name: e.g. "pip:toolz==1.2.0".
      folder: its files.
      licence: as the package's metadata states it.
      sha256: of the archive that was unpacked.
    """

    name: str
    folder: Path
    licence: str
    sha256: str


def fetch_package(name: str, sha256: str = "") -> Package:
    """Fetches `pip:NAME==VERSION` or `apt:NAME`, or finds it in the cache.

    Args:
      sha256: what the archive must have; "" takes any.
    Raises:
      UserError: a name without a version, an index that cannot be reached or has no such wheel,
        another checksum, or an archive that is damaged or writes outside its folder.
    """
    kind, _, spec = name.partition(":")
    patterns = {"pip": r"[A-Za-z0-9][\w.-]*==[\w.+!-]+", "apt": r"[a-z0-9][a-z0-9.+-]+"}
    if kind not in patterns or not re.fullmatch(patterns[kind], spec, re.ASCII):
        example = "apt:python3.11-doc" if kind == "apt" else "pip:toolz==1.2.0"
        raise UserError(f"--source={name}: give one version, such as {example}")
    cache = cache_folder() / "packages"
    record, target = cache / f"{kind}-{spec}.json", cache / f"{kind}-{spec}"
    if (found := read_json_if_whole(record)) and target.is_dir():
        package = Package(**{**found, "folder": target})  # the cache may have moved since
    else:
        make_cache_folder(cache)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            package = _fetch(name, spec, target, Path(folder))
        write_json(record, {**asdict(package), "folder": target.name})
    if sha256 and package.sha256 != sha256:
        raise UserError(
            f"--source={name}: its archive has SHA-256 {package.sha256}, not {sha256}; delete "
            f"{record} to fetch it again"
        )
    return package


def _fetch(name: str, spec: str, target: Path, folder: Path) -> Package:
    is_wheel = name.startswith("pip:")
    command = [*_PIP, f"--dest={folder}", spec] if is_wheel else ["apt-get", "download", spec]
    if not is_wheel and not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise UserError(
            f"--source={name}: there is no apt-get and dpkg-deb here; on a Debian machine download "
            "and unpack it (dpkg-deb -x), and give the folder as --source=prose:NAME=PATH"
        )
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    archives = [path for path in folder.iterdir() if path.suffix in (".whl", ".deb")]
    if done.returncode or not archives:
        raise _not_fetched(name, done.stderr)
    data = archives[0].read_bytes()
    files = folder / "files"
    if is_wheel:
        licence = _unpack_wheel(name, archives[0], files)
    else:
        subprocess.run(["dpkg-deb", "-x", archives[0], files], check=True)
        licence = "see its copyright file"
    shutil.rmtree(target, ignore_errors=True)
    files.replace(target)
    return Package(name, target, licence, hashlib.sha256(data).hexdigest())


def _not_fetched(name: str, output: str) -> UserError:
    last = ([line for line in output.splitlines() if line.strip()] or ["no answer"])[-1]
    if "No module named pip" in output:
        why = "this environment has no pip; run: python -m ensurepip"
    elif _UNREACHABLE.search(output):
        why = (
            "the package index cannot be reached; run it again with a network, which is needed once"
        )
    elif name.startswith("pip:"):
        why = (
            "the package index has no wheel of this version for this Python (source archives are "
            "not read: pip would run their setup); unpack one yourself and give its folder"
        )
    else:
        why = "run apt-get update, or name the package of this release (apt-cache search)"
    return UserError(f"--source={name}: {why} ({last.strip()[:200]})")


def _unpack_wheel(name: str, wheel: Path, folder: Path) -> str:
    """Writes the regular files of a wheel below `folder`; returns the licence it states."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = [info for info in archive.infolist() if not info.is_dir()]
            if sum(info.file_size for info in members) > _MAX_BYTES:
                raise UserError(f"--source={name}: unpacks to more than {_MAX_BYTES:,} bytes")
            for info in members:
                path = PurePosixPath(info.filename)
                if path.is_absolute() or ".." in path.parts or "\\" in info.filename:
                    raise UserError(f"--source={name}: holds {info.filename!r}, outside its folder")
            archive.extractall(folder, members)  # a link becomes a file that names its end
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        if getattr(error, "errno", None) in OF_THE_SYSTEM:
            raise
        raise UserError(f"--source={name}: not a whole wheel: {error}") from error
    metadata = next(folder.glob("*.dist-info/METADATA"), None)
    return _licence(metadata.read_bytes()) if metadata else "unknown"


def _licence(metadata: bytes) -> str:
    """What a package's METADATA says: an SPDX expression, a classifier, or words."""
    headers = email.message_from_bytes(metadata)
    for value in (headers["License-Expression"], headers["License"]):
        if value and "\n" not in value and len(value) < 100:
            return str(value)
    classifiers = [c for c in headers.get_all("Classifier") or () if c.startswith("License ::")]
    return classifiers[0].rpartition(" :: ")[2] if classifiers else "unknown"
