"""Exercises: read from a reply, refused with a reason, written as documents."""

import json

import pytest

from phi1_jax.corpus.documents import read_documents, write_documents
from phi1_jax.synthesis.exercises import (
    Exercise,
    parse_exercise,
    read_examples,
    to_document,
)
from phi1_jax.synthesis.replies import ReplyError

PROMPT = '''def even_sum(nums):
    """Keep the even numbers, then sum the numbers.
    >>> even_sum([1, 2, 4])
    6
    """
'''
SOLUTION = "    result = [n for n in nums if n % 2 == 0]\n    return sum(result)\n"


def fenced(code, language="python"):
    return f"```{language}\n{code}```\n"


def test_reads_signature_docstring_and_body_from_markdown():
    exercise = parse_exercise("Here you are:\n\n" + fenced(PROMPT + SOLUTION), {"model": "m"})
    assert (exercise.prompt, exercise.solution) == (PROMPT, SOLUTION)
    assert exercise.entry_point == "even_sum"
    assert exercise.composition == () and exercise.metadata == {"model": "m"}


@pytest.mark.parametrize(
    "language",
    ["python", "py", "", "Python", "python3", "py3", " python", "language-python", "python-3"],
)
def test_reads_any_fence_and_windows_line_ends(language):
    text = fenced(PROMPT + SOLUTION, language)
    assert parse_exercise(text.replace("\n", "\r\n")) == parse_exercise(text)


def test_what_a_model_thought_before_is_no_part_of_the_reply():
    draft = fenced("def draft():\n    pass\n")
    exercise = parse_exercise(f"<think>\n{draft}\nok</think>\n\n" + fenced(PROMPT + SOLUTION))
    assert (exercise.prompt, exercise.solution) == (PROMPT, SOLUTION)


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\x85", "\x0c"])
def test_only_newlines_end_a_line(character):
    prompt = PROMPT.replace("Keep", f"Keep{character}")
    exercise = parse_exercise(fenced(prompt + SOLUTION))
    assert (exercise.prompt, exercise.solution) == (prompt, SOLUTION)


def test_imports_belong_to_the_prompt():
    code = "from math import floor\n\n\n" + PROMPT + "    return floor(sum(nums))\n"
    exercise = parse_exercise(fenced(code))
    assert exercise.prompt.startswith("from math import floor\n\n\ndef even_sum")
    assert exercise.solution == "    return floor(sum(nums))\n"


def test_comments_and_inner_functions_stay_in_the_body():
    body = "    # halves\n\n    def half(n):\n        return n / 2\n    return half(sum(nums))\n"
    assert parse_exercise(fenced(PROMPT + body)).solution == body


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("I cannot help with that.", "refused"),
        ("What a name!", "no_code_block"),
        ("```python\ndef f(x):\n    return x\n", "no_code_block"),
        (fenced(PROMPT + SOLUTION) * 2, "several_code_blocks"),
        (fenced("def f(x:\n    pass\n"), "syntax_error"),
        (fenced(PROMPT + "    return " + "-" * 100_000 + "1\n"), "syntax_error"),
        (fenced("x = '\0'\n"), "control_character"),
        (fenced(""), "no_function_last"),
        (fenced("import math\n"), "no_function_last"),
        (fenced(PROMPT + SOLUTION + "\nprint(even_sum([2]))\n"), "no_function_last"),
        (fenced("LIMIT = 3\n" + PROMPT + SOLUTION), "code_outside_function"),
        (fenced("def g(x):\n    return x\n" + PROMPT + SOLUTION), "code_outside_function"),
        (fenced("def f(x):\n    return x\n"), "no_docstring"),
        (fenced(PROMPT), "no_body"),
        (fenced('def f(x):\n    """F.\n    >>> f(1)\n    1\n    """; return x\n'),
         "docstring_shares_a_line"),
    ],
)  # fmt: skip
def test_refuses_with_the_reason(reply, reason):
    with pytest.raises(ReplyError) as error:
        parse_exercise(reply)
    assert error.value.reason == reason


def test_document_round_trip_through_a_file(tmp_path):
    exercise = Exercise(PROMPT, SOLUTION, "even_sum", ("keep_even", "sum_of"), {"seed": 3})
    document = to_document(exercise)
    assert document.text[: document.metadata["prompt_chars"]] == PROMPT
    assert json.dumps(document.metadata)
    write_documents(tmp_path / "e.jsonl", [document])
    (read,) = read_documents(tmp_path / "e.jsonl")
    assert read == document and read.text == PROMPT + SOLUTION
    assert read.metadata["entry_point"] == "even_sum" and read.metadata["seed"] == 3
    assert read.metadata["composition"] == ["keep_even", "sum_of"]


def exercise(examples, body="    return nums\n"):
    prompt = f'def f(nums):\n    """Task.\n{examples}    """\n'
    return Exercise(prompt, body, "f")


def test_examples_are_what_the_docstring_states():
    (row,) = read_examples(Exercise(PROMPT, SOLUTION, "even_sum"))
    assert row == ("even_sum([1, 2, 4])\n", "6\n", {})
    raising = "    >>> f(0)\n    Traceback (most recent call last):\n    ValueError: zero\n"
    assert read_examples(exercise(raising))[0][1] == "ValueError: zero\n"


@pytest.mark.parametrize("examples", ["", "    >>> f(1)\n", "    >>> f(1)\n   1\n"])
def test_examples_that_state_nothing_or_cannot_be_read_are_none(examples):
    assert read_examples(exercise(examples)) == ()
