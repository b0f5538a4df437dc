"""safetensors files, one tensor at a time.

The format: the length of a JSON header (8 bytes, little-endian), the header, then the data, each
tensor in C order. The library of that name wants all tensors in memory to write a file, and takes
the bytes of arrays that are not in C order as they lie; a 1.3B model is better streamed.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import ml_dtypes
import numpy as np

from phi1_jax.errors import UserError
from phi1_jax.files import write_json

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
DTYPES = {
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


class Stored(NamedTuple):
    """Where a tensor lies in a file."""

    file: Path
    offset: int
    dtype: np.dtype
    shape: tuple[int, ...]

    def read(self) -> np.ndarray:
        with self.file.open("rb") as file:
            file.seek(self.offset)
            return np.fromfile(file, self.dtype, int(np.prod(self.shape))).reshape(self.shape)


class Tensor(NamedTuple):
    """A tensor to write; `make` gives its values when their turn comes."""

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    make: Callable[[], np.ndarray]

    @property
    def n_bytes(self) -> int:
        return self.dtype.itemsize * int(np.prod(self.shape))


def find_tensors(folder: Path) -> dict[str, Stored]:
    """All tensors of a folder: of its single file, or of those that its index names.

    Raises:
      UserError: no such file, or a damaged one.
    """
    if (folder / SINGLE).exists():  # as transformers does, whatever an index beside it says
        files = [SINGLE]
    elif (folder / INDEX).exists():
        try:
            names = json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"]
            files = sorted(set(names.values()))
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise UserError(f"{folder / INDEX} is damaged; fetch it again") from error
    else:
        raise UserError(f"{folder} has neither {SINGLE} nor {INDEX}; other formats are not read")
    return {name: tensor for file in files for name, tensor in _read_header(folder / file)}


def _read_header(path: Path) -> Iterator[tuple[str, Stored]]:
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            size = path.stat().st_size
            if 8 + length > size:
                raise ValueError("the header is cut short")
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        found = []
        for name, entry in header.items():
            start, stop = entry["data_offsets"]
            shape, dtype = tuple(entry["shape"]), DTYPES.get(entry["dtype"])
            if dtype is None:
                raise UserError(
                    f"{path}: tensor {name} is of type {entry['dtype']}; only"
                    f" {', '.join(DTYPES)} are read"
                )
            if stop - start != dtype.itemsize * int(np.prod(shape)) or 8 + length + stop > size:
                raise ValueError(f"the data of {name} is cut short")
            found.append((name, Stored(path, 8 + length + start, dtype, shape)))
    except FileNotFoundError as error:
        raise UserError(f"{path}: the index names this file, which is not there") from error
    except UserError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is damaged ({error}); fetch it again") from error
    yield from found


def write_tensors(folder: Path, tensors: Sequence[Tensor], max_file_bytes: int) -> list[Path]:
    """Writes one file, or several with an index when there are more bytes than `max_file_bytes`.

    Returns:
      The files.
    """
    groups: list[list[Tensor]] = [[]]
    for tensor in tensors:
        if groups[-1] and sum(t.n_bytes for t in groups[-1]) + tensor.n_bytes > max_file_bytes:
            groups.append([])
        groups[-1].append(tensor)
    if len(groups) == 1:
        _write_file(folder / SINGLE, groups[0])
        return [folder / SINGLE]
    files, names = [], {}
    for number, group in enumerate(groups, 1):
        files.append(folder / f"model-{number:05}-of-{len(groups):05}.safetensors")
        _write_file(files[-1], group)
        names.update({tensor.name: files[-1].name for tensor in group})
    total = sum(tensor.n_bytes for tensor in tensors)
    write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": names})
    return files


def _write_file(path: Path, tensors: Sequence[Tensor]) -> None:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}  # transformers asks for it
    offset = 0
    for tensor in tensors:
        stop = offset + tensor.n_bytes
        entry = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape)}
        header[tensor.name] = {**entry, "data_offsets": [offset, stop]}
        offset = stop
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)  # the data begins at a multiple of 8
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for tensor in tensors:
            values = np.asarray(tensor.make(), tensor.dtype)
            if values.shape != tensor.shape:
                raise ValueError(f"{tensor.name} has shape {values.shape}, not {tensor.shape}")
            file.write(values.tobytes())  # in C order, however it lies in memory
