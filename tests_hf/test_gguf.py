"""llama.cpp, through llama-cpp-python, generates from a GGUF file what we do: `make test-llama`."""

import itertools
import json
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
    import llama_cpp
except ImportError:
    pytestmark = pytest.mark.skip(
        reason="GGUF NOT COMPARED with llama.cpp: pip install llama-cpp-python (it is compiled)"
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
    return folder, tokenizer, Generator(config, params, tokenizer)


def load(path):
    exact = {"type_k": llama_cpp.GGML_TYPE_F32, "type_v": llama_cpp.GGML_TYPE_F32}
    return llama_cpp.Llama(str(path), n_ctx=128, verbose=False, **exact)


def test_llama_cpp_tokenizes_as_we_do(both):
    folder, tokenizer, _ = both
    theirs = load(folder / "f32.gguf")
    for text in (*PROMPTS, TEXT):
        ids = theirs.tokenize(text.encode(), add_bos=False, special=False)
        assert ids == tokenizer.encode(text)
        assert theirs.detokenize(ids).decode() == text
    assert theirs.token_eos() == tokenizer.eot_id


def test_llama_cpp_generates_the_same_tokens_greedily(both):
    folder, tokenizer, ours = both
    theirs = load(folder / "f32.gguf")
    for prompt, (completion,) in zip(
        PROMPTS, ours.generate(PROMPTS, max_new_tokens=48), strict=True
    ):
        theirs.reset()
        ids = tokenizer.encode(prompt) or [tokenizer.eot_id]
        found = theirs.generate(ids, top_k=1, temp=0.0, repeat_penalty=1.0)
        assert list(itertools.islice(found, len(completion.token_ids))) == completion.token_ids
        assert len(completion.token_ids) >= 32


def test_smaller_types_give_nearly_the_same_logits(both):
    folder, tokenizer, _ = both
    ids = tokenizer.encode(PROMPTS[0])
    logits = {}
    for kind in ("f32", "f16", "q8_0"):
        theirs = llama_cpp.Llama(
            str(folder / f"{kind}.gguf"), n_ctx=128, logits_all=True, verbose=False
        )
        theirs.eval(ids)
        logits[kind] = np.array(theirs.scores[: len(ids), : tokenizer.vocab_size])
    spread = logits["f32"].std()
    assert np.abs(logits["f16"] - logits["f32"]).max() < 0.02 * spread
    assert np.abs(logits["q8_0"] - logits["f32"]).max() < 0.2 * spread
