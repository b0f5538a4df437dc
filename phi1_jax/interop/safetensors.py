"""safetensors files of a folder: read a tensor at a time, written a file at a time."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from phi1_jax.errors import UserError
from phi1_jax.files import NOT_THERE, read_json, write_json

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
DTYPES = {
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
}


class Stored(NamedTuple):
    """A tensor in a file."""

    file: Path
    name: str
    dtype: np.dtype
    shape: tuple[int, ...]

    def read(self) -> np.ndarray:
        with _open(self.file) as file:
            return file.get_tensor(self.name)


def find_tensors(folder: Path) -> dict[str, Stored]:
    """All tensors of a folder: of its single file, or of those that its index names.

    Raises:
      UserError: no such file, a damaged one, or the library is not installed.
    """
    if (folder / SINGLE).exists():  # as transformers does, even if an index lies beside it
        files = [folder / SINGLE]
    elif (folder / INDEX).exists():
        index = read_json(folder / INDEX, ["weight_map"], "fetch it again")
        try:
            files = sorted({folder / name for name in index["weight_map"].values()})
        except (AttributeError, TypeError) as error:
            raise UserError(
                f"{folder / INDEX} is damaged: 'weight_map' names no files; fetch it again"
            ) from error
    else:
        raise UserError(f"{folder} has neither {SINGLE} nor {INDEX}; other formats are not read")
    found = {}
    for path in files:
        with _open(path) as file:
            for name in file.keys():  # noqa: SIM118 (it is not a dict)
                part = file.get_slice(name)
                if part.get_dtype() not in DTYPES:
                    raise UserError(
                        f"{path}: tensor {name} is of type {part.get_dtype()}; only"
                        f" {', '.join(DTYPES)} are read"
                    )
                dtype, shape = DTYPES[part.get_dtype()], tuple(part.get_shape())
                found[name] = Stored(path, name, dtype, shape)
    return found


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    library = _library()
    try:
        with path.open("rb") as raw:  # the library says of any file that it cannot open: not there
            if raw.read(24) == b"version https://git-lfs.":
                raise UserError(f"{path} is Git LFS's pointer to a file: get it, git lfs pull")
        with library.safe_open(path, "np") as file:
            yield file
    except NOT_THERE as error:
        raise UserError(f"{path}: the index names this file, which is not there") from error
    except library.SafetensorError as error:
        raise UserError(f"{path} is damaged ({error}); fetch it again") from error


def _library() -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise UserError("safetensors files need: pip install 'phi1_jax[hf]'") from error
    return safetensors


def write_tensors(
    folder: Path, sizes: Mapping[str, int], make: Callable[[str], np.ndarray], max_file_bytes: int
) -> None:
    """Writes one file, or several with an index when there are more bytes than `max_file_bytes`.

    Memory holds the tensors of one file at a time.

    Args:
      sizes: bytes of each tensor, by name.
      make: gives a tensor's values when their turn comes.
    """
    groups: list[list[str]] = [[]]
    for name, n_bytes in sizes.items():
        if groups[-1] and sum(sizes[each] for each in groups[-1]) + n_bytes > max_file_bytes:
            groups.append([])
        groups[-1].append(name)
    names = {}
    for number, group in enumerate(groups, 1):
        name = f"model-{number:05}-of-{len(groups):05}.safetensors" if len(groups) > 1 else SINGLE
        # safetensors 0.8 writes an array that is not in C order as it lies in memory, so wrongly.
        arrays = {tensor: np.require(make(tensor), None, ["C", "ENSUREARRAY"]) for tensor in group}
        file = folder / name
        file.touch()
        usual = file.stat().st_mode
        _library().numpy.save_file(arrays, file, {"format": "pt"})  # transformers asks
        file.chmod(usual)  # it may be the writer's alone after that
        names.update(dict.fromkeys(arrays, name))
    if len(groups) > 1:
        write_json(
            folder / INDEX, {"metadata": {"total_size": sum(sizes.values())}, "weight_map": names}
        )
