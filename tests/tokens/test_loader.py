import shutil
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from phi1_jax.config import DataConfig, SourceConfig
from phi1_jax.errors import UserError
from phi1_jax.tokens.loader import Loader, Rows
from phi1_jax.tokens.shards import open_shards


@pytest.fixture(scope="module")
def data(shards) -> DataConfig:
    sources = (
        SourceConfig("code", str(shards["code"]), 3.0),
        SourceConfig("exercises", str(shards["exercises"]), 1.0),
    )
    return DataConfig(sources=sources, seq_len=32, global_batch_size=8)


def take(loader: Loader, start: int, n: int) -> list[dict]:
    iterator = loader.batches(start)
    return [next(iterator) for _ in range(n)]


def ids(batches) -> list[tuple[int, int]]:
    return [(int(s), int(r)) for b in batches for s, r in zip(b["source"], b["row"], strict=True)]


def test_rows_cover_every_token_once_as_a_target(shards):
    opened = open_shards(shards["code"])
    rows = Rows(opened, DataConfig(seq_len=32))
    stream = np.concatenate(opened.tokens)
    targets = rows.read(rows.trained)[0][:, 1:].ravel()
    np.testing.assert_array_equal(targets, stream[1 : 1 + len(targets)])
    assert len(stream) - 1 - len(targets) < 32


@pytest.mark.parametrize("n_sources", [1, 2])
def test_every_row_of_a_source_exactly_once_an_epoch(data, n_sources):
    loader = Loader(replace(data, sources=data.sources[:n_sources]), seed=3)
    seen = ids(take(loader, 0, 400))
    for number, rows in enumerate(loader.sources):
        n_rows = len(rows.trained)
        mine = [row for source, row in seen if source == number]
        first, second, third = (mine[n_rows * e : n_rows * (e + 1)] for e in range(3))
        assert len(second) == n_rows and third
        for epoch in (first, second):
            assert Counter(epoch) == Counter(range(n_rows))
        assert len(set(third)) == len(third)
        assert first != second and first != sorted(first)


def test_order_is_a_function_of_seed_and_step(data):
    reference = take(Loader(data, seed=1), 0, 10)
    for threads in (1, 2, 3):
        later = Loader(data, seed=1).batches(6, threads)
        for ours, theirs in zip(reference[6:], later, strict=False):
            for name, array in ours.items():
                np.testing.assert_array_equal(array, theirs[name])
    assert ids(reference) != ids(take(Loader(data, seed=2), 0, 10))


def test_epochs_in_place_of_weights(data):
    once, twice = (len(rows.trained) for rows in Loader(data, 0).sources)
    sources = (replace(data.sources[0], epochs=1.0), replace(data.sources[1], epochs=2.0))
    config = replace(data, sources=sources, global_batch_size=1)
    loader = Loader(config, 0, steps=once + 2 * twice)
    seen = Counter(ids(take(loader, 0, once + 2 * twice)))
    # A share is a fraction, so the last row of a source may fall beyond the end of the run.
    assert abs(sum(n for (source, _), n in seen.items() if source) - 2 * twice) <= 1
    assert sum(n != source + 1 for (source, _), n in seen.items()) <= 2
    # The rest of the run goes to the sources with weights.
    config = replace(config, sources=(data.sources[0], sources[1]))
    seen = Counter(source for source, _ in ids(take(Loader(config, 0, steps=1000), 0, 1000)))
    assert abs(seen[1] - 2 * twice) <= 1
    with pytest.raises(UserError, match=r"epochs make .* rows, and the run reads 100 \(steps"):
        Loader(config, 0, steps=100)
    with pytest.raises(UserError, match="or give one source a weight"):
        Loader(replace(config, sources=sources), 0, steps=10_000)


@pytest.mark.parametrize("packing", ["stream", "documents"])
def test_validation_rows_are_never_trained_on(data, shards, packing):
    config = replace(data, validation_rows=80, packing=packing, global_batch_size=4)
    loader = Loader(config, seed=1)
    seen = set(ids(take(loader, 0, 800)))
    for number, (name, rows) in enumerate(zip(loader.names, loader.sources, strict=True)):
        trained = {row for source, row in seen if source == number}
        assert len(rows.validation) == 80
        assert trained == set(range(len(rows.starts))) - set(rows.validation.tolist())
        # What is scored are documents of which no token is a target in a trained row.
        stream = np.concatenate(open_shards(shards[name]).tokens)
        trained_on, scored = np.zeros(len(stream), bool), np.zeros(len(stream), bool)
        for row in trained:
            trained_on[rows.starts[row] + 1 : rows.starts[row] + 33] = True
        tokens, counts = rows.read_validation()
        targets = rows.starts[rows.validation][:, None] + 1 + np.arange(32)
        np.testing.assert_array_equal(stream[targets], tokens[:, 1:])
        scored[targets[counts]] = True
        assert not (scored & trained_on).any()
        bounds = [0, *(np.flatnonzero(stream == 256) + 1).tolist()]
        whole = [
            scored[begin + 1 : end].all()  # the first may be no target, only input
            for begin, end in pairwise(bounds)
            if scored[begin:end].any()
        ]
        assert all(whole) and len(whole) >= 8
    with pytest.raises(UserError, match=r"validation_rows=1: no document of"):
        Loader(replace(config, validation_rows=1, seq_len=8), 0).sources[1].read_validation()


def test_mixture_follows_the_weights(data):
    counts = Counter(source for source, _ in ids(take(Loader(data, seed=1), 0, 100)))
    assert counts[0] / counts[1] == pytest.approx(3.0, rel=0.02)


def test_loss_on_solutions_only(data, shards):
    one = replace(data, sources=data.sources[1:], loss_on="solutions")
    masked, everywhere = (
        Loader(one, 0).sources[0],
        Loader(replace(one, loss_on="all"), 0).sources[0],
    )
    (tokens, loss), (same, whole) = (
        [part[0] for part in rows.read([0])] for rows in (masked, everywhere)
    )
    np.testing.assert_array_equal(tokens, same)
    assert whole.all()
    text = "".join(chr(t) if t < 256 else "$" for t in tokens[1:])
    learned = "".join(c for c, used in zip(text, loss, strict=True) if used)
    # "dd 0\n  return 0\n$add 1\n ..." keeps the bodies and the ends.
    assert text.startswith("dd 0\n  return 0\n$add 1")
    assert learned.startswith("  return 0\n$")
    assert "add" not in learned


def test_rows_that_start_with_documents_hold_each_document_whole(shards):
    opened = open_shards(shards["exercises"])
    rows = Rows(opened, DataConfig(seq_len=64, packing="documents"))
    whole = Counter()
    for index in rows.trained:
        text = "".join(chr(t) if t < 256 else "$" for t in rows.read([index])[0][0])
        assert text.startswith("add ")
        whole.update(text.split("$")[:-1])
    # The last row may not be full, and is then dropped.
    assert {f"add {i}\n  return {i}\n" for i in range(295)} <= set(whole)
    assert set(whole.values()) == {1}


def test_the_identity_is_content_and_order_not_paths(data, shards, tmp_path):
    identity = Loader(data, 0).identity
    copied = shutil.copytree(shards["code"], tmp_path / "copy")
    moved = (replace(data.sources[0], path=str(copied)), data.sources[1])
    assert Loader(replace(data, sources=moved), 0).identity == identity
    swapped = Loader(replace(data, sources=data.sources[::-1]), 0).identity
    heavier = (replace(data.sources[0], weight=4.0), data.sources[1])
    other = (replace(data.sources[0], path=str(shards["exercises"])), data.sources[1])
    for identities, field in (
        (swapped, "data.sources"),
        (Loader(replace(data, sources=heavier), 0).identity, "data.sources.code.share"),
        (Loader(replace(data, sources=other), 0).identity, "data.sources.code.shards"),
    ):
        changed = [name for name in identity if identities[name] != identity[name]]
        assert changed[0] == field and len(changed) == 1 + field.endswith("share")


def test_bad_data_is_refused_by_name(data, shards, tmp_path):
    with pytest.raises(UserError, match=r"data\.sources is empty"):
        Loader(DataConfig(), 0)
    missing = replace(data, sources=(SourceConfig("x", str(tmp_path / "nowhere")),))
    with pytest.raises(UserError, match="nowhere"):
        Loader(missing, 0)
    with pytest.raises(UserError, match=r"do not fill one row of data\.seq_len=1000000"):
        Loader(replace(data, seq_len=1_000_000), 0)
