"""What stderr shows of a run, in a log file and on a terminal."""

import io
import sys

from phi1_jax.train.console import Console
from phi1_jax.train.loop import train


def test_a_log_file_gets_a_line_for_each_point(run_config, tmp_path, capsys):
    train(run_config, tmp_path / "run")
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("run: ")]
    assert [line.split(" loss=")[0] for line in lines] == [
        f"run: step {n}/12" for n in range(2, 13, 2)
    ]


def test_a_terminal_gets_one_bar(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", shown := Terminal())
    console = Console("run", 3, 9, enabled=True)
    for step in range(4, 10):
        console.step()
        console.show(step, {"loss": f"{step}.5"})
    console.close()
    assert "9/9" in shown.getvalue() and "loss=9.5" in shown.getvalue()
    assert shown.getvalue().count("\n") == 1
