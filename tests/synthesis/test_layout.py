"""Layouts of programs: the same syntax tree, in the shares of MBPP's training split."""

import ast
import json
import os
import random
import re
from pathlib import Path

import pytest

from phi1_jax.synthesis.exercises import parse_exercise
from phi1_jax.synthesis.offline_teacher import OfflineTeacher, plan_exercises
from phi1_jax.synthesis.offline_teacher.layout import lay_out

DATA = Path(os.environ.get("PHI1_JAX_DATA") or Path(__file__).parents[3] / "shared/data")
PROGRAM = """\
def f(xs, sep, n=-1):
    parts = [x + ', - ' + "it's, = 1" for x in xs if x != 'a == b']
    while n < len(parts) and not (n % 2 == 1 or -n >= 3):
        n += 1

    if n == 2:
        return sep.join(parts), {'a, b': n ** 2 // 3}
    elif n in (3, 4): return
    return lambda a, b: a * -b if a else b
"""


@pytest.fixture(scope="module")
def solutions():
    replies = OfflineTeacher().replies(plan_exercises(6000, seed=0))
    made = [parse_exercise(reply.text, reply.metadata) for reply in replies]
    return [e.solution for e in made if e.prompt.startswith('"""\nWrite a ')]


def shares(programs):
    """Shares of programs, and of their lines and statements, in % where nothing else is said."""
    count = dict.fromkeys(
        ("two spaces", "tab", "one space", "ends in blanks", "tight commas", "tight operators"), 0
    )
    returns, conditions = [], []
    for program in programs:
        indent = re.search(r"^def .*:.*\n([ \t]+)\S", program, re.MULTILINE)[1]
        count["two spaces"] += indent == "  "
        count["tab"] += indent == "\t"
        count["one space"] += indent == " "
        count["ends in blanks"] += bool(re.search(r"\S[ \t]+$", program, re.MULTILINE))
        count["tight commas"] += len(re.findall(r",\S", program)) > len(re.findall(", ", program))
        sign = r"(?:[-+*/%<>]|==|[-+*/]=|<=|>=|=)"
        spaced, tight = rf"\w {sign} \w", rf"\w{sign}\w"
        count["tight operators"] += len(re.findall(tight, program)) > len(
            re.findall(spaced, program)
        )
        returns += re.findall(r"^\s*return\b(.*)$", program, re.MULTILINE)
        conditions += re.findall(r"^\s*(?:if|elif|while)\b(.*)$", program, re.MULTILINE)
    found = {name: 100 * n / len(programs) for name, n in count.items()}
    in_brackets = re.compile(r" ?\(.*\) *:? *")
    for name, ends in (("return (x)", returns), ("if (x):", conditions)):
        found[name] = 100 * sum(bool(in_brackets.fullmatch(end)) for end in ends) / len(ends)
    return found


def test_a_layout_keeps_the_program():
    tree = ast.dump(ast.parse(PROGRAM))
    made = {lay_out(PROGRAM, random.Random(seed)) for seed in range(200)}
    assert len(made) > 50
    assert all(ast.dump(ast.parse(text)) == tree for text in made)
    assert any("\n\twhile (n<len(parts)" in text for text in made)


def test_a_layout_keeps_its_habits(solutions):
    for solution in solutions:
        ast.parse(solution)
        indents = {re.match(r"[ \t]*", line)[0] for line in solution.splitlines() if line.strip()}
        (unit,) = sorted(indents - {""}, key=len)[:1]
        assert all(indent == unit * (len(indent) // len(unit)) for indent in indents)


def test_shares_are_those_of_mbpps_training_split(solutions):
    path = DATA / "mbpp.jsonl"
    if not path.exists():
        pytest.skip(f"{path} is missing: name a folder that holds it in PHI1_JAX_DATA")
    rows = map(json.loads, path.read_text().splitlines())
    training = [row["code"].replace("\r\n", "\n") for row in rows if row["task_id"] > 600]
    assert len(training) == 374
    wanted, found = shares(training), shares(solutions)
    for name, share in wanted.items():
        assert abs(found[name] - share) < 6, f"{name}: {found[name]:.0f}, {share:.0f} in MBPP"
