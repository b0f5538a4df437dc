"""A folder never holds the score of one run beside the samples or verdicts of another."""

import json

import pytest
from test_scoring import BENCHMARK, PROBLEMS, Writer, lines

from phi1_jax.evaluate.executor import TestExecutor
from phi1_jax.evaluate.samples import Sample
from phi1_jax.evaluate.saved import read_rows
from phi1_jax.evaluate.scoring import evaluate_model, score_samples
from phi1_jax.sandbox import Limits, Outcome, Verdict, open_sandbox

SOLVED = [Sample(p.task_id, p.canonical_solution) for p in PROBLEMS]


@pytest.fixture(scope="module")
def executor():
    with open_sandbox(Limits(cpu_s=2), workers=2) as sandbox:
        yield TestExecutor(sandbox)


@pytest.mark.slow
def test_a_text_as_completion_and_as_solution_are_two_programs(executor, tmp_path):
    assert score_samples(SOLVED, BENCHMARK, executor, tmp_path)["verdicts"] == {"PASS": 8}
    whole = [Sample(s.task_id, s.text, whole=True) for s in SOLVED]
    assert score_samples(whole, BENCHMARK, executor, tmp_path)["verdicts"] == {"FAIL": 8}
    assert lines(tmp_path / "results.jsonl")[0]["solution"] == SOLVED[0].text
    assert lines(tmp_path / "results.1.jsonl")[0]["completion"] == SOLVED[0].text


def test_a_verdict_counts_for_its_program_only(executor, tmp_path):
    score_samples(SOLVED, BENCHMARK, executor, tmp_path)
    path = tmp_path / "results.jsonl"
    rows = lines(path)
    rows[2] |= {"program_sha256": rows[1]["program_sha256"], "verdict": "TIMEOUT"}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert score_samples(SOLVED, BENCHMARK, executor, tmp_path)["verdicts"] == {"PASS": 8}


@pytest.mark.parametrize("change", [{"truncation": "stop"}, {"strip_prompt": True}])
def test_other_rules_execute_anew(executor, tmp_path, change, capsys):
    score_samples(SOLVED, BENCHMARK, executor, tmp_path)
    before = (tmp_path / "results.jsonl").read_bytes()
    score_samples(SOLVED, BENCHMARK, executor, tmp_path, **change)
    assert (tmp_path / "results.1.jsonl").read_bytes() == before
    assert (tmp_path / "summary.1.json").exists() and (tmp_path / "execution.1.json").exists()
    (name,) = change
    assert (
        f"results.jsonl is of other settings ({name}); it is now results.1"
        in capsys.readouterr().out
    )
    settings = json.loads((tmp_path / "execution.json").read_text())
    assert settings[name] == change[name]
    assert set(settings["versions"]) == {"python", "phi1_jax"}


def test_given_samples_do_not_replace_a_model_s_results(executor, tmp_path, capsys):
    evaluate_model(Writer(), BENCHMARK, executor, tmp_path, model="one")
    names = ("samples.jsonl", "sampling.json", "results.jsonl", "execution.json", "summary.json")
    before = {name: (tmp_path / name).read_bytes() for name in names}
    (tmp_path / "results.1.jsonl").write_text("of an even earlier run")
    score_samples([*SOLVED[:-1], Sample("own/8", "    pass\n")], BENCHMARK, executor, tmp_path)
    assert not (tmp_path / "samples.jsonl").exists() and not (tmp_path / "sampling.json").exists()
    for name, content in before.items():
        stem, _, suffix = name.partition(".")
        assert (tmp_path / f"{stem}.2.{suffix}").read_bytes() == content
    assert "it is now samples.2.jsonl, beside sampling.2.json, results.2" in capsys.readouterr().out
    assert json.loads((tmp_path / "summary.json").read_text())["verdicts"]["FAIL"] == 1
    evaluate_model(Writer(), BENCHMARK, executor, tmp_path, model="one")  # and the other way round
    assert lines(tmp_path / "results.3.jsonl")[7]["completion"] == "    pass\n"


def test_the_samples_of_a_folder_can_be_scored_in_it_under_another_rule(executor, tmp_path):
    evaluate_model(Writer(), BENCHMARK, executor, tmp_path)
    drawn = [Sample(row["task_id"], row["completion"]) for row in lines(tmp_path / "samples.jsonl")]
    score_samples(drawn, BENCHMARK, executor, tmp_path, truncation="stop")
    assert len(lines(tmp_path / "samples.jsonl")) == len(lines(tmp_path / "results.1.jsonl")) == 8


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["", "{", "[]", "null", "\udcff"])
def test_damaged_settings_are_of_another_run(executor, tmp_path, damage):
    evaluate_model(Writer(), BENCHMARK, executor, tmp_path)
    for name in ("sampling.json", "execution.json"):
        (tmp_path / name).write_bytes(damage.encode("utf-8", "surrogateescape"))
    evaluate_model(Writer(right=[]), BENCHMARK, executor, tmp_path)
    assert len(lines(tmp_path / "samples.1.jsonl")) == len(lines(tmp_path / "results.1.jsonl")) == 8
    assert lines(tmp_path / "results.jsonl")[0]["verdict"] == "FAIL"


@pytest.mark.parametrize(
    "change", [{"task_id": None}, {"verdict": "FINE"}, {"verdict": ["PASS"]}, {"verdict": "INFRA"}]
)
def test_only_damaged_and_infra_rows_are_executed_again(executor, tmp_path, monkeypatch, change):
    score_samples(SOLVED, BENCHMARK, executor, tmp_path)
    path = tmp_path / "results.jsonl"
    before = path.read_bytes()
    rows = lines(path)
    rows[2] |= change
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    executed = []

    def note(programs):
        executed.extend(task.task_id for task, _ in programs)
        return iter([Outcome(Verdict.PASS, "", rows[2]["seconds"])])

    monkeypatch.setattr(executor, "execute", note)
    assert score_samples(SOLVED, BENCHMARK, executor, tmp_path)["verdicts"] == {"PASS": 8}
    assert executed == ["own/3"]
    assert path.read_bytes() == before  # in the samples' order


def test_rows_end_at_the_first_damaged_one(tmp_path):
    path = tmp_path / "rows.jsonl"
    assert list(read_rows(path)) == []
    path.write_bytes(b'{"a": 1}\n{"a": 2}\n[3]\n{"a": 4}\n')
    assert list(read_rows(path)) == [{"a": 1}, {"a": 2}]
