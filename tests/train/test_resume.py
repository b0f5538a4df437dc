"""What a run may go on with: the same content, or a change that was allowed by name."""

import json
import shutil
from dataclasses import replace

import jax
import numpy as np
import pytest
from run_trace import read_trace, traced

from phi1_jax import load_model
from phi1_jax.errors import UserError
from phi1_jax.interop.huggingface import write_folder
from phi1_jax.tokens.load import load_tokenizer
from phi1_jax.tokens.loader import Loader
from phi1_jax.tokens.sentencepiece_bpe import train_tokenizer
from phi1_jax.train.loop import train
from phi1_jax.train.resume import record_start

pytestmark = pytest.mark.slow  # what all share takes seconds


@pytest.fixture(scope="module")
def config(run_config):
    return replace(run_config, steps=4)


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "base"
    traced(config, run)
    return run


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


def test_every_change_is_refused_by_name(config, run, shards):
    code, exercises = config.data.sources
    changes = {
        "seed": replace(config, seed=1),
        "steps": replace(config, steps=8),
        "optimizer.weight_decay": replace(
            config, optimizer=replace(config.optimizer, weight_decay=0.2)
        ),
        "model.attention_dropout": replace(
            config, model=replace(config.model, attention_dropout=0.1)
        ),
        "data.global_batch_size": replace(config, data=replace(config.data, global_batch_size=8)),
        "data.loss_on": replace(config, data=replace(config.data, loss_on="solutions")),
        "data.sources": with_sources(config, exercises, code),
        "data.sources.code.share": with_sources(config, replace(code, weight=3.0), exercises),
        "data.sources.code.shards": with_sources(
            config, replace(code, path=str(shards["exercises"])), exercises
        ),
        "data.sources.exercises.share": with_sources(config, code),
        "init_from": replace(config, init_from=str(run)),
    }
    before = {name: (run / name).read_bytes() for name in ("config.json", "identity.json")}
    for field, changed in changes.items():
        with pytest.raises(UserError, match="changed since") as error:
            train(changed, run)
        assert f"--allow_change={field}" in str(error.value)
        assert "\n" not in str(error.value)
    assert {name: (run / name).read_bytes() for name in before} == before
    with pytest.raises(UserError, match=r"model\.n_layers=3 differs from 2 .* cannot follow"):
        train(replace(config, model=replace(config.model, n_layers=3)), run, allow_change=["model"])
    with pytest.raises(UserError, match=r"change=stepz: no such field.* did you mean steps\?"):
        train(config, run, allow_change=["stepz"])


def test_a_run_older_than_a_field_goes_on(config, run):
    file = run / "identity.json"
    whole = json.loads(file.read_text())
    file.write_text(json.dumps(whole | {"model.gone": 1}))
    with pytest.raises(UserError, match=r"changed .* model\.gone=None .was 1.*=model\.gone"):
        train(config, run)
    file.write_text(json.dumps({k: v for k, v in whole.items() if k != "model.n_induction_heads"}))
    model = replace(config.model, n_induction_heads=1)
    with pytest.raises(UserError, match=r"model\.n_induction_heads=1 \(was 0\)"):
        train(replace(config, model=model), run)
    assert train(config, run)["step"] == config.steps
    assert json.loads(file.read_text()) == whole


def with_sources(config, *sources):
    return replace(config, data=replace(config.data, sources=sources))


def test_paths_and_speed_may_change(config, run, shards, tmp_path):
    moved = shutil.copytree(shards["code"], tmp_path / "elsewhere")
    code, exercises = config.data.sources
    same = with_sources(config, replace(code, path=str(moved)), exercises)
    same = replace(same, log_every_steps=1, micro_batch_size=2)
    assert train(same, run)["start_step"] == 4
    assert not (run / "changes.jsonl").exists()


def test_steps_are_extended_and_the_change_is_recorded(config, run):
    longer = replace(config, steps=6)
    result = traced(longer, run, allow_change="steps")
    assert (result["start_step"], result["step"], result["finished"]) == (4, 6, True)
    (change,) = map(json.loads, (run / "changes.jsonl").read_text().splitlines())
    assert (change["step"], change["field"], change["old"], change["new"]) == (4, "steps", 4, 6)
    # The state is the one that was saved, and the next examples are new ones.
    rows = read_trace(run)
    (ended, began) = [row for row in rows if row["step"] == 4 and "state" in row]
    assert ended == began
    steps = [row for row in rows if "batch" in row]
    assert [row["step"] for row in steps] == [1, 2, 3, 4, 5, 6]
    assert len({row["batch"] for row in steps}) == 6
    # It is now part of the run: allowed once, not each time.
    assert train(longer, run)["finished"]
    with pytest.raises(UserError, match=r"steps=4 \(was 6\)"):
        train(config, run)


def test_an_extended_run_says_how_the_rate_leaps_and_may_warm_up_anew(config, run, caplog):
    with pytest.raises(UserError, match=r"steps=2: .* has taken 4 steps; give at least as many"):
        train(replace(config, steps=2, log_every_steps=1), run, allow_change=["steps"])
    assert json.loads((run / "result.json").read_text())["step"] == 4
    anew = replace(config.optimizer, schedule_start=4)
    longer = replace(config, steps=8, optimizer=anew, log_every_steps=1)
    train(longer, run, allow_change=["steps", "optimizer"])
    rates = {
        row["step"]: row["train/learning_rate"]
        for row in map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    }
    assert [rates[step] for step in (5, 6, 7, 8)] == pytest.approx([0.005, 0.01, 0.01, 0.005])
    train(replace(longer, steps=30), run, allow_change=["steps"])
    assert "the learning rate goes from 0.005 to 0.0092 at step 9" in caplog.text


def test_changed_data_goes_on_where_each_source_stands(config, run, caplog):
    """Batch size and weights change at step 4, the run is killed at 6 and goes on bit for bit."""
    code, exercises = config.data.sources
    data = replace(config.data, global_batch_size=8, sources=(exercises, replace(code, weight=1.0)))
    changed = replace(config, data=data, steps=8)
    allowed = ["steps", "data"]
    traced(changed, run, allow_change=allowed)
    assert "from step 4 on the sources are mixed anew, exercises after 21 rows" in caplog.text
    rows = [row for row in read_trace(run) if "examples" in row]
    pairs = [
        (("code", "exercises")[s] if row["step"] <= 4 else ("exercises", "code")[s], r)
        for row in rows
        for s, r in row["examples"]
    ]
    assert len(pairs) == len(set(pairs)) == 4 * 16 + 4 * 8
    assert sum(name == "code" for name, _ in pairs[64:]) == 16
    # Again from step 4, whose checkpoint knows the old settings, and from one that knows the new.
    for step in (8,):
        shutil.rmtree(run / "checkpoints" / str(step))
        next(run.glob(f"*/{step}.json")).unlink()
    assert traced(changed, run)["start_step"] == 4
    again = [row for row in read_trace(run) if "examples" in row][8:]
    assert again == rows[4:]


def test_each_source_stands_where_it_stood_after_several_changes(config, run, shards, caplog):
    """Rows get half as long and a source leaves; it comes back, the other has another text."""
    code, exercises = config.data.sources
    other = replace(exercises, path=str(shards["code"]))
    told = []
    for steps, sources in (
        (6, (exercises,)),
        (8, (code, other)),
        (10, (replace(code, weight=1.0), other)),
    ):
        changed = replace(config, steps=steps, data=replace(config.data, seq_len=16))
        changed = with_sources(changed, *sources)
        result = traced(changed, run, allow_change=["steps", "data"])
        words = [r.getMessage() for r in caplog.records if "mixed anew" in r.getMessage()][-1]
        told.append(words.partition("anew, ")[2].partition(";")[0])
    read = [source for row in read_trace(run)[-8:] for source, _ in row.get("examples", ())]
    n_code = read[:32].count(0)
    assert told == [
        "exercises after 42 rows",
        "code after 86 rows, exercises after 0 rows",
        f"code after {86 + n_code} rows, exercises after {32 - n_code} rows",
    ]
    assert result["tokens"] == 4 * 16 * 32 + 6 * 16 * 16


def test_an_extended_run_repeats_no_row_of_a_source_with_epochs(config, tmp_path):
    code, exercises = config.data.sources
    config = with_sources(config, code, replace(exercises, epochs=0.25))
    run = tmp_path / "run"
    traced(config, run)
    traced(replace(config, steps=8), run, allow_change=["steps"])
    pairs = [tuple(pair) for row in read_trace(run) for pair in row.get("examples", ())]
    assert len(set(pairs)) == len(pairs) == 8 * 16
    n_rows = len(Loader(config.data, 0, 8).sources[1].trained)
    assert abs(sum(source for source, _ in pairs) - n_rows / 4) <= 1


def test_finetuning_starts_from_the_weights(config, run, tmp_path):
    finetuning = replace(config, init_from=f"{run}@4", steps=2, seed=7)
    output = tmp_path / "finetuned"
    train(finetuning, output)
    first, base = load_model(output, 0)[1], load_model(run)[1]
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(first), jax.device_get(base))
    # The same weights in another place are the same; other weights are not.
    again = shutil.copytree(run, tmp_path / "copy")
    assert train(replace(finetuning, init_from=str(again)), output)["finished"]
    with pytest.raises(UserError, match=r"--allow_change=init_from$"):
        train(replace(finetuning, init_from=f"{run}@0"), output)
    deeper = replace(finetuning, model=replace(config.model, n_layers=3))
    with pytest.raises(UserError, match=r"n_layers=3.*give --config\.model\.n_layers=2$"):
        train(deeper, tmp_path / "other")


def test_finetuning_starts_from_a_hugging_face_folder(config, run, tmp_path, monkeypatch):
    model, base = load_model(run)
    write_folder(tmp_path / "hf", model, base, {"eos_token_id": 0})
    finetuning = replace(config, init_from=str(tmp_path / "hf"), steps=2)
    with pytest.raises(UserError, match=r"hf has neither tokenizer\.json nor"):
        train(finetuning, tmp_path / "finetuned")
    monkeypatch.setattr("phi1_jax.train.resume._tokenizer_of", lambda folder: None)
    train(finetuning, tmp_path / "finetuned")
    first = load_model(tmp_path / "finetuned", 0)[1]
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(first), jax.device_get(base))
    shutil.rmtree(tmp_path / "hf")  # nobody reads it again
    assert train(finetuning, tmp_path / "finetuned")["start_step"] == 2


@pytest.mark.parametrize("torn", [None, "", '{"seed": 0, "dat', "[3]"])
def test_a_checkpoint_says_what_a_lost_identity_said(config, run, torn, caplog):
    whole = (run / "identity.json").read_text()
    (run / "identity.json").unlink()
    if torn is not None:
        (run / "identity.json").write_text(torn)
    with pytest.raises(UserError, match=r"seed=1 \(was 0\)"):
        train(replace(config, seed=1), run)
    assert train(config, run)["start_step"] == 4
    assert f"is {'missing' if torn is None else 'damaged'}; step 4 says the same" in caplog.text
    assert (run / "identity.json").read_text() == whole


def test_a_run_outlives_the_weights_it_came_from(config, run, tmp_path):
    base = shutil.copytree(run, tmp_path / "base")
    finetuning = replace(config, init_from=f"{base}@4", steps=2, seed=7)
    output = tmp_path / "finetuned"
    train(finetuning, output)
    shutil.rmtree(base / "checkpoints" / "4")
    (base / "commits" / "4.json").unlink()
    longer = replace(finetuning, steps=3)
    assert train(longer, output, allow_change=["steps"])["step"] == 3
    with pytest.raises(UserError, match=rf"init_from=None \(was \w+ \({base}@4\)\)"):
        train(replace(longer, init_from=""), output)
    with pytest.raises(UserError, match="no checkpoint 4"):
        train(finetuning, tmp_path / "another")


def test_the_folder_of_another_run_is_refused_in_a_few_words(config, run):
    code, _ = config.data.sources
    other = replace(with_sources(config, code), init_from=str(run), steps=9)
    with pytest.raises(UserError, match=r"holds another run: of data\.sources") as error:
        train(other, run)
    assert "--allow_change" not in str(error.value)


def test_weights_are_not_trained_on_with_another_tokenizers_ids(config, run, shards, tmp_path):
    manifest = json.loads((shards["code"] / "manifest.json").read_text())
    others = []
    for source in config.data.sources:
        folder = shutil.copytree(source.path, tmp_path / source.name)
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps({**manifest, "tokenizer": "letters"}))
        others.append(replace(source, path=str(folder)))
    with pytest.raises(UserError, match=r"another tokenizer than .*/code; run tokenize_corpus"):
        train(with_sources(config, config.data.sources[0], others[1]), tmp_path / "mixed")
    other = replace(with_sources(config, *others), init_from=str(run))
    with pytest.raises(UserError, match=rf"init_from=.*another tokenizer.*={run}$"):
        train(other, tmp_path / "finetuned")
    turned = replace(config.model, d_mlp=96, rope_theta=500.0)
    all_at_once = r"give --config\.model\.d_mlp=\d+ --config\.model\.rope_theta=10000\.0$"
    with pytest.raises(UserError, match=all_at_once):
        train(replace(config, model=turned, init_from=str(run)), tmp_path / "turned")


def test_the_runs_own_tokenizer_may_be_named(config, run, tmp_path):
    named = tmp_path / "tokenizer"
    train_tokenizer(["def f(x):\n    return x\n"] * 50, 290).save(named)
    identity = json.loads((run / "identity.json").read_text())
    for folder in (named, run / "tokenizer"):
        data = replace(config.data, tokenizer=str(folder))
        record_start(replace(config, data=data), run, 4, identity, {})
        assert load_tokenizer(run / "tokenizer").fingerprint == load_tokenizer(named).fingerprint


def test_tokens_are_counted_as_they_are_read(config, run):
    data = replace(config.data, global_batch_size=8, seq_len=16)
    longer = replace(config, data=data, steps=6)
    allowed = ["steps", "data.global_batch_size", "data.seq_len"]
    assert train(longer, run, allow_change=allowed)["tokens"] == 4 * 16 * 32 + 2 * 8 * 16
    row = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert row["data/tokens_seen"] == row["data/tokens/code"] + row["data/tokens/exercises"]
    assert row["data/tokens_seen"] == 4 * 16 * 32 + 2 * 8 * 16


def test_checkpoints_of_something_else_are_left_alone(config, run):
    (run / "identity.json").unlink()
    shutil.rmtree(run / "checkpoints/0/position")  # as converted weights have none
    shutil.rmtree(run / "checkpoints/4/position")
    with pytest.raises(UserError, match=r"checkpoints but no identity\.json"):
        train(config, run)
