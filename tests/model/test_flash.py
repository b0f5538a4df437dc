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
from phi1_jax.model.flash import Tile, Tiles, flash_attention, keeps, random_words
from phi1_jax.model.phi import Phi
from phi1_jax.model.sharding import activations_on, make_mesh

# Tiles of all proportions; 40 tokens do not fill the last one.
TILES = Tiles(Tile(32, 16, 4, 1), Tile(16, 32, 4, 1), Tile(16, 32, 4, 1))
KEY = jax.random.key(3)
B, T, H, K = 2, 40, 4, 16


@pytest.fixture(autouse=True)
def interpreter(monkeypatch):
    monkeypatch.setattr(flash, "INTERPRET", True)


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
    words = random_words(key, B, H, 64)[..., :T]  # of as many tokens as the tiles cover
    scores = jnp.einsum("bthk,bshk->bhts", q, k) / np.sqrt(K)
    weights = jax.nn.softmax(jnp.where(np.tril(np.ones((T, T), bool)), scores, -np.inf))
    keep = keeps(words[:, 0, :, :, None], words[:, 1, :, None, :], dropout)
    return jnp.einsum("bhts,bshk->bthk", jnp.where(keep, weights / (1 - dropout), 0), v)


def assert_close(found, wanted):
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, atol=3e-6 * float(jnp.abs(b).max()))


def test_without_dropout_it_is_causal_attention(arrays):
    ours = partial(flash_attention, tiles=TILES)
    assert_close(with_gradients(ours, *arrays), with_gradients(causal_attention, *arrays))


def test_with_dropout_it_is_plain_attention_with_the_same_weights_dropped(arrays):
    ours = partial(flash_attention, dropout=0.3, key=KEY, tiles=TILES)
    reference = partial(plain, dropout=0.3, key=KEY)
    assert_close(with_gradients(ours, *arrays), with_gradients(reference, *arrays))


def test_a_mesh_changes_nothing(arrays):
    """Rows over four devices and heads over two; the compiler must not gather them."""
    arrays = [jnp.concatenate([x, x[::-1]]) for x in arrays]
    ours = partial(flash_attention, dropout=0.3, key=KEY, tiles=TILES)
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


@pytest.mark.parametrize("dropout", [0.1, 0.5])
def test_what_dropout_keeps_is_as_good_as_random(dropout):
    """Rows, columns, pairs of them, heads and keys: against NumPy's generator, or its theory."""
    b, h, t = 2, 3, 512

    def scaled(mask):
        return (np.asarray(mask) - (1 - dropout)) / np.sqrt(dropout * (1 - dropout))

    def ours(key):
        words = random_words(key, b, h, t)
        return scaled(keeps(words[:, 0, :, :, None], words[:, 1, :, None, :], dropout))

    def pairs(x):
        """Correlations of any two rows, in standard errors."""
        return (x @ x.swapaxes(2, 3))[..., *np.triu_indices(t, 1)] / np.sqrt(t)

    x, other = ours(KEY), ours(jax.random.fold_in(KEY, 1))
    random = scaled(np.random.default_rng(0).random(x.shape) >= dropout)
    largest = np.abs(pairs(random)).max()
    for y in (x, x.swapaxes(2, 3)):  # queries, keys
        sums = y.sum(3) / np.sqrt(t)
        assert np.square(sums).mean() == pytest.approx(1, abs=5 * np.sqrt(2 / sums.size))
        assert np.abs(sums).max() < 5.5
        assert np.square(pairs(y)).mean() == pytest.approx(1, abs=0.02)
        assert np.abs(pairs(y)).max() < 1.25 * largest
    rectangles = x * np.roll(x, 1, 2) * np.roll(x, 1, 3) * np.roll(x, (1, 1), (2, 3))
    neighbours = [x * np.roll(x, 1, axis) for axis in range(4)]
    for product in (x, x * other, rectangles, *neighbours):
        assert abs(product.mean()) < 5 / np.sqrt(x.size)


def test_a_model_trains_with_it_and_rematerialization_changes_nothing(monkeypatch):
    """That the forward kernel is not run again, tests/gpu_aot sees in the compiled program."""
    monkeypatch.setattr(flash, "TILES", Tiles(*3 * [Tile(16, 16, 4, 1)]))
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
