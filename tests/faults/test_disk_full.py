"""The disk fills up: before a save, in the middle of one, under the curves."""

import os
import resource
import shutil
import subprocess
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from run_trace import read_trace, traced

from phi1_jax import load_model
from phi1_jax.errors import UserError
from phi1_jax.run import folder as run_folder
from phi1_jax.train import loop
from phi1_jax.train.loop import train

# When a write fails, Orbax's other writes report to an event loop that it has closed.
pytestmark = [
    pytest.mark.faults,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@contextmanager
def small_disk(folder: Path, size: str):
    """A file system of its own; only root may mount one."""
    folder.mkdir(parents=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip(f"NOT TESTED on a full disk: mounting is not permitted here: {done.stderr}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, leave_bytes: int, after: int | None = None) -> None:
    """Leaves so much free, once step `after` is saved."""
    while after is not None and not (folder / "run" / "commits" / f"{after}.json").exists():
        time.sleep(0.01)
    disk = os.statvfs(folder)
    (folder / "filler").write_bytes(bytes(disk.f_bavail * disk.f_frsize - leave_bytes))


def saving_every(config, every: int, **more):
    checkpoint = replace(config.checkpoint, every_steps=every, keep_last=2, **more)
    return replace(config, checkpoint=checkpoint, steps=40, log_every_steps=1)


def at_step(step: int, action):
    """An evaluator that acts once; it is called after every step."""

    def evaluate(now: int, params):
        if now == step:
            action()
        return {}

    return {"fault": evaluate}


def test_a_save_that_does_not_fit_is_refused_before_it_begins(run_config, tmp_path):
    config = replace(saving_every(run_config, 10), eval_every_steps=1)
    with small_disk(tmp_path / "disk", "16m") as disk:
        run_dir = disk / "run"
        fault = at_step(12, lambda: fill(disk, 300_000, after=10))
        with pytest.raises(UserError, match=r"checkpoint 20 was not saved: it needs .* GB free"):
            traced(config, run_dir, fault)
        assert read_trace(run_dir)[-1]["step"] == 20, "at once"
        assert run_folder.steps_in(run_dir) == [0, 10]
        assert [run_folder.damage(run_dir, step) for step in (0, 10)] == ["", ""]
        (disk / "filler").unlink()
        assert train(config, run_dir)["finished"]


def test_with_retries_the_run_goes_on_and_saves_once_there_is_room(run_config, tmp_path):
    config = replace(saving_every(run_config, 10, retries=20), eval_every_steps=1)
    with small_disk(tmp_path / "disk", "16m") as disk:
        run_dir = disk / "run"

        def trouble(step: int, params):
            if step == 12:
                fill(disk, 300_000, after=10)
            if step == 25:
                (disk / "filler").unlink()
            return {}

        result = traced(config, run_dir, {"fault": trouble})
        assert result["finished"]
        assert run_folder.committed_steps(run_dir) == [30, 40]
        plain = tmp_path / "plain"
        traced(config, plain)
        assert read_trace(run_dir) == read_trace(plain)


def test_retries_end(run_config, tmp_path):
    config = replace(saving_every(run_config, 10, retries=2), eval_every_steps=1)
    with small_disk(tmp_path / "disk", "16m") as disk:
        run_dir = disk / "run"
        with pytest.raises(UserError, match="checkpoint 22 was not saved"):
            traced(config, run_dir, at_step(12, lambda: fill(disk, 300_000, after=10)))
        assert run_folder.committed_steps(run_dir) == [0, 10]


def full_in_the_middle(config, run_dir, act, undo):
    """A save begins, since the disk says that there is room, and fails. It shows within steps."""

    def when_the_first_is_saved():
        end = time.monotonic() + 60
        while not run_folder.committed_steps(run_dir) and time.monotonic() < end:
            time.sleep(0.05)
        act()

    with pytest.raises(UserError, match=r"checkpoint 10 was not saved: .*step 0 is intact"):
        try:
            traced(config, run_dir, at_step(5, when_the_first_is_saved))
        finally:
            undo()
    assert read_trace(run_dir)[-1]["step"] < 30, "not an interval later"
    assert run_folder.steps_in(run_dir) == run_folder.committed_steps(run_dir) == [0]
    assert run_folder.damage(run_dir, 0) == ""
    assert train(config, run_dir)["finished"]
    assert not list((run_dir / "checkpoints").glob("*tmp*")), "the space is given back"


def test_a_disk_that_fills_during_a_save(run_config, tmp_path, monkeypatch):
    """As with a quota, which the free space does not show."""
    config = replace(saving_every(run_config, 10), eval_every_steps=1)
    with small_disk(tmp_path / "disk", "16m") as disk:
        real = shutil.disk_usage
        monkeypatch.setattr(
            "phi1_jax.run.checkpoint.shutil.disk_usage", lambda p: real(p)._replace(free=1 << 40)
        )
        full_in_the_middle(
            config,
            disk / "run",
            lambda: fill(disk, 100_000),
            lambda: (disk / "filler").unlink(),
        )


def test_a_write_that_fails_during_a_save(run_config, tmp_path):
    """Needs no mount: files above a size cannot be written."""
    config = replace(saving_every(run_config, 10), eval_every_steps=1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    full_in_the_middle(
        config,
        tmp_path / "run",
        lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, before[1])),
        lambda: resource.setrlimit(resource.RLIMIT_FSIZE, before),
    )


def same_weights(run_dir: Path, other: Path) -> None:
    ours, theirs = load_model(run_dir)[1], load_model(other)[1]
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(ours), jax.device_get(theirs))


def test_curves_that_cannot_be_written_change_no_bit(run_config, tmp_path, monkeypatch):
    plain, open_writer = tmp_path / "plain", loop.MetricsWriter
    traced(run_config, plain)
    for name in ("metrics.jsonl", "events.out.tfevents.0001"):
        run_dir = tmp_path / name

        def on_a_full_disk(folder, name=name, **others):
            (folder / name).symlink_to("/dev/full")
            return open_writer(folder, **others)

        monkeypatch.setattr(loop, "MetricsWriter", on_a_full_disk)
        assert traced(run_config, run_dir)["finished"]
        assert read_trace(run_dir) == read_trace(plain)
        same_weights(run_dir, plain)
