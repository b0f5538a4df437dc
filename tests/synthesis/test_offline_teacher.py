"""The offline teacher: every step against an independent definition, in every style."""

import ast
import random
import re
from collections import Counter

import pytest
from reference_steps import reference

from phi1_jax.errors import UserError
from phi1_jax.synthesis.doctest_harness import try_one
from phi1_jax.synthesis.exercises import parse_exercise, read_examples
from phi1_jax.synthesis.offline_teacher import (
    OfflineTeacher,
    TeacherSettings,
    plan_exercises,
    plan_textbooks,
)
from phi1_jax.synthesis.offline_teacher.chains import (
    CATALOG,
    Chain,
    apply_chain,
    catalog,
    draw_chain,
    draw_constants,
    makes_sense,
    parse_topic,
)
from phi1_jax.synthesis.offline_teacher.concepts import CONCEPTS
from phi1_jax.synthesis.offline_teacher.prose import AUDIENCES, FAMILIES
from phi1_jax.synthesis.offline_teacher.settings import CORE, STYLES
from phi1_jax.synthesis.offline_teacher.solutions import write_body
from phi1_jax.synthesis.offline_teacher.values import KINDS, draw_value
from phi1_jax.synthesis.offline_teacher.writer import draw_input
from phi1_jax.synthesis.teacher import TeacherRequest


def inputs_of(chain, constants, rng, n):
    yield draw_input(chain, constants, rng, 0)
    for _ in range(n):
        yield draw_input(chain, constants, rng, rng.randint(1, 8))
    if "positive" not in chain.wants:
        yield draw_value(chain.steps[0].source, rng, "gaps repeats case digits", [], 3)


@pytest.mark.parametrize("step", CATALOG, ids=lambda step: f"{step.name}-{step.source}")
def test_step_agrees_with_its_definition_in_every_style(step):
    chain, rng = Chain((step,)), random.Random(step.name)
    assert makes_sense((step,))
    for style in STYLES:
        for _ in range(4):
            constants = draw_constants(chain, rng)
            program = f"def task(arg):\n{write_body(chain, constants, 'arg', style, rng)}"
            names = {}
            exec(program, names)
            for value in inputs_of(chain, constants, rng, 12):
                before = repr(value)
                got = names["task"](value)
                assert got == reference(step, value, constants[0]), program
                assert got == apply_chain(chain, constants, value), program
                assert repr(value) == before, f"changes its input:\n{program}"


@pytest.mark.parametrize("style", STYLES)
def test_chain_in_a_style_agrees_with_its_steps(style):
    rng = random.Random(1)
    for _ in range(400):
        chain = draw_chain(2, rng, catalog())
        constants = draw_constants(chain, rng)
        names = {}
        exec(f"def task(arg):\n{write_body(chain, constants, 'arg', style, rng)}", names)
        for value in inputs_of(chain, constants, rng, 4):
            expected = value
            for step, constant in zip(chain.steps, constants, strict=True):
                expected = reference(step, expected, constant)
            assert names["task"](value) == expected, chain.topic


def test_loop_and_helper_styles_are_what_they_say():
    step = parse_topic("list[int]: square_each, sum_of")
    rng = random.Random(0)
    assert "    for n in " in write_body(step, (None, None), "nums", "loop", rng)
    assert "    def " in write_body(step, (None, None), "nums", "helper", rng)


def test_steps_of_one_kind_are_never_asked_for_in_the_same_words():
    asked = Counter((step.source, verb) for step in CATALOG for verb in step.verbs)
    assert asked.most_common(1)[0][1] == 1
    assert all(len(step.verbs) >= 2 for step in CATALOG)
    assert all(step.family in FAMILIES for step in CATALOG)


def test_senseless_chains_are_refused():
    for topic in (
        "list[int]: sort_up, sum_of",
        "list[int]: reverse, length",
        "list[int]: sort_up, sort_up",
        "list[int]: keep_even, keep_odd",
        "list[int]: keep_positive, keep_negative",
        "str: upper, upper",
        "int: add_to_it, add_to_it",
        "list[int]: sum_of, divisors",
        "list[int]: sort_up, keep_even, sum_of",
    ):
        assert not makes_sense(parse_topic(topic).steps), topic
    assert makes_sense(parse_topic("list[int]: keep_even, square_each, sum_of").steps)


def test_argument_names_never_meet_step_or_loop_variables():
    loop_variables = {kind.variable for kind in KINDS.values()} | set("abcdikrvwx")
    for kind in KINDS.values():
        assert not loop_variables & set(kind.arguments)
        assert not {"result", "out", "first", "second", "third"} & set(kind.arguments)


def exercises(n, seed=0, settings=None):
    replies = OfflineTeacher(settings).replies(plan_exercises(n, seed, settings))
    return [parse_exercise(reply.text, reply.metadata) for reply in replies]


def assert_runs_as_stated(exercise):
    level, _, _, detail = try_one(
        exercise.prompt + exercise.solution, exercise.entry_point, read_examples(exercise)
    )
    assert level == "D", detail


def test_exercises_run_as_stated_and_are_compact_and_varied():
    made = exercises(1500)
    for exercise in made:
        assert_runs_as_stated(exercise)
        assert ast.get_docstring(ast.parse(exercise.prompt + exercise.solution).body[0])
    assert len({e.prompt for e in made}) == len(made)
    assert sum(len(e.prompt + e.solution) for e in made) / len(made) < 300
    counts = Counter(name for e in made for name in e.composition)
    assert set(counts) == set(CORE)
    lengths = Counter(len(e.composition) for e in made)
    assert lengths[2] > lengths[1] > 0 and lengths[3] > 0.1 * len(made)


def test_the_whole_catalog_runs_as_stated_without_a_repeat():
    whole = TeacherSettings(steps=None, n_phrasings=3)
    made = exercises(4000, settings=whole)
    for exercise in made:
        assert_runs_as_stated(exercise)
    assert len({e.prompt for e in made}) == len(made)
    assert len({name for e in made for name in e.composition}) > 380


def test_the_same_seed_gives_the_same_texts_and_another_gives_others():
    assert exercises(50) == exercises(50)
    assert exercises(50) == exercises(80)[:50]
    assert not {e.prompt for e in exercises(50)} & {e.prompt for e in exercises(50, seed=1)}


def test_settings_restrict_what_is_written():
    settings = TeacherSettings(kinds=("ints", "int"), steps=None, styles=(0, 1, 0), n_phrasings=1)
    allowed = {p.name for p in CATALOG if p.source in ("ints", "int")}
    made = exercises(200, settings=settings)
    assert {name for e in made for name in e.composition} <= allowed
    assert not any("drop the odd" in e.prompt for e in made)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("lengths", (1.0, 1.0)),
        ("styles", (0.0, 0.0, 0.0)),
        ("kinds", ("int", "complex")),
        ("steps", ("fly",)),
        ("n_phrasings", 0),
        ("nested_share", 1.5),
    ],
)
def test_wrong_settings_are_refused_by_name(field, value):
    with pytest.raises(UserError, match=f"{field}|'complex'|'fly'"):
        TeacherSettings(**{field: value})


def test_unknown_topic_is_refused():
    request = TeacherRequest("exercise", "list[int]: fly", function_name="fly")
    with pytest.raises(UserError, match="fly"):
        next(OfflineTeacher().replies([request]))


def test_textbook_sections_show_code_that_runs_and_results_that_hold():
    teacher = OfflineTeacher()
    requests = list(plan_textbooks(400, 3))
    requests += plan_textbooks(400, 4, TeacherSettings(steps=None))
    assert {r.audience for r in requests} == set(AUDIENCES)
    assert set(CONCEPTS) & {r.topic for r in requests}
    for reply in teacher.replies(requests):
        text = reply.text
        blocks = [part.split("```")[0] for part in text.split("```python\n")[1:]]
        for block in blocks:
            ast.parse(block)
        prose = len(text) - sum(map(len, blocks))
        assert prose > 0.5 * len(text)
        assert text.startswith("# ") and len(text) > 300
        said = re.sub(r"`[^`]*`", "", text)
        assert not re.search(r"\b(DO|KIND|SOURCE|TARGET|ITEMS?|DEFAULT|X|K|V)\b", said), said
        if "Now `result` is `" in text:
            names = {}
            exec(blocks[0], names)
            assert f"Now `result` is `{names['result']!r}`." in text
