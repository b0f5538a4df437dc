import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from conftest import random_model, save_older
from flax import nnx
from transformers import AutoModelForCausalLM

from phi1_jax.interop.huggingface import read_folder, write_folder
from phi1_jax.model.phi import Phi

TOKENS = np.random.default_rng(0).integers(0, 300, (3, 100))


def build(config, params):
    graph, _ = nnx.split(nnx.eval_shape(lambda: Phi(config, nnx.Rngs(0))), nnx.Param)
    return nnx.merge(graph, jax.tree.map(jnp.asarray, params))


def loss_of(config):
    def loss(params):
        logits = build(config, params)(TOKENS[:, :-1])
        return optax.softmax_cross_entropy_with_integer_labels(logits, TOKENS[:, 1:]).mean()

    return loss


def test_logits(model, tmp_path):
    model.save_pretrained(tmp_path)
    config, params = read_folder(tmp_path)
    ours = np.asarray(jax.jit(build(config, params))(TOKENS))
    with torch.no_grad():
        theirs = model(torch.tensor(TOKENS)).logits.numpy()
    assert np.abs(theirs).max() > 2
    assert np.abs(ours - theirs).max() < 1e-4


def test_gradients(model, tmp_path):
    model.save_pretrained(tmp_path / "model")
    config, params = read_folder(tmp_path / "model")
    value, ours = jax.jit(jax.value_and_grad(loss_of(config)))(params)

    tokens = torch.tensor(TOKENS)
    logits = model(tokens[:, :-1]).logits
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    # A model whose parameters are the gradients passes through the same conversion.
    other = random_model(**{k: getattr(model.config, k) for k in SAME})
    with torch.no_grad():
        for parameter, gradient in zip(other.parameters(), gradients, strict=True):
            parameter.copy_(gradient)
    other.save_pretrained(tmp_path / "gradients")
    _, theirs = read_folder(tmp_path / "gradients")

    assert abs(float(value) - loss.item()) < 1e-5
    whole = np.sqrt(sum(np.square(x).sum() for x in jax.tree.leaves(theirs)))
    for path, want in jax.tree_util.tree_leaves_with_path(theirs):
        got = ours
        for key in path:
            got = got[key.key]
        error = np.linalg.norm(got - want)
        if path[1].key == "k" and path[2].key == "bias":
            # Softmax does not see a constant added to all scores: this gradient is rounding.
            assert error < 1e-4 * whole
        else:
            assert error < 1e-4 * np.linalg.norm(want), jax.tree_util.keystr(path)


SAME = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
)


def test_export_is_the_same_model(model, tmp_path):
    model.save_pretrained(tmp_path / "in", max_shard_size="200KB")
    assert len(list((tmp_path / "in").glob("*.safetensors"))) > 1
    config, params = read_folder(tmp_path / "in")
    write_folder(
        tmp_path / "out", config, params, special_ids={"eos_token_id": 0}, max_file_bytes=150_000
    )
    assert len(list((tmp_path / "out").glob("*.safetensors"))) > 1
    again, info = AutoModelForCausalLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(info.values())
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    for name in (*SAME, "rope_parameters", "max_position_embeddings", "layer_norm_eps"):
        assert getattr(again.config, name) == getattr(model.config, name)
    assert again.generation_config.eos_token_id == 0
    with torch.no_grad():
        a, b = (m.eval()(torch.tensor(TOKENS)).logits for m in (again, model))
    assert torch.equal(a, b)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(tmp_path, dtype):
    model = random_model().to(dtype)
    model.save_pretrained(tmp_path / "in")
    config, params = read_folder(tmp_path / "in")
    name = str(dtype).removeprefix("torch.")
    write_folder(tmp_path / "out", config, params, special_ids={"eos_token_id": 0}, dtype=name)
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype="auto")
    assert again.dtype == dtype
    for key, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[key], value), key


def test_older_layout(model, tmp_path):
    model.save_pretrained(tmp_path / "new")
    save_older(model, tmp_path / "old")
    config, params = read_folder(tmp_path / "new")
    older_config, older_params = read_folder(tmp_path / "old")
    # The older config has no field for theta.
    assert dataclasses.replace(older_config, rope_theta=config.rope_theta) == config
    jax.tree.map(np.testing.assert_array_equal, older_params, params)


def test_trained_elsewhere_moves_in_step(tmp_path):
    """One step of plain gradient descent here and there ends in the same weights."""
    model = random_model()
    model.save_pretrained(tmp_path / "before")
    config, params = read_folder(tmp_path / "before")
    params = jax.tree.map(lambda p, g: p - 0.1 * g, params, jax.grad(loss_of(config))(params))
    tokens = torch.tensor(TOKENS)
    logits = model(tokens[:, :-1]).logits
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
    loss.backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    write_folder(tmp_path / "after", config, params, special_ids={"eos_token_id": 0})
    moved = AutoModelForCausalLM.from_pretrained(tmp_path / "after")
    for name, value in model.state_dict().items():
        torch.testing.assert_close(moved.state_dict()[name], value, rtol=1e-5, atol=1e-6)
