"""The held-out problems: their tests accept their solutions and nothing trivial."""

import ast
import sys

import pytest

from phi1_jax.corpus.problems import write_problems
from phi1_jax.evaluate.benchmarks import read_benchmark
from phi1_jax.evaluate.executor import TestExecutor
from phi1_jax.sandbox import open_sandbox
from phi1_jax.synthesis.edits import edits
from phi1_jax.synthesis.exercises import parse_exercise
from phi1_jax.synthesis.offline_teacher import (
    OfflineTeacher,
    build_benchmark,
    plan_exercises,
    plan_textbooks,
)
from phi1_jax.synthesis.offline_teacher.teacher import contains_any


@pytest.fixture(scope="module")
def problems():
    return build_benchmark(200, seed=0)


def passes(solution, problem):
    names = {}
    exec(f"{problem.prompt}{solution}\n{problem.test}", names)
    try:
        names["check"](names[problem.entry_point])
    except Exception:
        return False
    return True


@pytest.mark.slow
def test_benchmark_solutions_pass_and_no_two_problems_share_a_structure(problems):
    assert len({p.composition for p in problems}) == len({p.task_id for p in problems}) == 200
    for problem in problems:
        assert passes(problem.canonical_solution, problem), problem.task_id
        others = {p.composition for p in problems if p is not problem}
        assert not contains_any(problem.composition, others)


def test_benchmark_tests_fail_every_trivial_solution(problems):
    for problem in problems:
        function = ast.parse(problem.prompt + problem.canonical_solution).body[-1]
        names = [argument.arg for argument in function.args.args]
        for guess in (*names, "0", "1", "''", "[]", "{}", "True", "False", "None"):
            assert not passes(f"    return {guess}\n", problem), (problem, guess)


def lines_run(function, calls):
    """The lines of a function that some of the calls reach."""
    reached = set()

    def note(frame, event, _):
        if event == "line" and frame.f_code.co_filename == "<problem>":
            reached.add(frame.f_lineno)
        return note

    before = sys.gettrace()
    sys.settrace(note)
    try:
        for arguments in calls:
            function(*arguments)
    finally:
        sys.settrace(before)
    return reached


def test_the_tests_reach_every_line_of_the_solution(problems):
    for problem in problems:
        calls = [
            [ast.literal_eval(argument) for argument in node.args]
            for node in ast.walk(ast.parse(problem.test))
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "candidate"
        ]
        program = problem.prompt + problem.canonical_solution
        names = {}
        exec(compile(program, "<problem>", "exec"), names)
        code = {
            node.lineno
            for node in ast.walk(ast.parse(program))
            if isinstance(node, ast.stmt) and not isinstance(node, ast.FunctionDef | ast.ImportFrom)
        } - {ast.parse(program).body[-1].body[0].lineno}
        assert code <= lines_run(names[problem.entry_point], calls), problem


def test_the_tests_refuse_small_errors(problems):
    """Bounds that are off by one, conditions that are turned round, other operators."""
    n_tried = n_passed = 0
    for problem in problems[::4]:
        program = problem.prompt + problem.canonical_solution
        for edit in edits(program, len(problem.prompt.encode())):
            if not edit.in_while:
                n_tried += 1
                n_passed += passes(edit.apply(program).removeprefix(problem.prompt), problem)
    assert n_tried > 200
    assert n_passed < 0.1 * n_tried


@pytest.mark.slow
def test_the_test_executor_accepts_the_benchmark(problems, tmp_path):
    write_problems(tmp_path / "benchmark.jsonl", problems[:40])
    benchmark = read_benchmark(str(tmp_path / "benchmark.jsonl"), None)
    with open_sandbox() as sandbox:
        counts = TestExecutor(sandbox).self_check(benchmark)
    assert counts["reference solution"] == counts["another problem's solution"] == 40


@pytest.mark.slow
def test_benchmark_leaves_most_of_the_exercises(problems):
    held_out = {p.composition for p in problems}
    replies = OfflineTeacher().replies(plan_exercises(2000, 0))
    made = [parse_exercise(reply.text, reply.metadata) for reply in replies]
    assert sum(contains_any(e.composition, held_out) for e in made) < 0.2 * len(made)
    assert not {p.prompt for p in problems} & {e.prompt for e in made}
    left = [e for e in made if not contains_any(e.composition, held_out)]
    parts = {part for e in left for part in e.composition}
    assert len({part for c in held_out for part in c} - parts) < 10


def test_textbooks_show_nothing_that_the_benchmark_holds_out(problems):
    held_out = {p.composition for p in problems}
    requests = list(plan_textbooks(300, 0, held_out))
    shown = [tuple(r.metadata["composition"]) for r in OfflineTeacher().replies(requests)]
    assert not any(contains_any(composition, held_out) for composition in shown)
