import json
import random
import zlib
from array import array

import numpy as np
import pytest

from phi1_jax.data.decontaminate import Benchmark, decontaminate
from phi1_jax.data.documents import Document, read_documents, write_documents
from phi1_jax.data.fingerprints import (
    fingerprint_document,
    fingerprint_problem,
    normalise_words,
    tree_tokens,
)
from phi1_jax.data.problems import Problem, write_problems
from phi1_jax.data.similarity import edit_distance, gram_counts, match_bound, overlaps
from phi1_jax.data.syntax import parse_python
from phi1_jax.errors import UserError

PROBLEM = Problem(
    task_id="bench/0",
    prompt='def even_squares(numbers):\n    """Keep the even numbers, then square each number and '
    "sort the result from the largest to the smallest.\n    >>> even_squares([1, 2])\n    [4]\n"
    '    """\n',
    entry_point="even_squares",
    canonical_solution="    even = [n for n in numbers if n % 2 == 0]\n"
    "    squares = [n * n for n in even]\n    return sorted(squares, reverse=True)\n",
    test="def check(candidate):\n    assert candidate([1, 2]) == [4]\n",
    composition=("keep_even", "square_each", "sort_down"),
)
SHORT = Problem(
    "bench/1",
    'def count_vowels(text):\n    """Count the vowels of a text."""\n',
    "count_vowels",
    '    return sum(c in "aeiou" for c in text)\n',
    "def check(candidate): ...",
    ("vowels", "count"),
)


def exercise(name, docstring, body, composition="", arguments="numbers"):
    prompt = f'def {name}({arguments}):\n    """{docstring}"""\n'
    metadata = {
        "prompt_chars": len(prompt),
        "entry_point": name,
        "composition": composition.split(),
    }
    return Document(name, prompt + body, "exercises", metadata)


def body(*lines):
    return "".join(f"    {line}\n" for line in lines)


SOLUTION = ("a = [n for n in numbers if n % 2 == 0]", "b = [n * n for n in a]")
LEAKS = {
    "exact_copy": (
        Document("copy", PROBLEM.prompt + PROBLEM.canonical_solution, "exercises"),
        {"text", "ast"},
    ),
    "renamed_variables": (
        exercise(
            "pick",
            "Something else.",
            body(
                "kept = [item for item in values if item % 2 == 0]",
                "powers = [item * item for item in kept]",
                "return sorted(powers, reverse=True)",
            ),
            arguments="values",
        ),
        {"ast"},
    ),
    "same_composition_in_other_words": (
        exercise(
            "other",
            "Drop odd entries, multiply each by itself, order downwards.",
            body("out = list(filter(is_even, numbers))", "return rank(map(power, out))"),
            "keep_even square_each sort_down",
        ),
        {"composition"},
    ),
    "the_chain_inside_a_longer_one": (
        exercise(
            "longer",
            "A longer task.",
            body("return first(numbers)"),
            "drop_first keep_even square_each sort_down sum",
        ),
        {"composition"},
    ),
    "same_words_with_another_body": (
        exercise(
            "words",
            "KEEP the even numbers, then: square each number and sort the result from the largest.",
            body("return None"),
        ),
        {"text"},
    ),
    "a_short_docstring_whole_within_another": (
        exercise("vowel", "First, count the vowels of a text. Then stop.", body("return 0")),
        {"text"},
    ),
    "in_a_textbook": (
        Document(
            "section",
            "# Even numbers\n\nSome prose.\n\n```python\ndef f(numbers):\n"
            + body(*SOLUTION, "return sorted(b, reverse=True)")
            + "```\n\nMore prose.\n",
            "textbooks",
        ),
        {"ast"},
    ),
}
CLEAN = [
    exercise("evens", "Keep the even numbers.", body(f"return {SOLUTION[0][4:]}"), "keep_even"),
    exercise("pair", "Square, then sort.", body("return numbers[0]"), "square_each sort_down"),
    exercise("split", "Other order.", body("return 2"), "keep_even sort_down square_each"),
    exercise(
        "odd",
        "Keep the odd numbers.",
        body(SOLUTION[0].replace("0", "1"), SOLUTION[1], "return sorted(b, reverse=True)"),
    ),
    exercise("letters", "Count the letters of a text.", body("return len(numbers)")),
    Document("prose", "Two divides even numbers.\n\n```\nnot python (\n```\n", "textbooks"),
]


@pytest.mark.parametrize("name", LEAKS)
def test_a_planted_leak_is_caught(name):
    document, measures = LEAKS[name]
    leaks = Benchmark([PROBLEM, SHORT]).find_leaks([fingerprint_document(document)])
    assert set(leaks[0].task_ids) == measures
    expected = "bench/1" if "short" in name else "bench/0"
    assert set(leaks[0].task_ids.values()) == {expected}


def test_what_only_resembles_the_benchmark_stays():
    leaks = Benchmark([PROBLEM, SHORT]).find_leaks([fingerprint_document(d) for d in CLEAN])
    assert leaks == {}


def test_tau_catches_small_edits_of_the_solution():
    odd = fingerprint_document(CLEAN[3])
    assert set(Benchmark([PROBLEM], tau=0.9).find_leaks([odd])[0].task_ids) == {"ast"}
    longer = body(*SOLUTION, "b = sorted(b)", "return sorted(b, reverse=True)")
    longer_print = fingerprint_document(exercise("more", "One step more.", longer))
    assert not Benchmark([PROBLEM], tau=0.9).find_leaks([longer_print])
    assert Benchmark([PROBLEM], tau=0.8).find_leaks([longer_print])


def test_the_tool_prunes_reports_and_lists_the_nearest(tmp_path):
    exercises = [d for d, _ in LEAKS.values() if d.source == "exercises"]
    write_documents(tmp_path / "exercises.jsonl.zst", CLEAN[:-1] + exercises)
    write_documents(tmp_path / "textbooks.jsonl.gz", [CLEAN[-1], LEAKS["in_a_textbook"][0]])
    write_problems(tmp_path / "bench.jsonl", [PROBLEM, SHORT])
    corpora = [tmp_path / "exercises.jsonl.zst", tmp_path / "textbooks.jsonl.gz"]
    report = decontaminate(corpora, tmp_path / "bench.jsonl", tmp_path / "out")
    kept = list(read_documents(tmp_path / "out/exercises.jsonl.zst"))
    assert kept == CLEAN[:-1]
    assert list(read_documents(tmp_path / "out/textbooks.jsonl.zst")) == CLEAN[-1:]
    dropped = {d.id: d for d in read_documents(tmp_path / "out/dropped.jsonl.zst")}
    assert set(dropped) == {d.id for d, _ in LEAKS.values()}
    assert dropped["other"].metadata["leak"] == {
        "reason": "composition",
        "task_ids": {"composition": "bench/0"},
    }
    assert report["in"] == {"exercises": 11, "textbooks": 2}
    assert report["out"] == {"exercises": 5, "textbooks": 1}
    assert report["dropped"] == {"composition": 2, "text": 3, "ast": 2}
    assert report["leaks_remaining"] == 0
    nearest = report["nearest_per_problem"]["bench/0"]
    assert nearest["composition"] == [pytest.approx(2 / 3, abs=1e-3), "pair"]
    similarity, document = nearest["ast"]
    assert document == "odd" and 0.9 < similarity < 1
    assert nearest["text"][1] == "evens"
    rows = [
        json.loads(line) for line in (tmp_path / "out/nearest.jsonl").read_text().split("\n")[:-1]
    ]
    assert [row["task_id"] for row in rows] == ["bench/0", "bench/1"]
    assert rows[0]["nearest"]["ast"]["text"] == CLEAN[3].text


def test_humanevals_problems_without_a_composition(tmp_path):
    write_documents(tmp_path / "c.jsonl", [*CLEAN[:4], LEAKS["renamed_variables"][0]])
    bare = Problem(PROBLEM.task_id, PROBLEM.prompt, "even_squares", PROBLEM.canonical_solution, "")
    write_problems(tmp_path / "bench.jsonl", [bare])
    report = decontaminate([tmp_path / "c.jsonl"], tmp_path / "bench.jsonl", tmp_path / "out")
    assert report["dropped"] == {"ast": 1}
    assert report["nearest_per_problem"]["bench/0"]["composition"] == [0.0, None]


def test_bad_input_is_named(tmp_path):
    write_problems(tmp_path / "bench.jsonl", [PROBLEM])
    write_documents(tmp_path / "a.jsonl", [LEAKS["exact_copy"][0]])
    with pytest.raises(UserError, match=r"a\.jsonl: every document"):
        decontaminate([tmp_path / "a.jsonl"], tmp_path / "bench.jsonl", tmp_path / "out")
    with pytest.raises(UserError, match=r"two are called a\.jsonl\.zst"):
        decontaminate([tmp_path / "a.jsonl"] * 2, tmp_path / "bench.jsonl", tmp_path / "out")


def tokens_of(code):
    tree = parse_python(code)
    assert tree is not None
    return tree_tokens(tree.body[0]).tolist()


def test_trees_see_through_names_but_not_through_meaning():
    base = tokens_of("def f(a, b):\n    c = a[2:]\n    return c + [b]\n")
    assert base == tokens_of(
        '@cache\ndef g(x: list, y: int) -> list:\n    """D."""\n    z = x[2:]\n    return z + [y]\n'
    )
    for other in ("a[::2]", "a[:2]", "a[3:]", "b[2:]", "len(a)"):
        assert base != tokens_of(f"def f(a, b):\n    c = {other}\n    return c + [b]\n")
    assert tokens_of("def f(*a): pass") != tokens_of("def f(**a): pass")
    assert tokens_of("def f(a): return a.x") != tokens_of("def f(a): return a.y")
    # A name from outside is what it is.
    assert tokens_of("def f(a): return min(a)") != tokens_of("def f(a): return max(a)")


def test_words_leave_out_examples_and_numbers():
    text = "Add 5 to Numbers.\n    >>> f([1])\n    [6]\n\n    Then stop."
    words = ["add", "0", "to", "numbers", "then", "stop"]
    assert normalise_words(text) == words
    problem = fingerprint_problem(SHORT)
    assert [zlib.crc32(w.encode()) for w in ("|", "count")] == list(problem.words[:2])


def plain_distance(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (x != y))
    return row[-1]


def test_edit_distance_and_its_bound_against_the_plain_table():
    rng = random.Random(0)
    for _ in range(500):
        a = [rng.randrange(4) for _ in range(rng.randrange(1, 90))]
        b = list(a)
        for _ in range(rng.randrange(30)):
            b.insert(rng.randrange(len(b) + 1), rng.randrange(4))
            b.pop(rng.randrange(len(b)))
        distance = plain_distance(a, b)
        assert edit_distance(a, b) == distance
        longest = np.array(max(len(a), len(b)))
        shared = overlaps([array("I", a)], [array("I", b)], 2, repeats=True)[0, 0]
        assert 1 - distance / longest <= match_bound(shared, longest, 2) + 1e-12
    assert edit_distance([], [1, 2]) == 2 and edit_distance([1], []) == 1


def test_overlaps_count_shared_grams():
    many = [array("I", s) for s in ([1, 2, 3, 1, 2], [9], [], [2, 1, 2, 1, 2])]
    few = [array("I", s) for s in ([1, 2, 1, 2], [3], [])]
    assert overlaps(many, few, 2, repeats=True).tolist() == [[2, 0, 0], [0] * 3, [0] * 3, [3, 0, 0]]
    assert overlaps(many, few, 2, repeats=False).tolist() == [
        [1, 0, 0],
        [0] * 3,
        [0] * 3,
        [2, 0, 0],
    ]
    assert gram_counts(many, 2, repeats=True).tolist() == [4, 0, 0, 4]
    assert gram_counts(many, 2, repeats=False).tolist() == [3, 0, 0, 2]
