"""What happens beside the steps: what stderr shows of a run, and which steps are profiled."""

import io
import sys

import jax
import pytest

from phi1_jax.config import OptimizerConfig, RunConfig
from phi1_jax.train.hooks import Console, Profile
from phi1_jax.train.loop import train
from phi1_jax.train.step import StepDone


@pytest.mark.slow
def test_a_log_file_gets_a_line_for_each_point(run_config, tmp_path, capsys):
    train(run_config, tmp_path / "run")
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("run: ")]
    assert [line.split(" loss=")[0] for line in lines] == [
        f"run: step {n}/12" for n in range(2, 13, 2)
    ]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_gets_one_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", shown := Terminal())
    console = Console("run", 3, 9, enabled=True)
    for step in range(4, 10):
        console.after_step(None)
        console.show(step, {"loss": f"{step}.5"})
    console.close()
    assert "9/9" in shown.getvalue() and "loss=9.5" in shown.getvalue()
    assert shown.getvalue().count("\n") == 1


def test_the_bar_fits_80_columns(monkeypatch):
    monkeypatch.setattr(sys, "stderr", shown := Terminal())
    console = Console("a_long_name_of_a_run_folder", 0, 36_000, enabled=True)
    console.show(1, {"loss": "10.234", "norm": "1.00", "tok/s": "1,234,567", "skipped": "12"})
    console.close()
    lines = shown.getvalue().replace("\n", "\r").split("\r")
    assert "skipped=12" in lines[-2] and max(map(len, lines)) <= 80


def test_a_notebook_gets_one_bar_on_stdout(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    console = Console("run", 0, 2, enabled=True)
    for step in (1, 2):
        console.after_step(None)
        console.show(step, {"loss": "1.5"})
    console.close()
    out, err = capsys.readouterr()
    assert not err and out.count("\n") == 1 and "2/2, loss=1.5" in out


@pytest.mark.parametrize(
    ("asked", "taken", "first"), [(0, 0, 10), (0, 40, 50), (0, 95, 98), (7, 0, 7), (7, 7, 17)]
)
def test_a_profile_begins_after_where_the_run_does(tmp_path, monkeypatch, asked, taken, first):
    calls = []
    monkeypatch.setattr(jax.profiler, "start_trace", lambda folder: calls.append("start"))
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: calls.append("stop"))
    config = RunConfig(steps=100, optimizer=OptimizerConfig(warmup_steps=1))
    profile = Profile(tmp_path, config, 3, asked)
    profile.begin(taken, None)
    for step in range(taken + 1, 101):
        calls.append(step)
        profile.after_step(StepDone(step, None, {}, {}))
    profile.end(100, None)
    assert calls.count("start") == calls.count("stop") == 1
    recorded = calls[calls.index("start") + 1 : calls.index("stop")]
    assert recorded == [first, first + 1, first + 2]
