"""Induction heads at the start: a model that has not been trained copies what it has read."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from phi1_jax.config import DataConfig, MeshConfig, ModelConfig, RunConfig
from phi1_jax.errors import UserError
from phi1_jax.model.induction import place_induction_heads
from phi1_jax.model.phi import Phi
from phi1_jax.model.sharding import make_mesh
from phi1_jax.train.step import make_trainer

pytestmark = pytest.mark.slow  # what all share takes seconds

CONFIG = ModelConfig(
    vocab_size=512, n_layers=3, d_model=128, d_mlp=512, n_heads=4, rotary_dim=16, max_seq_len=128,
    attention_dropout=0.0, residual_dropout=0.0, compute_dtype="float32",
)  # fmt: skip


def initial(config):
    return nnx.to_pure_dict(nnx.state(Phi(config, nnx.Rngs(params=0)), nnx.Param))


def copied(params):
    """Of 40 drawn tokens that come twice, in 16 rows: how often the next is the likeliest."""
    rows = np.random.default_rng(0).integers(0, CONFIG.vocab_size, (16, 40))
    tokens = jnp.asarray(np.tile(rows, (1, 2)))
    graph, _ = nnx.split(nnx.eval_shape(lambda: Phi(CONFIG, nnx.Rngs(0))), nnx.Param)
    likeliest = np.asarray(nnx.merge(graph, params)(tokens).argmax(-1))
    right = likeliest[:, :-1] == np.asarray(tokens)[:, 1:]
    return right[:, :39].mean(), right[:, 40:].mean()


def test_copies_without_training():
    plain = initial(CONFIG)
    assert max(copied(plain)) < 0.05
    shares = {}
    for n in (1, 2):
        config = dataclasses.replace(CONFIG, n_induction_heads=n)
        first, shares[n] = copied(place_induction_heads(config, plain, jax.random.key(0)))
        assert first < 0.05
    assert shares[2] > shares[1] > 0.1 and shares[2] > 0.4


def test_changes_no_other_head_and_no_other_layer():
    plain = initial(CONFIG)
    config = dataclasses.replace(CONFIG, n_induction_heads=2)
    placed = place_induction_heads(config, plain, jax.random.key(0))
    assert jax.tree.structure(placed) == jax.tree.structure(plain)
    np.testing.assert_array_equal(placed["head"]["kernel"], plain["embed"]["table"].T)
    changed = {
        jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(a != b)
        for (path, a), b in zip(
            jax.tree_util.tree_leaves_with_path(plain), jax.tree.leaves(placed), strict=True
        )
    }
    chosen = {"q.kernel", "q.bias", "k.kernel", "k.bias", "v.kernel"}
    touched = {name for name, where in changed.items() if where.any()}
    scaled = {"blocks.out.kernel", "blocks.fc2.kernel"}
    assert touched == {"head.kernel", *scaled, *(f"blocks.{name}" for name in chosen)}
    for name in chosen:
        where = changed[f"blocks.{name}"]
        assert not where[2].any() and not where[..., 64:].any()
    np.testing.assert_allclose(
        placed["blocks"]["out"]["kernel"][:, 64:], 0.1 * plain["blocks"]["out"]["kernel"][:, 64:]
    )
    np.testing.assert_allclose(
        placed["blocks"]["fc2"]["kernel"], 0.1 * plain["blocks"]["fc2"]["kernel"]
    )


def test_a_run_starts_with_them_on_any_mesh():
    model = dataclasses.replace(CONFIG, n_induction_heads=2)
    config = RunConfig(model=model, data=DataConfig(seq_len=64, global_batch_size=8))
    meshes = [make_mesh(MeshConfig(1, 1, 1), jax.devices()[:1]), make_mesh(MeshConfig(2, 2, 2))]
    one, eight = (jax.device_get(make_trainer(config, mesh).init().params) for mesh in meshes)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), one, eight)
    assert copied(one)[1] > 0.4
    plain = initial(CONFIG)["blocks"]["fc1"]["kernel"]
    np.testing.assert_allclose(one["blocks"]["fc1"]["kernel"], plain, atol=1e-7)


@pytest.mark.parametrize(
    "values",
    [{"n_induction_heads": 3}, {"n_induction_heads": -1}, {"n_layers": 1}, {"rotary_dim": 32}],
)
def test_a_model_without_room_for_them_is_refused(values):
    with pytest.raises(UserError, match=r"model\.n_induction_heads=.* half of model\.n_heads=4"):
        dataclasses.replace(CONFIG, **{"n_induction_heads": 2, **values})
