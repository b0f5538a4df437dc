import contextlib
import json
import os

import pytest

from phi1_jax.cli import stage
from phi1_jax.cli.stage import fingerprint, run_stage
from phi1_jax.errors import UserError


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
    source.write_text("two")
    run_stage("demo", output, {"source": source, "n": 1}, work)
    source.write_text("three")
    run_stage("demo", output, {"source": source, "n": 1}, work)
    run_stage("demo", output, {"source": source, "n": 1}, work, force=True)
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


def test_partial_work_is_kept_only_for_the_same_inputs(tmp_path, capsys):
    output, source = tmp_path / "out", tmp_path / "source"
    source.write_text("one")
    seen = []

    def work(folder):
        seen.append((folder / "partial").exists())
        (folder / "partial").touch()
        raise RuntimeError("killed")

    def run(n, **options):
        inputs = {"n": n, "source": source}
        with pytest.raises(RuntimeError):
            run_stage("demo", output, inputs, work, keep_partial=True, **options)

    run(1)
    run(1)
    with pytest.raises(UserError, match=r"unfinished work of other settings \(n was 1\)"):
        run_stage("demo", output, {"n": 2, "source": source}, work, keep_partial=True)
    run(1)
    assert "drops" not in capsys.readouterr().out
    run(2, force=True)
    source.write_text("two")
    run(2)
    assert seen == [False, True, True, False, False]
    assert capsys.readouterr().out.count("drops the unfinished work") == 2


def test_partial_work_is_kept_where_a_setting_differs_that_is_read_last(tmp_path, capsys):
    output, seen = tmp_path / "out", []

    def run(n, budget, work):
        inputs = {"n": n, "budget": budget}
        return run_stage("demo", output, inputs, work, keep_partial=True, late={"budget"})

    def nothing_is_kept(folder):
        (folder / "scored").touch()
        raise UserError("raise the budget")

    def choose(folder):
        seen.append((folder / "scored").exists())
        return {"in": 1, "out": 1, "dropped": {}}

    with pytest.raises(UserError, match="raise the budget"):
        run(1, 10, nothing_is_kept)
    with pytest.raises(UserError, match=r"unfinished work of other settings \(n was 1\)"):
        run(2, 20, choose)
    run(1, 20, choose)
    assert seen == [True] and "drops" not in capsys.readouterr().out
    run(1, 20, choose)  # finished: reused
    with pytest.raises(UserError, match=r"the result of other settings \(budget was 20\)"):
        run(1, 30, choose)
    assert seen == [True]


def test_a_run_that_wrote_nothing_claims_no_folder(tmp_path, capsys):
    """Such as one that ended at a wrong column: the mended command takes its place."""
    output = tmp_path / "out"

    def work(folder):
        (folder / "parts").mkdir()
        (folder / "left_out.jsonl").touch()
        raise UserError("no column 'txt'")

    with pytest.raises(UserError, match="no column"):
        run_stage("demo", output, {"column": "txt"}, work, keep_partial=True)
    run_stage("demo", output, {"column": "text"}, Work(), keep_partial=True)
    assert "drops" not in capsys.readouterr().out


def test_what_a_stage_did_not_write_stays(tmp_path):
    output = tmp_path / "out"
    run_stage("demo", output, {"n": 1}, Work())
    (output / "run").mkdir()
    (output / "run" / "checkpoint").touch()
    (output / "notes.txt").touch()
    run_stage("demo", output, {"n": 2}, lambda folder: {}, force=True)
    names = sorted(path.name for path in output.iterdir())
    assert names == ["notes.txt", "report.json", "run", "stage.json"]
    assert (output / "run" / "checkpoint").exists()


def write_folders(*names):
    def work(folder):
        for name in names:
            (folder / name).mkdir()
            (folder / name / "x").write_text(name)
        return {"names": list(names)}

    return work


class Killed(BaseException):
    pass


@pytest.mark.parametrize("moment", range(13))
def test_killed_at_any_moment_of_replacing_the_last_result(moment, tmp_path, monkeypatch):
    """The same command finishes it; nothing of the last result is left, and all else is."""
    output = tmp_path / "out"
    run_stage("demo", output, {"n": 1}, write_folders("a", "b"))
    (output / "mine").touch()
    left = moment

    def counted(method):
        def call(*arguments):
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed
            return method(*arguments)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(stage, "remove", counted(stage.remove))
        patch.setattr(type(output), "replace", counted(type(output).replace))
        with contextlib.suppress(Killed):
            run_stage("demo", output, {"n": 2}, write_folders("b", "c"), force=True)
    again = write_folders("b", "c")
    report = run_stage("demo", output, {"n": 2}, again, force=(output / "report.json").exists())
    assert report["names"] == ["b", "c"]
    names = sorted(path.name for path in output.iterdir())
    assert names == ["b", "c", "mine", "report.json", "stage.json"]


def test_two_processes_do_not_write_into_one_folder(tmp_path):
    output = tmp_path / "out"

    def work(folder):
        with pytest.raises(UserError, match="another process writes there now"):
            run_stage("demo", output, {"n": 2}, Work(), force=True)
        return {}

    run_stage("demo", output, {"n": 1}, work)
    assert sorted(path.name for path in output.iterdir()) == ["report.json", "stage.json"]
    run_stage("demo", output, {"n": 2}, Work(), force=True)


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


def test_a_name_counts_since_sources_and_outputs_are_named_after_it(tmp_path):
    for old, new in (("a.jsonl", "b.jsonl"), ("c", "d")):
        (tmp_path / old).mkdir() if old == "c" else (tmp_path / old).write_text("{}")
        before = fingerprint({"p": tmp_path / old})
        (tmp_path / old).rename(tmp_path / new)
        assert fingerprint({"p": tmp_path / new}) != before
        (tmp_path / "elsewhere").mkdir(exist_ok=True)
        (tmp_path / new).rename(tmp_path / "elsewhere" / old)
        assert fingerprint({"p": tmp_path / "elsewhere" / old}) == before


def test_a_report_that_is_no_stages_does_not_stand_for_its_files(tmp_path):
    path, report = tmp_path / "a", tmp_path / "report.json"
    path.write_text("x")
    for foreign in ("[]", '{"title": "mine"}'):
        report.write_text(foreign)
        one = fingerprint({"p": path})
        path.write_text(path.read_text() + "y")
        assert fingerprint({"p": path}) != one


def test_counts_by_group_are_told_in_words(tmp_path, capsys):
    inputs = {"p": [tmp_path / "in"]}
    inputs["p"][0].mkdir()
    run_stage("demo", tmp_path / "o", inputs, lambda _: {"out": {"0.9": {"a": 1000}}})
    assert "out: 0.9 (a 1,000) |" in capsys.readouterr().out
    report = json.loads((tmp_path / "o" / "report.json").read_text())
    assert report["inputs"] == {"p": [str(tmp_path / "in")]}


def test_the_last_result_stays_until_the_new_one_is_whole(tmp_path):
    output = tmp_path / "out"

    def write(text, error=None):
        def work(folder):
            (folder / "part").mkdir(exist_ok=True)
            (folder / "part" / text).write_text(text)
            if error:
                raise error
            return {}

        return work

    run_stage("demo", output, {"n": 1}, write("one"))
    before = {p: p.read_bytes() for p in output.rglob("*") if p.is_file()}
    with pytest.raises(RuntimeError):
        run_stage("demo", output, {"n": 2}, write("two", RuntimeError("killed")), force=True)
    assert {p: p.read_bytes() for p in before} == before
    assert run_stage("demo", output, {"n": 1}, write("three"))["inputs"] == {"n": 1}  # reused
    run_stage("demo", output, {"n": 2}, write("four"), keep_partial=True, force=True)
    names = sorted(p.relative_to(output).as_posix() for p in output.rglob("*"))
    assert names == ["part", "part/four", "part/two", "report.json", "stage.json"]


def test_a_stage_killed_as_it_replaces_the_last_result_is_finished(tmp_path):
    output, work = tmp_path / "out", Work()
    report = run_stage("demo", output, {"n": 1}, work)
    (output / "unfinished").mkdir()
    for name in ("partial", "report.json"):
        (output / name).rename(output / "unfinished" / name)
    assert run_stage("demo", output, {"n": 1}, work) == report and work.calls == 1
    assert sorted(p.name for p in output.iterdir()) == ["partial", "report.json", "stage.json"]


def test_a_run_killed_as_it_made_its_folder_can_be_repeated(tmp_path):
    (tmp_path / "stage.json.tmp").touch()
    assert run_stage("demo", tmp_path, {}, Work())["out"] == {"documents": 1}
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["partial", "report.json", "stage.json"]


def test_the_folder_of_another_stage_or_of_an_input_is_refused(tmp_path):
    run_stage("first", tmp_path / "a", {}, Work())
    with pytest.raises(UserError, match="is that of stage 'first'"):
        run_stage("second", tmp_path / "a", {}, Work())
    corpus = tmp_path / "a" / "partial"
    for output in (tmp_path / "a", tmp_path, tmp_path / "a" / "below"):
        with pytest.raises(UserError, match="which is read"):
            run_stage("first", output, {"corpus": [tmp_path / "a"], "model": corpus}, Work())
    with pytest.raises(UserError, match="which is read"):
        run_stage("first", tmp_path / "a", {"sources": {"files": (corpus,)}}, Work())
    assert corpus.exists() and (tmp_path / "a" / "report.json").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    for output in (tmp_path / "file" / "x", "/proc/x"):
        with pytest.raises(UserError, match=f"--to={output}: no folder can be made there"):
            run_stage("demo", type(tmp_path)(output), {}, Work(), flag="to")


def test_what_was_changed_by_hand_after_its_stage_counts_as_changed(tmp_path):
    folder = tmp_path / "a"
    run_stage("first", folder, {}, Work())
    only_file = fingerprint({"file": folder / "partial"})
    only_folder = fingerprint({"folder": folder})
    (folder / "unfinished").mkdir()  # a rerun of the stage that is under way
    (folder / "unfinished" / "x").touch()
    assert fingerprint({"folder": folder}) == only_folder
    report = (folder / "report.json").stat()
    (folder / "partial").write_text("mine")
    assert fingerprint({"file": folder / "partial"}) != only_file
    assert fingerprint({"folder": folder}) != only_folder
    os.utime(folder / "partial", ns=(0, report.st_mtime_ns - 10**9))  # as if restored by cp -p
    assert fingerprint({"file": folder / "partial"}) != only_file
    run_stage("first", folder, {}, Work(), force=True)
    assert fingerprint({"folder": folder}) == only_folder
    (folder / "more").touch()
    os.utime(folder / "more", (0, 0))  # as if copied by cp -p
    assert fingerprint({"folder": folder}) != only_folder
    for name in ("more", "partial"):
        (folder / name).unlink()
    assert fingerprint({"folder": folder}) != only_folder


def test_another_command_does_not_replace_a_result_unless_forced(tmp_path):
    output, source, work = tmp_path / "out", tmp_path / "source", Work()
    source.write_text("one")
    run_stage("demo", output, {"n": 1, "source": source}, work)
    with pytest.raises(UserError, match=r"result of other settings \(n was 1\).*--force"):
        run_stage("demo", output, {"n": 2, "source": source}, work)
    source.write_text("two")  # the same command goes on
    run_stage("demo", output, {"n": 1, "source": source}, work)
    run_stage("demo", output, {"n": "für", "source": source}, work, force=True)
    with pytest.raises(UserError, match=r'\(n was "für"\)'):
        run_stage("demo", output, {"n": 2, "source": source}, work)
    assert work.calls == 3


@pytest.mark.parametrize("damage", [b"", b"\xff{}", b"[1]", b"{" * 100_000])
def test_a_damaged_report_runs_the_stage_again(damage, tmp_path, capsys):
    work = Work()
    run_stage("demo", tmp_path / "out", {"n": 1}, work)
    (tmp_path / "out" / "report.json").write_bytes(damage)
    run_stage("demo", tmp_path / "out", {"n": 1}, work)
    assert work.calls == 2 and "report.json is damaged" in capsys.readouterr().err
