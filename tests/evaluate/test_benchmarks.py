"""Every format becomes tasks; a wrong file gets one line."""

import gzip
import json
import os
from pathlib import Path

import pytest
import zstandard

from phi1_jax.errors import UserError
from phi1_jax.evaluate.benchmarks import Benchmark, read_benchmark
from phi1_jax.evaluate.samples import Sample, program, read_samples

DATA = Path(os.environ.get("PHI1_JAX_DATA") or Path(__file__).parents[3] / "shared/data")


def row(number: int, **changes: object) -> dict[str, object]:
    return {
        "task_id": number,
        "text": f"Write a function to add {number}.",
        "code": f"def add(x):\r\n    return x + {number}",
        "test_setup_code": "",
        "test_list": [f"assert add(1) == {number + 1}", f"assert add(0) == {number}"],
        "challenge_test_list": [],
        **changes,
    }


def mbpp(path: Path, form: str = "docstring") -> Benchmark:
    return read_benchmark("mbpp", str(path), form)


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


def test_mbpp_prompt_forms(tmp_path):
    path = write(tmp_path / "mbpp.jsonl", [row(i) for i in (2, 3, 4, 11, 510, 511)])
    zero = mbpp(path)
    assert [task.task_id for task in zero.tasks] == ["MBPP/11", "MBPP/510"]
    assert read_benchmark("mbpp", str(path)) == zero
    task = zero.tasks[0]
    text = '"""\nWrite a function to add 11.\nassert add(1) == 12\nassert add(0) == 11\n"""\n'
    assert (task.prompt, task.prefix, zero.template) == (text, "", "mbpp docstring")
    assert task.reference == "def add(x):\n    return x + 11"
    three = mbpp(path, "3-shot")
    task = three.tasks[0]
    assert task.prompt.count("You are an expert Python programmer, and here is your task: ") == 4
    assert task.prompt.count("[DONE]") == 3
    assert task.prompt.endswith("assert add(0) == 11\n[BEGIN]\n")
    assert (task.prefix, three.template, three.stop) == ("", "mbpp 3-shot", ("[DONE]",))


@pytest.mark.parametrize("value", [r'r"C:\Users"', "'''\"\"\"'''", r'"\\"'])
def test_a_right_program_parses_whatever_the_tests_hold(tmp_path, value):
    code = f"def add(x):\n    return {value}"
    tests = [f"assert add(1) == {value}"]
    path = write(tmp_path / "own.jsonl", [row(1) | {"code": code, "test_list": tests}])
    benchmark = read_benchmark(str(path), None)
    (task,) = benchmark.tasks
    made = program(
        task, Sample(task.task_id, task.solution), benchmark.truncation, benchmark.stop, False
    )
    space: dict[str, object] = {}
    exec(made, space)
    exec(tests[0], space)


def test_mbpp_needs_its_examples(tmp_path):
    path = write(tmp_path / "mbpp.jsonl", [row(2), row(11)])
    with pytest.raises(UserError, match="needs task_id 3"):
        mbpp(path, "3-shot")
    with pytest.raises(UserError, match="--prompt_form='5-shot'"):
        mbpp(path, "5-shot")


def test_sanitized_mbpp_is_a_list_with_other_names(tmp_path):
    rows = []
    for number in (11, 12):
        record = row(number, prompt=f"Add {number}.", test_imports=["import math"])
        record["test_list"] = [f"assert math.isclose(add(1), {number + 1})"]
        del record["text"], record["test_setup_code"]
        rows.append(record)
    path = tmp_path / "sanitized-mbpp.json"
    path.write_text(json.dumps(rows, indent=1))
    task = mbpp(path).tasks[0]
    assert "Add 11." in task.prompt
    assert task.examiner.startswith("add = remote('add')\nimport math\n")


def test_what_the_tests_import_is_not_asked_of_the_program(tmp_path):
    setup = "from math import isclose\nimport os.path"
    tests = ["assert isclose(add(1), 12) and os.path"]
    path = write(tmp_path / "own.jsonl", [row(11, test_setup_code=setup, test_list=tests)])
    task = read_benchmark(str(path)).tasks[0]
    assert task.entry_point == "add" and task.examiner.count("remote(") == 1


def test_a_file_of_ones_own_in_mbpps_format_keeps_every_row(tmp_path):
    path = write(tmp_path / "own.jsonl", [row(i) for i in (2, 367, 3, 11, 9000, 4)])
    own = read_benchmark(str(path), None)
    numbers = [2, 367, 3, 11, 9000, 4]
    assert [task.task_id for task in own.tasks] == [f"MBPP/{i}" for i in numbers]
    assert own.name == "own.jsonl" and not own.left_out
    three = read_benchmark(str(path), None, "3-shot")
    assert [task.task_id for task in three.tasks] == ["MBPP/367", "MBPP/11", "MBPP/9000"]
    assert set(three.left_out) == {"MBPP/2", "MBPP/3", "MBPP/4"}


def test_the_hubs_mbpp_plus_is_examined_by_its_added_tests(tmp_path):
    test = (
        "def close(out, exp):\n    return out == exp\n\ninputs = [[1], [5]]\n"
        "for given in inputs:\n    assert close(add(*given), given[0] + 2)\n"
    )
    more = {"test": test, "test_imports": [], "source_file": "Benchmark.ipynb"}
    path = write(tmp_path / "plus.jsonl", [row(2, **more), row(600, **more)])
    first, second = read_benchmark(str(path)).tasks
    assert (first.task_id, second.task_id) == ("MBPP/2", "MBPP/600")
    assert first.examiner == f"add = remote('add')\n\n{test}\n"
    assert "assert add(1) == 3" in first.prompt and "close" not in first.prompt


def test_compressed_files_are_read(tmp_path):
    line = json.dumps(row(11)).encode()
    for suffix, data in (("gz", gzip.compress(line)), ("zst", zstandard.compress(line))):
        path = tmp_path / f"mbpp.jsonl.{suffix}"
        path.write_bytes(data)
        assert len(mbpp(path).tasks) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("no json", "file.jsonl, line 1: Expecting value"),
        ('{"a": 1}', "row 1: not MBPP's format: 'text' is None"),
        ('{"task_id": 11, "prompt": "x", "test": ""}', "row 1: not MBPP's format: 'code' is None"),
        (json.dumps({**row(11), "task_id": "x"}), "row 1: not MBPP's format: 'task_id' is 'x'"),
        (json.dumps(row(11, text=None)), "row 1: not MBPP's format: 'text' is None"),
        (json.dumps(row(11, test_list="assert 1")), "MBPP's format: 'test_list' is 'assert 1'"),
        (json.dumps(row(11, test_list=[1])), r"row 1: not MBPP's format: 'test_list' is \[1\]"),
        (json.dumps(row(11, code="def f(x) return x")), "file.jsonl, MBPP/11: expected ':'"),
        (json.dumps(row(11, test_list=["assert (1"])), "MBPP/11: '.' was never closed"),
        (json.dumps(row(11, code="\0")), "MBPP/11: .*null bytes"),
        (json.dumps(row(11, test_setup_code=5)), "MBPP's format: 'test_setup_code' is 5"),
        (json.dumps(row(11, test_imports=[5])), "not MBPP's format: 'test_imports' is"),
        (json.dumps(row(600)), "no task_id of the test split"),
        (json.dumps(row(11, test_list=["assert True"])), "MBPP/11: its tests call no function"),
    ],
)
def test_another_format_is_refused(tmp_path, content, message):
    path = tmp_path / "file.jsonl"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        mbpp(path)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(UserError, match=r"mbpp\.jsonl: no such file"):
        mbpp(tmp_path / "mbpp.jsonl")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match=r"deep\.json, line 1: nested too deep"):
        mbpp(tmp_path / "deep.json")
    with pytest.raises(UserError, match=r"mbpp\.json: no such file"):
        mbpp(tmp_path / "mbpp.json")
    (tmp_path / "mbpp.json").write_text("[1]")
    with pytest.raises(UserError, match="expected a JSON object, found int"):
        mbpp(tmp_path / "mbpp.json")
    with pytest.raises(UserError, match="needs --problems=FILE"):
        read_benchmark("humaneval", None)
    # train.py's flag has another name than evaluate.py's.
    with pytest.raises(UserError, match=r"^benchmark mine\.jsonl: no such file"):
        read_benchmark("mine.jsonl")


def test_where_the_problems_are_is_asked_for():
    """launch/llm_judge.py has no --problems."""
    for name, file in (("humaneval", r"HumanEval\.jsonl\.gz"), ("mbpp", r"mbpp\.jsonl")):
        with pytest.raises(UserError, match=f"give your copy, --benchmark={file}"):
            read_benchmark(name)


def test_only_humaneval_s_format_has_problems_to_ask_otherwise(tmp_path):
    path = write(tmp_path / "own.jsonl", [row(1)])
    with pytest.raises(
        UserError, match=r"--benchmark=own\.jsonl: here it must be one in HumanEval's"
    ):
        read_benchmark(str(path)).require_problems()
    assert len(read_benchmark("unconventional").require_problems()) == 50


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"entry_point": None}, "plus.jsonl, row 2: no text under 'entry_point'"),
        ({"task_id": 5}, "plus.jsonl, row 2: no text under 'task_id'"),
        ({"task_id": "H/1"}, "plus.jsonl, row 2: task_id 'H/1' occurs twice"),
        ({"atol": None}, "plus.jsonl, row 2: H/2: not EvalPlus's format .TypeError"),
    ],
)
def test_a_wrong_row_of_evalplus_is_named(tmp_path, change, message):
    good = {"prompt": "def f(x):\n", "canonical_solution": "    return x\n", "entry_point": "f",
            "base_input": [[1]], "plus_input": [], "atol": 0}  # fmt: skip
    rows = [{**good, "task_id": "H/1"}, {**good, "task_id": "H/2", **change}]
    with pytest.raises(UserError, match=message):
        read_benchmark("humaneval", write(tmp_path / "plus.jsonl", rows))
    with pytest.raises(UserError, match=r"--prompt_form=3-shot: .* is EvalPlus's"):
        read_benchmark("mbpp", write(tmp_path / "plus.jsonl", rows[:1]), "3-shot")


@pytest.mark.parametrize("composition", [5, "add", [1]])
def test_a_composition_is_a_list_of_names(tmp_path, composition):
    record = {"task_id": "a", "prompt": "def f(x):\n", "entry_point": "f",
              "canonical_solution": "    pass", "test": "", "composition": composition}  # fmt: skip
    path = write(tmp_path / "own.jsonl", [record])
    with pytest.raises(UserError, match=r"own.jsonl, problem 1: composition=.* a list of names"):
        read_benchmark(str(path), None)


def test_a_task_id_may_be_a_number(tmp_path):
    record = {"prompt": "def f(x):\n", "entry_point": "f",
              "canonical_solution": "    return x", "test": "def check(f): pass"}  # fmt: skip
    path = write(tmp_path / "own.jsonl", [{"task_id": i, **record} for i in (0, 1)])
    benchmark = read_benchmark(str(path))
    assert [task.task_id for task in benchmark.tasks] == ["0", "1"]
    rows = [{"task_id": i, "completion": "    return x"} for i in (1, 0)]
    samples = read_samples(write(tmp_path / "samples.jsonl", rows), benchmark)
    assert [sample.task_id for sample in samples] == ["1", "0"]
    again = write(tmp_path / "again.jsonl", [{"task_id": 0, **record}, {"task_id": "0", **record}])
    with pytest.raises(UserError, match="problem 2: task_id '0' occurs twice"):
        read_benchmark(str(again))


def test_humaneval_format_needs_a_body_that_parses(tmp_path):
    record = {"task_id": "a", "prompt": "def f(x):\n", "entry_point": "f",
              "canonical_solution": "return", "test": "def check(f): pass"}  # fmt: skip
    path = write(tmp_path / "own.jsonl", [record])
    with pytest.raises(UserError, match="a: its canonical solution cannot be parsed"):
        read_benchmark(str(path), None)


@pytest.mark.parametrize(
    "code", ["    return x" + " + 0" * 20_000, "    return " + "-" * 50_000 + "x"]
)
def test_code_that_is_nested_too_deep_is_named(tmp_path, code):
    record = {"task_id": "a", "prompt": "def f(x):\n", "entry_point": "f",
              "canonical_solution": code, "test": "def check(f): pass"}  # fmt: skip
    with pytest.raises(UserError, match="a: its canonical solution cannot be parsed: "):
        read_benchmark(str(write(tmp_path / "own.jsonl", [record])), None)
    for change in ({"code": f"def add(x):\n{code}"}, {"test_list": [code.strip()]}):
        path = write(tmp_path / "mbpp.jsonl", [row(11, **change)])
        with pytest.raises(UserError, match="MBPP/11: "):
            mbpp(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, "row 2: task_id 11 occurs twice"),
        ({"task_id": "9" * 5000}, "row 2: not MBPP's format: 'task_id'"),
        (
            {"task_id": 12, "test_imports": "import math"},
            "row 2: not MBPP's format: 'test_imports'",
        ),
        ({"task_id": 12, "test_imports": [1]}, "row 2: not MBPP's format: 'test_imports'"),
    ],
)
def test_a_wrong_row_of_mbpp_is_named(tmp_path, change, message):
    path = write(tmp_path / "mbpp.jsonl", [row(11), {**row(11), **change}])
    with pytest.raises(UserError, match=message):
        mbpp(path)
    path = write(tmp_path / "mbpp.jsonl", [row(11), row(12, test_imports=None)])
    assert len(mbpp(path).tasks) == 2


def test_a_fingerprint_follows_every_choice(tmp_path):
    path = write(tmp_path / "mbpp.jsonl", [row(i) for i in (2, 3, 4, 11, 12)])
    first = mbpp(path).fingerprint
    assert mbpp(path).fingerprint == first
    assert mbpp(path, "3-shot").fingerprint != first
    write(path, [row(i) for i in (2, 3, 4, 11)])
    assert mbpp(path).fingerprint != first


def test_mbpp_itself_reads_in_both_forms():
    path = DATA / "mbpp.jsonl"
    if not path.exists():
        pytest.skip(f"{path} is missing: name a folder that holds it in PHI1_JAX_DATA")
    assert len(mbpp(path).tasks) == len(mbpp(path, "3-shot").tasks) == 499
