"""Metrics that also go to Weights & Biases and MLflow, read back with their own readers."""

import dataclasses
import json
import shutil
import struct

import pytest

from phi1_jax.config import RunConfig
from phi1_jax.errors import UserError
from phi1_jax.run import trackers
from phi1_jax.run.metrics import MetricsWriter
from phi1_jax.run.trackers import open_trackers, refuse_unusable


class Fake:
    def __init__(self, broken=False):
        self.said, self.broken = [], broken

    def scalars(self, step, values):
        if self.broken:
            raise ConnectionError("no route")
        self.said.append((step, dict(values)))

    def text(self, step, tag, markdown):
        self.said.append((step, tag, markdown))

    def close(self, failed):
        self.said.append(failed)


def test_a_tracker_is_told_all_and_one_that_fails_is_a_warning(tmp_path, caplog):
    writer = MetricsWriter(tmp_path)
    writer.trackers += [broken := Fake(broken=True), good := Fake()]
    writer.scalars(1, {"train/loss": 2.0})
    writer.results(2, "humaneval", {"pass@1": 0.5, "samples": "# x"})
    writer.close()
    points = [(1, {"train/loss": 2.0}), (2, {"humaneval/pass@1": 0.5})]
    assert good.said == [*points, (2, "humaneval/samples", "# x"), False]
    assert caplog.text.count("Fake is not written, training goes on: no route") == 1
    assert broken.said == [(2, "humaneval/samples", "# x"), False]
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2


def test_a_tracker_hears_of_a_run_that_failed(tmp_path):
    writer = MetricsWriter(tmp_path)
    writer.trackers.append(fake := Fake())
    with pytest.raises(ValueError):
        try:
            raise ValueError
        finally:
            writer.close()
    assert fake.said == [True]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("wand", r"there are wandb, mlflow; did you mean wandb\?"),
        ("tensorboard", "there are wandb"),
    ],
)
def test_an_unknown_tracker_is_refused(name, words):
    with pytest.raises(UserError, match=f"--metrics_writers={name}: {words}"):
        refuse_unusable([name])


def test_a_tracker_that_is_not_installed_is_refused(monkeypatch):
    monkeypatch.setattr("phi1_jax.run.trackers.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs `pip install phi1_jax\[mlflow\]`"):
        refuse_unusable(["mlflow"])


def test_a_resumed_run_goes_on_without_a_tracker_out_of_reach(tmp_path, monkeypatch, caplog):
    def out_of_reach(run_dir, config, id):
        raise ConnectionError("no route")

    monkeypatch.setitem(trackers._KINDS, "mlflow", out_of_reach)
    with pytest.raises(UserError, match="--metrics_writers=mlflow: no route"):
        open_trackers(["mlflow"], tmp_path, RunConfig())
    (tmp_path / "trackers.json").write_text('{"mlflow": "abc"}')
    assert open_trackers(["mlflow"], tmp_path, RunConfig()) == []
    assert "mlflow is not written until the next start, training goes on: no route" in caplog.text
    assert json.loads((tmp_path / "trackers.json").read_text()) == {"mlflow": "abc"}


def test_a_copied_folder_begins_a_run_of_its_own_and_a_moved_one_goes_on(tmp_path, monkeypatch):
    class Counting:
        begun = 0

        def __init__(self, run_dir, config, id):
            Counting.begun += id is None
            self.id = id or f"run {Counting.begun}"

    def start(name):
        return open_trackers(["mlflow"], tmp_path / name, RunConfig())[0].id

    monkeypatch.setitem(trackers._KINDS, "mlflow", Counting)
    (tmp_path / "a").mkdir()
    assert [start("a"), start("a")] == ["run 1", "run 1"]
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    assert [start("copy"), start("a"), start("copy")] == ["run 2", "run 1", "run 2"]
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert start("link") == "run 1"
    (tmp_path / "a").rename(tmp_path / "moved")
    assert start("moved") == "run 1"
    (tmp_path / "a").mkdir()  # a new run where the old one was
    assert [start("a"), start("moved")] == ["run 3", "run 1"]


def write_run(names, run_dir):
    """Two starts of one run, the second from step 4, which therefore comes twice."""
    run_dir.mkdir()
    for steps in ((2, 4), (4, 6)):
        writer = MetricsWriter(run_dir)
        writer.trackers += open_trackers(names, run_dir, RunConfig())
        for step in steps:
            writer.scalars(step, {"train/loss": 1 / step, "humaneval/pass@1": float("nan")})
        writer.text(steps[1], "samples", "# <x>")
        writer.close()


@pytest.mark.slow
def test_mlflow_reads_it_back(tmp_path, monkeypatch):
    tracking = pytest.importorskip("mlflow.tracking", reason="pip install phi1_jax[mlflow]")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    write_run(["mlflow"], tmp_path / "base")
    client = tracking.MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("mine").experiment_id])
    assert (run.info.run_name, run.info.status) == ("base", "FINISHED")
    history = client.get_metric_history(run.info.run_id, "train/loss")
    assert [(m.step, m.value) for m in history] == [(2, 0.5), (4, 0.25), (4, 0.25), (6, 1 / 6)]
    assert "humaneval/pass_1" in run.data.metrics
    assert run.data.params["optimizer.peak_learning_rate"] == "0.001"
    assert [f.path for f in client.list_artifacts(run.info.run_id, "samples")] == [
        "samples/4.md",
        "samples/6.md",
    ]


def wandb_records(path):
    """The records of an offline run: LevelDB's log format behind a header of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, record = path.read_bytes(), 7, b""
    while place < len(data):
        if (left := 32768 - place % 32768) < 7:  # no room for a header: the next block
            place += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        record += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(record)
            record = b""


@pytest.mark.slow
def test_wandb_offline_holds_every_point(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="pip install phi1_jax[wandb]")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    write_run(["wandb"], tmp_path / "base")
    wandb.teardown()  # as at a program's end: its own process writes what is left
    points, runs, files = [], [], sorted((tmp_path / "base").glob("wandb/offline-run-*/*.wandb"))
    for file in files:
        for record in wandb_records(file):
            if record.run.run_id:
                runs.append(record.run)
            row = {(i.nested_key or [i.key])[0]: i.value_json for i in record.history.item}
            if "train/loss" in row:
                points.append((json.loads(row["step"]), json.loads(row["train/loss"])))
    assert points == [(2, 0.5), (4, 0.25), (4, 0.25), (6, 1 / 6)]
    assert len(files) == 2 and len({run.run_id for run in runs}) == 1
    assert (runs[0].display_name, runs[0].project) == ("base", "phi1_jax")
    config = {item.key: json.loads(item.value_json) for item in runs[0].config.update}
    assert config["optimizer"]["name"] == "adamw" and config["steps"] == RunConfig().steps
    assert json.loads((tmp_path / "base" / "trackers.json").read_text()) == {
        "wandb": runs[0].run_id,
        "folder": str(tmp_path / "base"),
    }


@pytest.mark.slow
def test_a_training_run_tells_them(run_config, tmp_path, monkeypatch):
    tracking = pytest.importorskip("mlflow.tracking", reason="pip install phi1_jax[mlflow]")
    from phi1_jax.train.loop import train

    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    with pytest.raises(UserError, match="--metrics_writers=none"):
        train(run_config, tmp_path / "run", metrics_writers=["none"])
    assert not (tmp_path / "run").exists()
    train(dataclasses.replace(run_config, steps=4), tmp_path / "run", metrics_writers=["mlflow"])
    client = tracking.MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("phi1_jax").experiment_id])
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    ours = {row["step"]: row["train/loss"] for row in map(json.loads, lines)}
    history = client.get_metric_history(run.info.run_id, "train/loss")
    assert {m.step: pytest.approx(m.value) for m in history} == ours and len(ours) == 2
