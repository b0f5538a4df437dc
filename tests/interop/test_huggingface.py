"""Against what torch and transformers computed once (tests_hf/make_fixture.py), without them."""

import dataclasses
import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file

from phi1_jax import load_model
from phi1_jax.config import ModelConfig
from phi1_jax.errors import UserError
from phi1_jax.generate.generator import Generator
from phi1_jax.interop.config_json import config_values, read_config
from phi1_jax.interop.huggingface import _CURRENT, places, read_folder, write_folder
from phi1_jax.model.phi import Phi
from phi1_jax.run.checkpoint import write_model
from phi1_jax.run.folder import read_model_config

FIXTURE = Path(__file__).parents[1] / "fixtures" / "phi"
MODEL = FIXTURE / "model"


@pytest.fixture(scope="module")
def expected():
    values = json.loads((FIXTURE / "expected.json").read_text())
    return {name: np.array(value) for name, value in values.items()}


@pytest.fixture(scope="module")
def read():
    config, params = read_folder(MODEL)
    return dataclasses.replace(config, compute_dtype="float32"), params


@pytest.fixture
def folder(tmp_path):
    """A copy to spoil."""
    return Path(shutil.copytree(MODEL, tmp_path / "copy"))


@pytest.mark.slow
def test_logits_and_gradients(read, expected):
    config, params = read
    graph, _ = nnx.split(nnx.eval_shape(lambda: Phi(config, nnx.Rngs(0))), nnx.Param)
    inputs, targets = expected["tokens"][:, :-1], expected["tokens"][:, 1:]

    def loss(params):
        logits = nnx.merge(graph, params)(inputs)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
        return losses.mean(), logits

    gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))
    (value, logits), gradients = gradient(jax.tree.map(jnp.asarray, params))
    assert np.abs(logits - expected["logits"]).max() < 1e-5
    assert abs(value - expected["loss"]) < 1e-6
    _, theirs = read_folder(FIXTURE / "gradients")
    whole = np.sqrt(sum(np.square(x).sum() for x in jax.tree.leaves(theirs)))
    for ours, want in zip(jax.tree.leaves(gradients), jax.tree.leaves(theirs), strict=True):
        # The keys' bias has no effect, so its gradient is nothing but rounding.
        size = np.linalg.norm(want)
        assert np.linalg.norm(ours - want) < 1e-4 * (size if size > 1e-6 * whole else whole)


@pytest.mark.slow
def test_greedy_generation(read, expected):
    class Numbers:
        vocab_size, eot_id, stop_ids, fingerprint = 60, 0, frozenset({0}), "numbers"

        def encode_batch(self, texts):
            return [list(map(int, text.split())) for text in texts]

        def decode(self, ids):
            return "".join(f"{i} " for i in ids)

    prompts = [" ".join(map(str, row[:4])) for row in expected["tokens"]]
    found = Generator(*read, Numbers()).generate(prompts, max_new_tokens=24)
    assert [c.token_ids for (c,) in found] == expected["greedy"].tolist()


def test_config_both_ways(tmp_path, read):
    config, params = read
    assert config.n_heads == 3 and config.d_head == 8 and config.rotary_dim == 4
    odd = dataclasses.replace(
        config, rotary_dim=6, rope_theta=123.0, attention_dropout=0.2, residual_dropout=0.3
    )
    write_folder(tmp_path, odd, params, {"bos_token_id": 7, "eos_token_id": 7})
    assert dataclasses.replace(read_config(tmp_path), compute_dtype="float32") == odd
    values = json.loads((tmp_path / "config.json").read_text())
    assert values["rope_parameters"]["partial_rotary_factor"] == values["partial_rotary_factor"]
    assert values["eos_token_id"] == values["bos_token_id"] == 7


def test_rotary_dimensions_survive_rounding(tmp_path):
    for d_head in (44, 47, 49, 64):
        for rotary_dim in range(2, d_head + 1, 2):
            config = ModelConfig(8, 1, d_head, 8, 1, rotary_dim=rotary_dim)
            path = tmp_path / "config.json"
            path.write_text(json.dumps(config_values(config)))
            assert read_config(tmp_path).rotary_dim == rotary_dim


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_round_trip_through_a_checkpoint_is_bit_identical(tmp_path, read, dtype):
    config, params = read
    write_folder(tmp_path / "first", config, params, {}, dtype)
    config, params = read_folder(tmp_path / "first")
    write_model(tmp_path / "run", config, params, None)
    again, loaded = load_model(tmp_path / "run")
    assert again == config
    write_folder(tmp_path / "second", again, loaded, {}, dtype, max_file_bytes=9_000)
    first = load_file(tmp_path / "first" / "model.safetensors")
    index = json.loads((tmp_path / "second" / "model.safetensors.index.json").read_text())
    second = {}
    for name in set(index["weight_map"].values()):
        assert (tmp_path / "second" / name).stat().st_size < 20_000
        second |= load_file(tmp_path / "second" / name)
    assert second.keys() == first.keys() == index["weight_map"].keys()
    assert index["metadata"]["total_size"] == sum(x.nbytes for x in first.values())
    for name, value in first.items():
        assert value.dtype == dtype
        assert second[name].tobytes() == value.tobytes(), name
    if dtype == "float32":  # and these are the bits that torch wrote
        for name, value in load_file(MODEL / "model.safetensors").items():
            assert value.tobytes() == first[name].tobytes()


def test_all_tensors_of_the_released_model():
    found = dict(places(ModelConfig(), _CURRENT))
    assert len(found) == 341
    assert found["model.layers.23.mlp.fc1.weight"].shape == (8192, 2048)
    assert found["lm_head.bias"].shape == (51_200,)


def test_older_layout(folder, read):
    """One tensor for queries, keys and values; other names; another config."""
    tensors = load_file(folder / "model.safetensors")
    older = {}
    for name, value in tensors.items():
        for new, old in (
            ("model.embed_tokens", "transformer.embd.wte"),
            ("model.final_layernorm", "lm_head.ln"),
            ("model.layers", "transformer.h"),
            ("input_layernorm", "ln"),
            ("self_attn.dense", "mixer.out_proj"),
        ):
            name = name.replace(new, old)
        if name in ("lm_head.weight", "lm_head.bias"):
            name = name.replace("lm_head", "lm_head.linear")
        if "_proj." not in name or "out_proj" in name:
            older[name] = value
    for layer in range(2):
        for kind in ("weight", "bias"):
            parts = [tensors[f"model.layers.{layer}.self_attn.{x}_proj.{kind}"] for x in "qkv"]
            older[f"transformer.h.{layer}.mixer.Wqkv.{kind}"] = np.concatenate(parts)
        older[f"transformer.h.{layer}.mixer.rotary_emb.inv_freq"] = np.ones(2, np.float32)
    save_file(older, folder / "model.safetensors")
    (folder / "config.json").write_text(older_config())
    config, params = read_folder(folder)
    assert dataclasses.replace(config, compute_dtype="float32") == read[0]
    jax.tree.map(np.testing.assert_array_equal, params, read[1])
    del older["transformer.embd.wte.weight"]
    save_file(older, folder / "model.safetensors")
    with pytest.raises(UserError, match=r": 1 missing: transformer\.embd\.wte\.weight$"):
        read_folder(folder)


def test_problems_are_told_together(folder):
    tensors = load_file(folder / "model.safetensors")
    del tensors["lm_head.bias"], tensors["model.layers.1.mlp.fc2.weight"]
    tensors["model.layers.2.mlp.fc2.weight"] = np.zeros((2, 2), np.float32)
    tensors["model.embed_tokens.weight"] = np.zeros((61, 24), np.float32)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(UserError) as error:
        read_folder(folder)
    message = str(error.value)
    assert "2 missing: lm_head.bias, model.layers.1.mlp.fc2.weight;" in message
    assert "1 unknown: model.layers.2.mlp.fc2.weight;" in message
    assert "model.embed_tokens.weight (61, 24) instead of (60, 24)" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "llama"}, "model_type='llama'"),
        ({"num_key_value_heads": 1}, "num_key_value_heads=1"),
        ({"hidden_act": "relu"}, "hidden_act='relu'"),
        ({"tie_word_embeddings": True}, "tie_word_embeddings"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "rope_type='yarn'"),
        ({"rope_parameters": {"type": "linear", "factor": 4.0}}, "factor=4.0 is not implemented"),
        ({"rope_parameters": {"type": "linear"}}, "type='linear'"),
        ({"rope_parameters": None, "rope_scaling": {"type": "dynamic"}}, "type='dynamic'"),
        ({"rope_scaling": {"rope_type": "default", "factor": 2}}, "factor=2"),
        ({"rotary_pct": 0.25}, "rotary_pct=0.25"),
        ({"rope_interleaved": True}, "rope_interleaved=True"),
        ({"head_dim": 16}, "head_dim=16 is not phi-1's 8"),
        ({"qk_layernorm": True}, "qk_layernorm=True"),
        ({"hidden_size": None}, "wrong type"),
        ({"num_attention_heads": 0, "num_key_value_heads": 0}, "wrong type or size"),
        ({"rope_parameters": {"partial_rotary_factor": float("nan")}}, "wrong type or size"),
        ({"rope_parameters": {"rope_theta": -10.0}}, "rope_theta=-10.0 must be above 0"),
        ({"layer_norm_eps": float("nan")}, "layer_norm_eps=nan must be above 0"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
    ],
)
def test_other_architectures_are_refused(folder, change, message):
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**values, **change}))
    with pytest.raises(UserError, match=message):
        read_config(folder)


def older_config(**changes):
    sizes = {"vocab_size": 60, "n_layer": 2, "n_embd": 24, "n_inner": 40, "n_head": 3}
    rest = {"rotary_dim": 4, "n_positions": 32, "layer_norm_epsilon": 1e-5, "n_head_kv": None}
    return json.dumps({"model_type": "phi-msft", **sizes, **rest, **changes})


@pytest.mark.parametrize(
    "change",
    [
        {"model_type": "gpt2"},
        {"activation_function": "relu"},
        {"tie_word_embeddings": True},
        {"n_head_kv": 1},
        {"head_dim": 16},
    ],
)
def test_other_architectures_are_refused_in_the_older_layout(tmp_path, change):
    (tmp_path / "config.json").write_text(older_config(**change))
    with pytest.raises(UserError, match=f"{next(iter(change))}=.* is not phi-1's"):
        read_config(tmp_path)


def test_an_adapter_is_refused_instead_of_ignored(folder):
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match="adapter"):
        read_config(folder)


def test_weights_that_are_not_finite_are_named_when_they_are_read(folder, tmp_path):
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.1.mlp.fc2.weight"].flat[3] = np.nan
    tensors["lm_head.bias"][5] = -np.inf
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(UserError, match=r"not finite.*layers\.1\.mlp\.fc2\.weight, lm_head\.bias$"):
        read_folder(folder)


def test_weights_that_are_not_finite_are_named_when_a_run_is_loaded(tmp_path, read):
    config, params = read
    params = jax.tree.map(np.copy, params)
    params["blocks"]["fc2"]["kernel"][1, 2, 3] = np.inf
    params["final_norm"]["scale"][0] = np.nan
    write_model(tmp_path / "run", config, params, None)
    message = r"not finite .*blocks/fc2/kernel \(layer 1\), final_norm/scale;"
    with pytest.raises(UserError, match=message):
        load_model(tmp_path / "run")


def test_absent_rope_fields_are_those_of_transformers(folder):
    values = json.loads((folder / "config.json").read_text())
    for name in ("rope_parameters", "rope_theta", "partial_rotary_factor", "layer_norm_eps"):
        values.pop(name, None)
    (folder / "config.json").write_text(json.dumps(values))
    config = read_config(folder)
    assert (config.rotary_dim, config.rope_theta, config.layer_norm_eps) == (4, 10_000.0, 1e-5)


def test_dropout_is_kept_or_told(folder, caplog):
    values = json.loads((folder / "config.json").read_text())
    for change, told in (
        ({"resid_pdrop": 0.1, "attention_dropout": 0.2}, ""),
        ({"resid_pdrop": None, "attention_dropout": 0.2}, ""),
        ({"embd_pdrop": 0.2}, "embd_pdrop=0.2"),
    ):
        (folder / "config.json").write_text(json.dumps({**values, **change}))
        caplog.clear()
        config = read_config(folder)
        assert config.attention_dropout == change.get("attention_dropout", 0.0)
        assert config.residual_dropout == (change.get("resid_pdrop") or 0.0)
        assert told in caplog.text and bool(caplog.text) == bool(told)


def test_one_file_comes_before_an_index(folder):
    # As in transformers: the index may be left from another export.
    index = {"weight_map": {"lm_head.bias": "gone.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert read_folder(folder)[0].n_layers == 2


def test_a_missing_folder_and_a_run_are_named(tmp_path, read):
    with pytest.raises(UserError, match="no such folder; download"):
        read_config(tmp_path / "microsoft" / "phi-1")
    write_model(tmp_path / "run", *read, None)
    with pytest.raises(UserError, match=r"is a run of this project.*--from=.*--to_hf"):
        read_config(tmp_path / "run")
    with pytest.raises(UserError, match=r"is a Hugging Face folder.*--from_hf=.*--to"):
        read_model_config(MODEL)


def test_missing_fields_and_files(tmp_path, folder):
    with pytest.raises(UserError, match=r"no config\.json"):
        read_folder(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="no field 'num_attention_heads'"):
        read_folder(tmp_path)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"neither model\.safetensors nor"):
        read_folder(folder)


def test_beyond_float16(tmp_path, read):
    config, params = read
    large = jax.tree.map(lambda x: x * 1e6, params)
    with pytest.raises(UserError, match="beyond float16"):
        write_folder(tmp_path, config, large, {}, "float16")
