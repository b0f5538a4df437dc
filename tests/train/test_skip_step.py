"""Steps that do harm are skipped whole; too many in a row stop the run with their documents."""

import json
import shutil
from dataclasses import replace

import jax
import numpy as np
import pytest

from phi1_jax.config import MeshConfig, SkipStepConfig
from phi1_jax.errors import AllProcessesError
from phi1_jax.model.sharding import make_mesh
from phi1_jax.tokens import loader
from phi1_jax.tokens.loader import Loader
from phi1_jax.tokens.shards import open_shards, read_index
from phi1_jax.train.loop import train
from phi1_jax.train.skip_step import decide, new_skip_state, report_skipped
from phi1_jax.train.step import Batch, make_trainer
from phi1_jax.train.trace import read_trace

SKIP = SkipStepConfig(window=4, gradient_norm_factor=3.0, loss_rise=1.0)


def decisions(losses, norms, config=SKIP):
    skip, kept = new_skip_state(config), []
    step = jax.jit(lambda skip, loss, norm: decide(config, skip, loss, norm))
    for loss, norm in zip(losses, norms, strict=True):
        keep, skip = step(skip, np.float32(loss), np.float32(norm))
        kept.append(bool(keep))
    return kept, skip


def test_the_rule():
    nan, inf = float("nan"), float("inf")
    # Until four were kept all finite ones pass; then norms up to 3 x 3.95, losses up to 2 + 1.
    losses = [9.0, nan, 2.0, 2.0, 2.0, 2.9, 3.1, 2.0, 2.0, inf, 2.0]
    norms_ = [1.0, 1.0, 2.0, 90., 2.0, 5.9, 2.0, 12., inf, 2.0, 2.0]  # fmt: skip
    kept, skip = decisions(losses, norms_)
    assert kept == [True, False, True, True, True, True, False, False, False, False, True]
    assert (int(skip.kept), int(skip.skipped), int(skip.skipped_in_a_row)) == (6, 5, 0)
    # Each median is over the last four kept steps, so the first two are forgotten.
    assert sorted(skip.losses.tolist()) == pytest.approx([2.0, 2.0, 2.0, 2.9])
    assert sorted(skip.gradient_norms.tolist()) == pytest.approx([2.0, 2.0, 5.9, 90.0])
    free = replace(SKIP, gradient_norm_factor=0.0, loss_rise=0.0)
    assert decisions(losses, norms_, free)[0] == [True, False] + 6 * [True] + [False, False, True]


@pytest.mark.parametrize("harm", ["not finite", "spike"])
def test_a_skipped_step_touches_neither_weights_nor_optimizer(run_config, harm):
    window = replace(SKIP, window=2)
    trainer = make_trainer(replace(run_config, skip_step=window), make_mesh(MeshConfig()))
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 257, (1, 16, 33), dtype=np.int32)
    batch = Batch(tokens, np.ones((1, 16, 32), bool))
    state = trainer.init()
    for _ in range(3):
        state, metrics = trainer.step(state, batch)
        assert not bool(metrics["skipped"])
    broken = jax.tree.map(np.array, jax.device_get(state.params))
    # A NaN anywhere; or confident wrong answers, which cost many nats.
    broken["head"]["bias"][3] += np.nan if harm == "not finite" else 100.0
    state = jax.device_put(state._replace(params=broken), trainer.shardings)
    before = jax.device_get(state)
    after, metrics = trainer.step(state, batch)
    after = jax.device_get(after)
    assert bool(metrics["skipped"]) and int(metrics["skipped_in_a_row"]) == 1
    assert np.isfinite(metrics["loss"]) == (harm == "spike")
    assert int(after.step) == int(before.step) + 1
    for name in ("params", "optimizer"):
        jax.tree.map(np.testing.assert_array_equal, getattr(before, name), getattr(after, name))
    np.testing.assert_array_equal(before.skip.losses, after.skip.losses)


def test_endless_trouble_stops_the_run_with_its_documents(
    run_config, shards, tmp_path, caplog, monkeypatch
):
    indexes = []
    monkeypatch.setattr(loader, "read_index", lambda at: indexes.append(at) or read_index(at))
    run = tmp_path / "nan"
    hot = replace(run_config.optimizer, peak_learning_rate=1e30, clip_norm=1e30)
    config = replace(run_config, optimizer=hot, max_skipped_steps=2, steps=8)
    with pytest.raises(
        AllProcessesError, match=r"2 steps in a row up to step .* were skipped"
    ) as error:
        train(config, run)
    assert indexes == [shards["code"], shards["exercises"]], "once each, however many steps"
    assert "\n" not in str(error.value) and str(run / "stopped.json") in str(error.value)
    assert "skipped: loss nan" in caplog.text
    stopped = json.loads((run / "stopped.json").read_text())
    assert list(stopped["documents"]) == [str(stopped["step"] - 1), str(stopped["step"])]
    # The documents of a batch, found here from its tokens.
    batch = next(Loader(config.data, config.seed).batches(stopped["step"] - 1))
    for number, name in enumerate(("code", "exercises")):
        opened = open_shards(shards[name])
        stream = np.concatenate(opened.tokens)
        expected = set()
        for row in batch["row"][batch["source"] == number]:
            span = range(int(row) * 32, int(row) * 32 + 33)
            np.testing.assert_array_equal(
                batch["tokens"][(batch["source"] == number) & (batch["row"] == row)][0],
                stream[span.start : span.stop],
            )
            for entry in read_index(opened.folder):
                if entry["offset"] < span.stop and span.start < entry["offset"] + entry["tokens"]:
                    expected.add(entry["id"])
        found = stopped["documents"][str(stopped["step"])][name]
        assert sorted(found) == sorted(expected)
        assert f"{name}: {found[0]}" in str(error.value)


def test_processes_beside_the_first_read_no_index(tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    dropped = {"skipped": True, "skipped_in_a_row": 2, "loss": np.nan, "gradient_norm": np.nan}
    with pytest.raises(AllProcessesError, match=r"all of them in .*stopped\.json"):
        report_skipped([dropped], 5, 2, None, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_resumed_run_decides_alike(run_config, tmp_path):
    """At such a rate the loss jumps about, and steps are dropped before and after step 8."""
    wild = replace(run_config.optimizer, peak_learning_rate=0.3)
    tight = SkipStepConfig(window=2, gradient_norm_factor=0.0, loss_rise=1e-3)
    config = replace(run_config, optimizer=wild, skip_step=tight)
    run = tmp_path / "run"
    train(config, run, trace=True)
    whole = read_trace(run)
    dropped = [row["step"] for row in whole if row.get("skipped")]
    assert dropped and min(dropped) <= 8 < max(dropped)
    shutil.rmtree(run / "checkpoints" / "12")
    (run / "commits" / "12.json").unlink()
    assert train(config, run, trace=True)["start_step"] == 8
    assert read_trace(run)[len(whole) + 1 :] == [row for row in whole if row["step"] > 8]
