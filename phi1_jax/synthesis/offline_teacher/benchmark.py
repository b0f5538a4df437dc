"""Held-out problems in HumanEval's format, on compositions kept from training."""

import ast
import contextlib
import random
import sys
from collections.abc import Hashable, Iterator
from types import FrameType
from typing import Any

from phi1_jax.corpus.problems import Problem
from phi1_jax.synthesis.edits import edits
from phi1_jax.synthesis.offline_teacher.draft import TOPICS
from phi1_jax.synthesis.offline_teacher.exercise import (
    NO_RESULT,
    Exercise,
    draw_arguments,
    draw_exercise,
    load,
)

_N_TESTS = 8
# A topic, a rule and two choices more: what is held out of them is that they stand together.
_MIN_PARTS = 4
_N_INPUTS = 100
_MAX_CHARS = 120
_MAX_LINES = 5_000  # of a program that an edit may have made endless
_FORMS = (">>>", ">>>", "==", "➞", "prose")


def build_benchmark(n_problems: int, seed: int) -> list[Problem]:
    """Problems of which no two have the same composition, and none contains another's.

    Each problem's hidden tests see every condition hold and fail; they have at least three
    different results (two where there are no more), and one that differs from each argument. So
    neither constants nor arguments pass, nor does any of the small edits of `synthesis.edits`,
    outside of a `while`, that one of a hundred inputs tells from the solution.
    """
    rng = random.Random(f"benchmark {seed}")
    problems: list[Problem] = []
    taken: list[tuple[str, ...]] = []
    while len(problems) < n_problems:
        topic = TOPICS.draw(rng)
        exercise = draw_exercise(topic, rng, rng.choice(_FORMS))
        composition = exercise.composition
        if len(composition) < _MIN_PARTS or any(_nested(composition, other) for other in taken):
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


_Test = tuple[tuple[Any, ...], Any]


def _draw_tests(exercise: Exercise, rng: random.Random) -> list[_Test]:
    """Hidden (arguments, result) pairs, none of them stated; [] if they tell too little."""
    function = load(exercise.prompt + exercise.solution, exercise.name)
    seen = {repr(arguments) for arguments, _ in exercise.examples[: exercise.stated]}
    inputs: list[_Test] = []
    for attempt in range(_N_INPUTS):
        arguments = draw_arguments(exercise.draft, rng, rng.randint(1, 6) if attempt else 0)
        try:
            result = function(*arguments)
        except NO_RESULT:
            continue
        if repr(arguments) in seen or max(len(repr(arguments)), len(repr(result))) > _MAX_CHARS:
            continue
        seen.add(repr(arguments))
        inputs.append((arguments, result))
    outcomes, reached = _outcomes(exercise, inputs)
    if not outcomes <= set().union(*reached):
        return []
    shown = [one | more for one, more in zip(reached, _told_apart(exercise, inputs), strict=True)]
    left = set().union(*shown)
    chosen: list[int] = []
    while left:  # each next one shows the most of what none before it does
        chosen.append(max(range(len(inputs)), key=lambda place: len(shown[place] & left)))
        left -= shown[chosen[-1]]
    others = [place for place in range(len(inputs)) if place not in chosen]
    chosen += others[: max(0, _N_TESTS - len(chosen))]
    tests = [inputs[place] for place in sorted(chosen)]
    results = {repr(result) for _, result in tests}
    changed = all(
        any(result != arguments[place] for arguments, result in tests)  # 1 is 1.0
        for place in range(len(exercise.draft.params))
    )
    enough = len(tests) >= _N_TESTS // 2 and len(results) >= exercise.draft.n_results
    return tests if enough and changed else []


class _Noting(ast.NodeTransformer):
    """Makes a program call NOTE(number, value) in the place of each condition and comparison, and
    RETURN(number, value) in that of what is returned.

    Attributes:
      outcomes: what can be noted: (number, bool) of a condition, (number, None) of a return.
    """

    def __init__(self) -> None:
        self.n_noted = 0
        self.noted: set[int] = set()
        self.outcomes: set[Hashable] = set()

    def _noted(self, value: ast.expr, by: str, *outcomes: bool | None) -> ast.expr:
        if id(value) in self.noted:
            return value
        self.outcomes |= {(self.n_noted, outcome) for outcome in outcomes}
        noted = ast.Call(ast.Name(by, ast.Load()), [ast.Constant(self.n_noted), value], [])
        self.n_noted += 1
        self.noted.add(id(noted))
        return noted

    def _condition(self, test: ast.expr) -> ast.expr:
        return test if isinstance(test, ast.Constant) else self._noted(test, "NOTE", True, False)

    def visit_Return(self, node: Any) -> Any:
        self.generic_visit(node)
        node.value = self._noted(node.value or ast.Constant(None), "RETURN", None)
        return node

    def visit_Compare(self, node: Any) -> Any:
        self.generic_visit(node)
        return self._condition(node)

    def visit_BoolOp(self, node: Any) -> Any:
        self.generic_visit(node)
        node.values = [self._condition(value) for value in node.values]
        return node

    def visit_If(self, node: Any) -> Any:
        self.generic_visit(node)
        node.test = self._condition(node.test)
        return node

    visit_IfExp = visit_While = visit_If

    def visit_comprehension(self, node: Any) -> Any:
        self.generic_visit(node)
        node.ifs = [self._condition(test) for test in node.ifs]
        return node


def _outcomes(exercise: Exercise, inputs: list[_Test]) -> tuple[set[Hashable], list[set[Hashable]]]:
    """What conditions and returns can come to, see `_Noting`, and what they do for each input."""
    noting = _Noting()
    program = noting.visit(ast.parse(exercise.prompt + exercise.solution))
    outcomes: set[Hashable] = set()

    def note(number: int, value: Any) -> Any:
        outcomes.add((number, bool(value)))
        return value

    def note_return(number: int, value: Any) -> Any:
        outcomes.add((number, None))
        return value

    ast.fix_missing_locations(program)
    function = load(program, exercise.name, NOTE=note, RETURN=note_return)
    reached = []
    for arguments, _ in inputs:
        outcomes.clear()
        function(*arguments)
        reached.append(set(outcomes))
    return noting.outcomes, reached


def _told_apart(exercise: Exercise, inputs: list[_Test]) -> list[set[Hashable]]:
    """For each input the edits of the solution that it tells from it."""
    program = exercise.prompt + exercise.solution
    told: list[set[Hashable]] = [set() for _ in inputs]
    for edit in edits(program, after=len(exercise.prompt.encode())):
        if edit.in_while:  # what never ends may also grow
            continue
        try:
            function = load(edit.apply(program), exercise.name)
        except SyntaxError:
            continue
        for edits_told, (arguments, result) in zip(told, inputs, strict=True):
            try:
                with _limited_lines("while " in program):
                    same = repr(function(*arguments)) == repr(result)
            except Exception as error:  # whatever a wrong program does
                edits_told.add(edit)
                if isinstance(error, TimeoutError):
                    break
            else:
                if not same:
                    edits_told.add(edit)
    return told


@contextlib.contextmanager
def _limited_lines(limited: bool) -> Iterator[None]:
    """Raises TimeoutError where more than _MAX_LINES lines run."""
    left = _MAX_LINES
    before = sys.gettrace()

    def count(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise TimeoutError
        return count

    if limited:
        sys.settrace(count)
    try:
        yield
    finally:
        sys.settrace(before)


def _write_check(tests: list[tuple[tuple[Any, ...], Any]]) -> str:
    lines = ["def check(candidate):"]
    for arguments, result in tests:
        call = f"candidate({', '.join(map(repr, arguments))})"
        if isinstance(result, float):
            lines.append(f"    assert abs({call} - {result!r}) < 1e-6")
        else:
            lines.append(f"    assert {call} == {result!r}")
    return "\n".join(lines) + "\n"
