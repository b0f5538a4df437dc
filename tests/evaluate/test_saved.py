"""A folder never holds the score of one run beside the samples or verdicts of another."""

import json

import pytest
from test_scoring import BENCHMARK, PROBLEMS, Writer, lines

from phi1_jax.errors import UserError
from phi1_jax.evaluate.executor import TestExecutor
from phi1_jax.evaluate.samples import Sample
from phi1_jax.evaluate.saved import claim, note_settings, read_rows
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


def test_a_verdict_counts_for_its_program_only(executor, tmp_path):
    score_samples(SOLVED, BENCHMARK, executor, tmp_path)
    path = tmp_path / "results.jsonl"
    rows = lines(path)
    rows[2] |= {"program_sha256": rows[1]["program_sha256"], "verdict": "TIMEOUT"}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert score_samples(SOLVED, BENCHMARK, executor, tmp_path)["verdicts"] == {"PASS": 8}


def test_another_version_executes_anew(executor, tmp_path, monkeypatch, capsys):
    score_samples(SOLVED, BENCHMARK, executor, tmp_path)
    settings = json.loads((tmp_path / "execution.json").read_text())
    assert set(settings["versions"]) == {"python", "phi1_jax"}
    (tmp_path / "robustness.json").write_text("{}")
    path = tmp_path / "results.jsonl"
    path.write_text(path.read_text().replace('"message": ""', '"message": "of the old version"'))
    monkeypatch.setattr("phi1_jax.__version__", "99")
    score_samples(SOLVED, BENCHMARK, executor, tmp_path)
    assert "of other problems, limits or versions: all samples are" in capsys.readouterr().out
    assert [row["message"] for row in lines(path)] == [""] * 8
    assert not (tmp_path / "robustness.json").exists()


def test_settings_may_change_until_something_is_drawn(tmp_path):
    note_settings(tmp_path / "sampling.json", {"temperature": 0.2}, ["samples.jsonl"])
    (tmp_path / "samples.jsonl").touch()
    note_settings(tmp_path / "sampling.json", {"temperature": 0.8}, ["samples.jsonl"])
    (tmp_path / "samples.jsonl").write_text("{}\n")
    with pytest.raises(UserError, match=r"samples\.jsonl is of other settings \(temperature\)"):
        note_settings(tmp_path / "sampling.json", {"temperature": 0.2}, ["samples.jsonl"])


def test_results_without_samples_are_not_taken_for_a_model_s(executor, tmp_path):
    score_samples(SOLVED, BENCHMARK, executor, tmp_path)
    with pytest.raises(UserError, match=r"results\.jsonl is of another run: name another folder"):
        evaluate_model(Writer(), BENCHMARK, executor, tmp_path, model="one")


def test_a_folder_is_that_of_one_evaluation(tmp_path):
    one = {"model": "a", "benchmark": "b"}
    claim(tmp_path / "new", one)
    claim(tmp_path / "new", one)
    for other in ({"model": "c", "benchmark": "b"}, {"samples": "a", "benchmark": "b"}):
        with pytest.raises(UserError, match=rf"evaluated\.json is of other .*{next(iter(other))}"):
            claim(tmp_path / "new", other)
    for name in ("summary.json", "results.jsonl", "bits_per_byte.jsonl"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text("{}")
        with pytest.raises(UserError, match=f"{name} is of another run"):
            claim(tmp_path / name, one)


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["", "{", "[]", "null", "\udcff"])
def test_damaged_settings_are_of_another_run(executor, tmp_path, damage):
    evaluate_model(Writer(), BENCHMARK, executor, tmp_path)
    damaged = damage.encode("utf-8", "surrogateescape")
    (tmp_path / "execution.json").write_bytes(damaged)
    assert evaluate_model(Writer(), BENCHMARK, executor, tmp_path)["verdicts"]["PASS"]
    (tmp_path / "sampling.json").write_bytes(damaged)
    with pytest.raises(UserError, match=r"samples\.jsonl is of another run"):
        evaluate_model(Writer(), BENCHMARK, executor, tmp_path)


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
