"""The 50 problems: solved by their own solutions only, tested well, and like nothing else."""

import ast
import json
import os
import warnings
from pathlib import Path

import pytest

from phi1_jax.corpus.documents import Document
from phi1_jax.corpus.problems import Problem, read_problems
from phi1_jax.decontamination.contamination import Comparison, Rules
from phi1_jax.evaluate.benchmarks import read_benchmark
from phi1_jax.evaluate.executor import TestExecutor
from phi1_jax.sandbox import Limits, Verdict, open_sandbox
from phi1_jax.unconventional import read_unconventional

DATA = Path(os.environ.get("PHI1_JAX_DATA") or Path(__file__).parents[3] / "shared/data")
PROBLEMS = read_unconventional()


@pytest.mark.slow
def test_right_passes_and_wrong_fails():
    benchmark = read_benchmark("unconventional", None)
    with open_sandbox(Limits(cpu_s=5), workers=2) as sandbox:
        executor = TestExecutor(sandbox)
        assert set(executor.self_check(benchmark).values()) == {
            50
        }  # also swapped with another's solution
        others = [
            (task, f"{other.reference}\n{task.entry_point} = {other.entry_point}\n")
            for i, task in enumerate(benchmark.tasks)
            for other in (benchmark.tasks[i - 7], benchmark.tasks[i - 20])
        ]
        verdicts = {outcome.verdict for outcome in executor.execute(others)}
    assert Verdict.PASS not in verdicts and Verdict.INFRA not in verdicts


def test_ids_count_and_names_are_unique():
    assert [p.task_id for p in PROBLEMS] == [f"Unconventional/{i}" for i in range(50)]
    assert len({p.entry_point for p in PROBLEMS}) == 50


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: p.entry_point)
def test_a_problem_shows_one_function_and_hides_many_tests(problem):
    (function,) = ast.parse(problem.prompt + problem.canonical_solution).body
    docstring = ast.get_docstring(function) or ""
    assert ">>>" in docstring and len(docstring.split()) >= 50
    assert problem.prompt.rstrip().endswith('"""')
    (check,) = ast.parse(problem.test).body
    assert [a.arg for a in check.args.args] == [problem.entry_point]
    asserted = {ast.unparse(n.test) for n in ast.walk(check) if isinstance(n, ast.Assert)}
    assert len(asserted) >= 6
    hidden = [text for text in asserted if text.split(" == ")[0] not in docstring]
    assert len(hidden) >= 5  # the examples alone do not solve it
    assert len({ast.unparse(ast.parse(t).body[0].value.comparators[0]) for t in asserted}) >= 3


def test_the_docstrings_examples_are_true():
    import doctest

    for problem in PROBLEMS:
        space: dict[str, object] = {}
        exec(problem.prompt + problem.canonical_solution, space)
        (found,) = doctest.DocTestFinder().find(space[problem.entry_point], globs=space)
        result = doctest.DocTestRunner(verbose=False).run(found)
        assert (result.failed, result.attempted > 0) == (0, True), problem.entry_point


def mbpp_problems(path: Path):
    for line in path.read_text().splitlines():
        row = json.loads(line)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # '\\w' in some of its strings
            tree = ast.parse(row["code"])
        functions = [n for n in tree.body if isinstance(n, ast.FunctionDef)]
        if functions:
            functions[-1].body.insert(0, ast.Expr(ast.Constant(row["text"])))
            code = ast.unparse(ast.fix_missing_locations(tree))
            yield Problem(f"MBPP/{row['task_id']}", code, functions[-1].name, "", "")


@pytest.mark.slow
def test_none_is_like_a_problem_of_humaneval_or_mbpp():
    if not (DATA / "HumanEval.jsonl.gz").exists() or not (DATA / "mbpp.jsonl").exists():
        pytest.skip(f"{DATA} lacks the benchmarks: name a folder that holds them in PHI1_JAX_DATA")
    known = [*read_problems(DATA / "HumanEval.jsonl.gz"), *mbpp_problems(DATA / "mbpp.jsonl")]
    assert len(known) > 1000
    documents = [Document(p.task_id, p.prompt + p.canonical_solution, "own") for p in PROBLEMS]
    verdict = Comparison(known, Rules(ngram=7, taus=(0.5,))).compare(documents)
    _, text, tree = verdict.nearest[0]
    print(f"nearest of {len(known)} problems: text {text.max():.3f}, tree {tree.max():.3f}")
    assert not verdict.leaks
    assert text.max() < 0.1


@pytest.mark.slow
def test_no_two_are_alike():
    documents = [Document(p.task_id, p.prompt + p.canonical_solution, "own") for p in PROBLEMS]
    for at, problem in enumerate(PROBLEMS):
        others = documents[:at] + documents[at + 1 :]
        assert not Comparison([problem], Rules(ngram=9, taus=(0.5,))).compare(others).leaks
