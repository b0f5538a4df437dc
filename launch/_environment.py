"""Every script imports it before any package, to say in one line that these are not installed.

It parses in older Pythons too, as a system's own may be.
"""

import importlib.util
import sys
from pathlib import Path

# Module: its package.
REQUIRED = {
    "absl": "absl-py",
    "ml_collections": "ml-collections",
    "jax": "jax",
    "phi1_jax": "phi1_jax",
}


def problem() -> str:
    """What keeps this interpreter from running a script; empty if nothing does."""
    if sys.version_info < (3, 11):  # noqa: UP036 (it is another Python than the project asks for)
        return f"Python 3.11 or newer is needed, not {sys.version.split()[0]} of {sys.executable}"
    missing = [package for module, package in REQUIRED.items() if not _is_installed(module)]
    return f"{missing[0]} is not installed for {sys.executable}" if missing else ""


def _is_installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


if problem():
    python = Path(__file__).resolve().parent.parent / ".venv" / "bin" / "python"
    advice = f"use {python}" if python.exists() else "run `make quickstart`, which makes .venv"
    print(
        f"error: {problem()}: {advice}, or install it: pip install -e {python.parents[2]}",
        file=sys.stderr,
    )
    sys.exit(2)
