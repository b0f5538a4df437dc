import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import phi_numpy
import pytest
from flax import nnx

from phi1_jax.config import MeshConfig, ModelConfig
from phi1_jax.errors import UserError
from phi1_jax.model.attention import KV, attention, causal, causal_attention
from phi1_jax.model.dropout import drop
from phi1_jax.model.phi import Phi, count_params
from phi1_jax.model.sharding import make_mesh, platform_of, replicated

SHAPES = [
    ModelConfig(50, 2, 32, 128, 4, rotary_dim=4, max_seq_len=40),
    ModelConfig(37, 1, 24, 40, 3, rotary_dim=8, max_seq_len=20),
    ModelConfig(64, 3, 64, 96, 2, rotary_dim=6, max_seq_len=33, rope_theta=500.0),
]


DROPOUT = {"attention_dropout": 0.1, "residual_dropout": 0.1}


def random_params(config, seed=0, std=0.2):
    """Every parameter random, biases and norms too: zeros and ones would hide mistakes."""
    model = nnx.eval_shape(lambda: Phi(config, nnx.Rngs(0)))
    leaves, tree = jax.tree.flatten(nnx.to_pure_dict(nnx.state(model, nnx.Param)))
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(0, std, leaf.shape).astype(np.float32) for leaf in leaves]
    params = jax.tree.unflatten(tree, arrays)
    for norm in (params["blocks"]["norm"], params["final_norm"]):
        norm["scale"] = norm["scale"] + 1
    return params


def build(config, params):
    graph, _ = nnx.split(nnx.eval_shape(lambda: Phi(config, nnx.Rngs(0))), nnx.Param)
    return nnx.merge(graph, jax.tree.map(jnp.asarray, params))


def logits_of(config, params, tokens, key=None):
    return np.asarray(jax.jit(lambda p, t: build(config, p)(t, key))(params, tokens))


@pytest.mark.slow
@pytest.mark.parametrize("config", SHAPES)
def test_equals_numpy_reference(config):
    config = dataclasses.replace(config, compute_dtype="float32")
    params = random_params(config)
    tokens = np.random.default_rng(1).integers(0, config.vocab_size, (2, config.max_seq_len))
    ours = logits_of(config, params, tokens)
    exact = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    reference = np.stack([phi_numpy.phi(config, exact, row) for row in tokens])
    assert np.linalg.norm(ours - reference) / np.linalg.norm(reference) < 1e-5
    assert np.abs(ours - reference).max() / np.abs(reference).max() < 1e-5


def test_sizes_of_the_paper():
    assert count_params(ModelConfig()) == 1_418_270_720
    small = ModelConfig(n_layers=20, d_model=1024, d_mlp=4096, n_heads=16)
    assert count_params(small) == 356_794_368


@pytest.mark.slow
def test_initial_values():
    config = dataclasses.replace(SHAPES[0], vocab_size=2000, d_model=64, d_mlp=256)
    params = nnx.to_pure_dict(nnx.state(Phi(config, nnx.Rngs(0)), nnx.Param))
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        name = jax.tree_util.keystr(path)
        if "bias" in name:
            assert not leaf.any()
        elif "scale" in name:
            assert (leaf == 1).all()
        else:
            assert abs(float(leaf.std()) - 0.02) < 0.002 and abs(float(leaf.mean())) < 0.002
    kernels = params["blocks"]["q"]["kernel"]
    assert not np.array_equal(kernels[0], kernels[1])


@pytest.mark.slow
def test_recomputation_and_unrolling_change_nothing():
    config = dataclasses.replace(SHAPES[0], **DROPOUT, compute_dtype="float32")
    params = random_params(config)
    tokens = np.arange(24).reshape(2, 12) % config.vocab_size

    def loss(params, config):
        return jnp.square(build(config, params)(tokens, jax.random.key(0))).mean()

    want, want_grads = jax.jit(jax.value_and_grad(loss), static_argnums=1)(params, config)
    for change in ({"remat": "dots"}, {"remat": "full", "scan_unroll": 2}):
        other = dataclasses.replace(config, **change)
        got, grads = jax.jit(jax.value_and_grad(loss), static_argnums=1)(params, other)
        np.testing.assert_allclose(got, want, rtol=1e-6)
        for a, b in zip(jax.tree.leaves(grads), jax.tree.leaves(want_grads), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6 * float(np.abs(b).max()))


@pytest.mark.slow
def test_dropout_zeroes_as_many_independent_coins_would():
    x = jnp.ones((4, 100, 512))
    zeroed = []
    for seed in range(2):
        dropped = np.asarray(drop(x, 0.1, jax.random.key(seed))).reshape(400, 512)
        assert np.unique(dropped).tolist() == [0, np.float32(1 / 0.9)]
        coins = ((dropped == 0) - 0.1) / 0.3  # mean 0 and variance 1
        zeroed.append(coins)
        for each in (coins, coins.T):
            n, others = each.shape[1], np.triu_indices(len(each), 1)
            assert abs(coins.mean()) < 4 / np.sqrt(coins.size)
            assert 0.8 < each.mean(1).std() * np.sqrt(n) < 1.2  # the same rate everywhere
            pairs = (each @ each.T / n)[others]  # no two rows, and no two columns, are alike
            assert abs(pairs.std() * np.sqrt(n) - 1) < 0.02 and abs(pairs).max() < 7 / np.sqrt(n)
    first, second = zeroed
    assert abs((first * second).mean()) < 4 / np.sqrt(first.size)


@pytest.mark.slow
def test_the_gradient_is_dropped_as_the_value_is():
    x = jnp.linspace(1, 2, 60).reshape(6, 10)
    y, pull = jax.vjp(lambda x: drop(x, 0.3, jax.random.key(0)), x)
    np.testing.assert_allclose(pull(jnp.ones_like(x))[0], np.where(y, 1 / 0.7, 0), rtol=1e-6)
    assert (
        jax.eval_shape(lambda x: drop(x, 0.3, jax.random.key(0)), x.astype("bfloat16")).dtype
        == "bfloat16"
    )


@pytest.mark.slow
def test_dropout():
    config = dataclasses.replace(SHAPES[0], **DROPOUT, compute_dtype="float32")
    params = random_params(config)
    tokens = np.arange(40)[None] % config.vocab_size
    without = logits_of(config, params, tokens)
    first, again, other = (logits_of(config, params, tokens, jax.random.key(s)) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other) and not np.allclose(first, without)


@pytest.mark.slow
def test_dropout_on_attention():
    q = jnp.zeros((8, 64, 4, 8))  # every query attends evenly to all that it sees
    ones = jnp.ones((8, 64, 4, 8))
    sums = np.asarray(causal_attention(q, q, ones, 0.1, jax.random.key(0)))[:, -1, :, 0]
    # 64 weights of 1/64, each kept with 0.9 and scaled by 1/0.9.
    assert abs(sums.mean() - 1) < 0.03 and 0.02 < sums.std() < 0.07
    np.testing.assert_allclose(causal_attention(q, q, ones), 1, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("t", [127, 515])
def test_causal_in_blocks_is_causal(t):
    q, k, v = np.random.default_rng(0).normal(size=(3, 1, t, 2, 8)).astype(np.float32)
    mask = np.tril(np.ones((1, t, t), bool))

    def total(q, k, v, in_blocks):
        kv = KV(k.swapaxes(1, 2), v.swapaxes(1, 2))
        y = causal_attention(q, k, v) if in_blocks else attention(q, [kv], mask)
        return jnp.sum(y * np.cos(np.arange(t))[:, None, None]), y

    gradient = jax.jit(jax.grad(total, argnums=(0, 1, 2), has_aux=True), static_argnums=3)
    (ours, y), (want, whole) = gradient(q, k, v, True), gradient(q, k, v, False)
    for a, b in zip(ours, want, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-6 * float(np.abs(b).max()))
    np.testing.assert_allclose(y, whole, atol=1e-6)


@pytest.mark.slow
def test_bfloat16_is_close():
    config = dataclasses.replace(SHAPES[0], compute_dtype="float32")
    params = random_params(config, std=0.05)
    tokens = np.arange(30)[None]
    exact = logits_of(config, params, tokens)
    rough = logits_of(dataclasses.replace(config, compute_dtype="bfloat16"), params, tokens)
    assert rough.dtype == np.float32
    assert np.linalg.norm(rough - exact) / np.linalg.norm(exact) < 0.02


def test_the_embedding_of_a_frequent_token_gets_its_whole_gradient():
    """A sum of 2,048 in bfloat16 would stop growing on the way."""
    config = dataclasses.replace(SHAPES[0], compute_dtype="bfloat16")
    graph, params = nnx.split(Phi(config, nnx.Rngs(0)).embed)
    rng = np.random.default_rng(0)
    tokens_bt = rng.integers(0, config.vocab_size, (8, 1024), np.int32)
    tokens_bt[:, ::4] = 7
    g_btd = jnp.asarray(rng.normal(0.5, 1, (*tokens_bt.shape, config.d_model)), jnp.bfloat16)

    def gradient(params, tokens_bt, g_btd):
        return jax.vjp(lambda params: nnx.merge(graph, params)(tokens_bt), params)[1](g_btd)[0]

    ours_vd = jax.jit(gradient)(params, tokens_bt, g_btd)["table"][...]
    exact_vd = np.zeros((config.vocab_size, config.d_model))
    np.add.at(exact_vd, tokens_bt, np.asarray(g_btd, np.float64))
    assert ours_vd.dtype == jnp.float32
    np.testing.assert_allclose(ours_vd, exact_vd, rtol=2**-8, atol=2**-8)


def test_a_token_does_not_see_later_ones():
    config = dataclasses.replace(SHAPES[0], compute_dtype="float32")
    params = random_params(config)
    tokens = np.arange(20)[None]
    changed = tokens.copy()
    changed[0, 12:] += 7
    a, b = logits_of(config, params, tokens), logits_of(config, params, changed)
    np.testing.assert_array_equal(a[:, :12], b[:, :12])
    assert (a[:, 12:] != b[:, 12:]).any(axis=-1).all()


def test_the_platform_is_that_of_the_devices_in_use(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: pytest.fail("JAX's default was asked for"))
    config = dataclasses.replace(SHAPES[1], attention="xla")
    for platform, dtype in (("gpu", "bfloat16"), ("cpu", "float32")):
        model = nnx.eval_shape(lambda platform=platform: Phi(config, nnx.Rngs(0), platform))
        hidden = nnx.eval_shape(lambda m: m.hidden(jnp.zeros((1, 4), jnp.int32)), model)
        assert hidden.dtype == dtype
    mesh = make_mesh(MeshConfig())
    assert platform_of(mesh) == "cpu"
    assert platform_of(jax.device_put({"x": np.ones(8)}, replicated(mesh))) == "cpu"


def test_what_cannot_be_done_is_refused():
    with pytest.raises(UserError, match=r"model\.attention.*head width.*not 12"):
        ModelConfig(d_model=48, n_heads=4, rotary_dim=4, attention="cudnn")
    with pytest.raises(UserError, match=r"model\.attention.*dropout"):
        ModelConfig(attention="cudnn")
    with pytest.raises(UserError, match=r"model\.attention.*half precision"):
        ModelConfig(attention="cudnn", compute_dtype="float32")
    with pytest.raises(UserError, match=r"model\.attention=cudnn needs a GPU, and this is cpu"):
        causal("cudnn", 0.0, "cpu", keep=False)
    with pytest.raises(UserError, match=r"model\.rotary_dim=3"):
        ModelConfig(rotary_dim=3)
    config = SHAPES[1]
    with pytest.raises(ValueError, match="21 tokens are more than max_seq_len=20"):
        logits_of(config, random_params(config), np.zeros((1, 21), int))
