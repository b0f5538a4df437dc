"""GGUF files as the library of that name reads them; tests_hf/test_gguf.py asks llama.cpp."""

import json
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFReader, dequantize
from safetensors.numpy import load_file

from phi1_jax.errors import UserError
from phi1_jax.interop.gguf import write_gguf
from phi1_jax.interop.huggingface import read_folder
from phi1_jax.tokens.byte_pair import BytePairTokenizer
from phi1_jax.tokens.huggingface import codegen

MODEL = Path(__file__).parents[1] / "fixtures" / "phi" / "model"


@pytest.fixture(scope="module")
def model():
    return read_folder(MODEL)


@pytest.fixture(scope="module")
def tokenizer():
    return codegen({"a": 0, "b": 1, "ab": 2, "<|endoftext|>": 3}, [("a", "b")])


@pytest.mark.parametrize(("kind", "error"), [("f32", 0), ("f16", 1e-3), ("q8_0", 1e-3)])
def test_tensors_are_those_of_the_model(tmp_path, model, tokenizer, kind, error):
    write_gguf(tmp_path / "x.gguf", *model, tokenizer, kind)
    found = {
        t.name: dequantize(t.data, t.tensor_type) for t in GGUFReader(tmp_path / "x.gguf").tensors
    }
    want = load_file(MODEL / "model.safetensors")
    assert len(found) == len(want)
    for ours, theirs in (
        ("token_embd.weight", "model.embed_tokens.weight"),
        ("blk.1.attn_k.weight", "model.layers.1.self_attn.k_proj.weight"),
        ("blk.0.ffn_down.weight", "model.layers.0.mlp.fc2.weight"),
        ("blk.1.attn_norm.bias", "model.layers.1.input_layernorm.bias"),
        ("output.weight", "lm_head.weight"),
    ):
        assert np.abs(found[ours] - want[theirs]).max() <= error
    # Rows without a token are never chosen, here as there.
    n = tokenizer.vocab_size
    np.testing.assert_array_equal(found["output.bias"][:n], want["lm_head.bias"][:n])
    assert (found["output.bias"][n:] < -1e8).all() and n < 60


def test_tokens_and_the_shape_of_the_model_are_in_the_file(tmp_path, model, tokenizer):
    stops = BytePairTokenizer(
        tokenizer.tokenizer_json, [3, 1], {"tokenizer_config.json": {"chat_template": "{{ x }}"}}
    )
    write_gguf(tmp_path / "x.gguf", *model, stops)
    fields = GGUFReader(tmp_path / "x.gguf").fields
    values = {name: field.contents() for name, field in fields.items()}
    assert values["general.architecture"] == "phi2" and values["phi2.rope.dimension_count"] == 4
    assert values["tokenizer.ggml.tokens"][:4] == ["a", "b", "ab", "<|endoftext|>"]
    assert values["tokenizer.ggml.token_type"][2:5] == [1, 3, 4]
    assert len(values["tokenizer.ggml.tokens"]) == 60
    assert values["tokenizer.ggml.merges"] == ["a b"]
    # A token of its own that ends a text comes before the one that joins documents.
    assert values["tokenizer.ggml.eos_token_id"] == 1 and values["tokenizer.ggml.eot_token_id"] == 3
    assert values["tokenizer.chat_template"] == "{{ x }}"


def test_rules_that_llama_cpp_would_not_follow_are_refused(tmp_path, model, tokenizer):
    other = tokenizer.tokenizer_json.replace(b'"use_regex":true', b'"use_regex":false')
    values = json.loads(tokenizer.tokenizer_json)
    del values["decoder"]
    for content in (other, json.dumps(values).encode()):
        with pytest.raises(UserError, match="pre_tokenizer"):
            write_gguf(tmp_path / "x.gguf", *model, BytePairTokenizer(content))
