"""A part of the exercises: by kind, construct and verdict."""

from collections import Counter
from dataclasses import replace

import pytest

from phi1_jax.corpus.documents import Document
from phi1_jax.errors import UserError
from phi1_jax.synthesis.select import Selection, select

PROMPT = "def {name}(n):\n"
BODIES = {"loops": "    while n > 9:\n        n -= 9\n    return n\n", "sums": "    return n + 1\n"}


def exercise(number: int) -> Document:
    topic = "loops" if number % 4 == 0 else "sums"
    prompt = PROMPT.format(name=f"{'abcdefgh'[number % 8]}_{number}")
    verdict = ("parses", "runs", "doctest_passes")[number % 3]
    return Document(
        str(number), prompt + BODIES[topic], "exercises",
        {"prompt_chars": len(prompt), "entry_point": prompt[4:].split("(")[0], "verdict": verdict,
         "composition": [topic, f"program {number % 16}", "more"], "topic": topic},
    )  # fmt: skip


EXERCISES = [exercise(number) for number in range(96)]


def kept(**fields) -> list[Document]:
    return list(select(EXERCISES, Selection(**fields), Counter()))


def test_a_share_of_the_kinds_is_exact_nested_and_drawn_by_the_seed():
    programs = {d.metadata["composition"][1] for d in kept(kinds=0.25)}
    assert len(programs) == 4 and len(kept(kinds=0.25)) == 24
    assert programs < {d.metadata["composition"][1] for d in kept(kinds=0.5)}
    assert programs != {d.metadata["composition"][1] for d in kept(kinds=0.25, seed=1)}
    assert len({d.metadata["entry_point"][0] for d in kept(by="name", kinds=0.5)}) == 4
    assert kept() == EXERCISES


def test_exercises_of_ones_own_have_the_kinds_of_their_functions_names():
    own = [
        Document(d.id, d.text, d.source, {"prompt_chars": d.metadata["prompt_chars"]})
        for d in EXERCISES
    ]
    named = {"by": "name", "kinds": 0.5}
    ids = [d.id for d in select(own, Selection(**named), Counter())]
    assert ids == [d.id for d in kept(**named)]
    with pytest.raises(UserError, match=r"--kinds=0\.5: no exercise has a topic; take --by=name"):
        list(select(own, Selection(kinds=0.5), Counter()))
    assert list(select(own, Selection(), Counter())) == own
    words = [replace(d, text=f"Write it.\n{d.text}", metadata={"prompt_chars": 10}) for d in own]
    assert [d.id for d in select(words, Selection(**named), Counter())] == ids
    dropped = Counter()
    assert list(select([*own[:1], *EXERCISES], Selection(kinds=0.25), dropped)) == kept(kinds=0.25)
    assert dropped == {"no_kind": 1, "kind": 72}


def test_constructs_and_verdicts():
    assert not any("while" in d.text for d in kept(without=("while",)))
    assert len(kept(without=("while",))) == 72
    for require, n in (("parses", 96), ("runs", 64), ("doctest_passes", 32)):
        assert len(kept(require=require)) == n
    public, foreign = (
        replace(EXERCISES[0], metadata={**EXERCISES[0].metadata, "verdict": verdict})
        for verdict in ("tests_pass", ["correct"])
    )
    assert list(select([public, foreign], Selection(), Counter())) == [public, foreign]
    held = Selection(require="doctest_passes")
    assert list(select([public, foreign], held, Counter())) == [public]


LOOP = "while n > 9:\n{0}    n -= 9\n"
AWKWARD = {
    "instruction": ("Count down.\n", "def f(n):\n    " + LOOP.format("    ")),
    "no function": ("Count down.\n", "n = 11\n" + LOOP.format("")),
    "comment": ("# Count down.\n", "n = 11\n" + LOOP.format("")),
    "method": ("class A:\n    def f(self, n):\n", "        " + LOOP.format(" " * 8)),
    "helper": ("def f(n):\n", "    return g(n)\n\ndef g(n):\n    " + LOOP.format("    ")),
}


@pytest.mark.parametrize("name", AWKWARD)
def test_a_construct_is_found_wherever_it_stands_in_the_solution(name):
    prompt, solution = AWKWARD[name]
    about = {"prompt_chars": len(prompt), "entry_point": "f"}
    loop = Document(name, prompt + solution, "s", about)
    branch = Document(name, loop.text.replace("while", "if"), "s", about)
    dropped = Counter()
    assert list(select([loop, branch], Selection(without=("while",)), dropped)) == [branch]
    assert dropped == {"construct": 1}


def test_a_solution_that_cannot_be_checked_goes_and_what_its_prompt_holds_stays():
    old = Document("old", "def f(n):\n    print n\n", "s", {"prompt_chars": 10})
    given = "def g(n):\n    while n: n -= 1\n\ndef f(n):\n"
    new = Document("new", given + "    return g(n)\n", "s", {"prompt_chars": len(given)})
    dropped = Counter()
    assert list(select([old, new], Selection(without=("while",)), dropped)) == [new]
    assert dropped == {"unparsed": 1}
    assert list(select([old], Selection(), Counter())) == [old]


def test_nothing_left_is_an_error_with_the_reasons():
    dropped = Counter()
    with pytest.raises(UserError, match="no exercise is left of 96"):
        list(
            select(EXERCISES, Selection(without=("while", "type hints", "examples: none")), dropped)
        )
    assert dropped == {"construct": 96}
    for fields in ({"kinds": 0}, {"kinds": 1.5}, {"without": ("whle",)}):
        with pytest.raises(UserError):
            Selection(**fields)
