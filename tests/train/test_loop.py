import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from conftest import REPOSITORY
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from phi1_jax import load_model
from phi1_jax.config import MeshConfig
from phi1_jax.errors import UserError
from phi1_jax.model.sharding import make_mesh
from phi1_jax.run.folder import damage, scores
from phi1_jax.train import loop, state_size, train_metrics
from phi1_jax.train.flops import flops_per_token
from phi1_jax.train.hooks import Profile
from phi1_jax.train.loop import train
from phi1_jax.train.run_lock import lock_run_dir
from phi1_jax.train.step import Hook
from phi1_jax.train.train_metrics import TrainMetrics

pytestmark = pytest.mark.slow  # what all share takes seconds

EVEN = (2, 4, 6, 8, 10, 12)


def curve(run) -> dict[int, float]:
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return {row["step"]: row["train/loss"] for row in map(json.loads, lines)}


@pytest.fixture(scope="module")
def finished(run_config, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "whole"
    result = train(run_config, run)
    return run, result


def test_a_folder_that_another_run_holds_is_refused(run_config, tmp_path):
    """Also from Python, where no script holds the lock."""
    with lock_run_dir(tmp_path):
        with pytest.raises(UserError, match="another process"):
            train(run_config, tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_a_tracker_that_one_host_lacks_ends_all_processes(run_config, tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(loop.distributed.os, "_exit", sys.exit)
    with pytest.raises(SystemExit) as left:
        train(run_config, tmp_path, metrics_writers=["wand"])
    assert left.value.code == 2


def test_a_run_trains_and_reports(run_config, finished):
    run, result = finished
    assert result["finished"] and result["step"] == 12
    assert result["tokens"] == 12 * 16 * 32
    losses = curve(run)
    assert sorted(losses) == [2, 4, 6, 8, 10, 12]
    assert losses[12] < losses[2]
    events = EventAccumulator(str(run)).Reload()
    points = {event.step: event.value for event in events.Scalars("loss/train")}
    assert points == pytest.approx(losses)
    tags = set(events.Tags()["scalars"])
    assert {
        "state/gradient_norm",
        "state/learning_rate",
        "speed/tokens_per_s",
        "tokens/code",
        "tokens/exercises",
    } <= tags
    # TensorBoard sorts by name: loss first, then speed, token counts last.
    groups = sorted({tag.partition("/")[0] for tag in tags})
    assert groups == ["loss", "speed", "state", "tokens"]
    (seen,) = [event.value for event in events.Scalars("tokens/seen") if event.step == 12]
    assert seen == 12 * 16 * 32


def test_what_cannot_fit_is_refused_before_anything_is_allocated(run_config, tmp_path, monkeypatch):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 9 kB\nMemFree: 1 kB\nMemAvailable: 8 kB\n")
    monkeypatch.setattr(state_size, "_MEMINFO", meminfo)
    with pytest.raises(UserError, match=r"take 0\.\d GB on each device, and 0\.0 GB are there"):
        train(run_config, tmp_path / "run")
    assert not (tmp_path / "run/checkpoints").exists()


def test_an_attention_that_no_device_has_is_refused_before_the_run_begins(run_config, tmp_path):
    model = replace(run_config.model, attention="cudnn", compute_dtype="auto", attention_dropout=0)
    with pytest.raises(UserError, match=r"model\.attention=cudnn needs a GPU"):
        train(replace(run_config, model=model), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_kept_checkpoints_are_committed(finished):
    run, _ = finished
    steps = sorted(int(path.name) for path in (run / "checkpoints").iterdir())
    assert steps == [8, 12]
    assert [damage(run, step) for step in steps] == ["", ""]


def test_a_killed_run_goes_on_bit_for_bit(run_config, finished, tmp_path):
    """A first process is stopped by SIGTERM in mid-run; a second one finishes."""
    whole, _ = finished
    run = tmp_path / "killed"
    program = """
import os, signal, sys, pickle
import conftest
from phi1_jax.train import loop, train_metrics
config, run, at = pickle.load(open(sys.argv[1], "rb"))
add = train_metrics.TrainMetrics.after_step
def add_then_stop(self, done, calls=[]):
    calls.append(1)
    if len(calls) == at:
        os.kill(os.getpid(), signal.SIGTERM)
    add(self, done)
train_metrics.TrainMetrics.after_step = add_then_stop
print(loop.train(config, run))
"""
    import pickle

    arguments = tmp_path / "arguments"
    arguments.write_bytes(pickle.dumps((run_config, run, 6)))
    done = subprocess.run(
        [sys.executable, "-c", program, str(arguments)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "'step': 6" in done.stdout and "'finished': False" in done.stdout
    result = train(run_config, run)
    assert result["finished"]
    last = [json.loads((r / "metrics.jsonl").read_text().splitlines()[-1]) for r in (run, whole)]
    for name in ("train/loss", "data/tokens/code", "data/tokens/exercises"):
        assert last[0][name] == last[1][name]
    ours, theirs = load_model(run)[1], load_model(whole)[1]
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(ours), jax.device_get(theirs))


def test_slow_steps_do_not_hold_up_a_signal(run_config, tmp_path, monkeypatch):
    """The host may be one step ahead of the devices, whatever the distance of log lines."""
    step_s, in_flight = 0.3, []
    real_trainer, real_add = loop.make_trainer, TrainMetrics.after_step

    def sleep(loss):
        time.sleep(step_s)
        return loss

    def slow_trainer(config, mesh):
        trainer = real_trainer(config, mesh)
        wait = jax.jit(lambda x: jax.pure_callback(sleep, x, x))

        def step(state, batch):
            state, metrics = trainer.step(state, batch)
            # On one device, and the next step waits for it.
            loss = wait(metrics["loss"].addressable_data(0))
            counter = jax.device_put(state.step + (loss * 0).astype(int), state.step.sharding)
            return state._replace(step=counter), {**metrics, "loss": loss}

        return trainer._replace(step=step)

    def add(self, done):
        real_add(self, done)
        in_flight.append(sum(not m["loss"].is_ready() for m in self._pending))
        if len(in_flight) == 6:
            signalled.append(time.perf_counter())
            os.kill(os.getpid(), signal.SIGTERM)

    signalled, saved = [], []
    real_save = loop.Checkpointer.save

    def save(*arguments):
        saved.append(time.perf_counter())
        real_save(*arguments)

    monkeypatch.setattr(loop.Checkpointer, "save", save)
    monkeypatch.setattr(loop, "make_trainer", slow_trainer)
    monkeypatch.setattr(TrainMetrics, "after_step", add)
    one_device = make_mesh(MeshConfig(1, 1, 1), jax.devices()[:1])
    monkeypatch.setattr(loop, "training_mesh", lambda config: one_device)
    result = train(replace(run_config, steps=40, log_every_steps=40), tmp_path / "slow")
    assert result["step"] == 6 and not result["finished"]
    assert max(in_flight) == 1  # and so the devices always have one to do
    # What it takes to write the checkpoint is the disk's.
    assert saved[-1] - signalled[0] < 3 * step_s + 1


def test_a_flipped_bit_is_found_and_the_step_before_is_used(run_config, finished, tmp_path):
    import shutil

    run = tmp_path / "damaged"
    shutil.copytree(finished[0], run)
    largest = max(
        (p for p in (run / "checkpoints" / "12" / "params").rglob("*") if p.is_file()),
        key=lambda p: p.stat().st_size,
    )
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(data)
    with pytest.raises(UserError, match="damaged"):
        load_model(run)
    result = train(run_config, run)
    assert result["finished"] and result["start_step"] == 8
    assert (run / "checkpoints" / "quarantine" / "12").is_dir()
    ours, theirs = load_model(run)[1], load_model(finished[0])[1]
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(ours), jax.device_get(theirs))


def test_a_vocabulary_that_is_too_small_is_refused(run_config, tmp_path):
    small = replace(run_config, model=replace(run_config.model, vocab_size=128))
    with pytest.raises(UserError, match=r"model\.vocab_size=128 is smaller"):
        train(small, tmp_path / "small")


def test_evaluators_become_curves_and_pages_and_their_trouble_stops_nothing(
    run_config, finished, tmp_path, caplog
):
    run = tmp_path / "evaluated"

    def evaluate(step, params):
        return {"pass@1": float(step), "samples": f"# after {step}"}

    def fail(step, params):
        raise OSError("no sandbox left")

    config = replace(run_config, eval_every_steps=5)
    train(config, run, {"broken": fail, "benchmark": evaluate})
    events = EventAccumulator(str(run)).Reload()
    points = [(e.step, e.value) for e in events.Scalars("pass@1/benchmark")]
    assert points == [(5, 5.0), (10, 10.0), (12, 12.0)]
    pages = [e.tensor_proto.string_val[0] for e in events.Tensors("benchmark/samples")]
    assert pages == [b"# after 5", b"# after 10", b"# after 12"]
    assert caplog.text.count("evaluation broken failed at step") == 3
    ours, theirs = load_model(run)[1], load_model(finished[0])[1]
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(ours), jax.device_get(theirs))


def test_an_unwritable_tensorboard_changes_nothing(run_config, finished, tmp_path, monkeypatch):
    run, open_writer = tmp_path / "blocked", loop.MetricsWriter

    def blocked(*arguments, **others):
        (run / "events.out.tfevents.0001").mkdir()  # in the way
        return open_writer(*arguments, **others)

    monkeypatch.setattr(loop, "MetricsWriter", blocked)
    assert train(run_config, run)["finished"]
    ours, theirs = load_model(run)[1], load_model(finished[0])[1]
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(ours), jax.device_get(theirs))


def test_a_profile_is_recorded_and_changes_nothing(run_config, finished, tmp_path):
    run = tmp_path / "profiled"
    train(replace(run_config, peak_tflops=1e-3), run, hooks=[Profile(run, run_config, 2, 3)])
    assert list(run.rglob("*.xplane.pb"))
    ours, theirs = load_model(run)[1], load_model(finished[0])[1]
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(ours), jax.device_get(theirs))
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    palm, causal = flops_per_token(run_config.model, 32)
    per_flop = last["speed/tokens_per_s"] / (8 * 1e9)
    assert last["speed/mfu_palm"] == pytest.approx(palm * per_flop)
    assert last["speed/mfu_causal"] == pytest.approx(causal * per_flop)


def test_time_is_accounted_for(finished):
    rows = [json.loads(line) for line in (finished[0] / "metrics.jsonl").read_text().splitlines()]
    assert [("speed/first_step_s" in row) for row in rows] == [True] + 5 * [False]
    # Saved after steps 4, 8 and 12, which is after their lines: it stands in the next one.
    assert [("speed/checkpoint_s" in row) for row in rows] == [
        False,
        False,
        True,
        False,
        True,
        False,
    ]
    for row in rows:
        assert 0 < row["speed/data_wait_ms"] < row["speed/step_ms"]
        per_step = 16 * 32 * 1e3 / row["speed/step_ms"]
        assert row["speed/tokens_per_s"] == pytest.approx(per_step)


def test_the_documentation_names_every_curve(finished):
    page = (REPOSITORY / "docs/scale.md").read_text("utf-8")
    for line in (finished[0] / "metrics.jsonl").read_text().splitlines():
        for curve in json.loads(line).keys() - {"step", "time"}:
            group, name, *_ = curve.split("/")
            assert re.search(rf"^\| `{group}/`.*`{name}\b", page, re.M), curve


@pytest.mark.parametrize(
    ("metric", "mode"),
    [("train/lsos", "min"), ("humaneval/pass@1", "max"), ("validation/loss", "")],
)
def test_a_best_metric_without_a_curve_is_refused(run_config, tmp_path, metric, mode):
    checkpoint = replace(run_config.checkpoint, best_metric=metric, best_mode=mode)
    config = replace(run_config, checkpoint=checkpoint, eval_every_steps=4)
    with pytest.raises(UserError, match=rf"best_metric={metric} is no curve .* train/loss"):
        train(config, tmp_path / "run")


def test_a_best_metric_without_a_point_is_a_warning(run_config, tmp_path, caplog):
    checkpoint = replace(run_config.checkpoint, best_metric="own/pass@1", best_mode="max")
    config = replace(run_config, checkpoint=checkpoint, eval_every_steps=4)
    evaluators = {"own": lambda step, params: {"pass@1": 0.5} if step == 8 else {}}
    train(config, tmp_path / "run", evaluators)
    said = [f"step {step} has no point" in caplog.text for step in (0, 4, 8, 12)]
    assert said == [False, True, False, True]


@pytest.mark.parametrize("at", [4, 12])
def test_a_signal_waits_for_one_evaluation_only(at, run_config, tmp_path, caplog, monkeypatch):
    def slow(step, params):
        if step == at:
            os.kill(os.getpid(), signal.SIGTERM)
        return {"x": 1.0}

    def next_one(step, params):
        assert step < at, "not after the signal"
        return {"x": 2.0}

    config, run = replace(run_config, eval_every_steps=4), tmp_path / "run"
    result = train(config, run, {"slow": slow, "next": next_one})
    assert result["step"] == at and result["finished"] == (at == 12)
    assert f"evaluation next left out at step {at}" in caplog.text
    assert "failed" not in caplog.text

    def again(step, params):
        assert step > at, "it has its point"
        return {"x": 3.0}

    def made_up_for(step, params):
        clock[0] += 1e6 * (step == at)
        return {"x": 4.0}

    clock = [0.0]
    later = SimpleNamespace(perf_counter=lambda: time.perf_counter() + clock[0])
    monkeypatch.setattr(train_metrics, "time", later)
    train(config, run, {"slow": again, "next": made_up_for})
    assert scores(run, "next/x") == {step: 2.0 if step < at else 4.0 for step in (4, 8, 12)}
    assert scores(run, "slow/x") == {step: 1.0 if step <= at else 3.0 for step in (4, 8, 12)}
    assert all(seconds < 1e6 for seconds in scores(run, "speed/first_step_s").values())
    assert "failed" not in caplog.text


@pytest.mark.parametrize("mean", [2.5, float("nan")])
def test_a_result_counts_the_steps_after_the_last_log_line(mean, run_config, tmp_path, monkeypatch):
    class Stop(Hook):
        def after_step(self, done):
            if done.step == 3:
                os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("phi1_jax.train.train_metrics._mean", lambda steps, name: mean)
    config = replace(run_config, log_every_steps=10)
    result = train(config, tmp_path / "run", hooks=[Stop()])
    assert result["step"] == 3 and not result["finished"]

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    text = (tmp_path / "run" / "result.json").read_text()
    written = json.loads(text, parse_constant=refuse)
    assert written["loss"] == result["loss"] == (mean if mean == mean else None)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    points = [json.loads(line) for line in lines]
    assert [point["step"] for point in points if "train/loss" in point] == [3]


def test_signal_module_is_left_as_found():
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
