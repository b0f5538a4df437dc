"""Layouts of programs: the same syntax tree, in the shares of MBPP's training split."""

import ast
import json
import os
import random
import re
from pathlib import Path

import pytest

from phi1_jax.synthesis.exercises import parse_exercise, read_examples
from phi1_jax.synthesis.offline_teacher import OfflineTeacher, plan_exercises
from phi1_jax.synthesis.offline_teacher.layout import lay_out

pytestmark = pytest.mark.slow  # what all share takes seconds

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
def exercises():
    replies = OfflineTeacher().replies(plan_exercises(6000, seed=0))
    made = [parse_exercise(reply.text, reply.metadata) for reply in replies]
    return [e for e in made if e.prompt.startswith('"""\nWrite a ')]


@pytest.fixture(scope="module")
def solutions(exercises):
    return [e.solution for e in exercises]


@pytest.fixture(scope="module")
def training():
    """MBPP's training split."""
    path = DATA / "mbpp.jsonl"
    if not path.exists():
        pytest.skip(f"{path} is missing: name a folder that holds it in PHI1_JAX_DATA")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows = [row for row in rows if row["task_id"] > 600]
    assert len(rows) == 374
    return rows


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


def shares_of_tests(problems):
    """Of (function's name, its tests): shares of problems in %."""
    count = dict.fromkeys(
        ("one word", "two words", "three words", "capitals", "tight ==", "tight commas",
         "two arguments", "more arguments"), 0
    )  # fmt: skip
    with_commas = 0
    for name, tests in problems:
        n_words = len([word for word in name.split("_") if word])
        for n, words in enumerate(("one word", "two words", "three words"), 1):
            count[words] += n_words == n
        count["capitals"] += name != name.lower()
        count["tight =="] += all(")==" in test for test in tests)
        calls = [node for node in ast.walk(ast.parse(tests[0])) if isinstance(node, ast.Call)]
        of_name = [len(call.args) for call in calls if ast.unparse(call.func) == name]
        n_arguments = max(of_name, default=0)  # once a class is called
        count["two arguments"] += n_arguments == 2
        count["more arguments"] += n_arguments > 2
        commas = re.findall(r",( ?)", "".join(tests))
        with_commas += bool(commas)
        count["tight commas"] += commas.count("") > len(commas) / 2
    found = {name: 100 * n / len(problems) for name, n in count.items()}
    return found | {"tight commas": 100 * count["tight commas"] / with_commas}


def assert_alike(wanted, found):
    for name, share in wanted.items():
        assert abs(found[name] - share) < 6, f"{name}: {found[name]:.0f}, {share:.0f} in MBPP"


def test_shares_are_those_of_mbpps_training_split(solutions, training):
    wanted = shares([row["code"].replace("\r\n", "\n") for row in training])
    assert_alike(wanted, shares(solutions))


def test_names_and_tests_are_like_those_of_mbpps_training_split(exercises, training):
    theirs = []
    for row in training:
        defined = re.findall(r"def (\w+) *\(", row["code"])
        tested = [name for name in defined if name in row["test_list"][0]]
        theirs.append(([*tested, defined[-1]][0], row["test_list"]))
    ours = [(e.entry_point, re.findall("^assert .*", e.prompt, re.MULTILINE)) for e in exercises]
    assert_alike(shares_of_tests(theirs), shares_of_tests(ours))


def test_tests_keep_what_they_say(exercises):
    for exercise in exercises[:200]:
        stated = re.findall("^assert .*", exercise.prompt, re.MULTILINE)
        assert len(read_examples(exercise)) == len(stated) > 0
        for call, result, _ in read_examples(exercise):
            line = call.removeprefix("print(repr(").removesuffix("))\n")
            assert any(
                ast.dump(ast.parse(test)) == ast.dump(ast.parse(f"assert {line} == {result}"))
                for test in stated
            )
