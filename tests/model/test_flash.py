"""The kernels, run by Pallas's interpreter, against plain attention with the same dropout."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from phi1_jax.config import MeshConfig, ModelConfig
from phi1_jax.errors import UserError
from phi1_jax.model import flash
from phi1_jax.model.attention import causal, causal_attention
from phi1_jax.model.dropout import keeps
from phi1_jax.model.flash import flash_attention, random_words
from phi1_jax.model.phi import Phi
from phi1_jax.model.sharding import activations_on, make_mesh

KEY = jax.random.key(3)
B, T, H, K = 2, 40, 4, 16


@pytest.fixture(autouse=True)
def interpreter(monkeypatch):
    monkeypatch.setattr(flash, "INTERPRET", True)
    monkeypatch.setattr(flash, "TILE", 16)  # 40 tokens do not fill the last one


@pytest.fixture(scope="module")
def arrays() -> list[jax.Array]:
    """q, k, v, and the gradient of the output."""
    return list(jax.random.normal(jax.random.key(0), (4, B, T, H, K)))


@partial(jax.jit, static_argnums=0)
def with_gradients(attend, q, k, v, dout):
    out, vjp = jax.vjp(attend, q, k, v)
    return out, *vjp(dout)


def plain(q, k, v, dropout, key):
    """Attention as the books have it."""
    words = random_words(key, B, H, 48)[..., :T]  # of as many tokens as the tiles cover
    scores = jnp.einsum("bthk,bshk->bhts", q, k) / np.sqrt(K)
    weights = jax.nn.softmax(jnp.where(np.tril(np.ones((T, T), bool)), scores, -np.inf))
    keep = keeps(words[:, 0, :, :, None], words[:, 1, :, None, :], dropout)
    return jnp.einsum("bhts,bshk->bthk", jnp.where(keep, weights / (1 - dropout), 0), v)


def assert_close(found, wanted):
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, atol=3e-6 * float(jnp.abs(b).max()))


@pytest.mark.slow
def test_without_dropout_it_is_causal_attention(arrays):
    ours, wanted = (with_gradients(f, *arrays) for f in (flash_attention, causal_attention))
    assert_close(ours, wanted)


@pytest.mark.slow
def test_with_dropout_it_is_plain_attention_with_the_same_weights_dropped(arrays):
    ours = partial(flash_attention, dropout=0.3, key=KEY)
    reference = partial(plain, dropout=0.3, key=KEY)
    assert_close(with_gradients(ours, *arrays), with_gradients(reference, *arrays))


@pytest.mark.slow
def test_a_mesh_changes_nothing(arrays):
    """Rows over four devices and heads over two; the compiler must not gather them."""
    arrays = [jnp.concatenate([x, x[::-1]]) for x in arrays]
    ours = partial(flash_attention, dropout=0.3, key=KEY)
    alone = with_gradients(ours, *arrays)
    mesh = make_mesh(MeshConfig(2, 2, 2))

    def on_mesh(*arrays):
        with activations_on(mesh):
            return with_gradients(ours, *arrays)

    spec = jax.sharding.PartitionSpec(("data", "fsdp"), None, "tensor")
    sharded = jax.device_put(arrays, jax.sharding.NamedSharding(mesh, spec))
    found = jax.jit(on_mesh)(*sharded)
    assert_close(found, alone)
    assert all(x.sharding.is_equivalent_to(sharded[0].sharding, 4) for x in found)


@pytest.mark.slow
@pytest.mark.parametrize("dropout", [0.05, 0.1, 0.5])
def test_what_dropout_keeps_is_independent_of_row_column_head_and_key(dropout):
    """As many kept as should be, and no two masks alike: within 5 standard errors."""
    b, h, t = 2, 3, 512
    words = random_words(KEY, b, h, t)
    other = random_words(jax.random.fold_in(KEY, 1), b, h, t)
    mask = lambda w: np.asarray(keeps(w[:, 0, :, :, None], w[:, 1, :, None, :], dropout))  # noqa: E731
    x = (mask(words) - (1 - dropout)) / np.sqrt(dropout * (1 - dropout))
    assert abs(x.mean()) < 5 / np.sqrt(x.size)
    for axis in (2, 3):  # sums of single rows and columns have the variance of independent ones
        sums = x.sum(axis) / np.sqrt(t)
        assert abs(np.square(sums).mean() - 1) < 5 * np.sqrt(2 / sums.size)
        assert np.abs(sums).max() < 5.5
    flat = x.reshape(b * h, t, t)
    correlations = np.concatenate(
        [
            [(x * np.roll(x, 1, axis)).mean() for axis in range(4)],
            [(x * mask(other)).mean() - x.mean() * mask(other).mean()],
            [(x[:, :, :-1, :-1] * x[:, :, 1:, :-1] * x[:, :, :-1, 1:] * x[:, :, 1:, 1:]).mean()],
        ]
    )
    assert np.abs(correlations).max() < 5 / np.sqrt(x[:, :, :-1, :-1].size)
    # Every pair of rows and of columns.
    for each in (flat, flat.swapaxes(1, 2)):
        pairs = (each @ each.swapaxes(1, 2))[:, *np.triu_indices(t, 1)] / np.sqrt(t)
        assert np.square(pairs).mean() == pytest.approx(1, abs=0.02)
        assert np.abs(pairs).max() < 7.5


@pytest.mark.slow
def test_a_model_trains_with_it_and_rematerialization_changes_nothing():
    """That the forward kernel is not run again, tests/gpu_aot sees in the compiled program."""
    config = ModelConfig(
        vocab_size=32, n_layers=2, d_model=32, d_mlp=64, n_heads=2, rotary_dim=4, max_seq_len=32,
        attention="flash", attention_dropout=0.1, residual_dropout=0.0,
    )  # fmt: skip

    def step(remat):
        changed = dataclasses.replace(config, remat=remat)
        graph, state = nnx.split(Phi(changed, nnx.Rngs(0), "cpu"))
        loss = lambda p, key: jnp.square(nnx.merge(graph, p)(jnp.arange(32)[None], key)).mean()  # noqa: E731
        return jax.jit(jax.value_and_grad(loss))(nnx.to_pure_dict(state), KEY)

    assert_close(jax.tree.leaves(step("dots")), jax.tree.leaves(step("none")))


def test_what_it_cannot_do_is_refused(monkeypatch):
    with pytest.raises(UserError, match=r"model\.attention=flash.*head width.*not 12"):
        ModelConfig(d_model=48, n_heads=4, rotary_dim=4, attention="flash")
    with pytest.raises(UserError, match=r"model\.attention=flash.*half precision"):
        ModelConfig(attention="flash", compute_dtype="float32")
    three_heads = jnp.ones((4, 16, 3, 16))
    with (
        activations_on(make_mesh(MeshConfig(4, 1, 2))),
        pytest.raises(UserError, match=r"mesh\.tensor=2 does not divide model\.n_heads=3"),
    ):
        jax.eval_shape(flash_attention, *[three_heads] * 3)
    monkeypatch.setattr(flash, "INTERPRET", False)
    with pytest.raises(UserError, match=r"model\.attention=flash needs a GPU, and this is cpu"):
        causal("flash", 0.1, "cpu", keep=False)
