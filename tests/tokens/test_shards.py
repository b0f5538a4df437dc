import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
import zstandard

from phi1_jax.corpus.documents import Document, write_documents
from phi1_jax.errors import UserError
from phi1_jax.tokens.load import load_tokenizer
from phi1_jax.tokens.sentencepiece_bpe import train_tokenizer
from phi1_jax.tokens.shards import open_shards, read_index, write_shards

CODE = [
    Document(f"f{i}.py", f"def f{i}(x):\n    return x + {i}\n" * (1 + i % 7), "code")
    for i in range(300)
]
PROMPT = 'def g(x):\n    """Adds one."""\n'
EXERCISES = [
    Document(f"e{i}", PROMPT + f"    return x + {i}\n", "exercises", {"prompt_chars": len(PROMPT)})
    for i in range(20)
]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([d.text for d in CODE + EXERCISES], 320)


def read(shards, start, stop):
    """Tokens [start, stop) of the stream, and their loss mask."""
    tokens, mask = shards.gather(np.array([start]), stop - start)
    return tokens[0], mask[0]


def test_another_reader_finds_every_document_where_the_index_says(tokenizer, tmp_path):
    manifest = write_shards(CODE, tokenizer, tmp_path / "s", shard_tokens=777)
    tokenizer.save(tmp_path / "t")
    plain = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "t/tokenizer.model"))
    files = sorted((tmp_path / "s").glob("tokens-*.npy"))
    assert len(files) == len(manifest["shards"]) > 3
    stream = np.concatenate([np.load(file) for file in files])
    assert stream.dtype == np.uint16 and len(stream) == manifest["n_tokens"]
    assert all(len(np.load(file)) == 777 for file in files[:-1])
    with zstandard.open(tmp_path / "s/documents.jsonl.zst", "rt", newline="\n") as file:
        rows = [json.loads(line) for line in file]
    assert [row["id"] for row in rows] == [d.id for d in CODE]
    for row, document in zip(rows, CODE, strict=True):
        ids = stream[row["offset"] : row["offset"] + row["tokens"]].tolist()
        assert ids[-1] == tokenizer.eot_id
        assert plain.decode(ids[:-1]) == document.text
    assert not list((tmp_path / "s").glob("loss-*"))


def test_exercises_are_encoded_in_two_parts_and_masked_to_the_solution(tokenizer, tmp_path):
    write_shards([*CODE[:50], *EXERCISES], tokenizer, tmp_path, shard_tokens=500)
    shards = open_shards(tmp_path, verify=True)
    rows = list(read_index(tmp_path))
    for row in rows[:50]:
        assert read(shards, row["offset"], row["offset"] + row["tokens"])[1].all()
    for row, document in zip(rows[50:], EXERCISES, strict=True):
        ids, mask = read(shards, row["offset"], row["offset"] + row["tokens"])
        assert ids[~mask].tolist() == tokenizer.encode(PROMPT)
        solution = tokenizer.encode(document.text[len(PROMPT) :])
        assert ids[mask].tolist() == [*solution, tokenizer.eot_id]


def test_slices_cross_shards(tokenizer, tmp_path):
    write_shards([*CODE, *EXERCISES], tokenizer, tmp_path, shard_tokens=100)
    shards = open_shards(tmp_path)
    tokens, mask = np.concatenate(shards.tokens), np.concatenate(shards.masks)
    assert len(tokens) == len(mask) == shards.n_tokens
    random = np.random.default_rng(0)
    for _ in range(300):
        start, stop = sorted(random.integers(0, shards.n_tokens + 1, 2).tolist())
        part, part_mask = read(shards, start, stop)
        assert np.array_equal(part, tokens[start:stop])
        assert np.array_equal(part_mask, mask[start:stop])
    with pytest.raises(IndexError):
        read(shards, 0, shards.n_tokens + 1)


@pytest.mark.parametrize("kind", ["tokens-00001.npy", "loss-00000.npy", "documents.jsonl.zst"])
def test_a_flipped_byte_is_found_and_the_file_named(tokenizer, tmp_path, kind):
    write_shards([*CODE, *EXERCISES], tokenizer, tmp_path, shard_tokens=2000)
    data = bytearray((tmp_path / kind).read_bytes())
    data[-5] ^= 1
    (tmp_path / kind).write_bytes(data)
    open_shards(tmp_path)
    with pytest.raises(UserError, match=kind):
        open_shards(tmp_path, verify=True)


def test_truncated_missing_and_unfinished_shards_are_refused(tokenizer, tmp_path):
    write_shards(CODE, tokenizer, tmp_path, shard_tokens=2000)
    shard = tmp_path / "tokens-00001.npy"
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(UserError, match=shard.name):
        open_shards(tmp_path)
    shard.unlink()
    with pytest.raises(UserError, match=shard.name):
        open_shards(tmp_path)
    for torn in (b"", b'{"version', b"\xff", b"[1]"):
        (tmp_path / "manifest.json").write_bytes(torn)
        with pytest.raises(UserError, match=r"manifest\.json is damaged: .*run tokenize_corpus"):
            open_shards(tmp_path)
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(UserError, match="no finished token shards"):
        open_shards(tmp_path)


@pytest.mark.parametrize(
    "change",
    [{"n_tokens": "x"}, {"shards": []}, {"shards": None}, {"shards": [3]}, {"shards": [{}]},
     {"index": 5}, {"eot_id": None}, {"vocab_size": []}, {"dtype": 7}],
    ids=str,
)  # fmt: skip
def test_a_manifest_of_other_types_is_named(change, tokenizer, tmp_path):
    manifest = write_shards(CODE[:20], tokenizer, tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps({**manifest, **change}))
    for verify in (True, False):
        if not verify and change == {"index": 5}:
            continue  # which is read only to verify
        with pytest.raises(UserError, match=r"manifest\.json is damaged|expected a flat 7 array"):
            open_shards(tmp_path, verify=verify)


def test_counts_per_source_determinism_and_the_token_limit(tokenizer, tmp_path):
    one = write_shards([*CODE, *EXERCISES], tokenizer, tmp_path / "1")
    two = write_shards(iter([*CODE, *EXERCISES]), tokenizer, tmp_path / "2")
    assert one == two
    assert one["tokenizer"] == tokenizer.fingerprint
    assert {name: source["documents"] for name, source in one["sources"].items()} == {
        "code": 300,
        "exercises": 20,
    }
    assert sum(source["tokens"] for source in one["sources"].values()) == one["n_tokens"]
    assert one["sources"]["code"]["bytes"] == sum(len(d.text.encode()) for d in CODE)
    limited = write_shards(CODE, tokenizer, tmp_path / "3", max_tokens=1000)
    assert 1000 <= limited["n_tokens"] < 1300


class Lossy:
    """A tokenizer that forgets: whatever it is given comes back in lower case."""

    vocab_size, eot_id, fingerprint = 70_000, 0, "lossy"

    def encode_batch(self, texts):
        return [[ord(c) for c in text.lower()] for text in texts]

    def decode(self, ids, special=False):
        return "".join(map(chr, ids))


def test_a_document_that_does_not_come_back_stops_the_stage(tmp_path, tokenizer):
    good = Document("fine", "abc\u4e00", "s")
    with pytest.raises(UserError, match="'Bad'"):
        write_shards([good, Document("Bad", "ABC", "s")], Lossy(), tmp_path)
    with pytest.raises(UserError, match="'surrogate'"):
        write_shards([good, Document("surrogate", "\ud800", "s")], tokenizer, tmp_path)
    assert write_shards([good], Lossy(), tmp_path)["dtype"] == "uint32"
    assert read(open_shards(tmp_path), 0, 4)[0].tolist() == [97, 98, 99, 0x4E00]


def read_folder(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_workers_and_parts_do_not_change_a_byte(tokenizer, tmp_path):
    documents = [*CODE, *EXERCISES]
    whole = write_shards(documents, tokenizer, tmp_path / "1", shard_tokens=3000, max_tokens=20_000)
    write_shards(
        documents,
        tokenizer,
        tmp_path / "2",
        shard_tokens=3000,
        max_tokens=20_000,
        part_chars=3000,
        workers=2,
    )
    assert len(whole["shards"]) == 7 and 20_000 <= whole["n_tokens"] < 20_300
    assert read_folder(tmp_path / "1") == read_folder(tmp_path / "2")


class Counting:
    """A tokenizer that counts what it is asked to encode, and fails on request."""

    def __init__(self, tokenizer, fail_at=None):
        self.tokenizer, self.fail_at, self.encoded = tokenizer, fail_at, 0

    def encode_batch(self, texts):
        # Each document is a prompt, here empty, and the rest.
        self.encoded += len(texts) // 2
        if self.fail_at and self.encoded >= self.fail_at:
            raise KeyboardInterrupt
        return self.tokenizer.encode_batch(texts)

    def __getattr__(self, name):
        return getattr(self.tokenizer, name)


def test_an_interrupted_run_goes_on_with_the_first_part_missing(tokenizer, tmp_path):
    cuts = {"shard_tokens": 3000, "part_chars": 3000}
    write_shards(CODE, tokenizer, tmp_path / "undisturbed", **cuts)
    with pytest.raises(KeyboardInterrupt):
        write_shards(CODE, Counting(tokenizer, 250), tmp_path / "b", **cuts)
    parts = sorted((tmp_path / "b").rglob("*.npz"))
    parts[0].write_bytes(b"")  # as a power cut may leave them
    parts[1].write_bytes(parts[1].read_bytes()[:1000])
    rest = Counting(tokenizer)
    write_shards(CODE, rest, tmp_path / "b", **cuts, resume=True)
    n_per_part = 3000 / (sum(len(d.text) for d in CODE) / len(CODE))
    assert 51 <= rest.encoded <= 51 + 3.5 * n_per_part < 250
    assert read_folder(tmp_path / "undisturbed") == read_folder(tmp_path / "b")
    # Unless it is asked to go on, a call starts over.
    again = Counting(tokenizer)
    write_shards(CODE, again, tmp_path / "b", shard_tokens=1 << 40)  # one file
    assert again.encoded == len(CODE)


def test_a_lone_surrogate_is_named(tokenizer, tmp_path):
    bad = Document("b.py", "x = '\ud800'\n", "code")
    for workers in (1, 2):
        with pytest.raises(UserError, match=r"'b\.py' .* character 5, U\+D800, is half") as e:
            write_shards([*CODE, bad], tokenizer, tmp_path, part_chars=2000, workers=workers)
        assert "str or bytes" not in str(e.value) and "codec" not in str(e.value)


def run_script(*arguments, cwd):
    script = Path(__file__).parents[2] / "launch/tokenize_corpus.py"
    command = [sys.executable, str(script), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)


@pytest.mark.slow
def test_the_script_trains_a_tokenizer_and_shards_several_corpora(tmp_path):
    write_documents(tmp_path / "code.jsonl.zst", CODE)
    write_documents(tmp_path / "exercises.jsonl", EXERCISES)
    corpora = ["--corpus=code.jsonl.zst", "--corpus=exercises.jsonl"]
    trained = run_script("--train_tokenizer=tok", "--vocab_size=320", *corpora, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    done = run_script("--tokenizer=tok", "--output=shards", *corpora, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    shards = open_shards(tmp_path / "shards", verify=True)
    assert shards.fingerprint == load_tokenizer(tmp_path / "tok").fingerprint
    assert {row["source"] for row in read_index(tmp_path / "shards")} == {"code", "exercises"}
    report = json.loads((tmp_path / "shards/report.json").read_text())
    assert report["sources"]["code"]["bytes_per_token"] > 1
    index = {row["id"]: row for row in read_index(tmp_path / "shards")}
    assert index["e3"]["metadata"] == EXERCISES[3].metadata
    run_script("--train_tokenizer=tok2", "--vocab_size=310", *corpora, cwd=tmp_path)
    retrain = ["--train_tokenizer=tok", "--vocab_size=310", *corpora]
    before = (tmp_path / "tok/tokenizer.model").read_bytes()
    for flags, message in (
        (["--tokenizer=tok2", "--output=shards", *corpora], "holds shards of tokenizer"),
        ([*retrain, "--output=shards"], "holds the result of other settings (vocab_size was 320)"),
        ([*retrain, "--output=tok"], "is, holds or lies in tok, which is read"),
        (["--tokenizer=tok", "--output=tok", *corpora], "is, holds or lies in tok, which is read"),
        (corpora, "give one of --train_tokenizer=DIR and --tokenizer=DIR"),
        (["--tokenizer=none", "--output=x", *corpora], "none: no tokenizer here"),
        (["--tokenizer=tok", "--output=x", "--corpus=nope"], "nope: no such file or folder"),
    ):
        wrong = run_script(*flags, cwd=tmp_path)
        assert wrong.returncode == 2 and wrong.stderr.count("\n") == 1
        assert message in wrong.stderr
        assert (tmp_path / "tok/tokenizer.model").read_bytes() == before
