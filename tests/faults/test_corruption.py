"""The newest checkpoint of a real run, damaged in every way: found, put aside, done without."""

import random
import shutil
from contextlib import closing
from functools import cache

import pytest
from fault_runs import copy, files_of, finish, flip_a_bit, log, steps_taken
from run_trace import read_trace, state_hash, traced

from phi1_jax.model.sharding import make_mesh
from phi1_jax.run import folder as run_folder
from phi1_jax.run.checkpoint import Checkpointer
from phi1_jax.train.resume import start
from phi1_jax.train.step import make_trainer

pytestmark = pytest.mark.faults
IDENTITY = {"data.sources": ["code", "exercises"]}

NEWEST, BEFORE = 12, 8
BITS = 40


@pytest.fixture(scope="module")
def base(run_config, tmp_path_factory):
    """Steps 8 and 12, both committed."""
    run_dir = tmp_path_factory.mktemp("base") / "run"
    traced(run_config, run_dir)
    assert run_folder.committed_steps(run_dir) == [BEFORE, NEWEST]
    return run_dir


@pytest.fixture(scope="module")
def state_before(run_config, base, tmp_path_factory):
    """What `restore` gives when the newest step is simply not there."""
    run_dir = copy(base, tmp_path_factory.mktemp("before") / "run")
    shutil.rmtree(run_folder.step_folder(run_dir, NEWEST))
    (run_dir / "commits" / f"{NEWEST}.json").unlink()
    return restored(run_config, run_dir)


def restored(config, run_dir):
    """The step that a run would go on from, the hash of its state, and its place in the data."""
    trainer = trainer_of(config)
    with closing(Checkpointer(run_dir, config.checkpoint)) as checkpointer:
        step, state, position = start(config, trainer, checkpointer, IDENTITY)
    return step, state_hash(state), position


@cache
def trainer_of(config):
    return make_trainer(config, make_mesh(config.mesh))


def largest(run_dir):
    return max(files_of(run_dir, NEWEST), key=lambda p: p.stat().st_size)


def named(run_dir, part):
    return next(p for p in files_of(run_dir, NEWEST) if part in str(p.relative_to(run_dir)))


def write(path, data):
    path.write_bytes(data)


def swap(first, second):
    one, two = first.read_bytes(), second.read_bytes()
    assert one != two
    first.write_bytes(two)
    second.write_bytes(one)


def zero(path, start, stop):
    data = bytearray(path.read_bytes())
    assert any(data[start:stop])
    data[start:stop] = bytes(len(data[start:stop]))
    path.write_bytes(bytes(data))


def empty(folder):
    shutil.rmtree(folder)
    folder.mkdir()


def to_folder(path):
    path.unlink()
    path.mkdir()


def other_step(run_dir, part):
    """A file of the step before in place of the newest one's."""
    ours = named(run_dir, part)
    theirs = run_folder.step_folder(run_dir, BEFORE) / ours.relative_to(
        run_folder.step_folder(run_dir, NEWEST)
    )
    if not theirs.exists():  # Orbax's names of data files are random
        theirs = max(files_of(run_dir, BEFORE), key=lambda p: p.stat().st_size)
    assert ours.read_bytes() != theirs.read_bytes()
    shutil.copy(theirs, ours)


def folder(run_dir):
    return run_folder.step_folder(run_dir, NEWEST)


def commit_file(run_dir):
    return run_dir / "commits" / f"{NEWEST}.json"


MUTATIONS = {
    "largest file deleted": lambda run_dir: largest(run_dir).unlink(),
    "largest file cut by one byte": lambda run_dir: write(
        largest(run_dir), largest(run_dir).read_bytes()[:-1]
    ),
    "largest file cut by half": lambda run_dir: write(
        largest(run_dir), largest(run_dir).read_bytes()[: largest(run_dir).stat().st_size // 2]
    ),
    "largest file emptied": lambda run_dir: write(largest(run_dir), b""),
    "largest file zeroed": lambda run_dir: zero(largest(run_dir), 0, None),
    "a page zeroed": lambda run_dir: zero(largest(run_dir), 4096, 8192),
    "the last 16 bytes zeroed": lambda run_dir: zero(largest(run_dir), -16, None),
    "a byte appended": lambda run_dir: write(
        largest(run_dir), largest(run_dir).read_bytes() + b"\0"
    ),
    "largest file doubled": lambda run_dir: write(
        largest(run_dir), largest(run_dir).read_bytes() * 2
    ),
    "bytes reversed": lambda run_dir: write(largest(run_dir), largest(run_dir).read_bytes()[::-1]),
    "a new file": lambda run_dir: write(folder(run_dir) / "new", b"x"),
    "two files swapped": lambda run_dir: swap(
        named(run_dir, "params/"), named(run_dir, "optimizer/")
    ),
    "a file replaced by a folder": lambda run_dir: to_folder(largest(run_dir)),
    "data of the step before": lambda run_dir: other_step(run_dir, "/0.0"),
    "position of the step before": lambda run_dir: other_step(run_dir, "position/"),
    "position deleted": lambda run_dir: shutil.rmtree(folder(run_dir) / "position"),
    "params deleted": lambda run_dir: shutil.rmtree(folder(run_dir) / "params"),
    "params emptied": lambda run_dir: empty(folder(run_dir) / "params"),
    "optimizer deleted": lambda run_dir: shutil.rmtree(folder(run_dir) / "optimizer"),
    "the step emptied": lambda run_dir: empty(folder(run_dir)),
    "the step deleted": lambda run_dir: shutil.rmtree(folder(run_dir)),
    "the step's metadata deleted": lambda run_dir: named(run_dir, "_CHECKPOINT_METADATA").unlink(),
    "no commit": lambda run_dir: commit_file(run_dir).unlink(),
    "the commit is not JSON": lambda run_dir: write(
        commit_file(run_dir), commit_file(run_dir).read_bytes()[:-9]
    ),
    "the commit lists nothing": lambda run_dir: write(commit_file(run_dir), b"{}"),
    "the commit of the step before": lambda run_dir: shutil.copy(
        run_dir / "commits" / f"{BEFORE}.json", commit_file(run_dir)
    ),
}


def assert_found_and_survived(config, run_dir, state_before):
    left = {p.relative_to(folder(run_dir)): p.read_bytes() for p in files_of(run_dir, NEWEST)}
    assert run_folder.damage(run_dir, NEWEST)
    assert restored(config, run_dir) == state_before
    assert run_folder.steps_in(run_dir) == [BEFORE]
    aside = run_dir / "checkpoints" / "quarantine" / str(NEWEST)
    assert {name: (aside / name).read_bytes() for name in left} == left, "put aside as it was"


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutation_is_found_and_the_step_before_restored(
    name, run_config, base, state_before, tmp_path
):
    run_dir = copy(base, tmp_path / "run")
    MUTATIONS[name](run_dir)
    assert_found_and_survived(run_config, run_dir, state_before)


@pytest.mark.parametrize("number", range(BITS))
def test_a_flipped_bit_is_found_and_the_step_before_restored(
    number, run_config, base, state_before, tmp_path
):
    """One bit of each file in turn, the commit included; then more of the data."""
    run_dir = copy(base, tmp_path / "run")
    rng = random.Random(number)
    files = [*files_of(run_dir, NEWEST), commit_file(run_dir)]
    data = [p for p in files if p.stat().st_size > 4096] or files
    flip_a_bit(files[number] if number < len(files) else rng.choice(data), rng)
    assert_found_and_survived(run_config, run_dir, state_before)


def test_an_untouched_step_is_not_put_aside(run_config, base, tmp_path):
    run_dir = copy(base, tmp_path / "run")
    assert restored(run_config, run_dir)[0] == NEWEST
    assert not (run_dir / "checkpoints" / "quarantine").exists()


@pytest.mark.parametrize("name", ["a flipped bit", "largest file cut by half"])
def test_the_script_says_so_and_goes_on_to_the_same_bits(name, run_config, base, tmp_path):
    run_dir = copy(base, tmp_path / "run")
    if name in MUTATIONS:
        MUTATIONS[name](run_dir)
    else:
        flip_a_bit(largest(run_dir), random.Random(0))
    finish(run_config, run_dir)
    assert "checkpoint 12 is damaged" in log(run_dir) and "moved to" in log(run_dir)
    assert [line["step"] for line in steps_taken(run_dir)] == [9, 10, 11, 12]
    expected = {line["step"]: line for line in steps_taken(base)}
    assert steps_taken(run_dir) == [expected[step] for step in (9, 10, 11, 12)]
    assert read_trace(run_dir)[-1] == read_trace(base)[-1]
