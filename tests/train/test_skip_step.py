"""Steps that do harm are skipped whole; too many in a row stop the run with their documents."""

import json
import re
import shutil
from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest
from run_trace import read_trace, traced

from phi1_jax.config import MeshConfig, SkipStepConfig
from phi1_jax.config_dict import flatten, to_dict
from phi1_jax.errors import AllProcessesError
from phi1_jax.model.sharding import make_mesh
from phi1_jax.tokens import loader
from phi1_jax.tokens.loader import Loader
from phi1_jax.tokens.shards import open_shards, read_index
from phi1_jax.train.loop import train
from phi1_jax.train.skip_step import Measured, decide, new_skip_state, report_skipped
from phi1_jax.train.step import Batch, make_trainer

N_TARGETS = 100


def skipped(source, loss, norm=1.0, window=64, **settings) -> np.ndarray:
    """Which steps are skipped: bool[steps]; counts of the last state.

    Args:
      source: int[steps, rows].
      loss: float[steps, rows], nats per target of each row.
      norm: float[steps] or 1, times the gradient norm that independent errors would have.
    """
    n_sources = int(source.max()) + 1
    config = SkipStepConfig(window=window, **settings)
    mine = source[..., None] == np.arange(n_sources)
    errors = N_TARGETS * (1 - np.exp(-loss))
    total = N_TARGETS * loss.shape[1]
    squares = np.sum(errors**2 / N_TARGETS, 1)
    error = np.sqrt(errors.sum(1) * np.sqrt(squares)) / total
    noise = np.random.default_rng(5).lognormal(0, 0.3, len(loss))
    steps = Measured(
        nll=np.sum(mine * loss[..., None] * N_TARGETS, 1, dtype=np.float32),
        targets=np.sum(mine * N_TARGETS, 1, dtype=np.int32),
        rows=np.sum(mine, 1, dtype=np.int32),
        error=error.astype(np.float32),
        gradient_norm=(8 * np.sqrt(squares) / total * noise * norm).astype(np.float32),
    )
    return np.asarray(skipped_steps(config, n_sources, steps))


@partial(jax.jit, static_argnums=(0, 1))
def skipped_steps(config, n_sources, steps):
    def one(state, step):
        keep, state = decide(config, 264, state, step)
        return state, ~keep

    return jax.lax.scan(one, new_skip_state(config, n_sources), steps)[1]


def mixture(rows, share, steps=1000, first=0):
    """An easy source, and one that costs 4 nats more: from step `first` on, `share` of the rows."""
    rng = np.random.default_rng(rows)
    source = (rng.random((steps, rows)) < share) & (np.arange(steps) >= first)[:, None]
    easy = rng.gamma(2.0, 0.03, source.shape)
    return source.astype(int), np.where(source, rng.normal(4.5, 0.5, source.shape), easy)


@pytest.mark.slow
@pytest.mark.parametrize("rows", [1, 2, 16])
@pytest.mark.parametrize(("share", "first"), [(0.3, 0), (0.1, 0), (0.01, 0), (0.1, 700)])
def test_a_source_of_any_share_is_no_spike(rows, share, first):
    assert not skipped(*mixture(rows, share, first=first)).any()


@pytest.mark.slow
@pytest.mark.parametrize("rows", [1, 2, 4, 16])
def test_hard_documents_within_a_source_are_no_spikes(rows):
    source, loss = mixture(rows, 0.1)
    assert not skipped(0 * source, loss).any()
    # One that never occurred may be skipped; then it is known.
    source, loss = mixture(rows, 0.01)
    assert skipped(0 * source, loss).sum() <= 1


@pytest.mark.slow
@pytest.mark.parametrize("rows", [1, 16])
@pytest.mark.parametrize("share", [0.0, 0.1])
def test_spikes_are_skipped_and_nothing_else(rows, share):
    source, loss = mixture(rows, share)
    at = np.zeros(1000, bool)
    at[[700, 750, 751, 752, 990]] = True
    # All rows cost more than any document has before: a loss spike.
    np.testing.assert_array_equal(skipped(source, np.where(at[:, None], loss + 12, loss)), at)
    # The same loss as ever, and a gradient out of all proportion.
    np.testing.assert_array_equal(skipped(source, loss, np.where(at, 300.0, 1.0)), at)
    assert not skipped(source, loss + 12 * at[:, None], loss_rise=0.0)[at].all()
    harmless = skipped(source, loss, np.where(at, 300.0, 1.0), gradient_norm_factor=0.0)
    assert not harmless.any()


def test_a_smaller_rise_of_all_rows_is_a_spike_too():
    source, loss = mixture(16, 0.0)
    at = np.arange(1000) >= 990
    np.testing.assert_array_equal(skipped(source, np.where(at[:, None], loss + 3, loss)), at)


@pytest.mark.slow
def test_what_is_not_finite_is_skipped_from_the_first_step_on():
    source, loss = mixture(4, 0.1, steps=6)
    loss[2, 1], norm = np.nan, np.array([1, 1, 1, np.inf, 1, 1])
    assert np.flatnonzero(skipped(source, loss, norm)).tolist() == [2, 3]


@pytest.mark.slow
def test_a_step_without_a_target_changes_nothing(run_config):
    trainer = make_trainer(run_config, make_mesh(MeshConfig()))
    state = trainer.init()
    tokens = np.random.default_rng(0).integers(0, 257, (1, 16, 33), dtype=np.int32)
    source = np.zeros((1, 16), np.int32)
    state, _ = trainer.step(state, Batch(tokens, np.ones((1, 16, 32), bool), source))
    before = jax.device_get(state)
    state, metrics = trainer.step(state, Batch(tokens, np.zeros((1, 16, 32), bool), source))
    assert bool(metrics["empty"]) and not bool(metrics["skipped"])
    after = jax.device_get(state)
    jax.tree.map(np.testing.assert_array_equal, before[1:], after[1:])


SKIP = SkipStepConfig(window=4, gradient_norm_factor=3.0, loss_rise=1.0)


@pytest.mark.slow
@pytest.mark.parametrize("harm", ["not finite", "spike", "gradient spike"])
def test_a_skipped_step_touches_neither_weights_nor_optimizer(run_config, harm):
    window = replace(SKIP, window=2)
    trainer = make_trainer(replace(run_config, skip_step=window), make_mesh(MeshConfig()))
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 257, (1, 16, 33), dtype=np.int32)
    batch = Batch(tokens, np.ones((1, 16, 32), bool), tokens[..., 0] % 2)
    state = trainer.init()
    for _ in range(3):
        state, metrics = trainer.step(state, batch)
        assert not bool(metrics["skipped"])
    broken = jax.tree.map(np.array, jax.device_get(state.params))
    if harm == "gradient spike":  # the same function, much steeper
        broken["head"]["kernel"] *= 1000.0
        broken["final_norm"] = jax.tree.map(lambda x: x / 1000.0, broken["final_norm"])
    else:  # a NaN anywhere; or confident wrong answers, which cost many nats
        broken["head"]["bias"][3] += np.nan if harm == "not finite" else 100.0
    state = jax.device_put(state._replace(params=broken), trainer.shardings)
    before = jax.device_get(state)
    after, metrics = trainer.step(state, batch)
    after = jax.device_get(after)
    assert bool(metrics["skipped"]) and int(metrics["skipped_in_a_row"]) == 1
    assert np.isfinite(metrics["loss"]) == (harm != "not finite")
    assert metrics["skipped_rows"].tolist() == np.bincount(tokens[0, :, 0] % 2).tolist()
    assert int(after.step) == int(before.step) + 1
    for name in ("params", "optimizer"):
        jax.tree.map(np.testing.assert_array_equal, getattr(before, name), getattr(after, name))
    np.testing.assert_array_equal(before.skip.losses, after.skip.losses)


@pytest.mark.slow
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


def test_the_message_names_fields_that_the_config_has(run_config, tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    dropped = {"skipped": True, "skipped_in_a_row": 2, "loss": np.nan, "gradient_norm": np.nan}
    with pytest.raises(AllProcessesError) as error:
        report_skipped([dropped], 5, 2, None, tmp_path)
    advice = str(error.value).partition("Look at these")[2]
    named = set(re.findall(r"\b[a-z]\w*\.\w+", advice))
    assert {"skip_step.gradient_norm_factor", "skip_step.loss_rise"} < named
    assert named <= flatten(to_dict(run_config)).keys()


@pytest.mark.slow
def test_a_resumed_run_decides_alike(run_config, tmp_path):
    """The hash of the last state covers all that steps are compared with."""
    wild = replace(run_config.optimizer, peak_learning_rate=0.3)
    tight = SkipStepConfig(window=2, gradient_norm_factor=0.0, loss_rise=1e-3)
    config = replace(run_config, optimizer=wild, skip_step=tight)
    run = tmp_path / "run"
    traced(config, run)
    whole = read_trace(run)
    shutil.rmtree(run / "checkpoints" / "12")
    (run / "commits" / "12.json").unlink()
    assert traced(config, run)["start_step"] == 8
    assert read_trace(run)[len(whole) + 1 :] == [row for row in whole if row["step"] > 8]
