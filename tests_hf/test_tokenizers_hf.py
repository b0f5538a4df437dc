"""Tokenizers on every file of the standard library, the tests among them."""

import os
import sysconfig
from pathlib import Path

import pytest
from transformers import AutoTokenizer, CodeGenTokenizerFast

from phi1_jax.tokens.huggingface import WHITE_SPACE, read_tokenizer, write_tokenizer
from phi1_jax.tokens.load import load_byte_pair, load_tokenizer
from phi1_jax.tokens.sentencepiece_bpe import train_tokenizer

GPT2 = Path(os.environ.get("GPT2_FOLDER", Path(__file__).parents[2] / "shared/data/gpt2"))
needs_gpt2 = pytest.mark.skipif(
    not (GPT2 / "merges.txt").exists(),
    reason=f"CodeGen's tokenizer NOT COMPARED: {GPT2} lacks GPT-2's vocab.json and merges.txt;"
    " name a folder with them in GPT2_FOLDER",
)


@pytest.fixture(scope="module")
def texts():
    paths = sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py"))
    texts = [p.read_text(encoding="utf-8", errors="replace") for p in paths if "site-packages"
             not in p.parts]  # fmt: skip
    assert len(texts) > 1000
    return texts


@needs_gpt2
def test_codegen(texts, tmp_path):
    theirs = CodeGenTokenizerFast.from_pretrained(GPT2)
    theirs.add_tokens(WHITE_SPACE)
    read_tokenizer(GPT2).save(tmp_path / "ours")
    ours = load_tokenizer(tmp_path / "ours")
    assert ours.vocab_size == len(theirs) == 50_295
    assert ours.eot_id == theirs.eos_token_id == 50_256
    write_tokenizer(load_byte_pair(tmp_path / "ours"), tmp_path / "out", 2048)
    exported = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert exported.eos_token_id == 50_256 and exported.model_max_length == 2048
    rows = ours.encode_batch(texts)
    assert rows == theirs(texts, add_special_tokens=False)["input_ids"]
    assert rows == exported(texts, add_special_tokens=False)["input_ids"]
    for text, row in zip(texts, rows, strict=True):
        assert ours.decode(row) == text


def test_sentencepiece(texts, tmp_path):
    ours = train_tokenizer(texts[::10], 2048)
    ours.save(tmp_path / "ours")
    write_tokenizer(load_byte_pair(tmp_path / "ours"), tmp_path / "out", 2048)
    exported = AutoTokenizer.from_pretrained(tmp_path / "out")
    rows = ours.encode_batch(texts)
    assert exported(texts)["input_ids"] == rows
    assert exported.batch_decode(rows) == texts
    assert exported.eos_token_id == ours.eot_id
