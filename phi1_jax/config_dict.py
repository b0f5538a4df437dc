"""Dataclasses from nested plain values, as a config file gives them, and back."""

import dataclasses
import runpy
import sys
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from phi1_jax.config import RunConfig
from phi1_jax.errors import REPOSITORY, UserError, did_you_mean

T = TypeVar("T")


def from_dict(kind: type[T], values: Mapping[str, Any], prefix: str = "") -> T:
    """Builds the dataclass `kind` from nested plain values, as a config file gives them.

    Raises:
      UserError: an unknown or missing field, or a value of another type; names the field.
    """
    hints = typing.get_type_hints(kind)
    unknown = sorted(set(values) - set(hints))
    if unknown:
        raise UserError(
            f"config field {prefix}{unknown[0]} does not exist; the fields are {', '.join(hints)}"
            f"{did_you_mean(unknown[0], hints)}"
        )
    try:
        return kind(**{k: _convert(hints[k], v, prefix + k) for k, v in values.items()})
    except TypeError as error:  # a field without a default is absent
        raise UserError(f"config field {prefix.rstrip('.')}: {error}") from error


def load_config(path: Path | str, changes: Mapping[str, Any] | None = None) -> RunConfig:
    """The settings that a file of `configs/` returns, for use from Python.

    Args:
      path: a Python file with `get_config()`, also without its .py, or a config of this project by
        name: phi1_tiny.
      changes: dotted field -> value, such as {"optimizer.peak_learning_rate": 1e-3}, or groups of
        them, {"optimizer": {"peak_learning_rate": 1e-3}}; other fields stay.
    Raises:
      UserError: no such file or function, or a field that does not exist or cannot have its value.
    """
    path = Path(path)
    if not path.is_file():
        path = find_config(str(path))
    sys.path.insert(0, str(path.resolve().parent.parent))  # configs build on each other
    try:
        found = runpy.run_path(str(path))
    finally:
        del sys.path[0]
    if "get_config" not in found:
        raise UserError(f"{path} has no get_config()")
    config = found["get_config"]()
    values = config if isinstance(config, dict) else config.to_dict()
    for name, value in flatten(changes or {}).items():
        *groups, field = name.split(".")
        group = values
        for part in groups:
            group = group.setdefault(part, {})
            if not isinstance(group, dict):
                raise UserError(f"config field {name}: {part} is a value, not a group of fields")
        group[field] = value
    return from_dict(RunConfig, values)


def find_config(name: str) -> Path:
    """The file of a config: phi1_tiny, or configs/phi1_tiny.py from elsewhere.

    The user's own phi1_tiny.py in the working folder comes before this project's.

    Raises:
      UserError: there is none of that name.
    """
    stem = name.removesuffix(".py")
    for path in (Path(f"{stem}.py"), REPOSITORY / name, REPOSITORY / "configs" / f"{stem}.py"):
        if path.is_file():
            return path
    near = did_you_mean(Path(name).stem, [p.stem for p in REPOSITORY.glob("configs/[a-z]*.py")])
    raise UserError(f"{name}: no such file in {Path.cwd()}, nor a config of that name{near}")


def to_dict(config: Any) -> dict[str, Any]:
    """The inverse of `from_dict`, ready for JSON."""
    return dataclasses.asdict(config)


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested groups as one level: {"model": {"d_model": 8}} becomes {"model.d_model": 8}."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        nested = isinstance(value, Mapping)
        flat |= flatten(value, f"{prefix}{key}.") if nested else {prefix + key: value}
    return flat


def _convert(hint: Any, value: Any, name: str) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if hasattr(value, "to_dict"):  # a ConfigDict in a list, which its own to_dict leaves
            value = value.to_dict()
        if not isinstance(value, Mapping):
            raise UserError(f"config field {name}={value!r} must be a group of fields")
        return from_dict(hint, value, f"{name}.")
    origin = typing.get_origin(hint)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise UserError(f"config field {name}={value!r} must be a list")
        item = typing.get_args(hint)[0]
        return tuple(_convert(item, v, f"{name}[{i}]") for i, v in enumerate(value))
    if origin is Literal:
        choices = typing.get_args(hint)
        if value not in choices:
            raise UserError(f"config field {name}={value!r} must be one of {', '.join(choices)}")
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        expected = hint.__name__ if not isinstance(hint, types.UnionType) else str(hint)
        raise UserError(f"config field {name}={value!r} must be of type {expected}")
    return value
