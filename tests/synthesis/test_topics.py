"""Plans of requests: everything comes once before anything comes again."""

import errno
import itertools
import json
from pathlib import Path

import pytest

from phi1_jax.errors import UserError
from phi1_jax.synthesis.teacher import DIFFICULTIES
from phi1_jax.synthesis.topics import (
    COURSE,
    Area,
    Topics,
    plan_exercises,
    plan_textbooks,
    read_topics,
)

SMALL = Topics(
    {
        "strings": Area(("case", "slices"), ("count", "find"), ("vowels", "words"), ("in_text",)),
        "sets": Area(("unions",), ("join",), ("tags",)),
    },
    ("children", "analysts", "teachers"),
)


def test_textbooks_cover_the_tree_then_every_audience_then_ask_again_with_another_seed():
    plan = list(plan_textbooks(SMALL, 18, seed=4))
    leaves = ["strings > case", "strings > slices", "sets > unions"]
    for turn in range(6):
        assert sorted(r.topic for r in plan[3 * turn : 3 * turn + 3]) == sorted(leaves)
    pairs = [(r.topic, r.audience) for r in plan]
    assert set(pairs[:9]) == set(itertools.product(leaves, SMALL.audiences)) == set(pairs[9:])
    assert {r.seed for r in plan[:9]} & {r.seed for r in plan[9:]} == set()
    assert len(set(plan)) == 18


def test_exercises_use_every_name_then_every_topic_and_difficulty():
    names = 2 * 2 * 2 + 1
    plan = list(plan_exercises(SMALL, names * 6, seed=1))
    for turn in range(6):
        assert len({r.function_name for r in plan[names * turn : names * (turn + 1)]}) == names
    asked = [r for r in plan if r.function_name == "count_words_in_text"]
    assert {(r.topic, r.difficulty) for r in asked} == set(
        itertools.product(("strings > case", "strings > slices"), DIFFICULTIES)
    )
    assert len(set(plan)) == len(plan)  # join_tags has three pairs, and comes again with new seeds


def test_plans_depend_on_the_seed_and_extend_each_other():
    course = read_topics(COURSE)
    short, long = (list(plan_exercises(course, n, seed=2)) for n in (50, 20_000))
    assert long[:50] == short and len(set(long)) == 20_000
    assert list(plan_exercises(course, 50, seed=3)) != short
    assert [r.seed for r in plan_textbooks(course, 5, 2)] != [
        r.seed for r in plan_textbooks(course, 5, 3)
    ]


def test_the_built_in_course_makes_names_that_python_accepts():
    course = read_topics(COURSE)  # which refuses other names
    assert len({name for area in course.areas.values() for name in area.function_names}) == 9022
    assert len(course.leaves) == len(set(course.leaves)) == 134


def test_a_tree_of_your_own(tmp_path):
    path = tmp_path / "topics.json"
    areas = {
        "strings": {"topics": ["case"], "verbs": ["count"], "nouns": ["words"]},
    }
    path.write_text(json.dumps({"audiences": ["children"], "areas": areas}))
    assert read_topics(path).areas["strings"].function_names == ["count_words"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "nested too deep"),
        ("[]", r"topics\.json is damaged: not a JSON object; .*course\.json is an example"),
        ('{"areas": {}}', "it has no 'audiences'"),
        ('{"audiences": ["a"], "areas": {"s": 3}}', r"--topics=.*course\.json is an example"),
        ('{"audiences": [], "areas": {}}', "no topic or no audience"),
        ('{"audiences": ["a"], "areas": {"s": {"topics": "case"}}}', "must be a list"),
        ('{"audiences": ["a"], "areas": {"s": {"topic": ["case"]}}}', "topic"),
        ('{"audiences": ["a"], "areas": {"s": {"topics": ["t"], "verbs": [], "nouns": ["n"]}}}',
         "no verbs"),
        ('{"audiences": "beginners", "areas": {}}', "'audiences' must be a list of texts"),
        ('{"audiences": ["a"], "areas": {"s": {"topics": ["t"], "verbs": ["v"], "nouns": ["n"]},'
         '"z": {"topics": [], "verbs": ["v"], "nouns": ["n"]}}}', "area 'z' has no topics"),
        ('{"audiences": ["a"], "areas": {"s": {"topics": ["t"], "verbs": ["a b"], "nouns": ["n"]'
         "}}}", "'a b_n'"),
    ],
)  # fmt: skip
def test_another_shape_is_refused(tmp_path, text, message):
    path = tmp_path / "topics.json"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_topics(path)


def test_a_file_that_must_not_be_read_is_named(tmp_path, monkeypatch):
    def refused(*args, **options):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refused)  # root may read everything
    with pytest.raises(PermissionError):  # no UserError that speaks of its content
        read_topics(tmp_path / "topics.json")
