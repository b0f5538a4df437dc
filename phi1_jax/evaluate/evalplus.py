"""EvalPlus's files (HumanEval+, MBPP+): many inputs, compared with what the reference returns.

Liu et al. 2023, arXiv 2305.01210. Its `contract` (what inputs are allowed) is not needed, since
no input is made here; base and added inputs count together, as in its "plus" score. Stricter than
EvalPlus on four tasks of MBPP+ (164, 295, 558, 581), where it accepts a second reading of the task.
"""

import ast
import json
from collections.abc import Mapping, Sequence
from typing import Any

from phi1_jax.errors import UserError

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
      UserError: a key is missing, or is not what EvalPlus writes.
    """
    try:
        entry, atol = str(row["entry_point"]), float(row["atol"])
        inputs = [*row["base_input"], *row["plus_input"]]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{row.get('task_id')}: not EvalPlus's format ({error!r})") from None
    pattern = _first_call(str(row.get("assertion", "")), entry)
    if entry == "find_zero":  # HumanEval/32: any zero will do
        same = "abs(space['poly'](given[0], got)) <= 1e-4"
    elif entry in _AS_SETS:
        same = "set(got) == set(wanted)"
    elif entry in _AS_FOUND_OR_NOT:
        same = "found(got) == found(wanted)"
    else:
        same = "close(got, wanted)"
    # JSON has no tuple, set or complex: inputs are cast to the types of the first assertion's.
    return _EXAMINER.format(
        reference=reference, entry=entry, inputs=json.dumps(inputs), pattern=pattern,
        atol=atol or 1e-6, same=same,
    )  # fmt: skip


def _first_call(assertion: str, entry: str) -> Sequence[Any] | None:
    """The literal arguments of the first call of `entry`."""
    try:
        calls = (n for n in ast.walk(ast.parse(assertion)) if isinstance(n, ast.Call))
        for call in calls:
            if isinstance(call.func, ast.Name) and call.func.id == entry:
                return [ast.literal_eval(argument) for argument in call.args]
    except (SyntaxError, ValueError):
        pass
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

def close(got, wanted):
    if got == wanted:
        return True
    if isinstance(wanted, (list, tuple)) and isinstance(got, (list, tuple)):
        return len(got) == len(wanted) and all(map(close, got, wanted))
    if isinstance(wanted, float) and isinstance(got, (int, float)):
        return abs(got - wanted) <= {atol} + 1e-7 * abs(wanted) or got != got and wanted != wanted
    return False

pattern = {pattern!r}
for given in json.loads({inputs!r}):
    if pattern and len(pattern) == len(given):
        given = [cast(value, like) for value, like in zip(given, pattern)]
    wanted = space[{entry!r}](*copy.deepcopy(given))
    got = candidate(*given)
    assert {same}, f"{entry}(*{{given!r:.300}}) gave {{got!r:.300}}, not {{wanted!r:.300}}"
"""
