"""What a run evaluates while it trains: refused before the first step, never after hours."""

from dataclasses import replace

import pytest

from phi1_jax.corpus.problems import Problem, write_problems
from phi1_jax.errors import UserError
from phi1_jax.evaluate.benchmarks import read_benchmark
from phi1_jax.evaluate.in_training import open_evaluators, samples_evaluator
from phi1_jax.tokens.sentencepiece_bpe import train_tokenizer

BITS = ("solution_bits_per_byte",)


@pytest.fixture(scope="module")
def config(run_config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(["def f(x):\n    return x\n"] * 50, 280).save(folder)
    return replace(
        run_config,
        model=replace(run_config.model, vocab_size=280),
        data=replace(run_config.data, tokenizer=str(folder)),
        eval_every_steps=10,
    )


@pytest.mark.parametrize("name", ["validation.jsonl", "samples.jsonl", "train.jsonl"])
def test_a_benchmark_with_the_name_of_another_curve_is_refused(config, tmp_path, name):
    path = tmp_path / "problems.jsonl"
    write_problems(path, [Problem("own/1", "def f(x):\n", "f", "    return x\n", "")])
    with open_evaluators(config, tmp_path, read_benchmark(str(path)), BITS) as found:
        assert list(found) == ["problems"]
    path = path.rename(tmp_path / name)
    with (
        pytest.raises(UserError, match=f"{path.name}: its curves would be {path.stem}/"),
        open_evaluators(config, tmp_path, read_benchmark(str(path)), BITS),
    ):
        pass


def test_a_problem_without_a_solution_is_refused_at_the_start(config, tmp_path):
    prompt = 'def f(x):\n    """x"""\n'
    write_problems(path := tmp_path / "own.jsonl", [Problem("own/1", prompt, "f", "", "")])
    problems = read_benchmark(str(path))
    with (
        pytest.raises(UserError, match="own/1 has no reference solution"),
        open_evaluators(config, tmp_path, problems, BITS),
    ):
        pass


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"prompts": ["\udcff"]}, "prompt 0 is not text in UTF-8"),
        ({"prompts": ["x"], "max_new_tokens": 9999}, "--eval_max_new_tokens=9999: the model's"),
    ],
)
def test_what_cannot_be_drawn_is_refused_at_the_start(config, tmp_path, options, words):
    with pytest.raises(UserError, match=words), open_evaluators(config, tmp_path, **options):
        pass


def test_a_prompt_longer_than_the_context_is_cut(tiny_model, byte_tokenizer):
    from flax import nnx

    from phi1_jax.model.phi import Phi

    params = nnx.to_pure_dict(nnx.state(Phi(tiny_model, nnx.Rngs(0)), nnx.Param))
    long = "x = 1\n" * tiny_model.max_seq_len
    points = samples_evaluator([long], tiny_model, byte_tokenizer, 4)(0, params)
    assert points["completions"].startswith("    x = 1\n")
