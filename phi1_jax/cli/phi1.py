"""The command `phi1`: each script of launch/ by its name, `phi1 train` for launch/train.py."""

import ast
import os
import sys
from pathlib import Path

from phi1_jax import __version__
from phi1_jax.errors import REPOSITORY, as_commands, did_you_mean


def main() -> None:
    """Becomes the script that the first argument names, with the others as its own.

    The process is replaced, so flags, workers, signals and exit status are the script's.
    """
    scripts = {path.stem: path for path in sorted((REPOSITORY / "launch").glob("[a-z]*.py"))}
    name, *arguments = sys.argv[1:] or ["--help"]
    if name == "--version":
        print(__version__)
    elif name in ("--help", "-h", "help"):
        print(_help(scripts))
    elif (script := scripts.get(name.replace("-", "_"))) is None:
        hint = did_you_mean(name, scripts)
        print(f"error: no command {name!r}{hint} (phi1 --help lists them)", file=sys.stderr)
        sys.exit(2)
    else:
        os.execv(sys.executable, [sys.executable, str(script), *arguments])


def _help(scripts: dict[str, Path]) -> str:
    """Every command with the first line of its script's docstring."""
    first = {
        name: (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").partition("\n")[0]
        for name, path in scripts.items()
    }
    lines = [f"  {name:19} {as_commands(line)}" for name, line in first.items()]
    usage = "usage: phi1 COMMAND [--flag=value ...]; phi1 COMMAND --help has examples and flags"
    return "\n".join([usage, "", *lines])
