"""One exercise: signature, task, examples made by running the solution, and the solution."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from phi1_jax.synthesis.offline_teacher.chains import (
    EXAMPLE_CHARS,
    Chain,
    apply_chain,
    draw_constants,
    steps_that_matter,
)
from phi1_jax.synthesis.offline_teacher.settings import STYLES, TeacherSettings
from phi1_jax.synthesis.offline_teacher.solutions import write_body
from phi1_jax.synthesis.offline_teacher.values import KINDS, draw_value
from phi1_jax.synthesis.offline_teacher.wording import phrase_task

_TRIES = 60


@dataclass(frozen=True)
class Written:
    """An exercise in parts, and what its task is made of."""

    prompt: str
    solution: str
    constants: tuple[Any, ...]
    examples: tuple[Any, ...]


def write_exercise(
    chain: Chain, function_name: str, rng: random.Random, settings: TeacherSettings
) -> Written:
    """Writes the exercise; its examples are what its own solution returns.

    Raises:
      RuntimeError: no input that is not empty is ever drawn, which is a fault of the catalog.
    """
    argument = rng.choice(KINDS[chain.steps[0].source].arguments)
    style = rng.choices(STYLES, settings.styles)[0]
    n_examples = 2 if rng.random() < settings.two_examples_share else 1
    constants, examples = draw_examples(chain, n_examples, rng)
    task = phrase_task(chain, constants, argument, settings.n_phrasings, settings.nested_share, rng)
    solution = write_body(chain, constants, argument, style, rng)
    header = f"def {function_name}({argument}):\n"
    names: dict[str, Any] = {}
    exec(header + solution, names)
    function = names[function_name]
    shown = "".join(
        f"    >>> {function_name}({value!r})\n    {function(value)!r}\n" for value in examples
    )
    prompt = f'{header}    """{task}\n{shown}    """\n'
    return Written(prompt, solution, constants, tuple(examples))


def draw_examples(
    chain: Chain, n_examples: int, rng: random.Random
) -> tuple[tuple[Any, ...], list[Any]]:
    """Constants, and short inputs for which every step matters and the result is not nothing.

    If none are found soon, the shortest input that is not empty will do.
    """
    sizes = (1, 2, 3) if chain.steps[0].source == "str" else (2, 3, 3, 4)
    spare: tuple[int, tuple[Any, ...], Any] | None = None
    for _ in range(_TRIES):
        constants = draw_constants(chain, rng)
        found: list[Any] = []
        for _ in range(4 * n_examples):
            value = draw_input(chain, constants, rng, rng.choice(sizes))
            result = apply_chain(chain, constants, value)
            chars = max(len(repr(value)), len(repr(result)))
            if value and (spare is None or chars < spare[0]):
                spare = chars, constants, value
            if chars > EXAMPLE_CHARS or not value or not (result or chain.target == "bool"):
                continue
            if value not in found and all(steps_that_matter(chain, constants, value, result)):
                found.append(value)
                if len(found) == n_examples:
                    return constants, found
        if found:
            return constants, found
    if spare is None:
        raise RuntimeError(f"every input of {chain.topic} is empty")
    return spare[1], [spare[2]]


def draw_input(chain: Chain, constants: Sequence[Any], rng: random.Random, size: int) -> Any:
    near = [c for c in constants if c is not None]
    return draw_value(chain.steps[0].source, rng, chain.wants, near, size)
