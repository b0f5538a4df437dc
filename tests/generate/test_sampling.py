import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phi1_jax.errors import UserError
from phi1_jax.generate.sampling import (
    History,
    SamplerInput,
    _at_share,
    choose,
    keep_top,
    numbers_of,
    stream_key,
)
from phi1_jax.generate.settings import Sampling

RNG = np.random.default_rng(0)


def draw(sampling, logits, n, seen=None, seed=0):
    """`n` tokens from one row of logits, each from its own stream."""
    keys = np.stack([stream_key(seed, [1], i) for i in range(n)])
    rows = jnp.broadcast_to(jnp.asarray(logits, jnp.float32), (n, len(logits)))
    seen = None if seen is None else np.broadcast_to(seen, rows.shape)
    none = np.zeros(n, np.int32)
    row = SamplerInput(keys, none, none, History(seen), numbers_of([sampling] * n))
    tokens, logprobs = jax.jit(choose, static_argnums=0)(sampling.rule, rows, row)
    return np.asarray(tokens), np.asarray(logprobs)


def kept(logits, top_k, top_p):
    """What stays, by sorting in float64."""
    x = logits.astype(np.float64)
    stays = x >= np.sort(x)[-top_k] if 0 < top_k < len(x) else np.ones(len(x), bool)
    shares = np.where(stays, np.exp(x - x.max()), 0)
    shares /= shares.sum()
    best = np.sort(shares)[::-1]
    return stays & (shares >= best[np.cumsum(best) - best < top_p].min())


@pytest.mark.parametrize("top_k", [0, 1, 7, 1000])
@pytest.mark.parametrize("top_p", [1.0, 0.9, 0.5, 0.01])
def test_keep_top_as_by_sorting(top_k, top_p):
    logits = (RNG.normal(size=(8, 300)) * 3).astype(np.float32)
    scores = np.asarray(jax.jit(keep_top)(logits, jnp.int32(top_k), jnp.float32(top_p)))
    for row, score in zip(logits, scores, strict=True):
        stays = kept(row, top_k, top_p)
        np.testing.assert_array_equal(score > -1e38, stays)
        np.testing.assert_array_equal(score[stays], row[stays])


def test_no_share_of_the_whole_draws_what_was_left_out():
    """Rounded sums rise and fall over the tokens between: at each of them, and just beside it."""
    logits = (RNG.normal(size=(1, 8192)) * 3).astype(np.float32)
    weights = jax.nn.softmax(keep_top(logits, None, jnp.float32(0.95)), axis=-1)
    sums = np.asarray(jnp.cumsum(weights, axis=-1))[0]
    assert (np.diff(sums)[np.asarray(weights)[0, 1:] == 0] != 0).any()  # else this shows nothing
    shares = sums[np.asarray(weights)[0] == 0] / sums[-1]
    drawn = jax.jit(jax.vmap(lambda share: _at_share(weights, share[None])[0]))
    for near in (shares, np.nextafter(shares, 0), np.nextafter(shares, 1)):
        found = np.asarray(drawn(np.clip(near, 0, np.nextafter(np.float32(1), 0))))
        assert (np.asarray(weights)[0, found] > 0).all()


@pytest.mark.slow
def test_equal_scores_stay_together():
    scores = keep_top(jnp.array([[1.0, 3.0, 2.0, 2.0, 0.0]]), jnp.int32(2), None)
    np.testing.assert_array_equal(np.asarray(scores)[0] > -1e38, [0, 1, 1, 1, 0])


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_frequencies(temperature):
    logits, n = np.log([0.5, 0.3, 0.15, 0.05]), 20_000
    tokens, logprobs = draw(Sampling(temperature), logits, n)
    want = np.exp(logits / temperature)
    want /= want.sum()
    found = np.bincount(tokens, minlength=4) / n
    assert np.abs(found - want).max() < 4 * np.sqrt(0.25 / n)
    # Log-probabilities are the model's own, whatever the temperature.
    np.testing.assert_allclose(logprobs, logits[tokens], atol=1e-6)


@pytest.mark.slow
def test_filters_and_greedy():
    logits = np.log([0.5, 0.3, 0.15, 0.05])
    assert set(draw(Sampling(1.0, top_k=2), logits, 500)[0]) == {0, 1}
    assert set(draw(Sampling(1.0, top_p=0.9), logits, 500)[0]) == {0, 1, 2}
    assert set(draw(Sampling(5.0, top_k=3, top_p=0.01), logits, 500)[0]) == {0}
    assert set(draw(Sampling(0.0, top_p=0.5), logits, 5)[0]) == {0}


@pytest.mark.slow
def test_repetition_penalty_as_published():
    logits = np.array([2.0, 1.5, -1.0, -1.9], np.float32)
    seen = np.array([True, False, True, False])
    assert draw(Sampling(repetition_penalty=1.2), logits, 1, seen)[0] == [0]  # 2 / 1.2 > 1.5
    tokens, logprobs = draw(Sampling(repetition_penalty=1.5), logits, 1, seen)
    assert tokens == [1]  # 2 / 1.5 < 1.5
    np.testing.assert_allclose(logprobs, jax.nn.log_softmax(logits)[1], rtol=1e-6)
    found = draw(Sampling(1.0, repetition_penalty=3.0), logits, 20_000, seen)[0]
    want = jax.nn.softmax(jnp.array([2 / 3, 1.5, -3.0, -1.9]))
    np.testing.assert_allclose(np.bincount(found) / 20_000, want, atol=0.015)


@pytest.mark.slow
def test_frequency_and_presence_as_published():
    sampling = Sampling(frequency_penalty=0.5, presence_penalty=0.25)
    logits = np.array([2.0, 1.5, 1.0], np.float32)
    none = np.zeros(1, np.int32)
    for counts, want in (([0, 0, 5], 0), ([1, 0, 0], 1), ([1, 1, 0], 0), ([2, 2, 0], 2)):
        past = History(None, np.array([counts], np.int32))
        row = SamplerInput(stream_key(0, [1], 0)[None], none, none, past, numbers_of([sampling]))
        assert choose(sampling.rule, jnp.asarray(logits)[None], row)[0].tolist() == [want]


def test_streams_differ():
    streams = {(s, p, n): tuple(stream_key(s, p, n)) for s in (0, 1) for p in ((1,), (2, 3))
               for n in (0, 1)}  # fmt: skip
    assert len(set(streams.values())) == len(streams)
    sampling, logits = Sampling(1.0), np.zeros(1000)
    a, b = draw(sampling, logits, 50)[0], draw(sampling, logits, 50, seed=1)[0]
    assert (a != b).mean() > 0.9 and len(set(a)) > 40


@pytest.mark.parametrize(
    ("name", "value"),
    [("temperature", -0.1), ("top_k", -1), ("top_p", 0.0), ("top_p", 1.1),
     ("repetition_penalty", 0.0), ("temperature", float("nan")),
     ("frequency_penalty", float("inf")), ("no_repeat_ngram_size", -1),
     ("temperature", 1e-38), ("frequency_penalty", 1e39), ("presence_penalty", -1e30),
     ("repetition_penalty", float("nan")), ("top_k", 2**40)],
)  # fmt: skip
def test_values_out_of_range(name, value):
    with pytest.raises(UserError, match=f"{name}=.* must be"):
        Sampling(**{name: value})


@pytest.mark.slow
@pytest.mark.parametrize("sign", [-1, 1])
def test_scores_stay_finite_at_the_limits(sign):
    sampling = Sampling(
        1e-6,
        repetition_penalty=1e-10,
        frequency_penalty=sign * 1e10,
        presence_penalty=sign * 1e10,
    )
    logits = np.array([[100.0, 99.0, -3.0, -100.0]], np.float32)
    counts = np.array([[2000, 2000, 1999, 0]], np.int32)
    none = np.zeros(1, np.int32)
    past = History(counts > 0, counts)
    row = SamplerInput(stream_key(0, [1], 0)[None], none, none, past, numbers_of([sampling]))
    tokens, logprobs = choose(sampling.rule, jnp.asarray(logits), row)
    assert np.isfinite(logprobs).all()
    # Costs drive to the token that was never used, rewards to the best of the most used.
    assert tokens.tolist() == [3 if sign > 0 else 0]
