"""Two runs in one folder, and folders that cannot be a run's. Several processes: tests/faults."""

import json
import os
import signal
import subprocess
import sys

import pytest
from conftest import REPOSITORY

from phi1_jax import files
from phi1_jax.errors import UserError
from phi1_jax.train import run_lock
from phi1_jax.train.run_lock import lock_run_dir

HOLD = """
import sys, time
from pathlib import Path
from phi1_jax.train.run_lock import lock_run_dir
with lock_run_dir(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.mark.slow
def test_a_second_run_is_refused_until_the_first_is_gone_however_it_went(tmp_path):
    run = tmp_path / "run"
    environment = {**os.environ, "SLURM_JOB_ID": "77"}
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        env=environment,
    ) as other:
        try:
            assert other.stdout.readline() == "held\n"
            with (
                pytest.raises(UserError, match=rf"another process .* pid {other.pid}, job 77\)"),
                lock_run_dir(run),
            ):
                pass
        finally:
            other.send_signal(signal.SIGKILL)
    with lock_run_dir(run):
        assert json.loads((run / "lock").read_text())["pid"] == os.getpid()
        with pytest.raises(UserError, match=f"pid {os.getpid()}"), lock_run_dir(run):
            pass
    with lock_run_dir(run):
        pass


@pytest.mark.parametrize("torn", [b"", b'{"host', b"\xff", b"[1]"])
def test_who_holds_the_folder_is_unknown_if_the_lock_does_not_say(tmp_path, torn):
    with lock_run_dir(tmp_path):
        (tmp_path / "lock").write_bytes(torn)
        with (
            pytest.raises(UserError, match=r"writes there now \(unknown\)"),
            lock_run_dir(tmp_path),
        ):
            pass


def test_a_file_system_without_locks_costs_a_warning(tmp_path, monkeypatch, capsys):
    def no_locks(*arguments):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(files.fcntl, "flock", no_locks)
    with lock_run_dir(tmp_path):
        assert "No locks available" in capsys.readouterr().err


def test_a_lock_that_cannot_be_read_is_no_second_folder(tmp_path, monkeypatch):
    """As on SMB, whose locks keep every other handle from reading, this process's too."""
    monkeypatch.setattr(run_lock, "_sees", lambda *a: False)
    with lock_run_dir(tmp_path):
        assert (tmp_path / "lock").exists()


@pytest.mark.parametrize("output", ["file", "file/run", "/proc/run"])
def test_what_cannot_be_a_folder_is_named(output, tmp_path):
    (tmp_path / "file").write_text("mine")
    run = tmp_path / output
    with (
        pytest.raises(UserError, match=f"--output={run}: no folder can be made there"),
        lock_run_dir(run),
    ):
        pass
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_of_something_else_is_refused_and_left_as_it_was(tmp_path):
    (tmp_path / "report.json").write_text("{}")
    with (
        pytest.raises(UserError, match=r"holds other files \(report\.json\)"),
        lock_run_dir(tmp_path),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_a_run_that_never_began_claims_no_folder(tmp_path):
    run_dir = tmp_path / "run"
    with pytest.raises(UserError), lock_run_dir(run_dir):
        (run_dir / "tensorboard").mkdir()
        raise UserError("refused")
    assert not run_dir.exists()
    for name in ("slurm-7.out", ".git", "Thumbs.db"):
        file = tmp_path / name / "run" / name
        file.parent.mkdir(parents=True)
        file.touch()
        with lock_run_dir(file.parent):
            pass
        assert file.exists()
