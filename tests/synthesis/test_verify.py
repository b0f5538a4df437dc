"""Verdicts: against doctest itself, and in the sandbox against exercises that go wrong."""

import doctest

import pytest

from phi1_jax.corpus.documents import read_documents
from phi1_jax.sandbox import Limits, open_sandbox
from phi1_jax.synthesis.doctest_harness import try_all, try_one
from phi1_jax.synthesis.exercises import parse_exercise, read_examples
from phi1_jax.synthesis.synthesize import synthesize
from phi1_jax.synthesis.teacher import TeacherReply, TeacherRequest
from phi1_jax.synthesis.verify import verify


def code(docstring, body="return n", signature="f(n)", before=""):
    return f'{before}def {signature}:\n    """Task.\n{docstring}    """\n    {body}\n'


def reply(source, name="f", seed=0):
    request = TeacherRequest("exercise", "numbers > sums", function_name=name, seed=seed)
    return TeacherReply(request, f"```python\n{source}```\n")


@pytest.fixture(scope="module")
def sandbox():
    with open_sandbox(Limits(cpu_s=0.4, wall_s=10), workers=2) as opened:
        yield opened


RAISES = ">>> f(0)\nTraceback (most recent call last):\nValueError: zero\n"
DOCSTRINGS = [
    (">>> f(1)\n1\n", "return n"),
    (">>> f(1)\n2\n", "return n"),
    (">>> f(1)\n1\n", "return 1.0"),
    (">>> f('a')\n'a'\n", "return n"),
    (">>> f('a')\na\n", "return n"),
    (">>> f(1)\n1\n", "return None"),
    (">>> f(1)\n1\n", "raise KeyError(n)"),
    (">>> f(1)\n1\n>>> f(2)\n3\n", "return n"),
    (">>> x = f([1])\n>>> x\n[1]\n>>> f(None)\n", "return n"),
    (">>> print(f('a'))\na\n>>> for n in f([1, 2]):\n...     print(n)\n1\n2\n", "return n"),
    (
        ">>> f(0)\nTraceback (most recent call last):\nValueError: zero\n",
        "raise ValueError('zero')",
    ),
    (RAISES, "raise ValueError('one')"),
    (RAISES, "return n"),
    (">>> f(0)\nTraceback (most recent call last):\nValueError\n", "raise ValueError"),
    (">>> f({})\nTraceback (most recent call last):\nKeyError: 'k'\n", "return n['k']"),
    (RAISES.replace("f(0)", "f(0)  # doctest: +IGNORE_EXCEPTION_DETAIL"), "raise ValueError(n)"),
    (RAISES.replace("f(0)", "f(0)  # doctest: +IGNORE_EXCEPTION_DETAIL"), "raise TypeError(n)"),
    (
        ">>> f('')\nTraceback (most recent call last):\n"
        "json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)\n",
        "import json; return json.loads(n)",
    ),
    (">>> f(1)\nTrue\n", "return True"),
    (">>> print('a\\n\\nb')\na\n<BLANKLINE>\nb\n", "return n"),
    (">>> f('a    b')  # doctest: +NORMALIZE_WHITESPACE\n'a b'\n", "return n"),
    (">>> f(list(range(50)))  # doctest: +ELLIPSIS\n[0, 1, ..., 49]\n", "return n"),
    (">>> f(list(range(50)))\n[0, 1, ..., 49]\n", "return n"),
    (">>> f(900)\n0\n", "return 0 if n == 0 else f(n - 1)"),
    (">>> import math\n>>> f(math.pi) > 3\nTrue\n", "return n"),
]


@pytest.mark.parametrize(("docstring", "body"), DOCSTRINGS)
def test_examples_hold_exactly_when_doctest_says_so(docstring, body):
    indented = "".join(f"    {line}\n" for line in docstring.splitlines())
    source = code(indented.replace("\\", "\\\\"), body)
    exercise = parse_exercise(f"```python\n{source}```")
    names = {}
    exec(source, names)
    runner = doctest.DocTestRunner(verbose=False)
    for test in doctest.DocTestFinder().find(names["f"], "f", globs=names):
        runner.run(test, out=lambda _: None)
    level = try_one(source, "f", read_examples(exercise))[0]
    assert (level == "D") == (runner.summarize(verbose=False).failed == 0)


CASES = {
    "doctest_passes": (code("    >>> f(3)\n    3\n"), ""),
    "runs, another output": (code("    >>> f(3)\n    4\n"), "example_differs"),
    "runs, nothing stated": (code("", signature="f(n: int)"), "no_doctest"),
    "parses, raises": (code("    >>> f(3)\n    3\n", "return m"), "raises"),
    "parses, raises at import": (code("    >>> f(3)\n    3\n", before="import nowhere\n"),
                                 "raises"),
    "parses, nothing to try": (code(""), "no_doctest"),
    "parses, nothing stated, raises": (code("", "return m", signature="f(n: int)"), "raises"),
    "parses, all skipped": (code("    >>> f(3)  # doctest: +SKIP\n    4\n"), "no_doctest"),
    "parses, loops": (code("    >>> f(3)\n    3\n", "while n: pass"), "timeout"),
    "parses, exits": (code("    >>> f(3)\n    3\n", "raise SystemExit"), "fail"),
    "parses, crashes": (code("    >>> f(3)\n    3\n",
                             "import ctypes; ctypes.string_at(0)"), "crash"),
    "parses, eats memory": (code("    >>> f(3)\n    3\n", "return 'x' * 10**10"), "raises"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 4])
def test_verdicts_in_the_sandbox(sandbox, batch):
    replies = [
        reply(source.replace('"""Task.', f'"""Task {i}.'), seed=i)
        for i, (source, _) in enumerate(CASES.values())
    ]
    found = {v.reply.request.seed: v for v in verify(replies, sandbox.run, batch)}
    for i, (case, (_, reason)) in enumerate(CASES.items()):
        assert found[i].verdict == case.split(",")[0], (case, found[i])
        assert found[i].reason == reason, (case, found[i])
        assert found[i].exercise.metadata["verdict"] == found[i].verdict


@pytest.mark.slow
def test_generated_inputs_are_recorded_and_do_not_decide(sandbox):
    first = code("    >>> f([3, 4])\n    3\n", "return n[0]")
    endless = code("    >>> f(3)\n    0\n", "while n != 0:\n        n -= 1\n    return n")
    alters = code("    >>> f([2, 1])\n    [1, 2]\n", "n.sort(); return n", "f(n, big=[9])")
    one, two, three = verify(map(reply, (first, alters, endless)), sandbox.run)
    assert [v.verdict for v in (one, two, three)] == ["doctest_passes"] * 3
    # []; [3]; [4, 3]; [3, 4, 3, 4]: the empty list has no first element
    assert one.exercise.metadata["inputs_tried"] == 4
    assert one.exercise.metadata["inputs_raised"] == 1
    assert two.exercise.metadata["inputs_raised"] == 0
    assert three.exercise.metadata["inputs_ended"] == "TIMEOUT"  # it never comes down from -3


@pytest.mark.parametrize(
    "body",
    [
        "import io; io.StringIO = None; return 4",
        "import sys; sys._getframe(2).f_globals['__result__'] = 'D 0 0 '; raise SystemExit",
        "import builtins; builtins.exec = None; return 4",
    ],
)
def test_an_exercise_that_tampers_with_the_trial_does_not_hold(sandbox, body):
    (verified,) = verify([reply(code("    >>> f(3)\n    3\n", body))], sandbox.run)
    assert verified.verdict != "doctest_passes"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("require", "n_kept"), [("doctest_passes", 1), ("runs", 3), ("parses", len(CASES))]
)
def test_require_chooses_what_is_kept_and_the_error_rate_stays(sandbox, tmp_path, require, n_kept):
    class Scripted:
        name = "scripted"

        def replies(self, requests):
            sources = [source for source, _ in CASES.values()]
            for i, request in enumerate(requests):
                source = sources[i] if i < len(sources) else "no code"
                text = f"```python\n{source}```\n".replace('"""Task.', f'"""Task {i}.')
                yield TeacherReply(
                    request, text, problem="truncated" if i == len(CASES) + 1 else ""
                )

    requests = [reply("", seed=i).request for i in range(len(CASES) + 2)]
    report = synthesize(tmp_path, Scripted(), [], requests, [], sandbox.run, require=require)
    kept = list(read_documents(tmp_path / "exercises.jsonl.zst"))
    assert len(kept) == report["out"]["exercises"] == n_kept
    assert kept[0].metadata["teacher"] == "scripted"
    assert kept[0].metadata["topic"] == "numbers > sums"
    assert report["verdicts"] == {
        "off_format": 2, "parses": 9, "runs": 2, "doctest_passes": 1
    }  # fmt: skip
    assert report["error_rate_by_verdict"]["runs"] == round(2 / 14, 4)
    assert report["teacher_error_rate"] == round(13 / 14, 4)
    rejects = list(read_documents(tmp_path / "rejects.jsonl.zst"))
    assert len(rejects) == 14 - n_kept
    assert {d.metadata["reason"] for d in rejects} >= {"truncated", "no_code_block"}


def test_a_decorated_function_is_tried_by_its_annotations_too():
    decorated = "from functools import lru_cache\n\n\n@lru_cache(None)\n"
    source = code("", signature="f(n: int)", before=decorated)
    assert try_one(source, "f", ())[:3] == ("S", 2, 0)


def test_details_are_one_line_and_short():
    source = code("    >>> print('a\\\\nb' * 1000)\n    c\n")
    examples = read_examples(parse_exercise(f"```python\n{source}```"))
    (line,) = try_all([(source, "f", examples)], 50).split("\n")
    assert line.startswith("R ") and len(line) < 60
