"""Models on devices: several give the same samples and scores as one; one model at a time."""

import gc
import weakref
from itertools import chain

import jax
import numpy as np
from flax import nnx

from phi1_jax import load_model
from phi1_jax.config import ModelConfig
from phi1_jax.corpus.problems import Problem
from phi1_jax.evaluate import bits_per_byte, evaluate
from phi1_jax.evaluate.benchmarks import humaneval
from phi1_jax.evaluate.bits_per_byte import SolutionBits
from phi1_jax.evaluate.evaluate import BITS_PER_BYTE, Checkpoint, EvaluationConfig
from phi1_jax.evaluate.samples import SamplingPlan
from phi1_jax.generate.generator import Generator
from phi1_jax.generate.score import token_logprobs
from phi1_jax.model.phi import Phi
from phi1_jax.run.checkpoint import write_model
from phi1_jax.tokens.sentencepiece_bpe import train_tokenizer


def test_all_devices_are_used_and_change_nothing(tmp_path):
    lines = [f"def f{i}(x):\n    return x + {i}\n# {'abcdefghij'[i % 10] * 9}" for i in range(400)]
    train_tokenizer(lines, 320).save(tmp_path / "tokenizer")
    config = ModelConfig(
        vocab_size=320, n_layers=1, d_model=16, d_mlp=32, n_heads=2, rotary_dim=4, max_seq_len=64
    )
    params = nnx.to_pure_dict(nnx.state(Phi(config, nnx.Rngs(0)), nnx.Param))
    write_model(tmp_path / "run", config, params, tmp_path / "tokenizer")

    checkpoint = Checkpoint(str(tmp_path / "run"))
    spread, tokenizer = checkpoint.weights, checkpoint.tokenizer
    assert all(len(leaf.sharding.device_set) == 8 for leaf in jax.tree.leaves(spread))
    _, single = load_model(tmp_path / "run")
    assert all(len(leaf.sharding.device_set) == 1 for leaf in jax.tree.leaves(single))
    rows = tokenizer.encode_batch(lines[:5])
    for ours, theirs in zip(
        token_logprobs(config, spread, rows), token_logprobs(config, single, rows), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)

    options = {"max_new_tokens": 8, "n_samples": 3, "temperature": 0.7, "batch_size": 4}
    prompts = ["def f1(x):", "", "    return"]
    made = checkpoint.generate(prompts, **options)
    expected = Generator(config, single, tokenizer).generate(prompts, **options)
    for ours, theirs in zip(chain(*made), chain(*expected), strict=True):
        assert ours.token_ids == theirs.token_ids
        np.testing.assert_allclose(ours.logprobs, theirs.logprobs, atol=1e-5)


class Weights:
    """In the place of a model's."""


def test_one_model_is_in_memory_at_a_time(tmp_path, monkeypatch, byte_tokenizer):
    loaded = []

    def measure(benchmark, config, weights, tokenizer):
        gc.collect()
        assert all(earlier() is None for earlier in loaded)
        loaded.append(weakref.ref(weights))
        return [SolutionBits(task.task_id, 8.0, 8, 2, 0, 1) for task in benchmark.tasks]

    monkeypatch.setattr(bits_per_byte, "solution_bits", measure)
    parts = {"config": None, "tokenizer": byte_tokenizer, "identity": "weights"}
    for name, value in parts.items():
        monkeypatch.setattr(Checkpoint, name, value)
    monkeypatch.setattr(Checkpoint, "params", lambda self, shardings: Weights())
    problem = Problem("own/0", "def f(x):\n", "f", "    return x\n", "")
    evaluate.evaluate_checkpoints(
        [Checkpoint(f"{name}={tmp_path}") for name in ("a", "b")],
        humaneval([problem], "own"),
        tmp_path / "out",
        EvaluationConfig(metrics=(BITS_PER_BYTE,)),
        SamplingPlan(),
    )
    assert len(loaded) == 2
