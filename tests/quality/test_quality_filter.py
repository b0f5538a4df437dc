import hashlib
import json
import pickle
import re
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import skops.io
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import average_precision_score

from phi1_jax.corpus.arrays import write_arrays
from phi1_jax.corpus.documents import Document, read_documents, write_documents
from phi1_jax.corpus.records import read_records
from phi1_jax.curation.sources import Source, read_source
from phi1_jax.errors import UserError
from phi1_jax.quality.embeddings import Part, document_key, part_path, write_info
from phi1_jax.quality.filter import filter_corpus
from phi1_jax.quality.forest import TRUSTED, fit_forest, load_forest, save_forest
from phi1_jax.quality.report import fit_and_report, measure, plot
from phi1_jax.quality.rubric import VALUE
from phi1_jax.tokens.shards import read_index, write_shards

N, WIDTH = 400, 16


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """Documents whose vectors tell their worth, with noise: half annotated, all embedded."""
    root = tmp_path_factory.mktemp("pool")
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(N, WIDTH)).astype(np.float32)
    worth = 1 / (1 + np.exp(-2 * vectors[:, 0] - rng.normal(size=N) / 2))
    documents = [Document(f"d{i}", f"x = {i}\n" * (1 + i % 5), "code") for i in range(N)]
    annotated = [
        Document(d.id, d.text, d.source, {"annotated_value": float(w), "annotator": "oracle"})
        for d, w in zip(documents, worth, strict=True)
    ][::2]
    write_documents(root / "pool.jsonl", documents)
    write_documents(root / "annotated.jsonl", annotated)
    for name, rows in (("a", slice(0, 250)), ("b", slice(250, N))):
        folder = root / name
        folder.mkdir()
        batch = documents[rows]
        part = Part(
            np.array([document_key(d) for d in batch], np.uint64),
            vectors[rows],
            np.array([2 * len(d.text) for d in batch]),
            np.array([len(d.text) for d in batch]),
        )
        write_arrays(part_path(folder, 0), part._asdict())
        write_info(folder, "the-embedder")
    return root, worth


@pytest.fixture(scope="module")
def fitted(pool):
    root, _ = pool
    model = root / "model"
    model.mkdir()
    report = fit_and_report(
        [root / "annotated.jsonl"],
        [root / "a", root / "b"],
        model,
        positive_from=0.5,
        n_trees=60,
        seed=0,
    )
    return model, report


@pytest.mark.slow
def test_the_report_is_out_of_sample_and_shows_documents_to_read(fitted):
    model, report = fitted
    figures = report["out_of_sample"]
    assert 0.75 < figures["roc_auc"] < 0.99
    assert figures["precision"] > 0.7 and figures["recall"] > 0.7
    assert (model / "quality.png").read_bytes().startswith(b"\x89PNG")
    text = re.sub(" +", " ", (model / "quality.md").read_text())
    assert f"| precision | {figures['precision']:.3f} |" in text and "oracle" in text
    for name in ("best", "worst"):
        assert (model / f"{name}.md").read_text().count("\n## code: d") == 20
    assert "annotated 0." in (model / "worst.md").read_text()


def test_every_line_of_the_plot_is_in_its_legend():
    rng = np.random.default_rng(0)
    votes = rng.random(200)
    figure = plot(rng.random(200) < votes, votes)
    assert len(figure.axes) == 2
    for axes in figure.axes:
        labels = [text.get_text() for text in axes.get_legend().get_texts()]
        assert labels == [line.get_label() for line in axes.lines] and len(labels) > 1
        assert axes.get_title() and axes.get_xlabel() and axes.get_ylabel()


def test_labels_without_meaning_look_like_chance():
    rng = np.random.default_rng(1)
    vectors, values = rng.normal(size=(300, WIDTH)), rng.random(300)
    _, votes = fit_forest(vectors, values, embedder="e", positive_from=0.5, n_trees=50)
    figures = measure(values >= 0.5, votes)
    assert abs(figures["roc_auc"] - 0.5) < 0.1  # in sample it would be 1


def test_measures_by_hand():
    good, votes = np.array([True, True, False, False, True]), np.array([0.9, 0.4, 0.6, 0.1, 0.8])
    figures = measure(good, votes)
    assert figures["precision"] == figures["recall"] == pytest.approx(2 / 3)
    assert figures["accuracy"] == 0.6 and figures["share_of_good"] == 0.6
    assert figures["average_precision"] == average_precision_score(good, votes)
    assert figures["calibration_error"] == pytest.approx((0.1 + 0.2 + 0.6 + 0.1 + 0.6) / 5)


@pytest.mark.slow
def test_the_best_are_kept_under_a_budget_of_tokens(pool, fitted, tmp_path):
    root, worth = pool
    documents = list(read_documents(root / "pool.jsonl"))
    report = filter_corpus(
        lambda: documents, [root / "a", root / "b"], fitted[0], tmp_path, budget_tokens=4_000
    )
    kept = list(read_documents(tmp_path / "filtered.jsonl.zst"))
    left = list(read_records(tmp_path / "excluded.jsonl.zst"))
    assert {d.id for d in kept} | {r["id"] for r in left} == {d.id for d in documents}
    size = sum(2 * len(d.text) for d in kept)
    assert 3_900 < size == report["out"]["filtered_tokens"] <= 4_000
    assert {(r["step"], r["reason"]) for r in left} == {("quality", "over_budget")}
    scores = [d.metadata["educational_value"] for d in kept]
    assert min(scores) >= max(r["educational_value"] for r in left)
    assert report["threshold"] == pytest.approx(min(scores), abs=1e-4)
    unseen = [int(d.id[1:]) for d in kept if int(d.id[1:]) % 2]
    assert worth[unseen].mean() > worth.mean() + 0.2  # better than a random draw, where not fitted
    twice = filter_corpus(
        lambda: documents * 2, [root / "a", root / "b"], fitted[0], tmp_path, budget_tokens=4_000
    )
    assert twice["out"] == report["out"] and twice["dropped"]["repeated"] == len(kept)
    by_bytes = filter_corpus(
        lambda: documents,
        [root / "a", root / "b"],
        fitted[0],
        tmp_path,
        budget_bytes=2_000,
        min_score=0.97,
    )
    assert by_bytes["threshold"] >= 0.97 and set(by_bytes["dropped"]) == {"low_quality"}
    assert by_bytes["out"]["filtered_bytes"] <= 2_000
    with pytest.raises(UserError, match="nothing is kept of 400 documents"):
        filter_corpus(
            lambda: documents, [root / "a", root / "b"], fitted[0], tmp_path, budget_tokens=1
        )
    with pytest.raises(UserError, match="document 'd250' of 'code' has no vector"):
        filter_corpus(lambda: documents, [root / "a"], fitted[0], tmp_path)
    (tmp_path / "shard_without_part").mkdir()
    write_info(tmp_path / "shard_without_part", "the-embedder")
    with pytest.raises(UserError, match=r"shard_without_part: hold no vector; name also"):
        filter_corpus(lambda: documents, [tmp_path / "shard_without_part"], fitted[0], tmp_path)


@pytest.mark.slow
def test_vectors_of_other_documents_take_none_of_the_budget(pool, fitted, tmp_path):
    """As where code and prose were embedded together and are filtered apart."""
    root, _ = pool
    documents = list(read_documents(root / "pool.jsonl"))[::4]
    report = filter_corpus(
        lambda: documents, [root / "a", root / "b"], fitted[0], tmp_path, budget_tokens=900
    )
    kept = list(read_documents(tmp_path / "filtered.jsonl.zst"))
    assert 800 < sum(2 * len(d.text) for d in kept) == report["out"]["filtered_tokens"] <= 900
    assert report["threshold"] == pytest.approx(
        min(d.metadata["educational_value"] for d in kept), abs=1e-4
    )


def test_provenance_travels_from_the_source_to_the_shards(pool, fitted, byte_tokenizer, tmp_path):
    root, _ = pool
    for document in read_documents(root / "pool.jsonl"):
        (tmp_path / "code" / f"{document.id}.py").parent.mkdir(exist_ok=True)
        (tmp_path / "code" / f"{document.id}.py").write_text(document.text)
    (tmp_path / "code" / "d0.py").write_bytes(b"x = 0\r\n")
    source = Source("code", tmp_path / "code", licence="MIT")
    documents = [
        replace(d, id=d.id.removesuffix(".py")) for d in read_source(source, lambda *what: None)
    ]
    filter_corpus(lambda: documents, [root / "a", root / "b"], fitted[0], tmp_path)
    write_shards(read_documents(tmp_path / "filtered.jsonl.zst"), byte_tokenizer, tmp_path / "out")
    index = {row["id"]: row["metadata"] for row in read_index(tmp_path / "out")}
    assert len(index) == N
    for document in documents:
        found = index[document.id]
        assert found["path"] == f"{document.id}.py" and found["licence"] == "MIT"
        assert found["sha256"] == hashlib.sha256(document.text.encode()).hexdigest()
        assert 0 <= found["educational_value"] <= 1
    assert index["d0"]["normalizations"] == ["line_ends"]


def test_a_forest_of_another_embedder_or_a_changed_one_is_refused(fitted, tmp_path):
    model, _ = fitted
    forest = load_forest(model, "the-embedder")
    vectors = np.random.default_rng(2).normal(size=(9, WIDTH)).astype(np.float32)
    again = tmp_path / "again"
    again.mkdir()
    save_forest(forest, again)
    assert np.array_equal(load_forest(again, "the-embedder").score(vectors), forest.score(vectors))
    with pytest.raises(UserError, match="fitted on vectors of embedder the-embedder, these are of"):
        load_forest(model, "another")
    with (again / "forest.skops").open("ab") as file:
        file.write(b"x")
    with pytest.raises(UserError, match=r"not the forest that forest\.json describes"):
        load_forest(again, "the-embedder")


class Hostile:
    def __reduce__(self):
        return (eval, ("1/0",))


def test_nothing_but_a_forest_is_loaded(fitted, tmp_path):
    info = json.loads((fitted[0] / "forest.json").read_text())

    def plant(data):
        (tmp_path / "forest.skops").write_bytes(data)
        info["sha256"] = hashlib.sha256(data).hexdigest()
        (tmp_path / "forest.json").write_text(json.dumps(info))

    plant(pickle.dumps(Hostile()))
    with pytest.raises(UserError, match="not a skops archive"):
        load_forest(tmp_path, "the-embedder")
    estimator = RandomForestClassifier(2).fit(np.eye(4), [0, 1, 0, 1])
    estimator.extra = measure  # a function of ours: no type that a forest is made of
    plant(skops.io.dumps(estimator))
    with pytest.raises(UserError, match=r"holds .*measure, which no forest does"):
        load_forest(tmp_path, "the-embedder")
    plant(skops.io.dumps({"not": "a forest"}))
    with pytest.raises(UserError, match="holds a dict, not a forest"):
        load_forest(tmp_path, "the-embedder")
    assert TRUSTED == ["sklearn.tree._tree.Tree"]
    with zipfile.ZipFile(fitted[0] / "forest.skops") as archive:
        assert not any(name.endswith((".pkl", ".pickle")) for name in archive.namelist())


@pytest.mark.slow
def test_a_text_that_occurs_twice_counts_once(pool, tmp_path, capsys):
    root, _ = pool
    documents = list(read_documents(root / "annotated.jsonl"))
    copies = [replace(d, id=f"copy of {d.id}") for d in documents]
    write_documents(tmp_path / "copies.jsonl", copies)
    (tmp_path / "c").mkdir()
    rng = np.random.default_rng(2)
    vectors, ones = rng.normal(size=(N, WIDTH)).astype(np.float32), np.ones(N, np.int64)
    keys = np.array([document_key(d) for d in [*documents, *copies]], np.uint64)
    vectors[N // 2 :] = vectors[: N // 2]  # of equal texts, and without any meaning
    write_arrays(part_path(tmp_path / "c", 0), Part(keys, vectors, ones, ones)._asdict())
    write_info(tmp_path / "c", "the-embedder")
    once, twice = (
        fit_and_report(files, [tmp_path / "c"], tmp_path, positive_from=0.5, n_trees=30, seed=0)
        for files in (
            [root / "annotated.jsonl"],
            [root / "annotated.jsonl", root / "annotated.jsonl", tmp_path / "copies.jsonl"],
        )
    )
    assert twice["out_of_sample"] == once["out_of_sample"]
    assert twice["in"] == {"annotated": 600} and twice["dropped"] == {"repeated": 400}
    assert once["dropped"] == {"repeated": 0}
    told = capsys.readouterr().err
    assert told.count("400 of 600 annotated documents have the text of an earlier one") == 1


@pytest.mark.parametrize("n_trees", [1, 5, 10])
def test_too_few_trees_are_refused_by_their_flag(n_trees):
    vectors = np.random.default_rng(0).normal(size=(2000, 2))
    with pytest.raises(UserError, match=rf"^--trees={n_trees}: all trees were grown with \d+ of"):
        fit_forest(vectors, vectors[:, 0], embedder="e", positive_from=0.0, n_trees=n_trees)


def test_too_few_of_one_kind(pool):
    with pytest.raises(UserError, match=r"1 of 50 annotated documents are good"):
        fit_forest(
            np.zeros((50, 2)), np.linspace(0, 1, 50), embedder="e", positive_from=0.99, n_trees=5
        )


@pytest.mark.slow
def test_a_share_that_equal_values_do_not_allow_is_said(pool, tmp_path, capsys):
    root, _ = pool
    documents = list(read_documents(root / "annotated.jsonl"))
    alike = [
        replace(d, metadata={**d.metadata, VALUE: float(i % 4 > 0)})
        for i, d in enumerate(documents)
    ]
    write_documents(tmp_path / "annotated.jsonl", alike)
    fit_and_report(
        [tmp_path / "annotated.jsonl"], [root / "a", root / "b"], tmp_path,
        positive_share=0.3, n_trees=30, seed=0,
    )  # fmt: skip
    assert "have a value of 1 or more, not 30%" in capsys.readouterr().err


@pytest.mark.slow
def test_a_threshold_that_parts_nothing_and_prose_that_fills_the_budget_are_said(
    pool, fitted, tmp_path, capsys
):
    root, worth = pool
    folders = [root / "a", root / "b"]
    low = float(np.quantile(worth[::2], 0.06))
    fit_and_report(
        [root / "annotated.jsonl"], folders, tmp_path, positive_from=low, n_trees=30, seed=0
    )
    told = capsys.readouterr().err
    assert "calls nearly everything good (9" in told and "--positive_share=0.5" in told
    documents = list(read_documents(root / "pool.jsonl"))
    scored = filter_corpus(lambda: documents, folders, fitted[0], tmp_path, budget_tokens=2_000)
    assert "prose" not in capsys.readouterr().err and scored["out"]["filtered"]
    best = {d.id for d in read_documents(tmp_path / "filtered.jsonl.zst")}
    prose = [replace(d, metadata={"prose": d.id in best}) for d in documents]
    filter_corpus(lambda: prose, folders, fitted[0], tmp_path, budget_tokens=2_000)
    told = capsys.readouterr().err
    assert "prose fills the budget: it is 100% of what is kept" in told
