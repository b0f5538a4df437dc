"""Arrays by name in a file that is whole or not there."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from phi1_jax.errors import UserError
from phi1_jax.files import OF_THE_SYSTEM, whole_file


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes an .npz file so that a reader sees all of it or nothing."""
    with whole_file(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def read_arrays(path: Path, names: Sequence[str]) -> list[np.ndarray]:
    """The arrays of these names.

    Raises:
      UserError: the file is not there, torn, or lacks one of them.
      OSError: it cannot be read, so nothing is known of its content.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return [arrays[name] for name in names]
    except Exception as error:  # what zipfile raises for damaged bytes has no common type
        if isinstance(error, MemoryError) or getattr(error, "errno", None) in OF_THE_SYSTEM:
            raise
        raise UserError(f"{path}: missing, damaged, or without {', '.join(names)}") from error


def is_whole(path: Path, names: Sequence[str]) -> bool:
    """Whether the file is there and can be read; a damaged one is named, to be made again."""
    if not path.exists():
        return False
    try:
        read_arrays(path, names)
    except UserError:
        print(f"warning: {path} is damaged; it is made again", file=sys.stderr)
        return False
    return True
