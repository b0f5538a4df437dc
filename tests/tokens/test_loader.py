import shutil
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from phi1_jax.config import DataConfig, SourceConfig
from phi1_jax.corpus.documents import Document
from phi1_jax.errors import UserError
from phi1_jax.tokens.loader import Loader, Rows
from phi1_jax.tokens.shards import open_shards, write_shards


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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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
    small = replace(config, validation_rows=1, seq_len=8)
    with pytest.raises(UserError, match=r"=1: no document of .*; raise it, set it to 0, or"):
        Loader(small, 0).sources[1].read_validation()


def test_a_document_that_the_next_row_repeats_is_not_scored(byte_tokenizer, tmp_path):
    # Two documents fill a row exactly; the second starts the next row.
    documents = [Document(f"{i}", "a" * (3 + i % 2), "docs") for i in range(80)]
    write_shards(documents, byte_tokenizer, tmp_path)
    config = DataConfig(seq_len=8, packing="documents", validation_rows=16)
    rows = Rows(open_shards(tmp_path), config)
    trained = rows.starts[rows.trained][:, None] + 1 + np.arange(8)
    targets = rows.starts[rows.validation][:, None] + 1 + np.arange(8)
    counts = rows.read_validation()[1]
    assert counts.sum() > 8 * 4 and not np.isin(targets[counts], trained).any()


def test_a_changed_mixture_goes_on_where_each_source_stands(data):
    """Batch size and weights change after 30 steps, sources at another step; no row repeats."""
    first = Loader(data, seed=1)
    seen = ids(take(first, 0, 30))
    read = {name: sum(s == n for s, _ in seen) for n, name in enumerate(first.names)}
    evenly = tuple(replace(source, weight=1.0) for source in data.sources[::-1])
    loader = Loader(replace(data, sources=evenly, global_batch_size=4), seed=1)
    loader.go_on(30, read, None)
    later = [(1 - s, r) for s, r in ids(take(loader, 30, 50))]
    for number, rows in enumerate(first.sources):
        mine = [row for source, row in seen + later if source == number]
        alone = Loader(replace(data, sources=(data.sources[number],)), seed=1)
        assert mine == [row for _, row in ids(take(alone, 0, 80))][: len(mine)]
        assert len(set(mine)) == min(len(mine), len(rows.trained))
    assert sum(s for s, _ in later) == 100


@pytest.mark.slow
def test_epochs_are_those_of_the_whole_run_after_a_change(data):
    code, exercises = data.sources
    config = replace(data, sources=(code, replace(exercises, epochs=3.0)), global_batch_size=1)
    n_rows = len(Loader(data, 0).sources[1].trained)
    loader = Loader(config, 0, steps=2000)
    read = sum(s for s, _ in ids(take(loader, 0, 1000)))
    loader.go_on(1000, {"code": 1000 - read, "exercises": read}, 3000)
    assert abs(read + sum(s for s, _ in ids(take(loader, 1000, 2000))) - 3 * n_rows) <= 1
    only = replace(config, sources=(replace(exercises, epochs=3.0),))
    with pytest.raises(UserError, match=r"epochs make .* more rows, and the run reads 1,000"):
        Loader(only, 0).go_on(3 * n_rows - 500, {"exercises": 3 * n_rows - 500}, 3 * n_rows + 500)


def test_text_without_prompts_counts_whole_beside_solutions(data):
    loader = Loader(replace(data, loss_on="solutions"), 0)
    for batch in take(loader, 0, 5):
        shares = batch["loss_mask"].mean(1)
        assert (shares[batch["source"] == 0] == 1).all()
        assert (shares[batch["source"] == 1] < 0.8).all()


def test_rows_without_a_target_are_counted_and_mostly_such_rows_refused(
    byte_tokenizer, tmp_path, caplog
):
    def shards(n_prompt):
        documents = [
            Document(f"{i}", "p" * n_prompt + "solve", "ex", {"prompt_chars": n_prompt})
            for i in range(50)
        ]
        write_shards(documents, byte_tokenizer, tmp_path / str(n_prompt))
        return (SourceConfig("ex", str(tmp_path / str(n_prompt))),)

    config = DataConfig(seq_len=32, global_batch_size=4, loss_on="solutions", sources=shards(40))
    loader = Loader(config, 0)
    (rows,) = loader.sources
    empty = int((~rows.read(rows.trained)[1].any(1)).sum())
    assert 0 < rows.without_target == empty < len(rows.trained) / 2
    assert f"source ex: {empty} of {len(rows.trained)} rows have no target" in caplog.text
    long = replace(config, sources=shards(400))
    with pytest.raises(UserError, match=r"seq_len=32: \d+% of the rows have no target.* longer"):
        Loader(long, 0)
    assert Loader(replace(long, max_rows_without_target=1.0), 0)
    assert Loader(replace(long, loss_on="all"), 0).sources[0].without_target == 0


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
