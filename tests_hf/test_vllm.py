"""vLLM completes as we do from an exported folder; it has an environment of its own."""

import json
from pathlib import Path

import pytest
from conftest import random_model

from phi1_jax.generate.generator import Generator
from phi1_jax.interop.huggingface import read_folder
from phi1_jax.tokens.huggingface import read_tokenizer, write_tokenizer
from phi1_jax.tokens.load import load_byte_pair
from phi1_jax.tokens.sentencepiece_bpe import train_tokenizer

vllm = pytest.importorskip("vllm", reason="NOT COMPARED with vLLM: pip install vllm")


@pytest.mark.filterwarnings("default")  # vLLM imports what torch calls deprecated
def test_vllm_gives_the_same_tokens_greedily(tmp_path):
    random_model(vocab_size=420, hidden_size=128, num_attention_heads=2).save_pretrained(tmp_path)
    train_tokenizer([Path(json.__file__).read_text() * 3], 420).save(tmp_path / "tokenizer")
    write_tokenizer(load_byte_pair(tmp_path / "tokenizer"), tmp_path, 128)
    prompts = ["import json\n", "def f(x):\n    return"]
    ours = Generator(*read_folder(tmp_path), read_tokenizer(tmp_path))
    # By default it takes nearly all memory that there is, and fails where something else runs.
    options = {"enforce_eager": True, "max_model_len": 128, "gpu_memory_utilization": 0.2}
    theirs = vllm.LLM(str(tmp_path), dtype="float32", **options)
    greedy = vllm.SamplingParams(temperature=0, max_tokens=32, ignore_eos=True)
    for (sample,), reply in zip(
        ours.generate(prompts, max_new_tokens=32), theirs.generate(prompts, greedy), strict=True
    ):
        assert list(reply.outputs[0].token_ids)[: len(sample.token_ids)] == sample.token_ids
