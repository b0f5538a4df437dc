"""A run's folder and the script that looks after it: no training, a state of two small arrays."""

import errno
import hashlib
import json
import os
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import run_script

from phi1_jax import load_model
from phi1_jax.config import CheckpointConfig
from phi1_jax.errors import UserError
from phi1_jax.run import folder as run_folder
from phi1_jax.run import hashes as file_hashes
from phi1_jax.run.checkpoint import Checkpointer, write_model


def state(step: int):
    return {"w": jnp.full((4, 4), float(step))}, {"m": jnp.full(4, -float(step))}


def write(run_dir: Path, config: CheckpointConfig, steps, curve=None, scores=()) -> None:
    checkpointer = Checkpointer(run_dir, config)
    with (run_dir / "metrics.jsonl").open("a") as file:
        for step, score in zip(steps, scores, strict=bool(scores)):
            file.write(json.dumps({"step": step, curve: score}) + "\n")
    for step in steps:
        checkpointer.save(step, *state(step), {"step": step})
    checkpointer.close()


def restore(run_dir: Path, config: CheckpointConfig):
    checkpointer = Checkpointer(run_dir, config)
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    shapes = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device), state(0)
    )
    try:
        return checkpointer.restore(*shapes)
    finally:
        checkpointer.close()


@pytest.fixture(scope="module")
def three(tmp_path_factory, tiny_model) -> Path:
    """Steps 2, 4 and 6 of a run that keeps the last two and the best."""
    run_dir = tmp_path_factory.mktemp("folder") / "three"
    config = CheckpointConfig(keep_last=2, best_metric="validation/loss")
    write(run_dir, config, (2, 4, 6), "validation/loss", (0.5, 0.7, 0.6))
    values = {"model": asdict(tiny_model), "checkpoint": asdict(config), "source_dtype": "float16"}
    (run_dir / "config.json").write_text(json.dumps(values))
    return run_dir


def test_what_the_policy_does_not_keep_goes(tmp_path):
    steps = tuple(range(0, 70, 10))
    scores = (9.0, 3.0, 1.0, float("nan"), 5.0, 4.0, 6.0)
    base = CheckpointConfig(keep_last=1)
    for number, (policy, kept) in enumerate(
        (
            ({}, [60]),
            ({"keep_last": 3}, [40, 50, 60]),
            ({"keep_every_steps": 30}, [0, 30, 60]),
            ({"keep_steps": (10, 50)}, [10, 50, 60]),
            ({"best_metric": "a", "best_mode": "min", "keep_best": 2}, [10, 20, 60]),
            ({"best_metric": "a", "best_mode": "max"}, [0, 60]),
        )
    ):
        run_dir = tmp_path / str(number)
        for step, score in zip(steps, scores, strict=True):
            run_folder.step_folder(run_dir, step).mkdir(parents=True)
            (run_folder.step_folder(run_dir, step) / "file").write_text(str(step))
            run_folder.commit(run_dir, step)
            with (run_dir / "metrics.jsonl").open("a") as file:
                file.write(json.dumps({"step": step, "a": score}) + "\n")
        gone = run_folder.prune(run_dir, replace(base, **policy))
        assert sorted(gone + kept) == list(steps)
        assert run_folder.steps_in(run_dir) == run_folder.committed_steps(run_dir) == kept, policy
        assert [run_folder.damage(run_dir, step) for step in kept] == [""] * len(kept)
        assert not (run_dir / "checkpoints" / "discarded").exists()


@pytest.mark.slow
def test_a_step_scored_after_its_save_is_judged_at_the_next(tmp_path):
    config = CheckpointConfig(keep_last=1, best_metric="pass@1", best_mode="max")
    write(tmp_path, config, (1, 2, 3), "pass@1", ())
    assert run_folder.steps_in(tmp_path) == [3]
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "pass@1": 0.5}\n{"step": 4, "pa')
    write(tmp_path, config, (4, 5))
    assert run_folder.steps_in(tmp_path) == [3, 5]


def test_the_state_comes_back(three):
    step, params, optimizer, position = restore(three, CheckpointConfig())
    assert step == 6 and position == {"step": 6}
    jax.tree.map(np.testing.assert_array_equal, (params, optimizer), state(6))


def test_a_step_that_is_to_be_kept_is_saved(tmp_path):
    policy = CheckpointConfig(every_steps=4, keep_every_steps=6, keep_steps=(7,))
    checkpointer = Checkpointer(tmp_path, policy)
    assert [step for step in range(1, 13) if checkpointer.due(step)] == [4, 6, 7, 8, 12]
    checkpointer.close()


def test_a_failed_save_is_tried_again_once(tmp_path, monkeypatch):
    checkpointer = Checkpointer(tmp_path, CheckpointConfig(every_steps=10, retries=1))
    real = Checkpointer._refuse_full_disk

    def full(*arguments):
        raise UserError("it is full")

    monkeypatch.setattr(Checkpointer, "_refuse_full_disk", full)
    checkpointer.save(10, *state(10), {})
    monkeypatch.setattr(Checkpointer, "_refuse_full_disk", real)
    assert checkpointer.due(11)
    checkpointer.save(11, *state(11), {})
    assert not checkpointer.due(12)  # whether it is done by now or not
    checkpointer.close()
    assert run_folder.committed_steps(tmp_path) == [11]


def test_a_save_that_fails_on_the_way_out_promises_no_next_try(tmp_path, monkeypatch, caplog):
    checkpointer = Checkpointer(tmp_path, CheckpointConfig(every_steps=10, retries=3))
    (tmp_path / "checkpoints" / "quarantine" / "4").mkdir(parents=True)
    small = shutil.disk_usage(tmp_path)._replace(free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: small)
    checkpointer.save(10, *state(10), {})
    assert "next try" not in caplog.text
    checkpointer.due(11)
    checkpointer.due(12)
    assert caplog.text.count("failure 1 of 4 in a row; next try at step 11") == 1
    checkpointer.save(12, *state(12), {})
    with pytest.raises(
        UserError, match=r"12 was not saved: .* or delete checkpoints/quarantine/, .* holds 4"
    ):
        checkpointer.close()
    assert "next try at step 13" not in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["lr[1e-3]", "a[1", "s*", "q?", "sp ace", "ünï", "{a,b}", "p%20", "h#", "~", "-x", "c:d"],
)
def test_a_step_is_restored_whatever_the_path(name, tmp_path, tiny_model, monkeypatch):
    """Issue: Orbax merges files by a glob of the path as it is, and no step could be restored."""
    monkeypatch.chdir(tmp_path)
    run_dir = Path(name) / "run"
    write(run_dir, CheckpointConfig(), (1,))
    step, params, _, position = restore(Path("..") / tmp_path.name / run_dir, CheckpointConfig())
    assert (step, position) == (1, {"step": 1})
    np.testing.assert_array_equal(params["w"], state(1)[0]["w"])
    write_model(run_dir / "weights", tiny_model, state(1)[0], None)
    np.testing.assert_array_equal(load_model(run_dir / "weights")[1]["w"], params["w"])
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["a\\b", "\udcff"])
def test_a_path_that_the_arrays_would_miss_is_refused_at_once(name, tmp_path):
    with pytest.raises(UserError, match="cannot have a backslash, or bytes that are not UTF-8"):
        Checkpointer(tmp_path / name, CheckpointConfig())
    assert not list(tmp_path.iterdir())


def lose_an_array(folder: Path) -> None:
    shutil.rmtree(folder / "params" / "w")


def lose_values(folder: Path) -> None:
    (folder / "params" / "w" / "0.0").unlink()


def other_shape(folder: Path) -> None:
    file = folder / "optimizer" / "m" / ".zarray"
    file.write_text(file.read_text().replace("4", "3"))


@pytest.mark.parametrize("fault", [lose_an_array, lose_values, other_shape])
def test_a_save_that_cannot_be_read_back_does_not_count(fault, tmp_path, monkeypatch):
    checkpointer = Checkpointer(tmp_path, CheckpointConfig())
    real = checkpointer._orbax.wait_until_finished

    def finish() -> None:
        real()
        if run_folder.steps_in(tmp_path):  # Orbax waits as it starts, too
            fault(run_folder.step_folder(tmp_path, 3))

    monkeypatch.setattr(checkpointer._orbax, "wait_until_finished", finish)
    checkpointer.save(3, *state(3), {})
    with pytest.raises(UserError, match="3 was not saved: it cannot be read back: "):
        checkpointer.close()
    assert run_folder.known_steps(tmp_path) == []


@pytest.mark.slow
def test_verify_with_restore_finds_what_was_lost_before_the_hashes(three, tmp_path):
    run_dir = tmp_path / "run"
    shutil.copytree(three, run_dir)
    assert script("verify", run_dir, "--restore", "--step=6") == "step 6: ok\n"
    lose_values(run_folder.step_folder(run_dir, 4))
    values = run_folder.read_commit(run_dir, 4)
    values["files"] = file_hashes.hashes(run_folder.step_folder(run_dir, 4))
    (run_dir / "commits" / "4.json").write_text(json.dumps(values))
    assert script("verify", run_dir, "--step=4") == "step 4: ok\n"
    said = script("verify", run_dir, "--restore", code=1)
    assert "step 4: DAMAGED: NOT_FOUND: chunk {0, 0}" in said


def test_checkpoints_on_another_file_system_are_pruned_and_set_aside(three, tmp_path, monkeypatch):
    run_dir, disk = tmp_path / "run", tmp_path / "disk"
    shutil.copytree(three, run_dir)
    disk.mkdir()
    (run_dir / "checkpoints").rename(disk / "steps")
    (run_dir / "checkpoints").symlink_to(disk / "steps")
    real = os.rename

    def rename(source, target, **options):
        if len({Path(path).parent.resolve().is_relative_to(disk) for path in (source, target)}) > 1:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        real(source, target, **options)

    monkeypatch.setattr(os, "rename", rename)
    (disk / "steps" / "6" / "_CHECKPOINT_METADATA").write_bytes(b"{")
    assert restore(run_dir, CheckpointConfig())[0] == 4
    assert run_folder.quarantined(run_dir) == ["6"]
    assert run_folder.prune(run_dir, CheckpointConfig(keep_last=1)) == [2]
    assert sorted(p.name for p in (disk / "steps").iterdir()) == ["4", "quarantine"]


def test_steps_of_a_container_s_image_are_pruned_and_set_aside(three, tmp_path, monkeypatch):
    run_dir = tmp_path / "run"
    shutil.copytree(three, run_dir)
    real = os.rename

    def rename(source, target, **options):  # as overlayfs answers for a folder of a lower layer
        if Path(source).name.isdecimal():
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        real(source, target, **options)

    monkeypatch.setattr(os, "rename", rename)
    (run_dir / "checkpoints/6/_CHECKPOINT_METADATA").write_bytes(b"{")
    assert restore(run_dir, CheckpointConfig())[0] == 4
    assert run_folder.quarantined(run_dir) == ["6"]
    assert run_folder.prune(run_dir, CheckpointConfig(keep_last=1)) == [2]
    assert run_folder.known_steps(run_dir) == [4]


@pytest.mark.parametrize("name", ["checkpoints", "commits", "checkpoints/6"])
def test_a_disk_that_is_not_there_is_no_damage(name, three, tmp_path):
    run_dir = tmp_path / "run"
    shutil.copytree(three, run_dir)
    (run_dir / name).rename(tmp_path / "disk")
    (run_dir / name).symlink_to(tmp_path / "unmounted")
    with pytest.raises(UserError, match=r"is a link to .*unmounted, which is not there; mount it"):
        restore(run_dir, CheckpointConfig())
    assert run_folder.known_steps(run_dir) == [2, 4, 6]


def test_a_step_that_is_a_link_is_used_and_its_files_are_left(three, tmp_path, caplog):
    run_dir = tmp_path / "run"
    shutil.copytree(three, run_dir)
    for step in (2, 6):
        (run_dir / "checkpoints" / str(step)).rename(tmp_path / str(step))
        (run_dir / "checkpoints" / str(step)).symlink_to(tmp_path / str(step))
    assert restore(run_dir, CheckpointConfig())[0] == 6
    assert run_folder.prune(run_dir, CheckpointConfig(keep_last=2)) == [2]
    assert "was a link" in caplog.text and (tmp_path / "2" / "params").is_dir()
    assert run_folder.steps_in(run_dir) == run_folder.committed_steps(run_dir) == [4, 6]


def test_a_step_that_is_a_mount_is_refused(three, tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "is_mount", lambda path: path.name == "4")
    with pytest.raises(
        UserError, match=r"checkpoints/4 is a mount point.*mount that file system at"
    ):
        restore(three, CheckpointConfig())


def test_what_the_system_leaves_among_the_files_is_no_damage(three, tmp_path):
    run_dir = tmp_path / "run"
    shutil.copytree(three, run_dir)
    for folder in ("6", "6/params", "discarded", "quarantine", ""):
        place = run_dir / "checkpoints" / folder
        place.mkdir(exist_ok=True)
        for name in (".DS_Store", "._6", "Thumbs.db", "desktop.ini", ".nfs0000000000a1b2c3",
                     ".fuse_hidden0000a1", "._.zarray", "ehthumbs.db"):  # fmt: skip
            (place / name).write_text("litter")
        for name in (".AppleDouble", "@eaDir"):
            (place / name).mkdir()
            (place / name / "6").write_text("litter")
    (run_dir / "commits" / "._6.json").write_text("litter")
    for name in ("060", "6\u00b2", "\u0666", "lost+found", "6 (copy)"):
        (run_dir / "checkpoints" / name).mkdir()
    assert run_folder.steps_in(run_dir) == run_folder.known_steps(run_dir) == [2, 4, 6]
    assert restore(run_dir, CheckpointConfig())[0] == 6
    assert run_folder.quarantined(run_dir) == []
    write(run_dir, CheckpointConfig(keep_last=1), (7,))
    assert run_folder.steps_in(run_dir) == [7]


def test_a_run_never_starts_over_by_itself(three, tmp_path):
    run_dir = tmp_path / "run"
    shutil.copytree(three, run_dir)
    for step in (2, 4, 6):
        (run_dir / "checkpoints" / str(step) / "_CHECKPOINT_METADATA").unlink()
    for _ in range(2):
        with pytest.raises(
            UserError, match="no undamaged checkpoint is left; checkpoints/quarantine/ holds 2"
        ):
            restore(run_dir, CheckpointConfig())
    shutil.rmtree(run_dir / "checkpoints" / "quarantine")
    assert restore(run_dir, CheckpointConfig()) is None


@pytest.mark.parametrize("failures", [2, 100])
def test_what_cannot_be_read_is_read_again_and_never_put_aside(
    failures, three, tmp_path, monkeypatch
):
    run_dir = tmp_path / "run"
    shutil.copytree(three, run_dir)
    real, left = hashlib.file_digest, [failures]

    def stale(file, name):
        if "/6/" in file.name and "/params/" in file.name and left[0]:
            left[0] -= 1
            raise OSError(116, "Stale file handle", file.name)
        return real(file, name)

    monkeypatch.setattr(hashlib, "file_digest", stale)
    monkeypatch.setattr(file_hashes, "RETRY_AFTER_S", (0.0, 0.0, 0.0))
    if failures == 2:
        assert restore(run_dir, CheckpointConfig())[0] == 6 and left == [0]
    else:
        with pytest.raises(UserError, match=r"checkpoint 6 of .* left where it is: .*Stale file"):
            restore(run_dir, CheckpointConfig())
    assert (
        run_folder.committed_steps(run_dir) == [2, 4, 6]
        and not (run_dir / "checkpoints" / "quarantine").exists()
    )


@pytest.mark.parametrize("number", [errno.EACCES, errno.EMFILE, errno.ESTALE])
def test_a_commit_file_that_cannot_be_read_is_no_damage(number, three, tmp_path, monkeypatch):
    run_dir = tmp_path / "run"
    shutil.copytree(three, run_dir)
    real = Path.read_text

    def refuse(path, **options):
        if path.name == "6.json":
            raise OSError(number, os.strerror(number), str(path))
        return real(path, **options)

    monkeypatch.setattr(Path, "read_text", refuse)
    monkeypatch.setattr(file_hashes, "RETRY_AFTER_S", ())
    with pytest.raises(UserError, match=r"checkpoint 6 of .* left where it is: "):
        restore(run_dir, CheckpointConfig())
    assert run_folder.committed_steps(run_dir) == [2, 4, 6]


def test_the_best_steps_stay_while_their_scores_cannot_be_read(three, tmp_path, monkeypatch):
    run_dir = tmp_path / "run"
    shutil.copytree(three, run_dir)
    config = CheckpointConfig(keep_last=1, best_metric="validation/loss")

    def refuse(path):
        raise OSError(errno.ESTALE, "Stale file handle", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    monkeypatch.setattr(file_hashes, "RETRY_AFTER_S", ())
    with pytest.raises(OSError, match="Stale"):
        run_folder.prune(run_dir, config)
    assert run_folder.committed_steps(run_dir) == [2, 4, 6]


def test_a_disk_whose_free_space_cannot_be_read_gets_no_save(tmp_path, monkeypatch):
    def gone(_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(shutil, "disk_usage", gone)
    checkpointer = Checkpointer(tmp_path, CheckpointConfig())
    with pytest.raises(UserError, match=r"the free space of .* cannot be read: .*Input/output"):
        checkpointer.save(1, *state(1), {})
    with pytest.raises(UserError, match="checkpoint 1 was not saved"):
        checkpointer.close()


def script(*arguments: object, code: int = 0) -> str:
    done = run_script("checkpoint.py", *arguments)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_list_and_verify(three, tmp_path):
    run_dir = tmp_path / "run"
    shutil.copytree(three, run_dir)
    (run_dir / "commits" / "4.json").unlink()
    head, *lines = script("list", run_dir).splitlines()
    assert head.split() == ["step", "size", "train/loss", "validation/loss", "kept"]
    assert [line.split()[0] for line in lines] == ["2", "4", "6"]
    assert "0.5" in lines[0] and "best validation/loss" in lines[0]
    assert "never restored" in lines[1] and lines[2].endswith("last 2")
    assert script("verify", run_dir, "--step=6") == "step 6: ok\n"
    files = [p for p in (run_dir / "checkpoints" / "2").rglob("*") if p.is_file()]
    largest = max(files, key=lambda p: p.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-1])
    found = script("verify", run_dir, code=1).splitlines()
    assert found[0].startswith("step 2: DAMAGED") and found[0].endswith("is altered")
    assert found[1:] == ["step 4: DAMAGED: its save did not finish", "step 6: ok"]
    assert run_folder.steps_in(run_dir) == [2, 4, 6]
    shutil.rmtree(run_dir / "checkpoints" / "6")
    assert "step 6: DAMAGED: its folder is missing" in script("verify", run_dir, code=1)


@pytest.mark.slow
def test_a_run_without_steps_says_so(three, tmp_path):
    shutil.copy(three / "config.json", tmp_path)
    assert "no checkpoint yet" in script("verify", tmp_path, code=1)
    asked = ("export", tmp_path, f"--output={tmp_path / 'weights'}")
    assert f"{tmp_path} has no checkpoint; its steps are []" in script(*asked, code=2)
    shutil.copytree(three / "checkpoints" / "2", tmp_path / "checkpoints" / "2")
    assert "verify says what is wrong with [2]" in script(*asked, code=2)


def test_prune_never_deletes_the_last_good_step(three, tmp_path):
    run_dir = tmp_path / "run"
    shutil.copytree(three, run_dir)
    (run_dir / "checkpoints" / "6" / "_CHECKPOINT_METADATA").write_bytes(b"{")
    asked = ("prune", run_dir, "--keep_last=1", "--best_metric=")
    said = script(*asked, "--dry_run")
    assert "step 6: DAMAGED" in said and "would delete [2], would keep [4, 6]" in said
    assert run_folder.steps_in(run_dir) == [2, 4, 6]
    assert "deleted [2], kept [4, 6]" in script(*asked)
    assert run_folder.steps_in(run_dir) == [4, 6] and run_folder.damage(run_dir, 4) == ""


@pytest.mark.slow
def test_prune(three, tmp_path):
    run_dir = tmp_path / "run"
    shutil.copytree(three, run_dir)
    assert script("prune", run_dir).endswith("deleted [], kept [2, 4, 6]\n")
    asked = ("prune", run_dir, "--keep_last=1", "--best_mode=max")
    assert "would delete [2], would keep [4, 6]" in script(*asked, "--dry_run")
    assert run_folder.steps_in(run_dir) == [2, 4, 6]
    script(*asked)
    assert run_folder.steps_in(run_dir) == run_folder.committed_steps(run_dir) == [4, 6]


@pytest.mark.slow
def test_export(three, tmp_path, tiny_model):
    (three / "tokenizer").mkdir(exist_ok=True)
    (three / "tokenizer" / "vocab.json").write_text("{}")
    output = tmp_path / "weights"
    said = script("export", three, "--step=best", f"--output={output}")
    assert "step 2 of" in said and "--to_hf" in said
    model, params = load_model(output)
    assert model == tiny_model and (output / "tokenizer" / "vocab.json").exists()
    np.testing.assert_array_equal(params["w"], state(2)[0]["w"])
    assert run_folder.read_config(output)["source_dtype"] == "float16"
    assert not list((output / "checkpoints" / "0").glob("optimizer"))
    assert "exists already" in script("export", three, f"--output={output}", code=2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("list",), "give one of list, verify, prune, export, and a run's folder"),
        (("list", "tests"), "not a run's folder"),
        (("verify", "RUN", "--step=5"), "has the steps [2, 4, 6]"),
        (("export", "RUN"), "--output is missing"),
        (("export", "RUN", "--output=/etc/passwd/x"), "nothing can be written there: File exists"),
        (("prune", "RUN", "--step=2"), "--step: is not for prune"),
        (("verify", "RUN", "--dry_run"), "--dry_run: is not for verify"),
    ],
)
def test_mistakes_are_named(arguments, words, three):
    arguments = [str(three) if argument == "RUN" else argument for argument in arguments]
    assert words in script(*arguments, code=2)


def test_a_step_in_the_name_of_a_folder_is_answered_with_the_flag(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"for step 8 of .*/run give --step=8"):
        run_folder.read_config(tmp_path / "run@8")
    with pytest.raises(UserError, match=r"a step is named as .*/run@8$"):
        run_folder.read_config(tmp_path / "run" / "checkpoints" / "8")
