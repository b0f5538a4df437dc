import sysconfig
from pathlib import Path

import numpy as np
import pytest
import sentencepiece

from phi1_jax.corpus.documents import Document, read_files
from phi1_jax.errors import UserError
from phi1_jax.tokens.load import load_tokenizer
from phi1_jax.tokens.sentencepiece_bpe import sample_texts, train_tokenizer

STDLIB = Path(sysconfig.get_path("stdlib"))
NASTY = [
    "",
    "\0",
    "a\0b",
    "\r\n\r",
    "\u2028\u2029\x85\x1c\x0b\x0c",
    "\u2581",
    "\u2581\u2581 \u2581a \u2581",
    " ",
    " " * 100 + "\t\t x",
    "\ufeffx",
    "<|endoftext|>",
    "<0x41><unk>",
    "e\u0301 \u00e9",
    "\U0001f600\u6f22\u5b57\ufffd\ud7ff\ue000",
    "\n" * 50,
]


@pytest.fixture(scope="module")
def files():
    paths = sorted(STDLIB.glob("*.py"))
    for package in ("email", "asyncio"):  # Python 3.13's library has fewer modules on its top level
        paths += sorted((STDLIB / package).rglob("*.py"))
    return list(read_files(paths, STDLIB, "stdlib", None, pytest.fail))


@pytest.fixture(scope="module")
def tokenizer(files):
    return train_tokenizer([d.text for d in files[:60]], 1024)


@pytest.mark.slow
def test_round_trip_is_exact_on_library_files_and_nasty_text(tokenizer, files):
    texts = [d.text for d in files] + NASTY
    rows = tokenizer.encode_batch(texts)
    assert len(texts) > 200
    for text, row in zip(texts, rows, strict=True):
        assert tokenizer.decode(row) == text
        assert tokenizer.eot_id not in row
        assert max(row, default=0) < tokenizer.vocab_size == 1024


def test_one_text_encodes_as_in_a_batch_and_end_of_text_decodes_to_nothing(tokenizer, files):
    texts = [files[0].text, *NASTY]
    assert [tokenizer.encode(text) for text in texts] == tokenizer.encode_batch(texts)
    assert tokenizer.decode([tokenizer.eot_id, *tokenizer.encode("x = 1"), tokenizer.eot_id]) == (
        "x = 1"
    )


@pytest.mark.slow
def test_training_is_deterministic_and_the_fingerprint_tells_models_apart(tokenizer, files):
    again = train_tokenizer([d.text for d in files[:60]], 1024)
    other = train_tokenizer([d.text for d in files[1:60]], 1024)
    assert again.fingerprint == tokenizer.fingerprint != other.fingerprint


def test_saved_model_is_read_by_sentencepiece_and_by_us(tokenizer, files, tmp_path):
    tokenizer.save(tmp_path)
    plain = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    loaded = load_tokenizer(tmp_path)
    text = files[3].text
    assert plain.encode(text) == loaded.encode(text) == tokenizer.encode(text)
    assert loaded.fingerprint == tokenizer.fingerprint
    assert plain.id_to_piece(loaded.eot_id) == "<|endoftext|>"
    rng = np.random.default_rng(0)
    for _ in range(300):  # among them half characters, unknowns, ends of text
        ids = rng.integers(0, 300, 20)
        assert loaded.decode(ids) == plain.decode(ids.tolist())


def test_another_model_under_the_same_name_is_refused(tokenizer, files, tmp_path):
    tokenizer.save(tmp_path)
    train_tokenizer([d.text for d in files[:20]], 512).save(tmp_path / "other")
    (tmp_path / "other" / "tokenizer.model").replace(tmp_path / "tokenizer.model")
    with pytest.raises(UserError, match=r"tokenizer\.model"):
        load_tokenizer(tmp_path)
    with pytest.raises(UserError, match="no tokenizer here"):
        load_tokenizer(tmp_path / "nothing")


def test_no_text_to_train_on_is_one_clear_line():
    for texts, words in (
        ([], "on no text"),
        (iter(["", "\0\n"]), "on no text"),
        ("a text", "must be a list"),
        (["a", None], "text 1 must be text"),
    ):
        with pytest.raises(UserError, match=words):
            train_tokenizer(texts, 300)


@pytest.mark.parametrize("vocab_size", [260, 100_000])
def test_vocabulary_that_does_not_fit_is_one_clear_line(files, vocab_size):
    with pytest.raises(UserError, match=f"vocab_size={vocab_size}.*[Vv]ocabulary") as error:
        train_tokenizer([d.text for d in files[:5]], vocab_size)
    assert "\n" not in str(error.value)


def test_sample_is_balanced_between_sources_and_ignores_order():
    big = [Document(f"{i}", f"{i:04d}" * 25, "big") for i in range(1000)]
    small = [Document("s", "y" * 50, "small")]
    sample = sample_texts(big + small, 1000)
    assert "y" * 50 in sample
    assert 1000 <= sum(len(t) for t in sample if t != "y" * 50) < 1100
    assert sample == sample_texts(small + big[::-1], 1000)
    # Drawn from all over, not from the start.
    assert max(int(t[:4]) for t in sample if t != "y" * 50) > 500
