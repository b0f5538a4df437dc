"""The one exception that means: the input is at fault, and here is what to do."""

import difflib
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path


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
    words = [
        sys.orig_argv[0],
        str((folder if folder.name == "launch" else Path("launch")) / script),
    ]
    return shlex.join([*(word.removeprefix(f"{Path.cwd()}/") for word in words), *arguments])
