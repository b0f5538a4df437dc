"""Fetches the public benchmarks, and keeps a file only if it is the known one."""

import hashlib
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from phi1_jax.errors import UserError


@dataclass(frozen=True)
class PublicFile:
    """A file of somebody else's, fixed by its content."""

    url: str
    sha256: str
    licence: str


PUBLIC = {
    "humaneval": PublicFile(
        "https://github.com/openai/human-eval/raw/master/data/HumanEval.jsonl.gz",
        "b796127e635a67f93fb35c04f4cb03cf06f38c8072ee7cee8833d7bee06979ef",
        "MIT, OpenAI",
    ),
    "mbpp": PublicFile(
        "https://raw.githubusercontent.com/google-research/google-research/master/mbpp/mbpp.jsonl",
        "ccf64ceae9c5403bf50a044cb6d505bfd2a2963ee58338ba268fd65beab92a9f",
        "CC-BY-4.0, Google",
    ),
}


def download(name: str, folder: Path, timeout_s: float = 60.0) -> Path:
    """Returns the path of a benchmark's problems below `folder`, fetched unless it lies there.

    Raises:
      UserError: no network, or the file is not the known one; it says what to do by hand.
    """
    file = PUBLIC[name]
    path = folder / file.url.rpartition("/")[2]
    if path.exists():
        data = path.read_bytes()
    else:
        try:
            with urllib.request.urlopen(file.url, timeout=timeout_s) as response:
                data = response.read()
        except (OSError, urllib.error.URLError) as error:
            raise UserError(
                f"{file.url} cannot be fetched ({error}): fetch it on a machine with network and "
                f"name your copy with --problems=FILE"
            ) from None
    found = hashlib.sha256(data).hexdigest()
    if found != file.sha256:
        where = path if path.exists() else file.url
        raise UserError(
            f"{where} is not the {name} known here (sha256 {found}, not {file.sha256}); "
            "to use it all the same, name your copy with --problems=FILE"
        )
    folder.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        temporary = path.with_name(path.name + ".tmp")
        temporary.write_bytes(data)
        temporary.replace(path)
    return path
