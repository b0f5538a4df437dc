"""Public exercises, in small files with the columns that the data sets have."""

import json
import subprocess
import sys

import pyarrow
import pyarrow.parquet
import pytest
from conftest import REPOSITORY

from configs.sources.public import get_config
from phi1_jax.corpus.documents import read_documents
from phi1_jax.corpus.records import write_records
from phi1_jax.curation.sources import declared_sources, parse_source, read_source
from phi1_jax.errors import UserError
from phi1_jax.sandbox import Limits, open_sandbox
from phi1_jax.synthesis.public import keep_passing

ADD = "def add(a, b):\n    return a + b"
OPENCODEINSTRUCT = {
    "id": "0a1b",
    "input": 'Add two numbers.\n\n**Sample:** `add(1, 2)` is 3. A \\ and """ are text.',
    "output": f"```python\n{ADD}\n```",
    "domain": "generic",
    "generation_algorithm": "self-instruct",
    "llm_judgement": "{}",
    "unit_tests": json.dumps(["\nassert add(1, 2) == 3\n", "\nassert add(0, 0) == 0\n"]),
    "tests_execution_status": json.dumps(["pass", "pass"]),
    "average_test_score": 1.0,
}
KODCODE = {
    "version": "v1.1",
    "style": "instruct",
    "subset": "Prefill",
    "question_id": "Prefill_1_I",
    "question": "Divide two numbers.",
    "solution": "def divide(a, b):\n    return a / b",
    "test": "import pytest\nfrom solution import divide\n\n\ndef test_divide():\n"
    "    assert divide(1, 3) == pytest.approx(0.3333333)\n"
    "    assert divide(4, 2) == 2\n\n\ndef test_zero():\n"
    "    with pytest.raises(ZeroDivisionError, match='division'):\n        divide(1, 0)\n",
    "gpt_pass_percentage": 1.0,
}


@pytest.fixture(scope="module")
def sandbox():
    with open_sandbox(Limits(cpu_s=1), workers=2) as opened:
        yield opened


@pytest.fixture
def keep(sandbox, tmp_path):
    """Runs rows of a declared source; gives the kept documents, rejects' reasons and the report."""

    def work(name, *rows):
        path = tmp_path / f"{name}.parquet"
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path)
        source = parse_source(f"@{name}:{path}", None, declared_sources(get_config().to_dict()))
        report = keep_passing(read_source(source, pytest.fail), sandbox.run, tmp_path)
        return list(read_documents(tmp_path / "exercises.jsonl.zst")), report

    return work


def test_an_opencodeinstruct_row_that_passes_is_a_program_with_its_task(keep):
    (exercise,), report = keep("opencodeinstruct", OPENCODEINSTRUCT)
    names = {}
    exec(exercise.text, names)
    assert names["__doc__"].strip() == OPENCODEINSTRUCT["input"] and names["add"](1, 2) == 3
    cut = exercise.metadata["prompt_chars"]
    assert exercise.text[cut:] == ADD + "\n"
    assert exercise.metadata["licence"] == "CC-BY-4.0"
    assert exercise.metadata["public_id"] == "0a1b" and exercise.metadata["domain"] == "generic"
    assert exercise.metadata["verdict"] == "tests_pass" and exercise.source == "opencodeinstruct"
    assert report == {"in": {"exercises": 1}, "out": {"exercises": 1}, "dropped": {}}

    shown = ADD.replace("\n", '\n    """\n    ```json\n    3\n    ```\n    """\n')
    (exercise,), _ = keep("opencodeinstruct", {**OPENCODEINSTRUCT, "output": shown})
    assert exercise.text.endswith(shown + "\n")


def test_a_kodcode_row_is_tested_as_pytest_would(keep):
    wrong = [
        {**KODCODE, "question": "2", "solution": "def divide(a, b):\n    return a // b"},
        {**KODCODE, "question": "3", "solution": "def divide(a, b):\n    return a / b if b else 0"},
        {**KODCODE, "question": "4", "test": KODCODE["test"].replace("'division'", "'by one'")},
    ]
    (exercise,), report = keep("kodcode", KODCODE, *wrong)
    assert exercise.metadata["public_id"] == "Prefill_1_I"
    assert exercise.metadata["licence"] == "CC-BY-NC-4.0: not for commercial use"
    assert exercise.metadata["style"] == "instruct"
    assert report["dropped"] == {"test_fails": 3}


UNITTEST = """import unittest
from solution import divide


class DivideCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.two = 2

    def setUp(self):
        self.one = 1

    def test_divide(self):
        for n in range(1, 3):
            with self.subTest(n=n):
                self.assertAlmostEqual(divide(self.one * n, self.two), n / 2)

    def test_zero(self):
        with self.assertRaises(ZeroDivisionError):
            divide(1, 0)


unittest.main(argv=[""], exit=False)
"""


def test_classes_of_unittest_are_run(keep):
    wrong = {**KODCODE, "solution": "def divide(a, b):\n    return a // b", "question": "2"}
    none = {**KODCODE, "question": "3", "test": UNITTEST.replace("def test_", "def show_")}
    rows = [{**row, "test": row["test"] if row is none else UNITTEST} for row in (wrong, none)]
    (exercise,), report = keep("kodcode", {**KODCODE, "test": UNITTEST}, *rows)
    assert exercise.metadata["public_id"] == "Prefill_1_I"
    assert report["dropped"] == {"test_fails": 2}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"unit_tests": json.dumps(["assert add(1, 2) == 4"])}, "test_fails"),
        ({"unit_tests": None}, "no_test"),
        ({"unit_tests": "[]"}, "no_test"),
        ({"unit_tests": "[broken"}, "test_syntax_error"),
        ({"unit_tests": json.dumps(["add(1, 2)"])}, "no_test"),
        ({"output": "def add(a, b) return"}, "syntax_error"),
        ({"output": f"```python\n{ADD}\n```\nor\n```python\n{ADD}\n```"}, "several_code_blocks"),
        ({"output": "```\nno end"}, "no_code_block"),
        ({"output": f"import numpy\n{ADD}"}, "module_not_found"),
        ({"output": "while True:\n    pass"}, "timeout"),
        ({"output": "raise SystemExit(0)"}, "test_fails"),
    ],
)
def test_what_is_not_shown_to_hold_is_left_out_with_a_reason(change, reason, keep, tmp_path):
    with pytest.raises(UserError, match=rf"no exercise passes its tests \(1 {reason}\); see "):
        keep("opencodeinstruct", {**OPENCODEINSTRUCT, **change})
    (reject,) = read_documents(tmp_path / "rejects.jsonl.zst")
    assert reject.metadata["reason"] == reason


def test_exercises_in_humanevals_format_are_tested_and_kept_as_they_are(sandbox, tmp_path):
    prompt = 'def {0}(x):\n    """Return x plus 1."""\n'
    check = "def check(candidate):\n    assert candidate(3) == 4\n"
    rows = [
        {"prompt": prompt.format("one"), "solution": "    return x + 1\n", "test": check},
        {"prompt": prompt.format("two"), "solution": "    return x + 2\n", "test": check},
        {"prompt": prompt.format("six"), "solution": "    return x + 1\n", "test": "def" + check},
        {"prompt": "Add one.", "solution": "def add(x):\n    return x + 2\n", "test": check},
        {"prompt": "Add 1.", "solution": "def add(x):\n    return x + 1\n",
         "test": check.replace("check", "never_called")},
    ]  # fmt: skip
    write_records(tmp_path / "own.jsonl", rows)
    report = keep_passing(read_documents(tmp_path / "own.jsonl"), sandbox.run, tmp_path)
    (exercise,) = read_documents(tmp_path / "exercises.jsonl.zst")
    assert exercise.text == rows[0]["prompt"] + rows[0]["solution"]
    assert exercise.metadata["prompt_chars"] == len(rows[0]["prompt"])
    assert report["dropped"] == {"test_fails": 3, "test_syntax_error": 1}


def test_check_is_of_the_function_named_and_classes_of_tests_are_run(sandbox, tmp_path):
    code = "def add(x):\n    return plus(x, {0})\n\ndef plus(x, y):\n    return x + y\n"
    classes = "class TestAdd:\n    def test_it(self):\n        assert add(1) == {0}\n"
    check = "def check(candidate):\n    assert candidate(1) == 3\n"
    rows = [
        {"prompt": "A", "solution": code.format(2), "test": check, "entry_point": "add"},
        {"prompt": "B", "solution": code.format(1), "test": check, "entry_point": "add"},
        {"prompt": "C", "solution": code.format(2), "test": classes.format(3)},
        {"prompt": "D", "solution": code.format(2), "test": classes.format(4)},
        {"prompt": "E", "solution": "from functools import partial\nadd = partial(sum, start=2)\n",
         "test": check.replace("(1)", "([1])"), "entry_point": "add"},
    ]  # fmt: skip
    write_records(tmp_path / "own.jsonl", rows)
    report = keep_passing(read_documents(tmp_path / "own.jsonl"), sandbox.run, tmp_path)
    kept = list(read_documents(tmp_path / "exercises.jsonl.zst"))
    assert [document.text[4] for document in kept] == ["A", "C", "E"]
    assert kept[0].metadata["entry_point"] == "add" and report["dropped"] == {"test_fails": 2}


@pytest.mark.slow
def test_the_script_maps_columns_of_ones_own(tmp_path):
    row = {"question": "Add one.", "solution": "def add(x):\n    return x + 1\n",
           "tests": ["assert add(1) == 2"]}  # fmt: skip
    write_records(tmp_path / "own.jsonl", [row, {**row, "question": "Add 1."}])
    command = [
        sys.executable, "launch/synthesize.py", "--teacher=public", f"--output={tmp_path / 'out'}",
        f"--source={tmp_path / 'own.jsonl'}", "--columns=prompt=question,test=tests",
        "--n_exercises=1",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True)
    assert "--n_exercises=1: there are more, which were not read" in done.stdout
    (kept,) = read_documents(tmp_path / "out" / "exercises.jsonl.zst")
    assert kept.text == '"""\nAdd one.\n"""\n' + row["solution"]


def test_repeats_are_kept_once(keep):
    kept, report = keep("opencodeinstruct", *[OPENCODEINSTRUCT] * 3)
    assert len(kept) == 1 and report["dropped"] == {"duplicate": 2}
