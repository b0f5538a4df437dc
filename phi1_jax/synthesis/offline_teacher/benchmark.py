"""Held-out problems in HumanEval's format, on compositions kept from training."""

import random
from typing import Any

from phi1_jax.corpus.problems import Problem
from phi1_jax.synthesis.offline_teacher.draft import TOPIC_WEIGHTS, TOPICS
from phi1_jax.synthesis.offline_teacher.exercise import (
    Exercise,
    draw_arguments,
    draw_exercise,
    load,
)

_N_TESTS = 8
_MAX_CHARS = 120
_FORMS = (">>>", ">>>", "==", "➞", "prose")


def build_benchmark(n_problems: int, seed: int) -> list[Problem]:
    """Problems of which no two have the same composition, and none contains another's.

    Each problem's hidden tests have at least three different results (True and False for a test),
    and one that differs from each argument, so that neither constants nor arguments pass.
    """
    rng = random.Random(f"benchmark {seed}")
    problems: list[Problem] = []
    taken: list[tuple[str, ...]] = []
    while len(problems) < n_problems:
        topic = rng.choices(TOPICS, TOPIC_WEIGHTS)[0]
        exercise = draw_exercise(topic, rng, rng.choice(_FORMS))
        composition = exercise.composition
        if any(_nested(composition, other) for other in taken):
            continue
        tests = _draw_tests(exercise, rng)
        if not tests:
            continue
        taken.append(composition)
        problems.append(
            Problem(
                task_id=f"offline/{len(problems)}",
                prompt=exercise.prompt,
                entry_point=exercise.name,
                canonical_solution=exercise.solution,
                test=_write_check(tests),
                composition=composition,
            )
        )
    return problems


def _nested(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    short, long = sorted((one, other), key=len)
    n = len(short)
    return any(long[i : i + n] == short for i in range(len(long) - n + 1))


def _draw_tests(exercise: Exercise, rng: random.Random) -> list[tuple[tuple[Any, ...], Any]]:
    """Hidden (arguments, result) pairs, none of them stated; [] if they tell too little."""
    function = load(exercise.prompt + exercise.solution, exercise.name)
    stated = {repr(arguments) for arguments, _ in exercise.examples[: exercise.stated]}
    tests, seen = [], set(stated)
    for attempt in range(4 * _N_TESTS):
        arguments = draw_arguments(exercise.draft, rng, rng.randint(1, 6) if attempt else 0)
        try:
            result = function(*arguments)
        except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError):
            continue
        if repr(arguments) in seen or max(len(repr(arguments)), len(repr(result))) > _MAX_CHARS:
            continue
        seen.add(repr(arguments))
        tests.append((arguments, result))
        if len(tests) == _N_TESTS:
            break
    results = {repr(result) for _, result in tests}
    enough = len(results) >= (2 if exercise.draft.kind == "bool" else 3)
    changed = all(
        any(repr(result) != repr(arguments[place]) for arguments, result in tests)
        for place in range(len(exercise.draft.params))
    )
    return tests if len(tests) >= _N_TESTS // 2 and enough and changed else []


def _write_check(tests: list[tuple[tuple[Any, ...], Any]]) -> str:
    lines = ["def check(candidate):"]
    for arguments, result in tests:
        call = f"candidate({', '.join(map(repr, arguments))})"
        if isinstance(result, float):
            lines.append(f"    assert abs({call} - {result!r}) < 1e-6")
        else:
            lines.append(f"    assert {call} == {result!r}")
    return "\n".join(lines) + "\n"
