"""Bounds of a dataclass's fields, said where the field is."""

import math
import numbers
import operator
from dataclasses import field, fields
from typing import Any

from phi1_jax.errors import UserError

_WORDS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}


def bounded(default: float, **bounds: float) -> Any:
    """A field of numbers within `bounds`: gt, ge, lt, le; lt=math.inf asks for a finite one."""
    return field(default=default, metadata=bounds)


def check_bounds(settings: Any, prefix: str = "") -> None:
    """Stops at a field outside its bounds; NaN and what is no number are outside of any.

    Args:
      prefix: stands before the field's name in the message.
    """
    for known in fields(settings):
        value, bounds = getattr(settings, known.name), known.metadata
        fits = not bounds or isinstance(value, numbers.Real)
        if not fits or not all(getattr(operator, k)(value, bound) for k, bound in bounds.items()):
            allowed = " and ".join(_in_words(*item) for item in bounds.items())
            raise UserError(f"{prefix}{known.name}={value!r} must be {allowed}")


def _in_words(kind: str, bound: float) -> str:
    return "finite" if bound == math.inf else f"{_WORDS[kind]} {bound:,}"
