"""A chain as Python code, in the style of a comprehension, an explicit loop or a helper."""

import random
from collections.abc import Sequence
from typing import Any

from phi1_jax.synthesis.offline_teacher.chains import Chain
from phi1_jax.synthesis.offline_teacher.primitives import Primitive
from phi1_jax.synthesis.offline_teacher.values import KINDS

# One set of names, so that a small model's capacity goes to the steps: the choice among several
# cannot be learnt, only averaged over. A loop builds its result while it still reads its input, so
# there the names differ.
_RESULT = "result"
_NAMES = ("first", "second", "third")
_HELPER = "helper"


def write_body(
    chain: Chain, constants: Sequence[Any], argument: str, style: str, rng: random.Random
) -> str:
    """The indented body of the function that applies the chain to `argument`.

    Args:
      style: "comprehension", "loop" (one step is a loop, where one can be) or "helper" (one step
        calls an inner function).
    """
    eligible = [
        i
        for i, s in enumerate(chain.steps)
        if (style == "loop" and s.loop) or (style == "helper" and s.expression)
    ]
    special = rng.choice(eligible) if eligible else -1
    looped = {i for i, s in enumerate(chain.steps) if not s.expression}
    if style == "loop":
        looped.add(special)
    names = _NAMES if len(chain.steps) > 1 and looped - {-1} else [_RESULT] * len(chain.steps)
    lines: list[str] = []
    current, last = argument, len(chain.steps) - 1
    for index, (step, constant) in enumerate(zip(chain.steps, constants, strict=True)):
        if index in looped:
            lines += step_code(step.loop, current, constant, names[index]).split("\n")
            current = names[index]
            if index == last:
                lines.append(f"return {current}")
            continue
        code = step_code(step.expression, current, constant)
        if style == "helper" and index == special:
            inner, code = _with_helper(step, current, constant)
            lines = inner + lines
        lines.append(f"return {code}" if index == last else f"{names[index]} = {code}")
        current = names[index]
    imports = dict.fromkeys(step.imports for step in chain.steps if step.imports)
    return "".join(f"    {line}\n" for line in (*imports, *lines))


def step_code(template: str, value: str, constant: Any, result: str = "") -> str:
    """A code template with its marks filled in."""
    code = template.replace("X", value).replace("OUT", result)
    if constant is None:
        return code
    return code.replace("K", f'"{constant}"' if isinstance(constant, str) else str(constant))


def _with_helper(step: Primitive, current: str, constant: Any) -> tuple[list[str], str]:
    """The helper's lines, and the step's expression that calls it."""
    variable = KINDS[step.source].variable
    element = step_code(step.element, "", constant)
    expression = step_code(step.expression, current, constant)
    # The first place is a map's element; a filter's test is the last.
    spot = expression.rfind(element) if step.family == "filter" else expression.find(element)
    if not element or element == variable:
        whole = step_code(step.expression, "data", constant)
        return [f"def {_HELPER}(data):", f"    return {whole}"], f"{_HELPER}({current})"
    call = f"{_HELPER}({variable})"
    code = expression[:spot] + call + expression[spot + len(element) :]
    return [f"def {_HELPER}({variable}):", f"    return {element}"], code
