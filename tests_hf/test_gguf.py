"""llama.cpp, its server as the wheel xllamacpp has it, generates from a GGUF file what we do."""

import json
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from conftest import random_model
from flax import nnx
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from benchmarks.llama_cpp import LlamaCpp, is_installed
from configs import phi1_small
from phi1_jax.config import RunConfig
from phi1_jax.config_dict import from_dict
from phi1_jax.generate.generator import Generator
from phi1_jax.interop.gguf import write_gguf
from phi1_jax.interop.huggingface import read_folder
from phi1_jax.model.phi import Phi
from phi1_jax.tokens.huggingface import codegen, from_sentencepiece
from phi1_jax.tokens.sentencepiece_bpe import train_tokenizer

pytestmark = pytest.mark.skipif(
    not is_installed(),
    reason="GGUF NOT COMPARED with llama.cpp: pip install xllamacpp (a wheel of 20 MB)",
)

TEXT = Path(json.__file__).read_text(encoding="utf-8")
PROMPTS = [
    "import json\n\ndef f(x):\n    return x",
    "  \t\t\tcaf\u00e9 \u6f22\u5b57 1234  don't\n\n\n" + " " * 40 + "x",
    "",
]


def sentencepiece():
    return from_sentencepiece(train_tokenizer([TEXT * 3], 420)._model)


def bytes_of_gpt2():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([TEXT], trainer)
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    vocab = {**tokenizer.get_vocab(), "<|endoftext|>": 400}
    return codegen(vocab, [tuple(merge) for merge in merges])


@pytest.fixture(params=[sentencepiece, bytes_of_gpt2], scope="module")
def both(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("gguf")
    tokenizer = request.param()
    # More rows than tokens, as in the released phi-1.
    random_model(vocab_size=512, num_hidden_layers=3).save_pretrained(folder)
    config, params = read_folder(folder)
    for kind in ("f32", "f16", "q8_0"):
        write_gguf(folder / f"{kind}.gguf", config, params, tokenizer, kind)
    bias = params["head"]["bias"].copy()
    bias[tokenizer.eot_id] += 100
    ends = {**params, "head": {**params["head"], "bias": bias}}
    write_gguf(folder / "ends.gguf", config, ends, tokenizer, "f32")
    return folder, tokenizer, Generator(config, params, tokenizer)


def test_llama_cpp_tokenizes_as_we_do(both):
    folder, tokenizer, _ = both
    theirs = LlamaCpp(folder / "f32.gguf")
    for text in (*PROMPTS, TEXT):
        ids = theirs.ask("tokenize", content=text, add_special=False, parse_special=False)["tokens"]
        assert ids == tokenizer.encode(text)
        assert theirs.ask("detokenize", tokens=ids)["content"] == text


def test_llama_cpp_generates_the_same_tokens_greedily(both):
    folder, tokenizer, ours = both
    theirs = LlamaCpp(folder / "f32.gguf")
    for prompt, (completion,) in zip(
        PROMPTS, ours.generate(PROMPTS, max_new_tokens=48), strict=True
    ):
        ids = tokenizer.encode(prompt) or [tokenizer.eot_id]
        found = theirs.generate(ids, 48)
        assert len(completion.token_ids) >= 32
        assert found["tokens"][: len(completion.token_ids)] == completion.token_ids


def test_llama_cpp_ends_where_we_do(both):
    """The bias of the head makes end of text the likeliest token at once."""
    folder, tokenizer, _ = both
    theirs = LlamaCpp(folder / "ends.gguf")
    found = theirs.generate(tokenizer.encode(PROMPTS[0]), 48)
    assert (found["stop_type"], found["content"]) == ("eos", "")


def test_smaller_types_give_nearly_the_same_logits(both):
    folder, tokenizer, _ = both
    ids = tokenizer.encode(PROMPTS[0])
    compare_types(
        {
            kind: first_logprobs(LlamaCpp(folder / f"{kind}.gguf"), ids, tokenizer)
            for kind in ("f32", "f16", "q8_0")
        }
    )


def first_logprobs(theirs, ids, tokenizer):
    reply = theirs.generate(ids, 1, tokenizer.vocab_size)
    (position,) = reply["completion_probabilities"]
    found = {p["id"]: p["logprob"] for p in position["top_logprobs"]}
    return np.array([found[i] for i in range(tokenizer.vocab_size)])


def compare_types(logprobs):
    spread = logprobs["f32"].std()
    assert np.abs(logprobs["f16"] - logprobs["f32"]).max() < 0.02 * spread
    assert np.abs(logprobs["q8_0"] - logprobs["f32"]).max() < 0.2 * spread


@pytest.mark.slow
def test_350_million_random_parameters_give_the_same_tokens(tmp_path):
    """Their values are those of float16, so that f32 and f16 files hold the same model."""
    config = from_dict(RunConfig, phi1_small.get_config().to_dict()).model
    config = replace(config, compute_dtype="float32")
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(
        lambda: nnx.to_pure_dict(nnx.state(Phi(config, nnx.Rngs(0)), nnx.Param))
    )
    params = jax.tree.map(
        lambda x: (0.03 * rng.standard_normal(x.shape, np.float32)).astype(np.float16), shapes
    )
    for norm in (params["blocks"]["norm"], params["final_norm"]):
        norm["scale"] += np.float16(1)
    # Large embeddings: else what the layers add, much the same for every input, decides alone.
    params["embed"] = jax.tree.map(lambda x: x * np.float16(256), params["embed"])
    assert sum(x.size for x in jax.tree.leaves(params)) > 350e6
    tokenizer = bytes_of_gpt2()
    ours = Generator(config, jax.tree.map(lambda x: x.astype(np.float32), params), tokenizer)
    ((want,),) = ours.generate(PROMPTS[:1], max_new_tokens=32)
    assert len(set(want.token_ids)) > 16
    ids, logprobs = tokenizer.encode(PROMPTS[0]), {}
    for kind in ("f32", "f16", "q8_0"):
        write_gguf(tmp_path / "model.gguf", config, params, tokenizer, kind)
        theirs = LlamaCpp(tmp_path / "model.gguf")
        if kind != "q8_0":
            assert theirs.generate(ids, 32)["tokens"] == want.token_ids
        logprobs[kind] = first_logprobs(theirs, ids, tokenizer)
    compare_types(logprobs)
