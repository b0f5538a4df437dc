import shutil
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from phi1_jax.config import DataConfig, SourceConfig
from phi1_jax.data.loader import Loader, Rows
from phi1_jax.data.shards import open_shards
from phi1_jax.errors import UserError


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
    targets = np.concatenate([rows[i][0][1:] for i in range(len(rows))])
    np.testing.assert_array_equal(targets, stream[1 : 1 + len(targets)])
    assert len(stream) - 1 - len(targets) < 32


def test_every_row_of_a_source_exactly_once_an_epoch(data, shards):
    one = replace(data, sources=data.sources[:1])
    loader = Loader(one, seed=3)
    n_rows = len(loader.sources[0])
    epochs = 2
    seen = ids(take(loader, 0, epochs * n_rows // 8 + 1))
    first, second = seen[:n_rows], seen[n_rows : 2 * n_rows]
    assert Counter(first) == Counter((0, row) for row in range(n_rows))
    assert len(set(second)) == len(second)
    assert first != sorted(first)
    assert first[: len(second)] != second


def test_order_is_a_function_of_seed_and_step(data):
    reference = take(Loader(data, seed=1), 0, 10)
    later = take(Loader(data, seed=1), 6, 4)
    for ours, theirs in zip(reference[6:], later, strict=True):
        np.testing.assert_array_equal(ours["tokens"], theirs["tokens"])
    assert ids(reference) != ids(take(Loader(data, seed=2), 0, 10))


def test_mixture_follows_the_weights(data):
    counts = Counter(source for source, _ in ids(take(Loader(data, seed=1), 0, 100)))
    assert counts[0] / counts[1] == pytest.approx(3.0, rel=0.02)


def test_loss_on_solutions_only(data, shards):
    one = replace(data, sources=data.sources[1:], loss_on="solutions")
    masked, everywhere = (
        Loader(one, 0).sources[0],
        Loader(replace(one, loss_on="all"), 0).sources[0],
    )
    (tokens, loss), (same, whole) = masked[0], everywhere[0]
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
    rows = Rows(opened, DataConfig(seq_len=64, cut="documents"))
    whole = Counter()
    for index in range(len(rows)):
        text = "".join(chr(t) if t < 256 else "$" for t in rows[index][0])
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
        (Loader(replace(data, sources=heavier), 0).identity, "data.sources.code.weight"),
        (Loader(replace(data, sources=other), 0).identity, "data.sources.code.shards"),
    ):
        assert [name for name in identity if identities[name] != identity[name]] == [field]


def test_bad_data_is_refused_by_name(data, shards, tmp_path):
    with pytest.raises(UserError, match=r"data\.sources is empty"):
        Loader(DataConfig(), 0)
    missing = replace(data, sources=(SourceConfig("x", str(tmp_path / "nowhere")),))
    with pytest.raises(UserError, match="nowhere"):
        Loader(missing, 0)
    with pytest.raises(UserError, match=r"do not fill one row of data\.seq_len=1000000"):
        Loader(replace(data, seq_len=1_000_000), 0)
