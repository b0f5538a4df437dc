"""Shards that are missing, cut or altered, and any setting that changed: refused at the start."""

import random
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import grain
import numpy as np
import pytest
from fault_runs import flip_a_bit

from phi1_jax.config import RunConfig
from phi1_jax.config_dict import flatten, from_dict
from phi1_jax.errors import UserError
from phi1_jax.tokens.loader import Loader
from phi1_jax.train.loop import train
from phi1_jax.train.resume import FREE_FIELDS

pytestmark = pytest.mark.faults

DAMAGE = {
    "missing": lambda path: path.unlink(),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "emptied": lambda path: path.write_bytes(b""),
    "a flipped bit": lambda path: flip_a_bit(path, random.Random(1)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_of_the_shards_is_named_before_the_run_begins(
    damage, run_config, shards, tmp_path
):
    for source in run_config.data.sources:
        for name in sorted(path.name for path in Path(source.path).iterdir()):
            folder = shutil.copytree(source.path, tmp_path / source.name, dirs_exist_ok=True)
            DAMAGE[damage](folder / name)
            data = replace(run_config.data, sources=(replace(source, path=str(folder)),))
            with pytest.raises(UserError) as error:
                train(replace(run_config, data=data), tmp_path / "run")
            words = str(error.value)
            named = str(folder / name) in words or (name == "manifest.json" and name in words)
            # A bit of the manifest may change the name or the hash that it holds of another file.
            assert named or (name == "manifest.json" and str(folder) in words), words
            assert not (tmp_path / "run" / "checkpoints").exists()
            shutil.rmtree(folder)


def another(field: str, value):
    """A valid value that differs."""
    special = {
        "data.loss_on": "solutions",
        "data.packing": "documents",
        "data.seq_len": 16,
        "data.global_batch_size": 32,
        "optimizer.name": "muon",
        "optimizer.b1": 0.5,
        "optimizer.b2": 0.5,
        "optimizer.warmup_steps": 3,
        "model.d_model": 64,
        "model.n_heads": 2,
        "model.rotary_dim": 2,
        "model.vocab_size": 280,
        "model.attention_dropout": 0.5,
        "model.residual_dropout": 0.5,
        "model.compute_dtype": "bfloat16",
    }
    if field in special:
        return special[field]
    if isinstance(value, bool):
        return not value
    assert isinstance(value, int | float), f"{field}={value!r}: give another value here"
    return value + 1


def test_every_setting_that_is_learned_from_is_refused_by_name(run_config, tmp_path):
    """All fields there are, but those that change speed or bookkeeping only, and paths."""
    config = replace(run_config, steps=2)
    run_dir = tmp_path / "run"
    train(config, run_dir)
    left_out = (*FREE_FIELDS, "data.sources", "data.tokenizer", "init_from")  # fields and groups
    fields = [
        name
        for name in flatten(asdict(config))
        if not any(f"{name}.".startswith(f"{other}.") for other in left_out)
    ]
    assert len(fields) > 20 and "model.attention_dropout" in fields
    for field in fields:
        values = asdict(config)
        *groups, last = field.split(".")
        group = values
        for name in groups:
            group = group[name]
        group[last] = another(field, group[last])
        with pytest.raises(UserError) as error:
            train(from_dict(RunConfig, values), run_dir)
        assert f"{field}=" in str(error.value), (field, str(error.value))


def test_the_order_is_free_of_threads(run_config, monkeypatch):
    """Loading is threads and a buffer, no worker processes: any number gives the same batches."""
    real = grain.ReadOptions

    def read(threads: int, step: int):
        monkeypatch.setattr(
            grain, "ReadOptions", lambda **how: real(num_threads=threads, prefetch_buffer_size=5)
        )
        batches = Loader(run_config.data, run_config.seed).batches(step)
        return [next(batches) for _ in range(6)]

    expected = Loader(run_config.data, run_config.seed).batches(3)
    expected = [next(expected) for _ in range(6)]
    for threads in (0, 2, 3):
        for ours, theirs in zip(read(threads, 3), expected, strict=True):
            assert ours.keys() == theirs.keys()
            for name in ours:
                np.testing.assert_array_equal(ours[name], theirs[name])
