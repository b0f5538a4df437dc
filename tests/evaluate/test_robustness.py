"""Problems in other words stay solvable problems, and the drop is counted on the same ones."""

import ast
import json
import os
import random
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from phi1_jax.corpus.problems import Problem, read_problems
from phi1_jax.errors import UserError
from phi1_jax.evaluate.benchmarks import humaneval, read_benchmark
from phi1_jax.evaluate.evaluate import EvaluationConfig, open_checkpoints
from phi1_jax.evaluate.executor import TestExecutor
from phi1_jax.evaluate.robustness import (
    TRANSFORMATIONS,
    drop,
    evaluate_robustness,
    transform,
)
from phi1_jax.evaluate.samples import Sample, SamplingPlan
from phi1_jax.evaluate.scoring import evaluate_model, read_splits, score_samples
from phi1_jax.sandbox import Limits, Verdict, open_sandbox
from phi1_jax.tokens.sentencepiece_bpe import train_tokenizer
from phi1_jax.unconventional import read_unconventional

DATA = Path(os.environ.get("PHI1_JAX_DATA") or Path(__file__).parents[3] / "shared/data")
# The problems of HumanEval that each leaves out.
LEFT_OUT = {"paraphrase": 21, "numbered_list": 76}

PROMPT = '''\
def pick(items, k_most: int = 1):
    """Return the largest of the given items. Check if `items` has at least k_most of them.

    The result should be sorted downwards.
    >>> pick(items=[1, 2], k_most=2)
    [2, 1]
    """
'''
BODY = "    items = sorted(items, reverse=True)\n    return [items for items in items][:k_most]\n"
TEST = (
    "def check(candidate):\n    assert candidate(items=[1, 2], k_most=2) == [2, 1]\n"
    "    assert candidate([3, 5]) == [5]\n"
)
PICK = Problem("own/pick", PROMPT, "pick", BODY, TEST)


@pytest.fixture(scope="module")
def executor():
    with open_sandbox(Limits(cpu_s=3), workers=2) as sandbox:
        yield TestExecutor(sandbox)


def changed(name: str, problem: Problem = PICK) -> Problem:
    return TRANSFORMATIONS[name](problem, random.Random(1))


def lines_apart(name: str) -> list[str]:
    before, after = PROMPT.splitlines(), changed(name).prompt.splitlines()
    return [line for line in after if line not in before]


def test_paraphrase():
    (first, second) = lines_apart("paraphrase")
    assert "Give back the largest" in first and "Say whether `items`" in first
    assert second == "    The result must be sorted downwards."


def test_typos_keep_letters_and_names():
    before, after = PROMPT.split(), changed("typos").prompt.split()
    differ = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    assert 1 <= len(differ) <= 3
    for a, b in differ:
        assert sorted(a) == sorted(b) and a[0] == b[0]
    assert changed("typos").prompt.count("items") == PROMPT.count("items")


def test_renamed_arguments():
    new = changed("renamed_arguments")
    assert new.prompt.startswith("def pick(arg_one, arg_two: int = 1):\n")
    assert "largest of the given items. Check if `arg_one` has at least arg_two of" in new.prompt
    assert ">>> pick(arg_one=[1, 2], arg_two=2)" in new.prompt
    assert "return [arg_one for arg_one in arg_one][:arg_two]" in new.canonical_solution
    assert "candidate(arg_one=[1, 2], arg_two=2)" in new.test


def test_irrelevant_sentences_stand_before_the_examples():
    (aside,) = lines_apart("irrelevant_sentences")
    assert aside.startswith("    ") and aside.count(".") == 2
    prompt = changed("irrelevant_sentences").prompt
    assert prompt.index("downwards.") < prompt.index(aside) < prompt.index(">>>")


def test_numbered_list():
    assert (
        lines_apart("numbered_list")
        == [
            '    """',
            "    1. Return the largest of the given items.",
            "    2. Check if `items` has at least k_most of them.",
            "    3. The result should be sorted downwards.",
        ][1:]
    )


def test_longer_prompt():
    new = changed("longer_prompt").prompt
    assert new.endswith(PROMPT) and len(new) > 2 * len(PROMPT)
    future = "from __future__ import annotations\n"
    problem = replace(PICK, prompt=f"{future}\n\n{PROMPT}")
    assert changed("longer_prompt", problem).prompt == future + new


@pytest.mark.parametrize("part", ["canonical_solution", "test"])
def test_a_problem_that_does_not_parse_is_left_out(part):
    broken = replace(read_unconventional()[0], **{part: "    print 1\n"})
    for name in TRANSFORMATIONS:
        transform([broken], name)
    _, left_out = transform([broken], "renamed_arguments")
    assert "does not parse" in left_out[broken.task_id]


@pytest.mark.slow
def test_every_change_of_humaneval_passes_the_self_check(executor):
    path = DATA / "HumanEval.jsonl.gz"
    if not path.exists():
        pytest.skip(f"{path} is missing: name a folder that holds it in PHI1_JAX_DATA")
    problems = read_problems(path)
    for name in TRANSFORMATIONS:
        new, left_out = transform(problems, name)
        assert len(left_out) == LEFT_OUT.get(name, 0)
        assert len(new) + len(left_out) == 164
        assert all(left_out.values())
        before = {p.task_id: p for p in problems}
        assert all(p.prompt != before[p.task_id].prompt for p in new)
        tasks = humaneval(new, name).tasks
        outcomes = executor.execute((task, task.reference) for task in tasks)
        bad = [t.task_id for t, o in zip(tasks, outcomes, strict=True) if o.verdict != Verdict.PASS]
        assert not bad, f"{name}: {bad}"


@pytest.mark.slow
def test_the_same_seed_gives_the_same_prompts_and_they_parse():
    problems = read_unconventional()
    for name in TRANSFORMATIONS:
        new, left_out = transform(problems, name)
        assert (new, left_out) == transform(problems, name)
        assert len(left_out) <= 9  # long docstrings of many sentences
        for problem in new:
            ast.parse(problem.prompt + problem.canonical_solution)
    assert transform(problems, "typos", 1) != transform(problems, "typos", 2)


def test_what_does_not_apply_is_named():
    bare = Problem("own/bare", "def f():\n", "f", "    return 1\n", "def check(f): pass\n")
    for name, reason in (
        ("paraphrase", "its function has no docstring"),
        ("renamed_arguments", "the function has no named argument"),
    ):
        assert transform([bare], name) == ([], {"own/bare": reason})
    keyword = Problem("own/k", 'def f(x):\n    """Doc."""\n', "f", "    return dict(x=x)\n", "")
    reason = "its solution passes x as a keyword"
    assert transform([keyword], "renamed_arguments") == ([], {"own/k": reason})


def test_drop_is_paired():
    before = {f"t{i}": float(i < 60) for i in range(100)}
    after = {f"t{i}": float(i < 50) for i in range(90)}
    found = drop(before, {**after, "unknown": 1.0})
    assert found["n_tasks"] == 90
    assert found["drop"] == pytest.approx(10 / 90)
    assert found["before"] - found["after"] == pytest.approx(found["drop"])
    # A tenth of the problems lost, the rest unchanged: an unpaired interval would hold zero.
    assert 0 < found["low"] < found["drop"] < found["high"] < 0.2
    assert drop(before, {}) == {"n_tasks": 0}


def test_where_no_problem_changes_the_drop_still_has_an_interval():
    found = drop({f"t{i}": 0.0 for i in range(164)}, {f"t{i}": 0.0 for i in range(164)})
    assert (found["low"], found["high"]) == (pytest.approx(-0.0222, abs=1e-4), -found["low"])


@dataclass
class Completion:
    text: str
    finish_reason: str = "stop"


class Parrot:
    """Knows solutions by the exact prompt, as a model that only remembers would."""

    def __init__(self, problems):
        self.known = {p.prompt: p.canonical_solution for p in problems}

    def generate(self, prompts, **options):
        return [[Completion(self.known.get(p, "    return None\n"))] for p in prompts]


@pytest.mark.slow
def test_a_model_that_only_remembers_loses_everything(executor, tmp_path):
    problems = [p for p in read_unconventional() if "def " in p.prompt][:6]
    parrot, plan = Parrot(problems), SamplingPlan()
    evaluate_model(parrot, humaneval(problems, "own"), executor, tmp_path, plan)
    report = evaluate_robustness(parrot, problems, executor, tmp_path, plan)
    assert set(report) == set(TRANSFORMATIONS)
    for name, row in report.items():
        assert (row["before"], row["after"], row["drop"]) == (1.0, 0.0, 1.0), name
        assert row["n_tasks"] + len(row["left_out"]) == 6
        assert (tmp_path / "robustness" / name / "problems.jsonl").exists()
    assert json.loads((tmp_path / "robustness.json").read_text()) == report


def test_a_problem_that_a_change_breaks_is_left_out_and_named(executor, tmp_path):
    problem = Problem(
        "own/locals",
        'def f(x):\n    """Return x plus one."""\n',
        "f",
        '    return locals()["x"] + 1\n',
        "def check(candidate):\n    assert candidate(1) == 2\n",
    )
    parrot, plan = Parrot([problem]), SamplingPlan()
    evaluate_model(parrot, humaneval([problem], "own"), executor, tmp_path, plan)
    report = evaluate_robustness(parrot, [problem], executor, tmp_path, plan)
    assert report["renamed_arguments"] == {
        "n_tasks": 0,
        "left_out": {"own/locals": "the reference solution no longer passes: FAIL"},
        "n_infra": 0,
    }
    assert report["longer_prompt"]["n_tasks"] == 1


@pytest.mark.slow
def test_parts_of_a_split_are_scored_apart(executor, tmp_path):
    benchmark = read_benchmark("unconventional", None)
    ids = [task.task_id for task in benchmark.tasks]
    parts = [(0.95, ids[:10]), (0.8, ids[:20])]
    splits = [
        {"tau": tau, "similar": part, "non_similar": [i for i in ids if i not in part]}
        for tau, part in parts
    ]
    path = tmp_path / "splits.json"
    path.write_text(json.dumps({"benchmark": "own", "measure": "ast", "splits": splits}))
    samples = [
        Sample(t.task_id, t.reference if i < 15 else "x = 1\n", whole=True)
        for i, t in enumerate(benchmark.tasks)
    ]
    summary = score_samples(
        samples, benchmark, executor, tmp_path, splits=read_splits(path, benchmark)
    )
    found = []
    for row in summary["splits"]:
        parts = [row["similar"], row["non_similar"]]
        values = [(part["n_tasks"], part["pass_at_k"]["1"]["value"]) for part in parts]
        found.append((row["tau"], *values))
    assert found == [(0.95, (10, 1.0), (40, 0.125)), (0.8, (20, 0.75), (30, 0.0))]
    splits[0]["similar"] = ids[:9]
    path.write_text(json.dumps({"splits": splits}))
    with pytest.raises(UserError, match=r"Unconventional/9 .* not in one of the two parts"):
        read_splits(path, benchmark)
    path.write_text("[]")
    with pytest.raises(UserError, match=r"not the splits\.json of launch/decontaminate\.py"):
        read_splits(path, benchmark)


def test_a_changed_prompt_that_does_not_fit_the_context_is_refused_before_anything_runs(tmp_path):
    # The helpers of `longer_prompt` would end the run after all else was scored.
    problems = read_unconventional()[:3]
    tokenizer = train_tokenizer([problem.prompt for problem in problems] * 3, 400)
    tokenizer.save(tmp_path / "tokenizer")
    context = 1 + max(len(tokenizer.encode(problem.prompt)) for problem in problems)
    (tmp_path / "config.json").write_text(json.dumps({"model": {"max_seq_len": context}}))
    (tmp_path / "checkpoints" / "0").mkdir(parents=True)
    (tmp_path / "commits").mkdir()
    (tmp_path / "commits" / "0.json").write_text("{}")
    benchmark = humaneval(problems, "unconventional")

    def open_with(robustness=True, **plan):
        config = EvaluationConfig(robustness=robustness)
        open_checkpoints([str(tmp_path)], benchmark, config, SamplingPlan(**plan))

    open_with(robustness=False)
    with pytest.raises(UserError, match=rf"prompt of \S+ in ({'|'.join(TRANSFORMATIONS)}) has "):
        open_with()
    open_with(on_overflow="left")
