"""Held-out problems in HumanEval's format, on compositions kept from training."""

import random
from collections.abc import Sequence
from typing import Any

from phi1_jax.corpus.problems import Problem
from phi1_jax.synthesis.offline_teacher.chains import (
    Chain,
    apply_chain,
    draw_chain,
    steps_that_matter,
)
from phi1_jax.synthesis.offline_teacher.settings import TeacherSettings
from phi1_jax.synthesis.offline_teacher.wording import name_function
from phi1_jax.synthesis.offline_teacher.writer import Written, draw_input, write_exercise

PAIR_SHARE = 0.6
_N_TESTS = 7
_MAX_CHARS = 120


def build_benchmark(
    n_problems: int, seed: int, settings: TeacherSettings | None = None
) -> list[Problem]:
    """Problems of two and three steps, no two of the same composition, none inside another.

    Each problem's tests tell its solution from: the argument itself, each constant value of the
    result's kind that could be guessed, and the solution with any one step left out.
    """
    settings = settings or TeacherSettings()
    rng = random.Random(f"benchmark {seed}")
    problems: list[Problem] = []
    taken: set[tuple[str, ...]] = set()
    while len(problems) < n_problems:
        length = 2 if len(problems) < round(PAIR_SHARE * n_problems) else 3
        chain = draw_chain(length, rng, settings.allowed)
        composition = chain.composition
        if composition in taken or any(composition[i : i + 2] in taken for i in range(length - 1)):
            continue
        name = name_function(chain, rng)
        written = write_exercise(chain, name, rng, settings)
        inputs = _draw_tests(chain, written, rng)
        if inputs is None:
            continue
        taken.add(composition)
        problems.append(
            Problem(
                task_id=f"offline/{len(problems)}",
                prompt=written.prompt,
                entry_point=name,
                canonical_solution=written.solution,
                test=_write_check(chain, written.constants, inputs),
                composition=composition,
            )
        )
    return problems


def _draw_tests(chain: Chain, written: Written, rng: random.Random) -> list[Any] | None:
    """Hidden inputs that catch every trivially wrong solution; None if none are found soon."""
    constants = written.constants
    for _ in range(5):
        inputs = [draw_input(chain, constants, rng, 0)]
        while len(inputs) < _N_TESTS:
            value = draw_input(chain, constants, rng, rng.randint(1, 7))
            result = apply_chain(chain, constants, value)
            if max(len(repr(value)), len(repr(result))) <= _MAX_CHARS:
                inputs.append(value)
        fresh = [v for i, v in enumerate(inputs) if v not in inputs[:i]]
        fresh = [v for v in fresh if v not in written.examples]
        if _discriminates(chain, constants, fresh):
            return fresh
    return None


def _discriminates(chain: Chain, constants: Sequence[Any], inputs: list[Any]) -> bool:
    results = [apply_chain(chain, constants, value) for value in inputs]
    caught = [False] * len(chain.steps)
    for value, result in zip(inputs, results, strict=True):
        rows = steps_that_matter(chain, constants, value, result)
        caught = [a or b for a, b in zip(caught, rows, strict=True)]
    # At least three different results (True and False for a test) leave no constant to guess.
    n_results = len({repr(result) for result in results})
    enough = n_results == 2 if chain.target == "bool" else n_results >= 3
    unchanged = all(value == result for value, result in zip(inputs, results, strict=True))
    return all(caught) and enough and not unchanged


def _write_check(chain: Chain, constants: Sequence[Any], inputs: list[Any]) -> str:
    lines = ["def check(candidate):"]
    for value in inputs:
        want = apply_chain(chain, constants, value)
        got = f"candidate({value!r})"
        if chain.target == "float":
            lines.append(f"    assert abs({got} - {want!r}) < 1e-6")
        elif chain.target == "floats":
            lines.append(f"    assert [round(x, 6) for x in {got}] == {want!r}")
        else:
            lines.append(f"    assert {got} == {want!r}")
    return "\n".join(lines) + "\n"
