"""Bits per byte of reference solutions, against the definition written out in NumPy float64."""

import dataclasses
import math

import jax
import numpy as np
import phi_numpy
import pytest
from flax import nnx

from phi1_jax.corpus.problems import Problem
from phi1_jax.errors import UserError
from phi1_jax.evaluate import bits_per_byte
from phi1_jax.evaluate.benchmarks import humaneval
from phi1_jax.evaluate.bits_per_byte import SolutionBits, cut_rows, solution_bits, summarize
from phi1_jax.evaluate.in_training import benchmark_evaluator
from phi1_jax.evaluate.samples import SamplingPlan
from phi1_jax.model.phi import Phi

pytestmark = pytest.mark.slow  # what all share takes seconds


class PairTokenizer:
    """A byte an id, but for "): " and "\\n    ", so that a prompt's end joins its solution."""

    vocab_size, eot_id = 260, 256
    merged = (b"): ", b"\n    ")

    def encode_batch(self, texts):
        return [self.encode(text) for text in texts]

    def encode(self, text):
        data, ids = text.encode(), []
        while data:
            number = next((i for i, m in enumerate(self.merged) if data.startswith(m)), None)
            ids.append(data[0] if number is None else 257 + number)
            data = data[1 if number is None else len(self.merged[number]) :]
        return ids


@pytest.fixture(scope="module")
def model(tiny_model):
    config = dataclasses.replace(tiny_model, max_seq_len=40)
    params = nnx.to_pure_dict(nnx.state(Phi(config, nnx.Rngs(0)), nnx.Param))
    keys = iter(jax.random.split(jax.random.key(1), 99))
    return config, jax.tree.map(lambda x: x + 0.2 * jax.random.normal(next(keys), x.shape), params)


def benchmark(*pairs):
    problems = [
        Problem(f"own/{i}", prompt, "f", solution, "def check(f): pass\n")
        for i, (prompt, solution) in enumerate(pairs)
    ]
    return humaneval(problems, "own")


def surprise(model, ids):
    """-log2 p of each of `ids` but the first, given those before it."""
    config, params = model
    params = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    logits = phi_numpy.phi(config, params, ids)
    logprobs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return [-logprobs[t - 1, ids[t]] / math.log(2) for t in range(1, len(ids))]


def test_a_solution_takes_the_bits_of_its_tokens_given_the_prompt(model, byte_tokenizer):
    pairs = [("def f(x):\n", "    return 1\n"), ("def f(é):\n", "    return 'é'\n")]
    for result, (prompt, solution) in zip(
        solution_bits(benchmark(*pairs), *model, byte_tokenizer), pairs, strict=True
    ):
        ids, n = byte_tokenizer.encode(prompt + solution), len(solution.encode())
        assert result.bits == pytest.approx(sum(surprise(model, ids)[-n:]), rel=1e-5)
        assert (result.n_bytes, result.n_tokens, result.n_cut, result.n_pieces) == (n, n, 0, 1)


def test_the_first_token_that_differs_from_the_prompts_own_counts(model):
    tokenizer = PairTokenizer()
    # Alone the prompt ends in the two tokens ")" and ":"; with the solution "): " is one.
    (result,) = solution_bits(benchmark(("def f(x):", " pass\n")), *model, tokenizer)
    ids = tokenizer.encode("def f(x): pass\n")
    assert ids[7] == 257
    assert result.n_tokens == 6
    assert result.n_bytes == 6
    assert result.bits == pytest.approx(sum(surprise(model, ids)[6:]), rel=1e-5)


def test_what_does_not_fit_the_context_is_cut_from_the_left(model, byte_tokenizer):
    prompt, solution = "# a comment of some length\ndef f(x):\n", "    return x + 1\n"
    (result,) = solution_bits(benchmark((prompt, solution)), *model, byte_tokenizer)
    ids = byte_tokenizer.encode(prompt + solution)
    assert result.n_cut == len(ids) - 40
    expected = sum(surprise(model, ids[-40:])[-len(solution) :])
    assert result.bits == pytest.approx(expected, rel=1e-5)


def test_every_token_of_a_solution_longer_than_the_context_counts_once(model, byte_tokenizer):
    prompt, solution = "def f(x):\n", "    x = x * 10 - 3\n" * 4 + "    return x\n"
    (result,) = solution_bits(benchmark((prompt, solution)), *model, byte_tokenizer)
    ids = byte_tokenizer.encode(prompt + solution)
    expected, end = 0.0, len(ids)
    for n in (39, 39):  # rows of 40 tokens of which the first is not scored
        expected += sum(surprise(model, ids[end - 40 : end]))
        end -= n
    left = len(solution) - 78
    expected += sum(surprise(model, ids[:end])[-left:])
    assert (result.n_tokens, result.n_pieces, result.n_cut) == (len(solution), 3, len(ids) - 40)
    assert result.bits == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("n", "first"), [(1, 1), (9, 3), (10, 9), (11, 1), (28, 1), (30, 29)])
def test_rows_score_each_token_of_the_solution_once_with_one_before_it(n, first):
    rows = cut_rows(n, first, 10)
    scored = [i for start, counted, end in rows for i in range(counted, end)]
    assert sorted(scored) == list(range(first, n))
    for start, counted, end in rows:
        assert 0 <= start < counted
        assert end - start <= 10


def test_an_empty_prompt_is_an_end_of_text(model, byte_tokenizer):
    (result,) = solution_bits(benchmark(("", "def f(x): return x\n")), *model, byte_tokenizer)
    expected = sum(surprise(model, [256, *b"def f(x): return x\n"]))
    assert result.bits == pytest.approx(expected, rel=1e-5)


def test_a_model_that_knows_nothing_takes_the_bits_of_its_vocabulary(model, byte_tokenizer):
    config, params = model
    zeros = jax.tree.map(np.zeros_like, params)
    many = benchmark(*[(f"def f{i}(x):\n", "    return x\n" * (i + 1)) for i in range(9)])
    results = solution_bits(many, config, zeros, byte_tokenizer, batch_size=4)
    summary = summarize(results)
    for key in ("value", "low", "high"):
        assert summary[key] == pytest.approx(math.log2(config.vocab_size), rel=1e-6)
    assert summary["n_bytes"] == sum(13 * (i + 1) for i in range(9))
    assert (summary["n_tasks"], summary["n_cut"], summary["n_in_pieces"]) == (9, 7, 6)


def test_batches_do_not_change_the_bits(model, byte_tokenizer):
    many = benchmark(*[(f"def {'f' * i}x():\n", f"    return {i}\n") for i in range(7)])
    whole = solution_bits(many, *model, byte_tokenizer)
    one = solution_bits(many, *model, byte_tokenizer, batch_size=1)
    np.testing.assert_allclose([r.bits for r in one], [r.bits for r in whole], rtol=1e-5)


def test_a_problem_without_a_solution_is_named(model, byte_tokenizer):
    with pytest.raises(UserError, match="own: own/1 has no reference solution"):
        solution_bits(benchmark(("a", "b"), ("a", "")), *model, byte_tokenizer)


def results(bits, n_bytes=(100, 50, 200, 80) * 10):
    rows = zip(bits, n_bytes, strict=True)
    return [SolutionBits(f"own/{i}", b, n, n, 0, 1) for i, (b, n) in enumerate(rows)]


def test_a_solution_that_repeats_its_prompt_is_named(model, byte_tokenizer):
    head, body = 'def f(x):\n    "x"\n', "    return x\n"
    pairs = [(head, body), (head, head + body)]
    with pytest.raises(UserError, match=r"own/1 defines f again, .* follows the prompt alone"):
        solution_bits(benchmark(*pairs), *model, byte_tokenizer)


def test_the_measure_weighs_bytes_and_its_interval_is_over_problems():
    some = results([200.0, 150.0, 300.0, 80.0] * 10)
    summary = summarize(some)
    assert summary["value"] == pytest.approx(730 / 430)
    generator = np.random.default_rng(7)
    pairs = np.array([(r.bits, r.n_bytes) for r in some])
    drawn = pairs[generator.integers(0, 40, (20_000, 40))].sum(axis=1)
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [0.025, 0.975])
    assert summary["low"] == pytest.approx(low, abs=0.02)
    assert summary["high"] == pytest.approx(high, abs=0.02)


def test_paired_differences_are_sharper_than_the_models_own_intervals():
    hard = np.random.default_rng(0).uniform(50, 500, 40)
    models = {"a": results(hard), "b": results(hard * 0.9), "c": results(hard * 0.5)}
    found = bits_per_byte.paired_differences(models)
    assert [(r["model"], r["baseline"]) for r in found] == [("b", "a"), ("c", "a"), ("c", "b")]
    value = {name: summarize(rows) for name, rows in models.items()}
    for row in found:
        expected = value[row["model"]]["value"] - value[row["baseline"]]["value"]
        assert row["difference"] == pytest.approx(expected)
        assert row["low"] < row["difference"] < row["high"] < 0
    assert value["b"]["high"] > value["a"]["low"]  # the two intervals alone do not tell
    with pytest.raises(ValueError, match="b and a were measured on different problems"):
        bits_per_byte.paired_differences({"a": results(hard), "b": results(hard)[1:]})


@pytest.mark.parametrize(
    "line", ['{"task_id": "T/0"}', '{"task_id": "T/0', "[1]", '{"a": 1}', ""]
)  # fmt: skip
def test_damaged_results_are_named(line, tmp_path):
    path = tmp_path / "bits.jsonl"
    bits_per_byte.write_results(path, results([1.0], (5,)))
    path.write_text(path.read_text() + line + "\n" if line else '{"bits": NaN}\n')
    with pytest.raises(UserError, match=r"bits\.jsonl, line"):
        bits_per_byte.read_results(path)


def test_results_are_saved_per_problem(tmp_path):
    some = results([200.0, 150.0, 300.0, 80.0] * 10)
    bits_per_byte.write_results(tmp_path / "bits.jsonl", some)
    assert bits_per_byte.read_results(tmp_path / "bits.jsonl") == some


def test_the_measure_is_a_curve_while_training_without_any_execution(
    model, byte_tokenizer, tmp_path
):
    some = benchmark(("def f(x):\n", "    return 1\n"))
    config, params = model
    plan = SamplingPlan()
    evaluate = benchmark_evaluator(
        some, None, config, byte_tokenizer, tmp_path, plan, ["solution_bits_per_byte"]
    )
    points = evaluate(20, params)
    saved = bits_per_byte.read_results(tmp_path / "evaluate/own/20/bits_per_byte.jsonl")
    assert saved == solution_bits(some, config, params, byte_tokenizer)
    assert points == {"solution_bits_per_byte": summarize(saved)["value"]}
