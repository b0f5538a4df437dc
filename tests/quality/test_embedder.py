import jax
import numpy as np
import phi_numpy
import pytest
from flax import nnx

from phi1_jax.corpus.documents import Document
from phi1_jax.errors import UserError
from phi1_jax.model.phi import Phi
from phi1_jax.quality.embedder import Embedder, embed_corpus
from phi1_jax.quality.embeddings import document_key, embedder_of, find_vectors, read_parts

TEXTS = ["def f(x):\n    return x\n" * k for k in (1, 5, 2, 0, 3)] + ["a", "no\n" * 9]


@pytest.fixture(scope="module")
def params(tiny_model):
    return nnx.to_pure_dict(nnx.state(Phi(tiny_model, nnx.Rngs(3)), nnx.Param))


@pytest.fixture(scope="module")
def embedder(tiny_model, params, byte_tokenizer):
    return Embedder(tiny_model, params, byte_tokenizer, batch_tokens=64)


def documents(texts):
    return [Document(str(i), text, "s") for i, text in enumerate(texts)]


@pytest.mark.slow
def test_a_vector_is_the_mean_of_the_last_hidden_state(
    embedder, tiny_model, params, byte_tokenizer
):
    vectors, n_tokens = embedder.embed(TEXTS)
    assert n_tokens.tolist() == [len(text) for text in TEXTS]
    exact = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    # With the identity for a head, the reference's logits are its last hidden state.
    d = tiny_model.d_model
    exact["head"] = {"kernel": np.eye(d), "bias": np.zeros(d)}
    for text, vector in zip(TEXTS, vectors, strict=True):
        ids = byte_tokenizer.encode(text)[: tiny_model.max_seq_len] or [byte_tokenizer.eot_id]
        expected = phi_numpy.phi(tiny_model, exact, ids).mean(0)
        np.testing.assert_allclose(vector, expected, rtol=0, atol=2e-5)


def test_texts_may_come_from_an_iterator(embedder):
    vectors, n_tokens = embedder.embed(text for text in TEXTS)
    np.testing.assert_array_equal(vectors, embedder.embed(TEXTS)[0])
    assert len(n_tokens) == len(TEXTS)


def test_one_text_is_no_list_of_texts(embedder):
    with pytest.raises(UserError, match="texts='def f' must be a list of texts"):
        embedder.embed("def f")
    with pytest.raises(UserError, match="text 1 is not text in UTF-8"):
        embedder.embed(["x", "\ud800"])


@pytest.mark.slow
def test_batches_and_devices_do_not_change_a_vector(embedder, tiny_model, params, byte_tokenizer):
    assert embedder.lengths == [8, 16, 32, 64]
    together, _ = embedder.embed(TEXTS * 30)
    alone = Embedder(tiny_model, params, byte_tokenizer, devices=jax.devices()[:1])
    vectors, _ = alone.embed(TEXTS)
    np.testing.assert_allclose(together, np.tile(vectors, (30, 1)), atol=1e-5)
    assert alone.fingerprint == embedder.fingerprint


def test_the_fingerprint_knows_weights_and_limits(embedder, tiny_model, params, byte_tokenizer):
    other = jax.tree.map(lambda leaf: leaf, params)
    other["final_norm"] = {**params["final_norm"], "bias": params["final_norm"]["bias"] + 1e-6}
    fingerprints = {
        embedder.fingerprint,
        Embedder(tiny_model, other, byte_tokenizer).fingerprint,
        Embedder(tiny_model, params, byte_tokenizer, max_tokens=32).fingerprint,
    }
    assert len(fingerprints) == 3
    with pytest.raises(UserError, match="--max_tokens=65: the model's context is 64 tokens"):
        Embedder(tiny_model, params, byte_tokenizer, max_tokens=65)


@pytest.mark.slow
def test_parts_resume_and_shards_make_up_the_whole(embedder, tmp_path, monkeypatch):
    corpus = documents([f"x = {i}\n" * (i % 7) for i in range(23)])
    whole = tmp_path / "whole"
    whole.mkdir()

    class Killed(Exception):
        pass

    def dying():
        yield from corpus[:13]
        raise Killed

    with pytest.raises(Killed):
        embed_corpus(dying(), embedder, whole, documents_per_part=4)
    written = {path: path.stat().st_mtime_ns for path in whole.glob("part-*")}
    assert len(written) == 2  # the third was still computing
    report = embed_corpus(corpus, embedder, whole, documents_per_part=4)
    assert report["out"]["vectors"] == 23
    assert all(path.stat().st_mtime_ns == then for path, then in written.items())
    torn, *kept = written
    for damage in (b"", torn.read_bytes()[:100]):  # as a power cut may leave it
        before = list(read_parts([whole]))
        torn.write_bytes(damage)
        embed_corpus(corpus, embedder, whole, documents_per_part=4)
        for old, new in zip(before, read_parts([whole]), strict=True):
            np.testing.assert_array_equal(old.key, new.key)
        assert all(path.stat().st_mtime_ns == written[path] for path in kept)
    halves = [tmp_path / "0", tmp_path / "1"]
    for index, folder in enumerate(halves):
        folder.mkdir()
        embed_corpus(corpus, embedder, folder, documents_per_part=4, shard=(index, 2))
    expected, n_tokens = embedder.embed([d.text for d in corpus])
    for folders in ([whole], halves):
        np.testing.assert_allclose(find_vectors(folders, corpus), expected, atol=1e-6)
        parts = list(read_parts(folders))
        assert sorted(k for p in parts for k in p.key.tolist()) == sorted(map(document_key, corpus))
        assert sum(int(p.tokens.sum()) for p in parts) == n_tokens.sum()
        assert sum(int(p.bytes.sum()) for p in parts) == sum(len(d.text) for d in corpus)
        assert embedder_of(folders) == embedder.fingerprint
    changed = Document(corpus[0].id, corpus[0].text + "y", "s")
    with pytest.raises(UserError, match="1 of 2 documents have no vector"):
        find_vectors(halves, [corpus[1], changed])


def test_damaged_or_foreign_vectors_are_named(embedder, tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        embed_corpus(documents(["x"]), embedder, tmp_path / name)
    (tmp_path / "b/embedder.json").write_text('{"fingerprint": "other"}')
    with pytest.raises(UserError, match="hold vectors of different embedders"):
        embedder_of([tmp_path / "a", tmp_path / "b"])
    whole = (tmp_path / "a/part-00000.npz").read_bytes()
    for torn in (b"PK\x03\x04 torn", whole[: len(whole) // 2], whole[-300:], b"torn", b""):
        (tmp_path / "a/part-00000.npz").write_bytes(torn)
        with pytest.raises(UserError, match=r"part-00000\.npz: damaged, or not of") as error:
            list(read_parts([tmp_path / "a"]))
        assert "pickle" not in str(error.value)
    with pytest.raises(UserError, match=r"no part-\*\.npz here"):
        list(read_parts([tmp_path]))
    (tmp_path / "third").mkdir()
    embed_corpus(documents(["x"]), embedder, tmp_path / "third", shard=(2, 3))
    assert not list(read_parts([tmp_path / "third"])), "one part lies in the first of three"
    with pytest.raises(UserError, match="yields no document"):
        embed_corpus([], embedder, tmp_path / "b")
