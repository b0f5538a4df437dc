"""Diversity figures: against counts by hand, and on corpora whose repeats were planted."""

import json
import math
import random
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest
from conftest import REPOSITORY

from phi1_jax.corpus.documents import Document, write_documents
from phi1_jax.corpus.problems import Problem, write_problems
from phi1_jax.synthesis.diversity import (
    ConstructCounter,
    Constructs,
    spread,
    write_report,
)
from phi1_jax.synthesis.diversity import measure as measure_with_constructs
from phi1_jax.synthesis.exercises import Exercise

TREE = ["lists > filtering", "lists > sorting", "dicts > merging", "sets > unions"]


def function(name, *lines):
    body = "".join(f"    {line}\n" for line in lines)
    return f'def {name}(items):\n    """Do {name}."""\n{body}'


def unlike(n, seed=0):
    """Functions of which no two share much of their trees."""
    rng = random.Random(seed)
    steps = [
        "items = [n + {k} for n in items if n % {j} == 1]", "items.sort(key=lambda n: -n * {k})",
        "while len(items) > {k}: items.pop({j})", "items = dict(zip(items, range({k})))",
        "print(items[{k}:{j}] or items)", "items = {{n: {k} for n in set(items)}}",
        "try: items = items[{k}]\n    except IndexError: raise ValueError('{j}')",
        "assert not any(n < {k} for n in items), {j}", "items = sum(map(str, items), '{k}')",
    ]  # fmt: skip
    made = []
    for i in range(n):
        lines = [
            step.format(k=rng.randrange(100), j=rng.randrange(100)) for step in rng.sample(steps, 5)
        ]
        made.append(function(f"task_{i}", *lines, "return items"))
    return made


def measure(*arguments, **options):
    return measure_with_constructs(*arguments, **options)[0]


def document(text, i=0, **metadata):
    return Document(str(i), text, "exercises", metadata)


def corpus(texts, **metadata):
    return [document(text, i, **metadata) for i, text in enumerate(texts)]


def construct_shares(exercises, **options):
    counter = ConstructCounter(**options)
    return Constructs.total(map(counter.of_exercise, exercises)).shares()


def test_spread_is_the_entropy_of_the_counts():
    even = spread(Counter({str(i): 5 for i in range(8)}))
    assert (even["entropy_bits"], even["counted"], even["distinct"]) == (3.0, 40, 8)
    uneven = spread(Counter(a=3, b=1))
    assert uneven["entropy_bits"] == pytest.approx(2 - 0.75 * math.log2(3), abs=1e-3)
    assert uneven["most_common"] == [["a", 3], ["b", 1]] and uneven["ranked"] == [[1, 3], [2, 1]]
    assert spread(Counter()) == {}


def test_planted_copies_are_found_and_nothing_else():
    texts = unlike(60)
    renamed = [
        texts[7].replace("items", f"values_{i}").replace("task_7", f"copy_{i}").replace("Do", "Now")
        for i in range(10)
    ]
    variants = [re.sub(r"\d+", str(500 + i), texts[8], count=3) for i in range(5)]
    plain = measure(corpus(texts), [])
    assert plain["functions"]["distinct"] == plain["functions"]["counted"] == 60
    assert plain["functions"]["repeated_share"] == plain["functions"]["clusters"] == 0
    planted = measure(corpus(texts + renamed + variants), [], workers=2)
    found = planted["functions"]
    assert (found["counted"], found["clusters"], found["distinct"]) == (75, 1, 65)
    assert found["most_common"][0] == ["7", 11]
    assert found["repeated_share"] == round(10 / 75, 4)


def test_compression_tells_repeats_from_news():
    rng = random.Random(2)
    news = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz \n", k=600)) for _ in range(50)]
    fresh, stale = (measure(corpus(texts), [])["size"] for texts in (news, news[:1] * 50))
    assert fresh["bytes"] == stale["bytes"] == 50 * 600
    assert stale["compression_ratio"] > fresh["compression_ratio"] * 20


def test_topics_cover_the_tree_or_name_what_is_missing():
    documents = [
        document("x", 0, topic="lists > filtering"),
        document("x", 1, topic="lists > filtering"),
        document("x", 2, topic="never mind"),
        document("x", 3, topic="elsewhere"),
        document("x", 4),
    ]
    found = measure(documents, TREE)
    assert found["coverage"] == {"of": 4, "share": 0.25, "missing": TREE[1:]}
    assert found["topics"]["counted"] == 4
    assert "share" not in measure(documents, [])["coverage"]
    assert "share" not in measure(documents[-1:], TREE)["coverage"]


def test_names_are_counted():
    names = ["count_words", "count_lines", "count_words", "_find_it"]
    documents = [document("x", i, entry_point=name) for i, name in enumerate(names)]
    found = measure(documents, [])["names"]
    assert found["distinct"] == 3 and found["most_common"][0] == ["count_words", 2]


def test_an_instruction_in_plain_words_and_its_code_are_an_exercise():
    """The fences that some solutions stand in change nothing."""
    prompt = "Count the words of a text. Skip those that are short.\n"
    code = "def count_words(text, n):\n    for w in text:\n        if w: return n\n    return 0\n"
    for solution in (code, f"Here it is:\n\n```python\n{code}```\n"):
        exercise = document(prompt + solution, prompt_chars=len(prompt))
        figures, constructs = measure_with_constructs([exercise], [])
        shares = constructs.shares()
        assert shares["functions"] == 1 and shares["if inside a loop"] == 100
        assert figures["functions"]["counted"] == 1
        if solution == code:
            assert figures["names"]["most_common"] == [["count_words", 1]]
            assert shares["docstring of more than one sentence"] == 100


@pytest.mark.slow
def test_the_report_is_markdown_with_a_figure(tmp_path):
    documents = corpus([function("f", "return 1")] * 3, topic="lists > filtering",
                       entry_point="f|g")  # fmt: skip
    figures, constructs = measure_with_constructs(documents, TREE)
    corpora = {"a|b": figures, "none": measure([], [])}
    write_report(tmp_path, corpora, {"a": constructs.shares()})
    page = (tmp_path / "diversity.md").read_text()
    from matplotlib import image as reader

    height, width, _ = reader.imread(tmp_path / "diversity.png").shape
    assert width > 1000 < height * 2
    assert "(diversity.png)" in page and "\n- names: `f|g` (3)\n- topics: `lists" in page
    assert re.search(r"\| +\| +a\\\|b \| none \|\n\| -+ \| -+: \| ---: \|", page)
    # Figures of the corpus that says nothing are marked, not 0.
    assert re.search(r"\| function names, distinct +\| +1 \| +- \|", page)
    assert "\n- equal functions, by the id of the first: `0` (3)\n" in page
    # What the tree has and the corpus lacks is counted, not listed.
    assert "dicts > merging" not in page


HAND_COUNTED = {
    # A guard with a return, a loop with an `if` and a return in it.
    "first": Exercise(
        'def first(items, wanted):\n    """Find it. Return its place.\n\n    >>> first([2], 2)\n'
        '    0\n    """\n',
        "    if not items:\n        return None\n    for i, item in enumerate(items):\n"
        "        if item == wanted:\n            return i\n    return None\n",
        "first",
    ),
    # Nested loops, `while`, `elif` and a helper; hints.
    "table": Exercise(
        'def table(n: int) -> list:\n    """Make a table.\n    table(1) == [[0]]\n    """\n',
        "    def cell(x):\n        return x\n    rows = []\n    while n > 0:\n"
        "        for x in range(n):\n            rows.append(cell(x))\n        n -= 1\n"
        "    if n:\n        rows = []\n    elif rows:\n        rows.pop()\n    return rows\n",
        "table",
    ),
    "fact": Exercise(
        'def fact(n):\n    """Multiply up to n. fact(3) ➞ 6"""\n',
        "    return n * fact(n - 1) if n else 1\n",
        "fact",
    ),
}


def test_constructs_are_those_counted_by_hand():
    found = {name: construct_shares([exercise]) for name, exercise in HAND_COUNTED.items()}
    expected = {
        "first": {"two or more arguments", "for", "if inside a loop", "early-return guard",
                  "if at the top", "return inside a loop", "examples: >>>",
                  "docstring of more than one sentence"},
        "table": {"for", "nested loops", "while", "elif", "if at the top", "helper functions",
                  "type hints", "examples: f(x) == y"},
        "fact": {"recursion", "examples: arrow"},
    }  # fmt: skip
    for name, constructs in expected.items():
        assert {row for row, share in found[name].items() if share == 100} == constructs
        assert found[name]["functions"] == 1
    assert [found[name]["statements, mean"] for name in found] == [6, 12, 1]
    for name, exercise in HAND_COUNTED.items():  # as own exercises come: prompt and solution alone
        assert construct_shares([replace(exercise, entry_point="")]) == found[name]
    together = construct_shares(HAND_COUNTED.values())
    assert (together["for"], together["while"], together["functions"]) == (66.7, 33.3, 3)
    assert found["first"]["distinct words in docstrings"] == 5  # find it return its place
    for limit, share in ((20, 0), (8, 100)):
        in_words = construct_shares(HAND_COUNTED.values(), long_prompt=limit, encode=str.split)
        assert in_words["long prompt"] == share


def test_a_solution_is_covered_by_its_statements_and_its_number_of_arguments():
    counter = ConstructCounter()

    def constructs(code):
        return counter.of_exercise(Exercise("", code, "f"))

    corpus = Constructs()
    for code in ("def f(a):\n    for x in a:\n        if x:\n            return x\n    return 0\n",
                 "def f(a, b):\n    a = b\n    return a\n"):  # fmt: skip
        corpus.add(constructs(code))
    loop = "def f(s, t):\n    for x in s:\n        if x == t:\n            return t\n"
    assert corpus.covers(constructs(loop))
    for other in (
        loop.replace("s, t", "s, t, u"),
        loop.replace("        if x == t:\n            return t\n", "        return t\n"),
        loop + "        else:\n            return s\n",
        loop.replace("for x in s", "while s"),
        "def f(a):\n    def g(b):\n        return b\n    return a\n",
        "not python (",
    ):
        assert not corpus.covers(constructs(other))


@pytest.mark.slow
def test_script_measures_corpora_side_by_side(tmp_path):
    texts = unlike(12)
    write_documents(tmp_path / "one.jsonl.zst", corpus(texts))
    write_documents(tmp_path / "two.jsonl", corpus(texts[:3] * 4))
    exercise = HAND_COUNTED["fact"]
    problem = Problem("a/0", exercise.prompt, "fact", exercise.solution, "def check(c): ...")
    write_problems(tmp_path / "bench.jsonl", [problem])
    command = [
        sys.executable, str(REPOSITORY / "launch" / "diversity.py"), "--workers=1",
        f"--corpus={tmp_path / 'one.jsonl.zst'}", f"--corpus={tmp_path / 'two.jsonl'}",
        f"--output={tmp_path / 'out'}", f"--against={tmp_path / 'bench.jsonl'}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    corpora = report["corpora"]
    assert corpora["one"]["functions"]["repeated_share"] == 0
    assert corpora["two"]["functions"]["repeated_share"] == 0.75
    assert "Diversity of one, two" in (tmp_path / "out" / "diversity.md").read_text()
    assert report["constructs"]["bench"]["recursion"] == 100
    assert report["constructs"]["two"]["solutions covered, % of bench"] == 100
    assert re.search(r"\| recursion +\| +100 \| +0 \| +0 \|", done.stdout)
    # One table has both: of the same short name they must not take each other's place.
    (tmp_path / "other").mkdir()
    write_problems(tmp_path / "other" / "one.jsonl", [problem])
    same = tmp_path / "other" / "one.jsonl"
    named = [*command[:4], f"--output={tmp_path / 'named'}", f"--against={same}"]
    done = subprocess.run(named, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    shares = json.loads((tmp_path / "named" / "report.json").read_text())["constructs"]
    assert shares[str(same)]["recursion"] == 100
    assert f"solutions covered, % of {same}" in shares[str(tmp_path / "one.jsonl.zst")]
    twice = [*command, f"--against={tmp_path / 'one.jsonl.zst'}"]
    done = subprocess.run(twice, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2 and "one.jsonl.zst: is named twice" in done.stderr
    without = subprocess.run(command[:3], capture_output=True, text=True, timeout=60, check=False)
    assert without.returncode == 2 and "error: --corpus is missing" in without.stderr
