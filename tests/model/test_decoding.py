"""Reading a text with the cache, in any pieces, gives the logits of reading it at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from phi1_jax.config import MeshConfig
from phi1_jax.model import flash_decoding
from phi1_jax.model.attention import KV, attention
from phi1_jax.model.decoding import decoding_model, decoding_weights, empty_cache, merge
from phi1_jax.model.phi import Phi
from phi1_jax.model.sharding import make_mesh, param_shardings

LENGTHS = np.array([1, 7, 20, 13])
STEPS = 5


@pytest.fixture(scope="module")
def model(tiny_model):
    model = Phi(tiny_model, nnx.Rngs(3))
    params = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    # Far from the small initial values, so that attention and logits are sharp.
    return nnx.state(model, nnx.Param), jax.tree.map(lambda x: x * 5 if x.ndim > 1 else x, params)


@pytest.fixture(scope="module")
def tokens(tiny_model):
    total = LENGTHS.max() + 2 * STEPS
    return np.random.default_rng(0).integers(0, tiny_model.vocab_size, (len(LENGTHS), total))


@pytest.fixture(scope="module")
def at_once(tiny_model, model, tokens):
    graph, _ = nnx.split(nnx.eval_shape(lambda: Phi(tiny_model, nnx.Rngs(0))), nnx.Param)
    return np.asarray(jax.jit(lambda p, t: nnx.merge(graph, p)(t))(model[1], tokens))


def read_in_pieces(config, weights, tokens, slots):
    """The prompts, then two chunks of single tokens: logits[b, 1 + 2 * STEPS, v]."""
    prefill = jax.jit(lambda w, *args: decoding_model(config, "cpu", w).prefill(*args))
    step = jax.jit(lambda w, *args: decoding_model(config, "cpu", w).step(*args))
    prompt = np.arange(LENGTHS.max()) < LENGTHS[:, None]
    padded = np.where(prompt, tokens[:, : LENGTHS.max()], 17)  # padding that must not count
    first, _, cache = prefill(weights, padded, LENGTHS)
    logits = [first]
    room = (0, slots - LENGTHS.max())
    cache = jax.tree.map(lambda x: jnp.pad(x, [(0, 0), (0, 0), room, (0, 0)]), cache)
    for chunk in range(2):
        lengths = LENGTHS + chunk * STEPS
        recent = empty_cache(config, "cpu", len(LENGTHS), STEPS)
        for index in range(STEPS):
            now = tokens[np.arange(len(LENGTHS)), lengths + index]
            out, recent = step(weights, cache, recent, now, lengths, index)
            logits.append(out)
        cache = merge(cache, recent, lengths)
    return np.stack(logits, axis=1)


def check(logits, at_once):
    for row, length in enumerate(LENGTHS):
        want = at_once[row, length - 1 : length + 2 * STEPS]
        assert np.abs(want).max() > 1
        np.testing.assert_allclose(logits[row], want, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_in_pieces_as_at_once(tiny_model, model, tokens, at_once):
    weights = decoding_weights(tiny_model, model[1])
    check(read_in_pieces(tiny_model, weights, tokens, 64), at_once)


@pytest.mark.slow
def test_on_a_mesh(tiny_model, model, tokens, at_once):
    mesh = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    params = jax.device_put(model[1], param_shardings(mesh, model[0]))
    weights = decoding_weights(tiny_model, params)
    kernel = weights["blocks"][1]["qkv_fc1"]["kernel"]
    d, m = tiny_model.d_model, tiny_model.d_mlp
    shape = (d // 2, (3 * d + m) // 2)  # embed over fsdp, heads and mlp over tensor
    assert kernel.addressable_shards[0].data.shape == shape
    check(read_in_pieces(tiny_model, weights, tokens, 30), at_once)


@pytest.mark.slow
@pytest.mark.parametrize("t", [1, 3])
def test_attention_over_pieces_as_over_all_in_float64(t):
    rng = np.random.default_rng(0)
    q, k, v = (rng.normal(size=(2, n, 3, 8)).astype(np.float32) for n in (t, 11, 11))
    mask = rng.random((2, t, 11)) < 0.7
    mask[:, :, 0] = True
    pieces = [
        KV(*(x[:, cut].swapaxes(1, 2) for x in (k, v))) for cut in np.split(np.arange(11), [7])
    ]
    scores = np.einsum("bthk,bshk->bhts", *(x.astype(np.float64) for x in (q, k))) / np.sqrt(8)
    shares = np.where(mask[:, None], np.exp(scores), 0)
    want = np.einsum("bhts,bshk->bthk", shares / shares.sum(-1, keepdims=True), v)
    np.testing.assert_allclose(attention(q, pieces, mask), want, atol=1e-6)


@pytest.mark.slow
def test_the_gpu_kernel_as_attention_in_float64(monkeypatch):
    """Rows that hold nothing, a part of a block, whole blocks, all; beside 3 of 4 recent slots."""
    monkeypatch.setattr(flash_decoding, "INTERPRET", True)
    rng, (b, h, k) = np.random.default_rng(0), (5, 3, 16)
    lengths, slots, n_recent = np.array([0, 1, 128, 200, 256]), 256, 3
    q, known, recent = (
        rng.normal(size=shape).astype(np.float32)
        for shape in ((b, 1, h, k), (2, b, h, slots, k), (2, b, h, 4, k))
    )
    # What no row holds must not count, even where it is no number.
    for row, length in enumerate(lengths):
        known[:, row, :, length:] = np.nan
    recent[..., n_recent:, :] = np.nan
    y = jax.jit(flash_decoding.flash_decoding)(q, KV(*known), KV(*recent), lengths, n_recent)
    for row, length in enumerate(lengths):
        keys, values = (
            np.concatenate((old[row, :, :length], new[row, :, :n_recent]), axis=1)
            for old, new in zip(known.astype(np.float64), recent.astype(np.float64), strict=True)
        )
        scores = np.exp(np.einsum("hk,hsk->hs", q[row, 0].astype(np.float64), keys) / np.sqrt(k))
        want = np.einsum("hs,hsk->hk", scores / scores.sum(-1, keepdims=True), values)
        np.testing.assert_allclose(y[row, 0], want, atol=1e-6)
