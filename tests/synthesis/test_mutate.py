"""Wrong solutions: the syntax stays, the exercise's own examples prove them wrong."""

import ast
import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest
from conftest import REPOSITORY

from phi1_jax.corpus.documents import Document, read_documents, write_documents
from phi1_jax.errors import UserError
from phi1_jax.sandbox import Limits, open_sandbox
from phi1_jax.synthesis.edits import KINDS, edits
from phi1_jax.synthesis.mutate import make_wrong, mutants, write_with_errors

PROMPT = 'def {name}(xs, k=1):\n    """Doc é.\n\n    >>> {call}\n    {result}\n    """\n'


def exercise(name: str, body: str, call: str, result: str) -> Document:
    prompt = PROMPT.format(name=name, call=call, result=result)
    return Document(
        name, prompt + body, "exercises",
        {"prompt_chars": len(prompt), "entry_point": name, "verdict": "doctest_passes"},
    )  # fmt: skip


EXERCISES = [
    exercise("add", "    return sum(xs) + k\n", "add([1, 2])", "4"),
    exercise("big", "    return [x for x in xs if x > 2 and x % 2 == 1]\n", "big([1, 3])", "[3]"),
    exercise(
        "down", "    n = 9\n    while n > 2:\n        n -= 3\n    return n\n", "down([])", "0"
    ),
    exercise("heads", "    return [x[:1].upper() for x in xs]\n", "heads(['ab'])", "['A']"),
    exercise("same", "    return xs\n", "same([1])", "[1]"),  # nothing to edit
]


def changed(program: str, kind: str) -> set[str]:
    """The bodies that edits of a kind make of `program`."""
    found = (e for e in edits(program, 0) if e.kind == kind)
    data = program.encode()
    return {(data[: e.start] + e.text.encode() + data[e.end :]).decode() for e in found}


def test_the_edits_of_each_kind():
    assert changed("a = x < 3", "off_by_one") == {"a = x <= 3", "a = x < 4"}
    assert changed("a = range(n)[:k]", "off_by_one") == {"a = range(n - 1)[:k]"}
    assert changed("a = 'é' if (b) else c", "wrong_branch") == {"a = 'é' if (not (b)) else c"}
    assert changed("a = (x in y) and z", "wrong_branch") == {
        "a = (x not in y) and z", "a = (x in y) or z",
    }  # fmt: skip
    assert changed("a = ('ü', b - (c))", "wrong_value") == {
        "a = ('x', b - (c))",
        "a = ('ü', b + (c))",
    }
    assert changed("return_ = max(s.upper(), True)", "wrong_value") == {
        "return_ = min(s.upper(), True)",
        "return_ = max(s.lower(), True)",
        "return_ = max(s.upper(), False)",
    }


def test_mutants_parse_keep_the_prompt_and_depend_on_the_seed():
    for document in EXERCISES:
        n = document.metadata["prompt_chars"]
        for mutant in mutants(document, 0):
            ast.parse(mutant.text)
            assert mutant.text[:n] == document.text[:n] and mutant.text != document.text
            assert mutant.metadata["mutation"] in KINDS
    drawn = [[m.text for m in mutants(EXERCISES[1], seed)] for seed in (0, 0, 1, 2)]
    assert drawn[0] == drawn[1] and len({tuple(texts) for texts in drawn}) > 1


@pytest.fixture(scope="module")
def sandbox():
    with open_sandbox(Limits(cpu_s=1), workers=1) as opened:
        yield opened


def test_what_counts_as_wrong_was_executed_and_differs(sandbox):
    *wrong, same = make_wrong(EXERCISES, sandbox.run, batch=8)
    assert same is None
    for document in wrong:
        assert document.metadata["verdict"] in ("parses", "runs")
        # Python itself, and not the harness that judged it.
        names = {}
        exec(document.text, names)
        stated = document.text.split(">>> ")[1].split("\n")
        try:
            assert repr(eval(stated[0], names)) != stated[1].strip()
        except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError):
            assert document.metadata["reason"] == "raises"


def test_shares_are_exact_and_nested_over_the_same_prompts(tmp_path, sandbox):
    documents = [
        exercise(f"add_{i}", f"    return xs[0] + {i}\n", f"add_{i}([1])", str(1 + i))
        for i in range(20)
    ]
    report = write_with_errors(documents, (0, 0.25, 0.5, 1), tmp_path, sandbox.run, batch=20)
    assert report["out"] == {f"wrong_{share}": 20 for share in ("0", "0.25", "0.5", "1")}
    before: set[str] = set()
    for share in (0, 0.25, 0.5, 1):
        read = list(read_documents(tmp_path / f"wrong_{share:g}" / "exercises.jsonl.zst"))
        assert [d.id for d in read] == [d.id for d in documents]
        wrong = {d.id for d in read if "mutation" in d.metadata}
        assert len(wrong) == share * 20 and before <= wrong
        before = wrong


def test_exercises_that_name_no_entry_point_are_made_wrong_too(sandbox):
    own = EXERCISES[0]
    metadata = {k: v for k, v in own.metadata.items() if k != "entry_point"}
    (wrong,) = make_wrong([replace(own, metadata=metadata)], sandbox.run)
    assert wrong and wrong.text != own.text


def test_documents_that_are_no_exercises_are_left_out_unless_all_are(tmp_path, sandbox):
    plain = Document("plain", "x = 1", "code")
    with pytest.raises(UserError, match="plain: no exercise, nor is any other"):
        write_with_errors([plain], (1,), tmp_path, iter)
    skipped = []
    report = write_with_errors(
        [plain, EXERCISES[0]], (1,), tmp_path, sandbox.run, skip=lambda *what: skipped.append(what)
    )
    assert report["out"] == {"wrong_1": 1} and skipped == [("plain", "no_exercise")]


def test_what_states_no_example_is_never_called_wrong(sandbox):
    """Not executed at all, or on inputs that the right one may fail on too."""
    bodies = ("def f(x):\n", "def f(x: int):\n")
    silent = [
        Document(head, f'{head}    """Doc."""\n    return x[0] + 1\n', "own",
                 {"prompt_chars": len(head) + len('    """Doc."""\n')})
        for head in bodies
    ]  # fmt: skip
    assert make_wrong(silent, sandbox.run) == [None, None]


def test_exercises_as_others_write_them_are_made_wrong_or_left_out_by_name(tmp_path, sandbox):
    """No newline at the end, fences in the docstring; more than ten that cannot be executed."""
    fences = "Doc.\n\n```\nadd([1])\n```\n\n>>> add([1])\n2\n"
    task = f'"""{fences}"""\n'
    whole = task + "def add(xs):\n    return sum(xs) + 1"
    fenced = Document("fences", whole, "own", {"prompt_chars": len(task), "entry_point": "add"})
    bare = replace(EXERCISES[0], text=EXERCISES[0].text.rstrip("\n"))
    head = "def f(x):\n"
    undocumented = [
        Document(f"bare_{k}", f"{head}    return x + {k}\n", "own", {"prompt_chars": len(head)})
        for k in range(12)
    ]
    skipped = []
    report = write_with_errors(
        [*undocumented, bare, fenced], (1,), tmp_path, sandbox.run,
        skip=lambda *what: skipped.append(what),
    )  # fmt: skip
    assert report["out"] == {"wrong_1": 2}
    assert skipped == [(document.id, "no_docstring") for document in undocumented]


@pytest.mark.parametrize(
    "body",
    [
        "    print x\n",
        f"    return 0x{'f' * 10_000}\n",
        f"    return {'-' * 100_000}x\n",
        "    if x: return 1\r    return 2\n",
    ],
)
def test_what_cannot_be_edited_has_no_edits(body):
    assert edits("def f(x):\n" + body, 0) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "argument", "words"),
    [
        ("corrupt_exercises.py", "--wrong_share=0,2", "--wrong_share=0,2: give numbers from 0"),
        (
            "corrupt_exercises.py",
            "--wrong_share=0.5,nan",
            "--wrong_share=nan: give a finite number",
        ),
        ("select_exercises.py", "--without=whale", "did you mean while?"),
    ],
)
def test_a_mistake_is_named_in_one_line(tmp_path, script, argument, words):
    write_documents(tmp_path / "e.jsonl", EXERCISES)
    done = subprocess.run(
        [sys.executable, REPOSITORY / "launch" / script, f"--corpus={tmp_path / 'e.jsonl'}",
         f"--output={tmp_path / 'out'}", argument],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2 and words in done.stderr, done.stderr


def test_the_script_selects_and_counts(tmp_path):
    write_documents(tmp_path / "e.jsonl", EXERCISES)
    subprocess.run(
        [sys.executable, REPOSITORY / "launch" / "select_exercises.py", "--without=while",
         f"--corpus={tmp_path / 'e.jsonl'}", f"--output={tmp_path / 'out'}"],
        check=True, capture_output=True,
    )  # fmt: skip
    kept = [d.id for d in read_documents(tmp_path / "out" / "exercises.jsonl.zst")]
    assert kept == ["add", "big", "heads", "same"]
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert Counter(report["dropped"]) == {"construct": 1}
