import dataclasses
import importlib

import pytest
from conftest import REPOSITORY
from ml_collections import ConfigDict

from phi1_jax.config import ModelConfig, RunConfig
from phi1_jax.config_dict import from_dict, load_config, to_dict
from phi1_jax.errors import UserError
from phi1_jax.model.phi import count_params

CONFIGS = sorted(
    path.stem for path in (REPOSITORY / "configs").glob("*.py") if path.stem != "__init__"
)


@pytest.fixture(autouse=True)
def repository_on_path(monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY))


def load(name: str) -> RunConfig:
    values = importlib.import_module(f"configs.{name}").get_config().to_dict()
    return from_dict(RunConfig, values)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_config_file_sets_every_field(name):
    values = importlib.import_module(f"configs.{name}").get_config().to_dict()
    expected = to_dict(RunConfig())

    def keys(tree, prefix=""):
        for key, value in tree.items():
            yield prefix + key
            if isinstance(value, dict):
                yield from keys(value, f"{prefix}{key}.")

    assert set(keys(values)) == set(keys(expected))


@pytest.mark.parametrize(
    ("name", "params"),
    [("phi1_base", 1_418_270_720), ("phi1", 1_418_270_720), ("phi1_small_base", 356_794_368)],
)
def test_the_papers_models_have_the_released_number_of_parameters(name, params):
    assert count_params(load(name).model) == params


def test_the_papers_recipe():
    base, finetune = load("phi1_base"), load("phi1")
    assert (base.data.global_batch_size, base.data.seq_len, base.steps) == (1024, 2048, 36_000)
    assert base.checkpoint.keep_steps == (24_000,)
    assert (base.optimizer.peak_learning_rate, base.optimizer.warmup_steps) == (1e-3, 750)
    assert base.optimizer.weight_decay == 0.1
    assert base.model.attention_dropout == base.model.residual_dropout == 0.1
    assert (finetune.data.global_batch_size, finetune.steps) == (256, 6_000)
    assert (finetune.optimizer.peak_learning_rate, finetune.optimizer.warmup_steps) == (1e-4, 50)
    assert finetune.optimizer.weight_decay == 0.01
    assert base.optimizer.name == finetune.optimizer.name == "adamw"
    # Finetuning starts from the step that the paper calls phi-1-base, and keeps every 1,000th.
    assert finetune.init_from == "runs/phi1_base@24000"
    assert finetune.checkpoint.keep_every_steps == finetune.eval_every_steps == 1000
    assert 1000 % finetune.checkpoint.every_steps == 0 and 24_000 % base.checkpoint.every_steps == 0
    assert finetune.checkpoint.best_metric


def test_the_small_recipe_has_the_small_model_in_both_stages():
    base, finetune = load("phi1_small_base"), load("phi1_small")
    assert base.model == finetune.model and count_params(finetune.model) == 356_794_368
    assert base.optimizer == load("phi1_base").optimizer
    assert finetune.optimizer == load("phi1").optimizer and finetune.data == load("phi1").data
    assert finetune.init_from == "runs/phi1_small_base@24000"


@pytest.mark.parametrize("name", CONFIGS)
def test_every_config_says_how_to_run_it(name):
    text = importlib.import_module(f"configs.{name}").__doc__
    for part in ("Command:  ", "Hardware: ", "Expected: "):
        assert part in text
    assert name in ("phi1_tiny", "bench_cpu") or "Time:     " in text


def test_round_trip_through_plain_values():
    config = load("phi1_tiny")
    assert from_dict(RunConfig, to_dict(config)) == config


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": {"n_heads": 3}}, "model.d_model=2048 must be a multiple of model.n_heads=3"),
        ({"model": {"rotary_dim": 33}}, "model.rotary_dim=33"),
        (
            {"model": {"residual_dropout": 1.0}},
            "config field model.residual_dropout=1.0 must be at least 0 and below 1",
        ),
        ({"model": {"n_layers": 0}}, "config field model.n_layers=0 must be at least 1"),
        ({"optimizer": {"eps": 0.0}}, "optimizer.eps=0.0 must be above 0 and finite"),
        ({"optimizer": {"weight_decay": float("inf")}}, "optimizer.weight_decay=inf must be"),
        ({"optimizer": {"clip_norm": float("nan")}}, "optimizer.clip_norm=nan must be above 0"),
        ({"data": {"max_rows_without_target": 1.5}}, "target=1.5 must be at least 0 and at most 1"),
        (
            {"data": {"sources": [{"name": "a", "path": "p", "epochs": -1.0}]}},
            "config field data.sources 'a' epochs=-1.0 must be at least 0 and finite",
        ),
        (  # two of them would have no sum
            {"data": {"sources": [{"name": "a", "path": "p", "weight": 1e308}]}},
            "config field data.sources 'a' weight=1e+308 must be above 0 and at most 1e+100",
        ),
        ({"skip_step": {"window": 0}}, "config field skip_step.window=0 must be at least 1"),
        ({"checkpoint": {"keep_last": 0}}, "config field checkpoint.keep_last=0 must be at least"),
        ({"seed": 1 << 32}, "config field seed=4294967296 must be at least 0 and below 4,294,967"),
        ({"model": {"attention": "sdpa"}}, "model.attention='sdpa' must be one of"),
        ({"model": {"attention": "cudnn"}}, "cudnn has no dropout"),
        ({"model": {"layers": 3}}, "model.layers does not exist"),
        ({"steps": "many"}, "steps='many' must be of type int"),
        ({"steps": True}, "steps=True must be of type int"),
        ({"optimizer": 3}, "optimizer=3 must be a group"),
        ({"optimizer": {"name": "sgd"}}, "optimizer.name='sgd' must be one of adamw, muon"),
        (
            {
                "eval_every_steps": 1000,
                "checkpoint": {"best_metric": "validation/loss", "every_steps": 1500},
            },
            "checkpoint.every_steps=1500 must be a multiple or a divisor of eval_every_steps=1000",
        ),
        (
            {"checkpoint": {"best_metric": "train/loss"}, "log_every_steps": 300},
            "checkpoint.every_steps=1000 must be a multiple or a divisor of log_every_steps=300",
        ),
        (
            {"checkpoint": {"best_metric": "humaneval/pass@1"}, "eval_every_steps": 1000},
            "checkpoint.best_mode='' must be min or max",
        ),
        ({"steps": 10}, "optimizer.warmup_steps=750 must be at most steps=10"),
        ({"data": {"seq_len": 4096}}, "data.seq_len=4096 must be at most model.max_seq_len=2048"),
        ({"data": {"sources": [{"name": "a"}]}}, "data.sources[0]"),
        ({"mesh": {"data": -1, "fsdp": -1}}, "mesh="),
    ],
)
def test_a_bad_field_is_named(change, words):
    with pytest.raises(UserError) as error:
        from_dict(RunConfig, change)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_group_of_changes_leaves_the_other_fields():
    nested = load_config("phi1_tiny", {"optimizer": {"name": "adamw"}, "steps": 30})
    assert nested == load_config("phi1_tiny", {"optimizer.name": "adamw", "steps": 30})


def test_groups_may_be_config_dicts():
    source = {"name": "a", "path": "x"}
    config = from_dict(RunConfig, {"data": {"sources": [ConfigDict(source)]}})
    assert config == from_dict(RunConfig, {"data": {"sources": [source]}})


def test_a_change_below_a_value_is_named():
    with pytest.raises(UserError, match=r"config field steps\.x: steps is a value"):
        load_config("phi1_tiny", {"steps.x": 20})


def test_configs_are_immutable():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ModelConfig().d_model = 3  # type: ignore[misc]
