"""llama.cpp, its server as the wheel xllamacpp has it, generates from a GGUF file what we do."""

import json
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from conftest import random_model
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from phi1_jax.generate.generator import Generator
from phi1_jax.interop.gguf import write_gguf
from phi1_jax.interop.huggingface import read_folder
from phi1_jax.interop.tokenizers import codegen, from_sentencepiece
from phi1_jax.tokens.sentencepiece_bpe import train_tokenizer

try:
    import xllamacpp
except ImportError:
    pytestmark = pytest.mark.skip(
        reason="GGUF NOT COMPARED with llama.cpp: pip install xllamacpp (a wheel of 20 MB)"
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


class LlamaCpp:
    """llama.cpp's server on a file, asked over HTTP."""

    def __init__(self, path):
        params = xllamacpp.CommonParams()
        params.model.path, params.n_ctx, params.n_parallel = str(path), 128, 1
        params.port, params.warmup, params.verbosity = 0, False, -1
        params.cpuparams.n_threads = 1
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self._server = xllamacpp.Server(params)

    def ask(self, path, **values):
        request = urllib.request.Request(
            f"{self._server.listening_address}/{path}",
            json.dumps(values).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as reply:
            return json.loads(reply.read())

    def generate(self, ids, n_tokens, n_probs=1):
        greedy = {"temperature": 0.0, "top_k": 1, "cache_prompt": False}
        return self.ask(
            "completion", prompt=ids, n_predict=n_tokens, n_probs=n_probs, return_tokens=True,
            **greedy,
        )  # fmt: skip


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
    ids, logprobs = tokenizer.encode(PROMPTS[0]), {}
    for kind in ("f32", "f16", "q8_0"):
        reply = LlamaCpp(folder / f"{kind}.gguf").generate(ids, 1, tokenizer.vocab_size)
        (position,) = reply["completion_probabilities"]
        found = {p["id"]: p["logprob"] for p in position["top_logprobs"]}
        logprobs[kind] = np.array([found[i] for i in range(tokenizer.vocab_size)])
    spread = logprobs["f32"].std()
    assert np.abs(logprobs["f16"] - logprobs["f32"]).max() < 0.02 * spread
    assert np.abs(logprobs["q8_0"] - logprobs["f32"]).max() < 0.2 * spread
