"""EvalPlus's files (HumanEval+, MBPP+): many inputs, compared with what the reference returns.

Liu et al. 2023, arXiv 2305.01210. Its `contract` (what inputs are allowed) is not needed, since
no input is made here; base and added inputs count together, as in its "plus" score. A value
that is not equal to the reference's must be of the same type and near it as an array, and counts
only where EvalPlus forgives it: the row has an `atol`, or a float, or a flat list or tuple of
floats, is wanted, or was before.

Stricter than EvalPlus on four tasks of MBPP+ (164, 295, 558, 581), where it accepts a second
reading of the task, and where numpy would broadcast arrays of unequal shapes. More lenient where
the reference gives NaN: another NaN is right, as in EvalPlus's first versions, or nothing could be.
"""

import ast
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from phi1_jax.corpus.syntax import UNPARSABLE, parse_quietly

# MBPP+ tasks whose answer is any order, or any value that is not None, as in EvalPlus itself.
_AS_SETS = (
    "similar_elements", "find_char_long", "common_in_nested_lists", "extract_singly",
    "larg_nnum", "intersection_array", "find_dissimilar", "Diff",
)  # fmt: skip
_AS_FOUND_OR_NOT = ("check_str", "text_match_three", "text_starta_endb")


def examiner_of(row: Mapping[str, Any], reference: str) -> str:
    """The tests of one EvalPlus row as a program that calls `remote(entry_point)`.

    Args:
      row: with `entry_point`, `base_input`, `plus_input`, `atol` and, in MBPP+, `assertion`.
      reference: a whole program.
    Raises:
      KeyError, TypeError, ValueError: a key is missing, or is not what EvalPlus writes.
    """
    entry, atol = row["entry_point"], float(row["atol"])
    inputs = [list(row["base_input"]), list(row["plus_input"])]
    pattern = _first_call(str(row.get("assertion", "")), entry)
    if entry == "find_zero":  # HumanEval/32: any zero will do
        right = "abs(space['poly'](given[0], got)) <= atol"
    elif entry in _AS_SETS:
        right = "set(got) == set(wanted) or near(got, wanted)"
    elif entry in _AS_FOUND_OR_NOT:
        right = "found(got) == found(wanted) or near(got, wanted)"
    else:
        right = "got == wanted or near(got, wanted)"
    # JSON has no tuple, set or complex: inputs are cast to the types of the first assertion's.
    return _EXAMINER.format(
        reference=reference, entry=entry, inputs=json.dumps(inputs), pattern=pattern,
        atol=atol, right=right,
    )  # fmt: skip


def _first_call(assertion: str, entry: str) -> Sequence[Any] | None:
    """The literal arguments of the first call of `entry`."""
    with suppress(*UNPARSABLE):
        for node in ast.walk(parse_quietly(assertion)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", None) == entry:
                return [ast.literal_eval(argument) for argument in node.args]
    return None


_EXAMINER = """\
import copy, json
candidate = remote({entry!r})
space = {{"__name__": "reference"}}
exec({reference!r}, space)

def cast(value, like):
    if isinstance(like, complex) and isinstance(value, str):
        return complex(value)
    if isinstance(like, dict) and isinstance(value, dict):
        inner = next(iter(like.values()), None)
        return {{k: cast(v, inner) for k, v in value.items()}}
    if isinstance(like, (list, tuple, set)) and isinstance(value, list):
        inner = [x for x in like if isinstance(x, (list, tuple, set, dict, complex))]
        items = [cast(v, inner[0]) if inner else v for v in value]
        return items if isinstance(like, list) else type(like)(items)
    return value

def found(value):
    return value if isinstance(value, bool) else value is not None

def floats(value):
    flat = value if isinstance(value, (list, tuple)) else [value]
    return bool(flat) and all(isinstance(x, float) for x in flat)

def array(value):  # its shape and numbers; None if it is ragged or holds anything else
    if not isinstance(value, (list, tuple)):
        return ((), [value]) if isinstance(value, (int, float, complex)) else None
    rows = [array(x) for x in value]
    if None in rows or len({{shape for shape, _ in rows}}) > 1:
        return None
    return (len(rows), *(rows[0][0] if rows else ())), [x for _, row in rows for x in row]

def close(x, y):
    return x == y or abs(x - y) <= atol + 1e-7 * abs(y) or x != x and y != y

def near(got, wanted):
    a, b = array(got), array(wanted)
    alike = atol and type(got) is type(wanted) and a and b and a[0] == b[0]
    return alike and all(map(close, a[1], b[1]))

pattern = {pattern!r}
for group in json.loads({inputs!r}):
    atol = {atol}
    for given in group:
        if pattern and len(pattern) == len(given):
            given = [cast(value, like) for value, like in zip(given, pattern)]
        wanted = space[{entry!r}](*copy.deepcopy(given))
        got = candidate(*given)
        if floats(wanted):
            atol = atol or 1e-6
        assert {right}, f"{entry}(*{{given!r:.300}}) gave {{got!r:.300}}, not {{wanted!r:.300}}"
"""
