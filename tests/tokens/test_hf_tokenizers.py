import json
import pickle
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from phi1_jax.corpus.documents import Document
from phi1_jax.errors import UserError
from phi1_jax.generate.stopping import find_end, printable
from phi1_jax.tokens.byte_pair import BytePairTokenizer
from phi1_jax.tokens.huggingface import (
    WHITE_SPACE,
    codegen,
    read_tokenizer,
    special_ids,
    write_tokenizer,
)
from phi1_jax.tokens.load import load_byte_pair, load_tokenizer, save_for_training
from phi1_jax.tokens.sentencepiece_bpe import train_tokenizer
from phi1_jax.tokens.shards import open_shards, write_shards

NASTY = [
    "",
    "\0a\0",
    "\r\n\u2028\x85\x0b",
    "\u2581 \u2581\u2581a \u2581",
    " " * 100 + "\t" * 25 + "x",
    "<|endoftext|>",
    "a<|endoftext|>b<0x41><unk>",
    "e\u0301 \u00e9 \U0001f600\u6f22\ufffd",
    "\n" * 50,
    "aaaaaaaaaaaaaaaaaaaa  aaaaaaaaaaa",
    "0123456789 1000000",
]


@pytest.fixture(scope="module")
def texts():
    folder = Path(sysconfig.get_path("stdlib"))
    paths = sorted([*folder.glob("*.py"), *(folder / "email").rglob("*.py")])
    return [path.read_text(encoding="utf-8", errors="replace") for path in paths]


@pytest.fixture(scope="module")
def gpt2_like(texts):
    """Pieces and merges of GPT-2's kind, but few."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts[:40], trainer)
    vocab = tokenizer.get_vocab() | {"<|endoftext|>": 600}
    pieces = {i: piece for piece, i in vocab.items()}
    # A merge of every piece that is made of two; the trainer numbers them in order.
    merges = [tuple(m) for m in json.loads(tokenizer.to_str())["model"]["merges"]]
    assert len(pieces) == 601
    return vocab, merges


@pytest.mark.slow
def test_codegen(gpt2_like, texts, tmp_path):
    tokenizer = codegen(*gpt2_like)
    assert tokenizer.vocab_size == 639 and tokenizer.eot_id == 600
    assert tokenizer.encode(" " * 31) == [601] and tokenizer.encode("  ") == [630]
    assert tokenizer.encode("\t" * 9) == [631] and tokenizer.encode("\t\t") == [638]
    assert tokenizer.encode(" " * 33) == [601, 630]
    tokenizer.save(tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert loaded.fingerprint == tokenizer.fingerprint
    for text in NASTY + texts[:60]:
        ids = loaded.encode(text)
        assert loaded.decode(ids) == text
        assert 600 not in ids
    assert loaded.encode_batch(texts[:5]) == [loaded.encode(text) for text in texts[:5]]
    assert loaded.decode([*loaded.encode("a"), 600]) == "a"


def test_from_vocab_and_merges(gpt2_like, tmp_path, caplog):
    vocab, merges = gpt2_like
    (tmp_path / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(merge) for merge in merges)]
    (tmp_path / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert read_tokenizer(tmp_path).fingerprint == codegen(vocab, merges).fingerprint
    assert "CodeGen's runs of white space are added" in caplog.text
    (tmp_path / "merges.txt").write_text("one\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"merges\.txt is damaged"):
        read_tokenizer(tmp_path)
    (tmp_path / "merges.txt").unlink()
    with pytest.raises(UserError, match=r"neither tokenizer\.json nor"):
        read_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match="is not a tokenizer"):
        read_tokenizer(tmp_path)


@pytest.mark.slow
def test_sentencepiece_gives_the_same_ids(texts, tmp_path):
    ours = train_tokenizer(texts[::4], 1500)
    ours.save(tmp_path / "run")
    written = load_byte_pair(tmp_path / "run")
    write_tokenizer(written, tmp_path / "hf", 512)
    assert written.eot_id == ours.eot_id and written.vocab_size == ours.vocab_size
    read = read_tokenizer(tmp_path / "hf")
    everything = NASTY + texts
    rows = ours.encode_batch(everything)
    assert read.encode_batch(everything) == rows
    assert [read.decode(row) for row in rows] == everything
    # Written once more, it is the same file.
    read.save(tmp_path / "again")
    write_tokenizer(load_byte_pair(tmp_path / "again"), tmp_path / "hf2", 512)
    files = [tmp_path / name / "tokenizer.json" for name in ("hf", "hf2")]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A SentencePiece tokenizer, and what comes back from its export."""
    folder = tmp_path_factory.mktemp("exported")
    ours = train_tokenizer([Path(json.__file__).read_text() * 3], 400)
    ours.save(folder / "run")
    write_tokenizer(load_byte_pair(folder / "run"), folder / "hf", 512)
    return ours, read_tokenizer(folder / "hf")


def test_cut_characters_decode_as_sentencepiece_has_them(exported):
    text = "\u00e9\u3042 def \U0001f600x\n\u6f22\u00e9\u2581" + "".join(NASTY)
    ids = exported[0].encode(text)
    ids.insert(40, exported[0].eot_id)
    processor = sentencepiece.SentencePieceProcessor(model_proto=exported[0]._model)
    for start in range(6):
        for stop in range(start, len(ids) + 1):
            ours, theirs = (tokenizer.decode(ids[start:stop]) for tokenizer in exported)
            assert ours == theirs == processor.decode(ids[start:stop])


def test_the_end_does_not_depend_on_the_export_or_on_the_chunk(exported):
    cut = exported[0].encode("\u00e9\u3042")[:3] + exported[0].encode("xyz")
    whole = exported[0].encode("ab\u00e9\u3042\U0001f600c STOP d")
    for ids, stop, limit in (
        (cut, ("\u00e9",), 99),
        (cut, (), 3),
        (cut, ("xy",), 99),
        (whole, ("\u3042",), 99),
        (whole, ("STOP",), 99),
    ):
        ends = []
        for tokenizer in exported:
            shown = ""
            for chunk in (1, 2, len(ids)):
                for n in range(chunk, len(ids) + chunk, chunk):
                    if end := find_end(tokenizer, ids[:n], n - chunk, limit, stop):
                        break
                    now = printable(tokenizer.decode(ids[:n]), stop)
                    assert now.startswith(shown) or chunk > 1
                    shown = now
                ends.append(end)
        assert ends[0] is not None and set(ends) == {ends[0]}


def test_a_tokenizer_that_composes_accents_as_qwens_does(gpt2_like, tmp_path):
    values = json.loads(codegen(*gpt2_like).tokenizer_json) | {"normalizer": {"type": "NFC"}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(values))
    tokenizer, theirs = read_tokenizer(tmp_path), Tokenizer.from_str(json.dumps(values))
    text = "x = 'cafe\u0301'\n"
    write_shards([Document("mine", text, "s")], tokenizer, tmp_path / "shards")
    n = len(theirs.encode(text).ids)
    (tokens,), _ = open_shards(tmp_path / "shards").gather(np.array([0]), n)
    assert tokens.tolist() == theirs.encode(text).ids
    assert tokenizer.decode(tokens) == "x = 'caf\u00e9'\n"
    values["normalizer"] = {"type": "Lowercase"}
    (tmp_path / "tokenizer.json").write_text(json.dumps(values))
    with pytest.raises(UserError, match="'mine' of 's': the tokenizer does not give its text back"):
        write_shards([Document("mine", "X", "s")], read_tokenizer(tmp_path), tmp_path / "lower")


def test_a_tokenizer_of_ones_own_needs_no_model_beside_it(gpt2_like, tmp_path):
    content = codegen(*gpt2_like).tokenizer_json.replace(b"<|endoftext|>", b"</s>")
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(UserError, match=r"has no <\|endoftext\|>.* as eos_token in"):
        load_tokenizer(tmp_path)
    write(tmp_path, "tokenizer_config", {"eos_token": "</s>"})  # as save_pretrained writes both
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.eot_id == tokenizer.ids["</s>"]
    save_for_training(tmp_path, tmp_path / "run" / "tokenizer")
    in_run = load_tokenizer(tmp_path / "run")
    assert (in_run.fingerprint, in_run.eot_id) == (tokenizer.fingerprint, tokenizer.eot_id)
    with pytest.raises(UserError, match=r"no tokenizer here; name a folder with .*tokenizer\.json"):
        load_tokenizer(tmp_path / "tokenizer.json")


def test_dropout_of_merges_is_for_training_only(gpt2_like, texts):
    plain = codegen(*gpt2_like)
    values = json.loads(plain.tokenizer_json)
    values["model"]["dropout"] = 0.5
    tokenizer = BytePairTokenizer(json.dumps(values).encode(), end_of_text=plain.end_of_text)
    assert tokenizer.encode_batch(texts[:9]) == plain.encode_batch(texts[:9])


@pytest.mark.parametrize(
    "part", ["decoder", "added_tokens", "normalizer", "pre_tokenizer", "post_processor"]
)
def test_parts_of_a_tokenizer_that_may_be_missing(part, gpt2_like, tmp_path):
    values = json.loads(codegen(*gpt2_like).tokenizer_json)
    del values[part]
    (tmp_path / "tokenizer.json").write_text(json.dumps(values))
    write(tmp_path, "tokenizer_config", {"eos_token": "<|endoftext|>"})
    tokenizer = load_tokenizer(tmp_path)
    ids = tokenizer.encode("x = 1")
    theirs = Tokenizer.from_str(json.dumps(values))
    assert tokenizer.decode(ids) == theirs.decode(theirs.encode("x = 1").ids)


def test_no_end_of_text(gpt2_like, tmp_path):
    (tmp_path / "tokenizer.json").write_text(Tokenizer(models.BPE()).to_str())
    with pytest.raises(UserError, match=r"has no <\|endoftext\|>"):
        read_tokenizer(tmp_path)


CHAT = "<|im_start|>user\nhi  \t\t<|im_end|>"


@pytest.fixture
def chat(gpt2_like, tmp_path):
    """vocab.json, merges.txt and added_tokens.json of a Phi that was finetuned to chat."""
    vocab, merges = gpt2_like
    folder = tmp_path / "chat"
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(merge) for merge in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    added = {run: 601 + i for i, run in enumerate(WHITE_SPACE)}
    added |= {"<|im_start|>": 639, "<|im_end|>": 640}
    write(folder, "added_tokens", added)
    write(folder, "config", {"bos_token_id": 600, "eos_token_id": 600, "pad_token_id": None})
    write(folder, "generation_config", {"eos_token_id": [640, 600], "temperature": 0.2})
    special = {"eos_token": "<|im_end|>", "additional_special_tokens": ["<|im_start|>"]}
    write(folder, "special_tokens_map", special)
    write(
        folder,
        "tokenizer_config",
        {"eos_token": {"content": "<|im_end|>"}, "padding_side": "right"},
    )
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    return folder


def write(folder, name, values):
    (folder / f"{name}.json").write_text(json.dumps(values), encoding="utf-8")


def test_added_tokens_are_one_token_and_end_a_completion(chat, tmp_path):
    read_tokenizer(chat).save(tmp_path / "run")
    tokenizer = pickle.loads(pickle.dumps(load_tokenizer(tmp_path / "run")))
    assert tokenizer.stop_ids == {600, 640} and tokenizer.eot_id == 600
    ids = tokenizer.encode(CHAT)
    assert ids[0] == 639 and ids[-1] == 640 and ids[-3:-1] == [630, 638]
    assert tokenizer.decode(ids) == "user\nhi  \t\t"
    # A document keeps them, and yet cannot hold the end of text.
    assert tokenizer.decode(ids, special=True) == CHAT
    assert 600 not in tokenizer.encode("<|endoftext|>")
    end = find_end(tokenizer, [*tokenizer.encode("ab"), 640, 1, 2], 0, 99, ())
    assert (
        end.text == "ab" and end.reason == "eos" and end.n_tokens == 1 + len(tokenizer.encode("ab"))
    )


def test_what_a_folder_says_of_its_tokenizer_is_written_back(chat, tmp_path):
    read_tokenizer(chat).save(tmp_path / "run")
    written = load_byte_pair(tmp_path / "run")
    write_tokenizer(written, tmp_path / "back", 64)
    back = {p.name: p.read_text(encoding="utf-8") for p in (tmp_path / "back").iterdir()}
    assert back["chat_template.jinja"] == "{{ messages }}"
    generation = json.loads(back["generation_config.json"])
    assert generation == {"eos_token_id": [600, 640], "temperature": 0.2, "pad_token_id": 600}
    assert special_ids(written) == {"bos_token_id": 600, "eos_token_id": 600, "pad_token_id": None}
    config = json.loads(back["tokenizer_config.json"])
    assert config["eos_token"] == {"content": "<|im_end|>"} and config["padding_side"] == "right"
    assert config["pad_token"] == "<|endoftext|>" and config["model_max_length"] == 64
    assert config["model_input_names"] == ["input_ids", "attention_mask"]
    assert json.loads(back["special_tokens_map.json"])["eos_token"] == "<|im_end|>"
    again = read_tokenizer(tmp_path / "back")
    assert again.encode(CHAT) == written.encode(CHAT)
    assert again.stop_ids == written.stop_ids and again.fingerprint == written.fingerprint


def test_a_template_that_is_no_text_is_named_and_a_folder_of_its_name_is_none(chat):
    (chat / "chat_template.jinja").write_bytes(b"\xff")
    with pytest.raises(UserError, match=r"chat_template\.jinja is not text in UTF-8"):
        read_tokenizer(chat)
    (chat / "chat_template.jinja").unlink()
    (chat / "chat_template.jinja").mkdir()
    assert "chat_template.jinja" not in read_tokenizer(chat).files


def test_a_run_that_is_trained_here_also_ends_at_the_end_of_its_documents(chat, tmp_path):
    write(chat, "generation_config", {"eos_token_id": 640})
    read_tokenizer(chat).save(tmp_path / "run")
    assert load_tokenizer(tmp_path / "run").stop_ids == {640}
    save_for_training(tmp_path / "run", tmp_path / "trained")
    assert load_tokenizer(tmp_path / "trained").stop_ids == {600, 640}


@pytest.mark.parametrize(
    ("generation", "config", "stops"),
    [
        (640, 600, {640}),
        (None, 600, {600}),
        (None, None, {640}),  # the eos_token of tokenizer_config.json
        ([], [639, 600], {639, 600}),
    ],
)
def test_where_completions_end(chat, generation, config, stops):
    write(chat, "generation_config", {"eos_token_id": generation})
    write(chat, "config", {"eos_token_id": config})
    assert read_tokenizer(chat).stop_ids == stops


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("generation_config", {"eos_token_id": "640"}, "eos_token_id='640' must be a number"),
        ("generation_config", {"eos_token_id": [640, 641]}, "eos_token_id=641 is not a token"),
        ("added_tokens", {"<|im_end|>": 650}, r"'<\|im_end\|>' has id 650"),
        ("added_tokens", {"<|im_end|>": "x"}, "names no token"),
        ("tokenizer_config", {"added_tokens_decoder": {"640": {}}}, "names no token"),
        ("tokenizer_config", [], "is not an object"),
        ("tokenizer_config", {"additional_special_tokens": [5]}, "names no token: 5 is no text"),
        ("tokenizer_config", {"eos_token": 5}, "names no token: 5 is no text"),
        ("tokenizer_config", {"chat_template": "\ud800"}, "is not JSON in UTF-8"),
    ],
)
def test_tokens_that_cannot_be_are_refused_in_one_line(chat, name, values, message):
    write(chat, name, values)
    with pytest.raises(UserError, match=message) as error:
        read_tokenizer(chat)
    assert "\n" not in str(error.value)
