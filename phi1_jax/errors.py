"""The one exception that means: the input is at fault, and here is what to do."""

import difflib
import re
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path

# What holds launch/ and configs/: in a wheel this folder (see setup.py), else the checkout.
INSTALLED = Path(__file__).resolve().parent / "_repository"
REPOSITORY = INSTALLED if INSTALLED.is_dir() else INSTALLED.parents[1]


class UserError(ValueError):
    """Bad input that the user can correct.

    The message is one line: it names the field, flag or file, gives the value at fault, and
    says what to do. Launch scripts print it without a traceback (see `phi1_jax.cli.script`).
    """


class AllProcessesError(UserError):
    """Raised by every process of a run at the same step: none of them waits for another."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: `; did you mean X?`, or nothing."""
    near = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {near[0]}?" if near else ""


def launch_command(script: str, *arguments: str) -> str:
    """A command that works as pasted: the interpreter and the folder of scripts as started here."""
    folder = Path(sys.argv[0]).parent
    if is_installed():
        words = ["phi1", script.removesuffix(".py")]
    else:
        folder = folder if folder.name == "launch" else Path("launch")
        words = [sys.orig_argv[0], str(folder / script)]
    return shlex.join([*(word.removeprefix(f"{Path.cwd()}/") for word in words), *arguments])


def is_installed() -> bool:
    """Whether the script that runs is a wheel's, whose user knows it as a command of `phi1`."""
    return Path(sys.argv[0]).resolve().parent.parent == INSTALLED


def as_commands(text: str) -> str:
    """A text for people, with `phi1 train` for launch/train.py, and configs by their names."""
    text = re.sub(r"(python )?\blaunch/([a-z]\w*)\.py", r"phi1 \2", text)
    return re.sub(r"\bconfigs/([a-z]\w*)\.py", r"\1", text)
