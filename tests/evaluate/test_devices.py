"""A model that is evaluated on several devices: the same samples and scores as on one."""

from itertools import chain

import jax
import numpy as np
from flax import nnx

from phi1_jax.config import ModelConfig
from phi1_jax.evaluate.evaluate import Checkpoint
from phi1_jax.generate.generator import Generator
from phi1_jax.generate.score import token_logprobs
from phi1_jax.model.phi import Phi
from phi1_jax.run.checkpoint import load_model, write_model
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
    _, spread, tokenizer = checkpoint.load()
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
