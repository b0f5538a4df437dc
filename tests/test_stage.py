import json

import pytest

from phi1_jax.errors import UserError
from phi1_jax.stage import fingerprint, run_stage


class Work:
    def __init__(self, fail=False):
        self.calls = 0
        self.fail = fail

    def __call__(self, output):
        self.calls += 1
        (output / "partial").touch()
        if self.fail:
            raise RuntimeError("killed")
        return {"in": {"documents": 2}, "out": {"documents": 1}, "dropped": {"too short": 1}}


def test_a_stage_is_reused_until_its_inputs_change(tmp_path, capsys):
    source, work = tmp_path / "source.txt", Work()
    source.write_text("one")
    output = tmp_path / "out"
    first = run_stage("demo", output, {"source": source, "n": 1}, work)
    again = run_stage("demo", output, {"source": source, "n": 1}, work)
    assert work.calls == 1 and again == first
    assert "dropped: too short 1" in capsys.readouterr().out
    run_stage("demo", output, {"source": source, "n": 2}, work)
    source.write_text("two")
    run_stage("demo", output, {"source": source, "n": 2}, work)
    run_stage("demo", output, {"source": source, "n": 2}, work, force=True)
    assert work.calls == 4
    assert json.loads((output / "report.json").read_text())["dropped"] == {"too short": 1}


def test_an_interrupted_stage_is_not_finished(tmp_path):
    output = tmp_path / "out"
    with pytest.raises(RuntimeError):
        run_stage("demo", output, {"n": 1}, Work(fail=True))
    assert not (output / "report.json").exists()
    work = Work()
    run_stage("demo", output, {"n": 1}, work)
    assert work.calls == 1


def test_partial_work_is_kept_only_for_the_same_inputs(tmp_path):
    output = tmp_path / "out"
    seen = []

    def work(folder):
        seen.append((folder / "partial").exists())
        (folder / "partial").touch()
        raise RuntimeError("killed")

    for inputs in ({"n": 1}, {"n": 1}, {"n": 2}):
        with pytest.raises(RuntimeError):
            run_stage("demo", output, inputs, work, keep_partial=True)
    assert seen == [False, True, False]


def test_a_folder_with_other_files_is_not_emptied(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UserError, match="holds other files"):
        run_stage("demo", tmp_path, {}, Work())
    assert (tmp_path / "thesis.tex").exists()
    with pytest.raises(UserError, match="is a file"):
        run_stage("demo", tmp_path / "thesis.tex", {}, Work())


def test_fingerprints_follow_content(tmp_path):
    path = tmp_path / "a"
    path.write_text("x")
    one = fingerprint({"p": path})
    path.write_text("y")
    assert fingerprint({"p": path}) != one
    assert fingerprint({"p": [path, 1]}) != fingerprint({"p": [path, 2]})
    with pytest.raises(UserError, match="no such file"):
        fingerprint({"p": tmp_path / "missing"})


def test_a_report_that_is_no_stages_does_not_stand_for_its_files(tmp_path):
    path, report = tmp_path / "a", tmp_path / "report.json"
    path.write_text("x")
    for foreign in ("[]", '{"title": "mine"}'):
        report.write_text(foreign)
        one = fingerprint({"p": path})
        path.write_text(path.read_text() + "y")
        assert fingerprint({"p": path}) != one


def test_counts_by_group_are_told_in_words(tmp_path, capsys):
    run_stage("demo", tmp_path / "o", {"p": [tmp_path]}, lambda _: {"out": {"0.9": {"a": 1000}}})
    assert "out: 0.9 (a 1,000) |" in capsys.readouterr().out
    report = json.loads((tmp_path / "o" / "report.json").read_text())
    assert report["inputs"] == {"p": [str(tmp_path)]}
