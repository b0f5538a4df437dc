"""HumanEval+ and MBPP+ rows: types restored, floats near, special answers accepted."""

import json

import pytest

from phi1_jax.errors import UserError
from phi1_jax.evaluate.benchmarks import read_benchmark
from phi1_jax.evaluate.evalplus import examiner_of
from phi1_jax.evaluate.executor import TestExecutor
from phi1_jax.sandbox import Job, Limits, open_sandbox


@pytest.fixture(scope="module")
def executor():
    with open_sandbox(Limits(cpu_s=2), workers=1) as sandbox:
        yield TestExecutor(sandbox)


def row(entry: str, inputs: list, **changes: object) -> dict[str, object]:
    return {"task_id": f"T/{entry}", "entry_point": entry, "base_input": inputs[:1],
            "plus_input": inputs[1:], "atol": 0, "contract": "", **changes}  # fmt: skip


@pytest.mark.parametrize(
    ("entry", "extra", "inputs", "reference", "candidate", "verdict"),
    [
        ("f", {}, [[1], [2]], "return x / 3", "return x / 3 + 1e-9", "PASS"),
        ("f", {}, [[1], [2]], "return x / 3", "return x / 3 + 1e-3", "FAIL"),
        ("f", {"atol": 0.01}, [[1], [2]], "return [x / 3]", "return [x / 3 + 1e-3]", "PASS"),
        ("f", {}, [[1], [2]], "return [x / 3]", "return [x / 3, 0]", "FAIL"),
        ("f", {}, [[1], [2]], "return float('nan')", "return float('nan')", "PASS"),
        ("f", {}, [[1], [2]], "return x", "return 1", "FAIL"),
        # Equal is enough; what is not equal is forgiven to floats of the same type alone.
        ("f", {}, [[1], [2]], "return 2 * x", "return 2.0 * x", "PASS"),
        ("f", {}, [[1], [2]], "return 3.0 + 1e-9", "return 3", "FAIL"),
        ("f", {}, [[1], [2]], "return (x, 1)", "return [x, 1]", "FAIL"),
        ("f", {}, [[1], [2]], "return (x / 3,)", "return [x / 3]", "FAIL"),
        ("f", {}, [[1], [2]], "return (x / 3, .5)", "return (x / 3 + 1e-9, .5)", "PASS"),
        ("f", {}, [[1], [2]], "return (x / 3, 1)", "return (x / 3 + 1e-9, 1)", "FAIL"),
        ("f", {}, [[1], [2]], "return [[x / 3]]", "return [[x / 3 + 1e-9]]", "FAIL"),
        ("f", {"atol": 1e-6}, [[1], [2]], "return [[x / 3]]", "return [[x / 3 + 1e-9]]", "PASS"),
        ("f", {"atol": 1e-6}, [[1], [2]], "return [(1, x / 3)]", "return [[1, x / 3]]", "PASS"),
        ("f", {"atol": 1e-6}, [[1], [2]], "return [1, [x / 3]]",
         "return [1, [x / 3 + 1e-9]]", "FAIL"),
        ("f", {"atol": 1e-6}, [[1], [2]], "return {1: x / 3}", "return {1: x / 3 + 1e-9}", "FAIL"),
        ("f", {"atol": 1e-6}, [[1], [2]], "return ['a', x]", "return ['b', x]", "FAIL"),
        # After a float the tolerance stays, to the end of the base or of the added inputs.
        ("f", {}, [[1], [2]], "return 1.5 if x == 1 else [[x / 3]]",
         "return 1.5 if x == 1 else [[x / 3 + 1e-9]]", "FAIL"),
        ("f", {}, [[1], [1], [2]], "return 1.5 if x == 1 else [[x / 3]]",
         "return 1.5 if x == 1 else [[x / 3 + 1e-9]]", "PASS"),
        ("f", {}, [[[1, 2]]], "return x", "x.append(3); return x", "FAIL"),
        ("f", {"assertion": "assert f((1, 2)) == 1"}, [[[1, 2]], [[3]]],
         "return type(x).__name__", "return 'tuple'", "PASS"),
        ("f", {"assertion": "assert f([(1, 2), (3,)]) == 1"}, [[[[1, 2]]]],
         "return repr(x)", "return '[(1, 2)]'", "PASS"),
        ("f", {"assertion": "assert f({1, 2}) == 1"}, [[[1, 2, 1]]],
         "return len(x)", "return 2", "PASS"),
        ("f", {"assertion": "assert f((1j)) == 1"}, [["3+4j"]],
         "return abs(x)", "return 5.0", "PASS"),
        ("similar_elements", {}, [[1]], "return (1, 2)", "return (2, 1)", "PASS"),
        ("check_str", {}, [[1]], "return True", "return 'a match'", "PASS"),
        ("check_str", {}, [[1]], "return True", "return None", "FAIL"),
    ],
)  # fmt: skip
def test_examiner(executor, entry, extra, inputs, reference, candidate, verdict):
    examiner = examiner_of(row(entry, inputs, **extra), f"def {entry}(x):\n    {reference}\n")
    (outcome,) = executor.sandbox.examine([Job(f"def {entry}(x):\n    {candidate}\n", examiner)])
    assert outcome.verdict == verdict, outcome


def test_any_zero_of_a_polynomial_counts(executor):
    reference = "def poly(c, x): return sum(a * x**i for i, a in enumerate(c))\n"
    reference += "def find_zero(c): return 1.0\n"
    examiner = examiner_of(row("find_zero", [[[-1, 0, 1]]]), reference)
    right, wrong = executor.sandbox.examine(
        [Job(f"def find_zero(c): return {x}", examiner) for x in ("-1.0", "0.5")]
    )
    assert (right.verdict, wrong.verdict) == ("PASS", "FAIL")


def test_files_are_told_apart_and_checked(executor, tmp_path):
    rows = []
    for i in range(1, 6):
        prompt = f'def add_{i}(x):\n    """Adds {i}."""\n'
        rows.append(
            row(f"add_{i}", [[1], [7]], prompt=prompt, canonical_solution=f"    return x + {i}\n")
        )
    path = tmp_path / "HumanEvalPlus.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    benchmark = read_benchmark("humaneval", path)
    assert (benchmark.name, benchmark.truncation, len(benchmark.tasks)) == ("humaneval+", "body", 5)
    assert set(executor.self_check(benchmark).values()) == {5}
    for r in rows:
        r["assertion"] = f"assert {r['entry_point']}(1) == 2"
        r["prompt"] = '"""\nAdd.\n"""\n'
        r["canonical_solution"] = f"def {r['entry_point']}(x):\n{r['canonical_solution']}"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    benchmark = read_benchmark("mbpp", path)
    assert (benchmark.name, benchmark.truncation) == ("mbpp+", "stop")
    assert set(executor.self_check(benchmark).values()) == {5}


def test_a_row_without_inputs_is_refused(tmp_path):
    path = tmp_path / "HumanEvalPlus.jsonl"
    bad = row("f", [[1]], prompt="def f(x):\n", canonical_solution="    return x\n")
    del bad["atol"]
    path.write_text(json.dumps(bad) + "\n")
    with pytest.raises(UserError, match=r"row 1: T/f: not EvalPlus's format .KeyError.'atol'"):
        read_benchmark("humaneval", path)
