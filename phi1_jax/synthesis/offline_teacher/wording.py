"""A chain in English, and names for the function that does it."""

import random
from collections.abc import Sequence
from typing import Any

from phi1_jax.synthesis.offline_teacher.chains import Chain
from phi1_jax.synthesis.offline_teacher.values import KINDS

# Template -> weight, by number of steps. a, b, c are the steps; ARG is the argument's name.
_TEMPLATES: dict[int, dict[str, int]] = {
    1: {"{a}.": 4, "given ARG, {a}.": 1},
    2: {
        "{a}, then {b}.": 4,
        "first {a}, then {b}.": 2,
        "{a} and then {b}.": 2,
        "given ARG, {a}, then {b}.": 1,
    },
    3: {"{a}, then {b}, then {c}.": 3, "first {a}, then {b}, and finally {c}.": 2},
}
_NAME_PREFIXES = ("get", "find", "make", "compute")


def phrase_task(
    chain: Chain,
    constants: Sequence[Any],
    argument: str,
    n_phrasings: int,
    nested_share: float,
    rng: random.Random,
) -> str:
    """The task in one sentence.

    Args:
      n_phrasings: how many of each step's phrasings are in use.
      nested_share: how often the sentence names the result instead, "Return the sum of the
        squares of nums.", where every step can be said so.
    """
    if all(step.noun for step in chain.steps) and rng.random() < nested_share:
        text = argument
        for step, constant in zip(chain.steps, constants, strict=True):
            text = fill(step.noun, constant).replace("X", text)
        return f"Return {text}."
    templates = _TEMPLATES[len(chain.steps)]
    template = rng.choices(list(templates), list(templates.values()))[0]
    said = [
        fill(rng.choice(step.verbs[:n_phrasings]), constant)
        for step, constant in zip(chain.steps, constants, strict=True)
    ]
    text = template.format(**dict(zip("abc", said, strict=False))).replace("ARG", argument)
    return text[0].upper() + text[1:]


def name_function(chain: Chain, rng: random.Random) -> str:
    """A name of the steps' words, in order; it has an underscore, so it hides no builtin."""
    words = [step.word for step in chain.steps]
    draw = rng.random()
    if len(words) == 1:
        kind = KINDS[chain.steps[0].source]
        what = {"int": "number", "float": "number", "str": "text"}.get(kind.annotation, kind.items)
        return f"{rng.choice(_NAME_PREFIXES)}_{words[0]}" if draw < 0.5 else f"{words[0]}_{what}"
    name = "_".join(words)
    return f"{rng.choice(_NAME_PREFIXES)}_{name}" if draw < 0.15 else name


def fill(text: str, constant: Any) -> str:
    """A wording with its constant put in."""
    return text if constant is None else text.replace("K", str(constant))
