"""Flags that mirror a dataclass: a field's name, type, default and comment become a flag."""

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Generic, Literal, TypeVar

from absl import flags

from phi1_jax.errors import UserError

T = TypeVar("T")
flags.disclaim_key_flags()  # they belong to the script that calls us: its --help shows them
_DEFINE: dict[type, Any] = {
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    bool: flags.DEFINE_bool,
    str: flags.DEFINE_string,
}


class DataclassFlags(Generic[T]):
    """The flags for a dataclass; made where a script defines its other flags.

    PLAN = DataclassFlags(SamplingPlan)
    plan = PLAN.build()

    A field may be an int, float, bool, str, a Literal of strings, one of these or None, or a tuple
    of them (`--taus=1.0,0.9`, or the flag repeated). Its help is the comment behind or above it, or
    its line under `Attributes:`. The dataclass itself checks the values.

    Args:
      kind: the dataclass.
      only: the fields that get a flag, all by default; the others keep their defaults.
      names: field -> flag, where the names differ.
      optional: no flag has a default; `given` returns what was set, for `dataclasses.replace`.
    """

    def __init__(
        self,
        kind: type[T],
        only: Sequence[str] = (),
        *,
        names: Mapping[str, str] | None = None,
        optional: bool = False,
        flag_values: flags.FlagValues = flags.FLAGS,
    ) -> None:
        self._kind, self._values = kind, flag_values
        self._hints = {k: _without_none(v) for k, v in typing.get_type_hints(kind).items()}
        words = field_docs(kind)
        self.holders: dict[str, flags.FlagHolder] = {}
        for field in dataclasses.fields(kind):  # type: ignore[arg-type]
            if not only or field.name in only:
                self.holders[field.name] = _define(
                    (names or {}).get(field.name, field.name),
                    self._hints[field.name],
                    None if optional or field.default is dataclasses.MISSING else field.default,
                    words.get(field.name, f"{kind.__name__}.{field.name}."),
                    flag_values,
                )

    def build(self, **others: Any) -> T:
        """The dataclass that the flags describe; `others` are fields without a flag.

        Raises:
          UserError: a flag without a default is missing, or the dataclass refuses a value.
        """
        values = self.given() | others
        for field in dataclasses.fields(self._kind):  # type: ignore[arg-type]
            missing = field.default is dataclasses.MISSING and field.name not in values
            if missing and field.name in self.holders:
                flag = self._values[self.holders[field.name].name]
                raise UserError(f"--{flag.name} is missing: {flag.help}")
        try:
            return self._kind(**values)
        except UserError as error:
            name, equals, rest = str(error).partition("=")
            if not equals or name not in self.holders:
                raise
            # The dataclass names its field; the user knows the flag.
            raise UserError(f"--{self.holders[name].name}={rest}") from error

    def given(self) -> dict[str, Any]:
        """Field -> value, of the flags that were set or have a default."""
        return {
            name: _items(holder, self._hints[name])
            for name, holder in self.holders.items()
            if holder.value is not None
        }


def field_docs(kind: type) -> dict[str, str]:
    """What a dataclass's docstring and comments say of its fields, a sentence each."""
    attributes = (inspect.getdoc(kind) or "").partition("Attributes:\n")[2]
    found = {
        name: text
        for names, text in re.findall(r"^  ([\w, ]+): (.*(?:\n    .*)*)", attributes, re.M)
        for name in names.split(", ")
    }
    field = r"((?:^    # .*\n)*)^    (\w+): [^#\n]+(?:# (.*))?$"
    for above, name, behind in re.findall(field, inspect.getsource(kind), re.M):
        if text := behind or above.replace("# ", ""):
            found[name] = text
    words = {name: " ".join(text.split()) for name, text in found.items()}
    return {k: v[0].upper() + v[1:] + "." * (v[-1] not in ".!?") for k, v in words.items()}


def _define(
    name: str, hint: Any, default: Any, help: str, values: flags.FlagValues
) -> flags.FlagHolder:
    if typing.get_origin(hint) is Literal:
        return flags.DEFINE_enum(name, default, typing.get_args(hint), help, values)
    if typing.get_origin(hint) is tuple:
        text = None if default is None else [",".join(map(str, default))]
        return flags.DEFINE_multi_string(name, text, help, values)
    return _DEFINE[hint](name, default, help, flag_values=values)


def _items(holder: flags.FlagHolder, hint: Any) -> Any:
    """The flag's value; of a tuple, its items as numbers where they are numbers."""
    if typing.get_origin(hint) is not tuple:
        return holder.value
    kind, text = typing.get_args(hint)[0], ",".join(holder.value)
    try:
        return tuple(kind(item) for item in text.split(",") if item)
    except ValueError as error:
        raise UserError(f"--{holder.name}={text}: give {kind.__name__}s, as in 1,2") from error


def _without_none(hint: Any) -> Any:
    """X of `X | None`."""
    inner = typing.get_args(hint)
    return inner[0] if types.NoneType in inner else hint
