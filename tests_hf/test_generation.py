"""An exported model generates, token for token, what `generate` of transformers does."""

import numpy as np
import pytest
import torch
from conftest import random_model
from transformers import AutoModelForCausalLM

from phi1_jax.generate.generator import Generator
from phi1_jax.interop.huggingface import read_folder, write_folder


class Numbers:
    """Texts are numbers with spaces between, so that any token can stand in a prompt."""

    vocab_size, eot_id, stop_ids, fingerprint = 300, 0, frozenset({0}), "numbers"

    def encode_batch(self, texts):
        return [list(map(int, text.split())) for text in texts]

    def decode(self, ids):
        return "".join(f"{i} " for i in ids if i != self.eot_id)


PROMPTS = [np.random.default_rng(n).integers(1, 300, n).tolist() for n in (1, 5, 17, 40, 60)]
TEXTS = [" ".join(map(str, prompt)) for prompt in PROMPTS]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    random_model(num_hidden_layers=3).save_pretrained(folder / "in")
    config, params = read_folder(folder / "in")
    write_folder(folder / "out", config, params, special_ids={"eos_token_id": 0})
    theirs = AutoModelForCausalLM.from_pretrained(folder / "out").eval()
    return Generator(config, params, Numbers()), theirs


@pytest.mark.parametrize(("penalty", "ngram"), [(1.0, 0), (1.3, 0), (1.0, 1), (1.0, 2), (1.1, 3)])
def test_greedy(both, penalty, ngram):
    ours, theirs = both
    controls = {"repetition_penalty": penalty, "no_repeat_ngram_size": ngram}
    found = ours.generate(TEXTS, max_new_tokens=60, **controls)
    lengths = set()
    for prompt, (completion,) in zip(PROMPTS, found, strict=True):
        want = theirs.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            max_new_tokens=60,
            do_sample=False,
            pad_token_id=0,
            **controls,
        )[0, len(prompt) :].tolist()
        assert completion.token_ids == want
        lengths.add(tuple(want[:10]))
    assert len(lengths) == len(PROMPTS)


def test_filters_keep_what_transformers_keeps(both):
    import jax.numpy as jnp
    from transformers import TopKLogitsWarper, TopPLogitsWarper

    from phi1_jax.generate.sampling import keep_top

    logits = torch.randn(20, 300, generator=torch.Generator().manual_seed(0)) * 3
    for k, p in ((1, 0.9), (10, 0.5), (50, 0.95), (300, 0.8)):
        want = TopPLogitsWarper(p)(None, TopKLogitsWarper(k)(None, logits))
        ours = np.asarray(keep_top(jnp.asarray(logits.numpy()), jnp.int32(k), jnp.float32(p)))
        np.testing.assert_array_equal(ours > -1e38, torch.isfinite(want).numpy())
