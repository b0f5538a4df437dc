import dataclasses
from collections import deque

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from phi1_jax.config import MeshConfig
from phi1_jax.errors import UserError
from phi1_jax.generate import batch
from phi1_jax.generate.generator import Generator
from phi1_jax.generate.sampling import stream_key
from phi1_jax.generate.score import token_logprobs
from phi1_jax.generate.settings import Sampling
from phi1_jax.model.phi import Phi
from phi1_jax.model.sharding import make_mesh, param_shardings
from phi1_jax.run.checkpoint import write_model

pytestmark = pytest.mark.slow  # what all share takes seconds

# Of 1 to 44 tokens; the model's context has 64.
PROMPTS = ["def f(x):", "x", "", "import os\nimport sys\n" * 2, "é" * 20, "    return " * 4]


@pytest.fixture(scope="module")
def state(tiny_model):
    """A model with opinions: its initial values times five.

    At ten times, rounding alone moves float32 logits by more than the tolerance of these tests.
    """
    state = nnx.state(Phi(tiny_model, nnx.Rngs(1)), nnx.Param)
    state = jax.tree.map(lambda x: x * 5 if x.ndim > 1 else x, state)
    ids = jnp.arange(tiny_model.vocab_size)
    # ASCII without an end; padding of the embedding would win if it could.
    bias = jnp.select([ids < 128, ids < 257], [0.0, -100.0], 20.0)
    state["head"]["bias"] = state["head"]["bias"].replace(bias)
    return state


@pytest.fixture(scope="module")
def params(state):
    return nnx.to_pure_dict(state)


@pytest.fixture(scope="module")
def generator(tiny_model, params, byte_tokenizer):
    return Generator(tiny_model, params, byte_tokenizer, chunk_tokens=8)


@pytest.fixture(scope="module")
def greedy(generator):
    return generator.generate(PROMPTS, max_new_tokens=20)


def ids_of(results):
    return [[c.token_ids for c in samples] for samples in results]


def test_greedy_is_the_best_token_of_the_uncached_model(tiny_model, params, generator, greedy):
    graph, _ = nnx.split(nnx.eval_shape(lambda: Phi(tiny_model, nnx.Rngs(0))), nnx.Param)
    read = jax.jit(lambda params, tokens: nnx.merge(graph, params)(tokens))
    for prompt, (found,) in zip(PROMPTS, greedy, strict=True):
        prompt_ids = generator.tokenizer.encode(prompt) or [256]
        tokens = np.zeros((1, tiny_model.max_seq_len), np.int32)
        whole = prompt_ids + found.token_ids
        tokens[0, : len(whole)] = whole
        logits = read(params, tokens)[0, len(prompt_ids) - 1 : len(whole) - 1]
        assert np.asarray(logits[:, :257].argmax(-1)).tolist() == found.token_ids
        # Of all that the model gives a score, as `score.token_logprobs` counts.
        chosen = jax.nn.log_softmax(logits)[jnp.arange(len(logits)), jnp.array(found.token_ids)]
        np.testing.assert_allclose(found.logprobs, chosen, rtol=0, atol=1e-5)
        assert found.finish_reason == "length" and len(found.token_ids) == 20
        assert found.text == generator.tokenizer.decode(found.token_ids)


def test_a_fingerprint_is_that_of_the_weights(tiny_model, params, byte_tokenizer, generator):
    assert Generator(tiny_model, params, byte_tokenizer).fingerprint == generator.fingerprint
    leaves, structure = jax.tree.flatten(params)
    for place in (0, len(leaves) - 1):
        changed = [leaf + 1e-3 if i == place else leaf for i, leaf in enumerate(leaves)]
        other = Generator(tiny_model, jax.tree.unflatten(structure, changed), byte_tokenizer)
        assert other.fingerprint != generator.fingerprint


def test_end_of_text_ends(tiny_model, params, byte_tokenizer, greedy):
    class OtherEnd(type(byte_tokenizer)):
        stop_ids = frozenset({greedy[0][0].token_ids[9], 256})

    other = Generator(tiny_model, params, OtherEnd(), chunk_tokens=8)
    found = other.generate(PROMPTS[:2] + PROMPTS[3:], max_new_tokens=20)
    for (short,), (whole,) in zip(found, greedy[:2] + greedy[3:], strict=True):
        if OtherEnd.stop_ids & set(whole.token_ids):
            n = next(n for n, i in enumerate(whole.token_ids, 1) if i in OtherEnd.stop_ids)
            assert short.token_ids == whole.token_ids[:n]
            assert short.finish_reason == "eos"
        else:
            assert short.token_ids == whole.token_ids


@pytest.mark.parametrize("batch_size", [1, 5])
def test_greedy_does_not_depend_on_the_batch(generator, greedy, batch_size):
    found = generator.generate(PROMPTS, max_new_tokens=20, batch_size=batch_size)
    assert ids_of(found) == ids_of(greedy)
    for (a,), (b,) in zip(found, greedy, strict=True):
        np.testing.assert_allclose(a.logprobs, b.logprobs, rtol=0, atol=1e-5)


def test_prompts_enter_the_cache_in_place(generator, greedy, monkeypatch):
    given_up, insert = [], batch.insert

    def watch(spec, state, *rest):
        after = insert(spec, state, *rest)
        given_up.append(all(x.is_deleted() for x in jax.tree.leaves(state)))
        return after

    monkeypatch.setattr(batch, "insert", watch)
    found = generator.generate(PROMPTS, max_new_tokens=20, batch_size=5)
    assert ids_of(found) == ids_of(greedy)
    assert len(given_up) > 1 and all(given_up)


def test_greedy_does_not_depend_on_company_chunks_or_refilling(
    tiny_model, params, byte_tokenizer, greedy
):
    other = Generator(tiny_model, params, byte_tokenizer, chunk_tokens=3)
    order = [3, 0, 5, 4, 0, 2, 1, 0]
    found = other.generate([PROMPTS[i] for i in order], max_new_tokens=20, batch_size=4)
    assert ids_of(found) == [ids_of(greedy)[i] for i in order]


def test_greedy_on_eight_devices(tiny_model, state, byte_tokenizer, greedy):
    assert len(jax.devices()) == 8
    mesh = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    params = nnx.to_pure_dict(state)
    params = jax.device_put(params, param_shardings(mesh, state))
    sharded = Generator(tiny_model, params, byte_tokenizer, chunk_tokens=8)
    assert sharded.mesh == mesh
    assert ids_of(sharded.generate(PROMPTS, max_new_tokens=20)) == ids_of(greedy)
    refilled = sharded.generate(PROMPTS, max_new_tokens=20, batch_size=4)
    assert ids_of(refilled) == ids_of(greedy)


def test_stop_strings_across_chunks(generator, greedy):
    for prompt, (whole,) in zip(PROMPTS, greedy, strict=True):
        for start in (0, 6, 7, 8):
            stop = whole.text[start : start + 3]
            if not stop:
                continue
            [[found]] = generator.generate([prompt], max_new_tokens=20, stop=["never", stop])
            assert found.text == whole.text[: whole.text.index(stop)]
            assert found.finish_reason == "stop"
            n = len(found.token_ids)
            assert found.token_ids == whole.token_ids[:n] and len(found.logprobs) == n
            assert stop in generator.tokenizer.decode(found.token_ids)
            assert stop not in generator.tokenizer.decode(found.token_ids[:-1])


def test_samples_are_the_same_alone_and_together(generator, monkeypatch):
    read, prefill = [], batch.prefill
    monkeypatch.setattr(batch, "prefill", lambda *a: read.extend(a[3]) or prefill(*a))
    options = {"max_new_tokens": 20, "temperature": 1.0, "seed": 5}
    found = generator.generate(PROMPTS, n_samples=3, batch_size=7, **options)
    assert len(read) == len(PROMPTS)  # each once, for all its samples
    texts = [c.token_ids for c in found[0]]
    assert len(set(map(tuple, texts))) == 3
    assert ids_of(generator.generate(PROMPTS[:1], n_samples=3, **options)) == [texts]
    assert ids_of(generator.generate(PROMPTS[:1], **options)) == [texts[:1]]
    other = generator.generate(PROMPTS[:1], **{**options, "seed": 6})
    assert ids_of(other) != [texts[:1]]


def test_an_open_batch_takes_rows_of_any_sampling_while_others_decode(generator):
    samplings = [
        Sampling(),
        Sampling(1.0, top_p=0.9),
        Sampling(0.7, repetition_penalty=1.1, frequency_penalty=0.5),
    ]
    want, rows = [], []
    for number, sampling in enumerate(samplings):
        ids, options = generator.tokenizer.encode(PROMPTS[number]), dataclasses.asdict(sampling)
        ids = ids or [256]
        [[alone]] = generator.generate([PROMPTS[number]], max_new_tokens=30, seed=3, **options)
        want.append(alone.token_ids)
        rows.append(batch.Row(number, 0, ids, 30, stream_key(3, ids, 0), sampling, ()))
    opened, found, sizes = generator.open_batch(4), {}, []
    for row in (*rows, None, None, None, None):
        if row:
            opened.waiting.append(row)
        for held, progress in generator.advance(opened):
            if progress.completion:
                found[held.prompt] = progress.completion.token_ids
        sizes.append(len(opened.rows))
    assert [found[number] for number in range(3)] == want
    assert sizes[:3] == [1, 4, 4] and sizes[-1] == 1  # on the CPU it has the rows that it needs
    assert generator.advance(opened) == []


@pytest.mark.parametrize("is_open", [False, True])
def test_rows_are_kept_when_the_cache_grows_for_longer_ones(
    tiny_model, params, byte_tokenizer, is_open
):
    """Longer prompts enter in the places of rows that have ended, wherever these stood."""
    config = dataclasses.replace(tiny_model, max_seq_len=512)
    generator = Generator(config, params, byte_tokenizer, chunk_tokens=8)
    lengths = [3, 5, 6, 8, 10, 120, 130, 135, 250, 260]
    limits = [8, 150, 16, 90, 8, 24, 200, 8, 40, 16]
    prompts = ["".join(chr(97 + (i * j) % 26) for j in range(n)) for i, n in enumerate(lengths)]
    rows = [
        batch.Row(i, 0, generator.tokenizer.encode(p), limit, stream_key(0, [], 0), Sampling(), ())
        for i, (p, limit) in enumerate(zip(prompts, limits, strict=True))
    ]
    opened, found = generator.open_batch(3), {}
    if not is_open:
        opened = batch.Batch(opened._spec, opened._weights, deque(rows), 3, 8)
        rows = []
    while len(found) < len(prompts):
        opened.waiting.extend(rows[:1])
        rows = rows[1:]
        advanced = generator.advance(opened)
        assert advanced, f"only {sorted(found)} have ended"
        found |= {row.prompt: p.completion.token_ids for row, p in advanced if p.completion}
    for index, (prompt, limit) in enumerate(zip(prompts, limits, strict=True)):
        [[alone]] = generator.generate([prompt], max_new_tokens=limit)
        assert found[index] == alone.token_ids


def test_options_take_effect(generator, greedy):
    options = {"max_new_tokens": 20, "temperature": 3.0}
    one_left = generator.generate(PROMPTS, top_k=1, **options)
    assert ids_of(one_left) == ids_of(greedy)
    assert ids_of(generator.generate(PROMPTS, **options)) != ids_of(one_left)
    [[found]] = generator.generate(["abc"], max_new_tokens=20, repetition_penalty=1e9)
    assert len(set(found.token_ids)) == len(found.token_ids)  # nothing twice
    assert not set(b"abc") & set(found.token_ids)
    for options in ({"frequency_penalty": 1e9}, {"presence_penalty": 1e9}):
        [[found]] = generator.generate(["abc"], max_new_tokens=20, **options)
        assert len(set(found.token_ids)) == len(found.token_ids)
    found = generator.generate(PROMPTS, max_new_tokens=20, no_repeat_ngram_size=2)
    assert ids_of(found) != ids_of(greedy)
    found = generator.generate(PROMPTS, max_new_tokens=20, no_repeat_ngram_size=10_000)
    assert ids_of(found) == ids_of(greedy)  # and it compiles in no more time


def test_prompts_too_long(generator):
    long = "0123456789" * 8
    with pytest.raises(UserError, match=r"prompt 1 has 80 tokens.*context of 64"):
        generator.generate(["x", long], max_new_tokens=10)
    # One that leaves some room is completed to where the context ends.
    [[found]] = generator.generate([long[:60]], max_new_tokens=10)
    assert len(found.token_ids) == 4 and found.finish_reason == "length"
    # Cut from the left, all prompts leave the same room: a longer one has no more than a shorter.
    cut = [long[:n] for n in (54, 55, 63, 64, 80)]
    found = generator.generate(cut, max_new_tokens=10, on_overflow="left")
    want = generator.generate([text[-54:] for text in cut], max_new_tokens=10)
    assert found == want and all(len(c.token_ids) == 10 for (c,) in found)
    with pytest.raises(UserError, match=r"max_new_tokens=64 does not fit .* at most 63 do"):
        generator.generate(["x"], max_new_tokens=64, on_overflow="left")


def test_dtypes_and_tokens_are_the_same_where_jax_counts_in_64_bits(generator, params, greedy):
    with jax.enable_x64(True):
        sampling = {"temperature": 1.0, "top_p": 0.9, "repetition_penalty": 1.1}
        drawn = generator.generate(PROMPTS[:2], max_new_tokens=5, **sampling)
        found = Generator(generator.config, params, generator.tokenizer, chunk_tokens=8)
        assert ids_of(found.generate(PROMPTS, max_new_tokens=20)) == ids_of(greedy)
    assert drawn == generator.generate(PROMPTS[:2], max_new_tokens=5, **sampling)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens=0 must be at least 1"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"n_samples": 2}, "n_samples=2 with temperature=0"),
        ({"temperature": -1.0}, "temperature=-1.0"),
        ({"temperature": "1"}, "temperature='1' must be at least 0"),
        ({"stop": "abc"}, "must be a list"),
        ({"stop": [""]}, "none of them empty"),
        ({"stop": ["x", 3]}, "must be a list of strings"),
        ({"on_overflow": "truncate"}, "on_overflow='truncate' must be error or left"),
        ({"prompts": "abc"}, "prompts='abc' must be a list"),
        ({"prompts": ["x", None]}, "prompt 1 must be text, not None"),
        ({"prompts": ["x", "a\ud800"]}, r"prompt 1 is not text in UTF-8: character 1 is '\\ud800'"),
    ],
)
def test_bad_options(generator, options, message):
    with pytest.raises(UserError, match=message):
        generator.generate(**{"prompts": ["x"], "max_new_tokens": 5, **options})


def test_any_iterable_and_numpys_numbers_do(generator, greedy):
    letter = greedy[0][0].text[5]
    found = generator.generate(
        (prompt for prompt in PROMPTS), max_new_tokens=np.int64(20), stop=(s for s in [letter])
    )
    assert found == generator.generate(PROMPTS, max_new_tokens=20, stop=[letter])
    assert found[0][0].finish_reason == "stop"


def test_scores_are_of_ids_that_there_are(tiny_model, params):
    for rows, options, words in (
        ([[1, -1]], {}, "ids must be from 0 to 263"),
        ([[1], [264, 2]], {}, "ids must be from 0 to 263"),
        ([[1, 2]], {"batch_size": 0}, "batch_size=0 must be at least 1"),
        ([[1], []], {}, "a row of 0 tokens"),
        (["a text"], {}, "each row must be a list of token ids"),
        ([1, 2], {}, "each row must be a list of token ids"),
    ):
        with pytest.raises(ValueError, match=words):
            token_logprobs(tiny_model, params, rows, **options)


def test_stream_refuses_before_its_first_text(generator):
    with pytest.raises(UserError, match="prompt 0 has 80 tokens"):
        generator.stream(["0123456789" * 8], Sampling(), max_new_tokens=5)


def test_no_prompts(generator):
    assert generator.generate([], max_new_tokens=5) == []


def test_stream_grows(generator, greedy):
    seen = {}
    for progress in generator.stream(PROMPTS, Sampling(), max_new_tokens=20):
        assert progress.text.startswith(seen.get(progress.prompt, ""))
        seen[progress.prompt] = progress.text
        if progress.completion:
            assert progress.completion == greedy[progress.prompt][0]
            assert progress.text == progress.completion.text
    assert len(seen) == len(PROMPTS)


def test_tokenizer_larger_than_the_model(tiny_model, params, byte_tokenizer):
    class Larger(type(byte_tokenizer)):
        vocab_size = 265

    with pytest.raises(UserError, match=r"265 pieces.*model\.vocab_size=264"):
        Generator(tiny_model, params, Larger())


def test_from_checkpoint(tmp_path, tiny_model, params, greedy, monkeypatch, byte_tokenizer):
    (tmp_path / "tokenizer").mkdir()
    write_model(tmp_path / "run", tiny_model, params, tmp_path / "tokenizer")
    monkeypatch.setattr("phi1_jax.interop.opened.load_tokenizer", lambda folder: byte_tokenizer)
    mesh = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    for options in ({}, {"step": 0, "mesh": mesh}):
        loaded = Generator.from_checkpoint(tmp_path / "run", chunk_tokens=8, **options)
        assert loaded.mesh == options.get("mesh")
        assert ids_of(loaded.generate(PROMPTS, max_new_tokens=20)) == ids_of(greedy)
    # Attention was chosen for the devices that trained; these have no cuDNN.
    trained = dataclasses.replace(tiny_model, attention="cudnn", compute_dtype="bfloat16")
    write_model(tmp_path / "gpu", trained, params, tmp_path / "tokenizer")
    loaded = Generator.from_checkpoint(tmp_path / "gpu", chunk_tokens=8)
    assert loaded.config == dataclasses.replace(trained, attention="auto")
    assert len(loaded.generate(["x"], max_new_tokens=4)[0][0].token_ids) == 4
    with pytest.raises(UserError, match="not a run's folder"):
        Generator.from_checkpoint(tmp_path / "nothing")
