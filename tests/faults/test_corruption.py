"""The newest checkpoint of a real run, damaged in every way: found, put aside, done without."""

import random
import shutil
from contextlib import closing
from functools import cache

import pytest
from fault_runs import copy, files_of, finish, flip_a_bit, log, steps_taken

from phi1_jax.model.sharding import make_mesh
from phi1_jax.run import folder as run_folder
from phi1_jax.run.checkpoint import Checkpointer
from phi1_jax.train.loop import train
from phi1_jax.train.resume import start
from phi1_jax.train.step import make_trainer
from phi1_jax.train.trace import read_trace, state_hash

pytestmark = pytest.mark.faults

NEWEST, BEFORE = 12, 8
BITS = 40


@pytest.fixture(scope="module")
def base(run_config, tmp_path_factory):
    """Steps 8 and 12, both sealed."""
    run = tmp_path_factory.mktemp("base") / "run"
    train(run_config, run, trace=True)
    assert run_folder.sealed_steps(run) == [BEFORE, NEWEST]
    return run


@pytest.fixture(scope="module")
def state_before(run_config, base, tmp_path_factory):
    """What `restore` gives when the newest step is simply not there."""
    run = copy(base, tmp_path_factory.mktemp("before") / "run")
    shutil.rmtree(run_folder.step_folder(run, NEWEST))
    (run / "sealed" / f"{NEWEST}.json").unlink()
    return restored(run_config, run)


def restored(config, run):
    """The step that a run would go on from, the hash of its state, and its place in the data."""
    trainer = trainer_of(config)
    with closing(Checkpointer(run, config.checkpoint)) as checkpointer:
        step, state, position = start(config, trainer, checkpointer, tokenizer="")
    return step, state_hash(state), position


@cache
def trainer_of(config):
    return make_trainer(config, make_mesh(config.mesh))


def largest(run):
    return max(files_of(run, NEWEST), key=lambda p: p.stat().st_size)


def named(run, part):
    return next(p for p in files_of(run, NEWEST) if part in str(p.relative_to(run)))


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


def other_step(run, part):
    """A file of the step before in place of the newest one's."""
    ours = named(run, part)
    theirs = run_folder.step_folder(run, BEFORE) / ours.relative_to(
        run_folder.step_folder(run, NEWEST)
    )
    if not theirs.exists():  # Orbax's names of data files are random
        theirs = max(files_of(run, BEFORE), key=lambda p: p.stat().st_size)
    assert ours.read_bytes() != theirs.read_bytes()
    shutil.copy(theirs, ours)


def folder(run):
    return run_folder.step_folder(run, NEWEST)


def seal_file(run):
    return run / "sealed" / f"{NEWEST}.json"


MUTATIONS = {
    "largest file deleted": lambda run: largest(run).unlink(),
    "largest file cut by one byte": lambda run: write(largest(run), largest(run).read_bytes()[:-1]),
    "largest file cut by half": lambda run: write(
        largest(run), largest(run).read_bytes()[: largest(run).stat().st_size // 2]
    ),
    "largest file emptied": lambda run: write(largest(run), b""),
    "largest file zeroed": lambda run: zero(largest(run), 0, None),
    "a page zeroed": lambda run: zero(largest(run), 4096, 8192),
    "the last 16 bytes zeroed": lambda run: zero(largest(run), -16, None),
    "a byte appended": lambda run: write(largest(run), largest(run).read_bytes() + b"\0"),
    "largest file doubled": lambda run: write(largest(run), largest(run).read_bytes() * 2),
    "bytes reversed": lambda run: write(largest(run), largest(run).read_bytes()[::-1]),
    "a new file": lambda run: write(folder(run) / "new", b"x"),
    "two files swapped": lambda run: swap(named(run, "params/"), named(run, "optimizer/")),
    "a file replaced by a folder": lambda run: to_folder(largest(run)),
    "data of the step before": lambda run: other_step(run, "/d/"),
    "position of the step before": lambda run: other_step(run, "position/"),
    "position deleted": lambda run: shutil.rmtree(folder(run) / "position"),
    "params deleted": lambda run: shutil.rmtree(folder(run) / "params"),
    "params emptied": lambda run: empty(folder(run) / "params"),
    "optimizer deleted": lambda run: shutil.rmtree(folder(run) / "optimizer"),
    "the step emptied": lambda run: empty(folder(run)),
    "the step deleted": lambda run: shutil.rmtree(folder(run)),
    "the step's metadata deleted": lambda run: named(run, "_CHECKPOINT_METADATA").unlink(),
    "no seal": lambda run: seal_file(run).unlink(),
    "the seal is not JSON": lambda run: write(seal_file(run), seal_file(run).read_bytes()[:-9]),
    "the seal lists nothing": lambda run: write(seal_file(run), b"{}"),
    "the seal of the step before": lambda run: shutil.copy(
        run / "sealed" / f"{BEFORE}.json", seal_file(run)
    ),
}


def assert_found_and_survived(config, run, state_before):
    left = {p.relative_to(folder(run)): p.read_bytes() for p in files_of(run, NEWEST)}
    assert run_folder.damage(run, NEWEST)
    assert restored(config, run) == state_before
    assert run_folder.steps_in(run) == [BEFORE]
    aside = run / "quarantine" / str(NEWEST)
    assert {name: (aside / name).read_bytes() for name in left} == left, "put aside as it was"


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutation_is_found_and_the_step_before_restored(
    name, run_config, base, state_before, tmp_path
):
    run = copy(base, tmp_path / "run")
    MUTATIONS[name](run)
    assert_found_and_survived(run_config, run, state_before)


@pytest.mark.parametrize("number", range(BITS))
def test_a_flipped_bit_is_found_and_the_step_before_restored(
    number, run_config, base, state_before, tmp_path
):
    """One bit of each file in turn, the seal included; then more of the data."""
    run = copy(base, tmp_path / "run")
    rng = random.Random(number)
    files = [*files_of(run, NEWEST), seal_file(run)]
    data = [p for p in files if p.stat().st_size > 4096] or files
    flip_a_bit(files[number] if number < len(files) else rng.choice(data), rng)
    assert_found_and_survived(run_config, run, state_before)


def test_an_untouched_step_is_not_put_aside(run_config, base, tmp_path):
    run = copy(base, tmp_path / "run")
    assert restored(run_config, run)[0] == NEWEST
    assert not (run / "quarantine").exists()


@pytest.mark.parametrize("name", ["a flipped bit", "largest file cut by half"])
def test_the_script_says_so_and_goes_on_to_the_same_bits(name, run_config, base, tmp_path):
    run = copy(base, tmp_path / "run")
    if name in MUTATIONS:
        MUTATIONS[name](run)
    else:
        flip_a_bit(largest(run), random.Random(0))
    finish(run_config, run)
    assert "checkpoint 12 is damaged" in log(run) and "moved to" in log(run)
    assert [line["step"] for line in steps_taken(run)] == [9, 10, 11, 12]
    expected = {line["step"]: line for line in steps_taken(base)}
    assert steps_taken(run) == [expected[step] for step in (9, 10, 11, 12)]
    assert read_trace(run)[-1] == read_trace(base)[-1]
