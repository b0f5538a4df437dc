"""The held-out problems: their tests accept their solutions and nothing trivial."""

from collections import Counter

import pytest

from phi1_jax.synthesis.exercises import parse_exercise
from phi1_jax.synthesis.offline_teacher import (
    OfflineTeacher,
    build_benchmark,
    plan_exercises,
    plan_textbooks,
)
from phi1_jax.synthesis.offline_teacher.chains import parse_topic
from phi1_jax.synthesis.offline_teacher.concepts import CONCEPTS


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


def test_benchmark_solutions_pass_their_own_tests(problems):
    assert len(problems) == 200
    assert len({p.composition for p in problems}) == len({p.task_id for p in problems}) == 200
    assert Counter(len(p.composition) for p in problems) == {2: 120, 3: 80}
    for problem in problems:
        assert passes(problem.canonical_solution, problem), problem.task_id


def test_benchmark_tests_fail_every_trivial_solution(problems):
    for problem in problems:
        argument = problem.prompt.split("(")[1].split(")")[0]
        for guess in (argument, "0", "1", "''", "[]", "{}", "True", "False", "None"):
            assert not passes(f"    return {guess}\n", problem), (problem, guess)


def test_benchmark_tests_fail_a_solution_with_a_step_left_out(problems):
    n_broken = 0
    for problem in problems:
        lines = problem.canonical_solution.splitlines(keepends=True)
        simple = [line for line in lines if line.startswith("    ") and line[4] != " "]
        if len(simple) != len(lines) or len(lines) != len(problem.composition):
            continue  # a loop or a helper: its lines are no steps
        argument = problem.prompt.split("(")[1].split(")")[0]
        for index, line in enumerate(lines[:-1]):
            name = line.split(" = ")[0].strip()
            before = argument if index == 0 else lines[index - 1].split(" = ")[0].strip()
            broken = [*lines[:index], f"    {name} = {before}\n", *lines[index + 1 :]]
            assert not passes("".join(broken), problem), (problem, index)
            n_broken += 1
    assert n_broken > 100


def test_benchmark_leaves_most_of_the_exercises(problems):
    held_out = {p.composition for p in problems}
    planned = [parse_topic(request.topic) for request in plan_exercises(1000, 0)]
    assert 0 < sum(chain.holds(held_out) for chain in planned) < 0.15 * len(planned)
    replies = OfflineTeacher().replies(plan_exercises(1000, 0))
    made = [parse_exercise(reply.text, reply.metadata) for reply in replies]
    assert not {p.prompt for p in problems} & {e.prompt for e in made}
    names = {name for p in problems for name in p.composition}
    assert names <= {name for e in made for name in e.composition}


def test_textbooks_show_nothing_that_the_benchmark_holds_out(problems):
    held_out = {p.composition for p in problems}
    open_topics = [r.topic for r in plan_textbooks(2000, 0)]
    topics = [r.topic for r in plan_textbooks(2000, 0, held_out=held_out)]
    shown = [parse_topic(topic) for topic in topics if topic not in CONCEPTS]
    assert not any(chain.holds(held_out) for chain in shown)
    assert any(parse_topic(t).holds(held_out) for t in open_topics if t not in CONCEPTS)
    assert sum(a == b for a, b in zip(topics, open_topics, strict=True)) > 0.9 * len(topics)
