"""No record, and no bytes under any name, end a run; and nothing goes without a word."""

import bz2
import datetime
import gzip
import json
import lzma
import math
import os
from decimal import Decimal
from pathlib import Path

import orjson
import pyarrow
import pyarrow.parquet
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phi1_jax.corpus.documents import read_all, read_documents, write_documents
from phi1_jax.corpus.records import SkipLog, plain, read_numbered, read_records, write_records
from phi1_jax.errors import UserError

RECORD = {"id": "a", "text": "x = 1\n"}
LINE = json.dumps(RECORD).encode() + b"\n"

# Surrogates too, which `st.text` leaves out by itself.
texts = st.text(st.characters(), max_size=20) | st.text(
    st.characters(categories=("Cs", "Lu", "Zl")), max_size=5
)
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.decimals()
    | texts
    | st.binary(max_size=20)
    | st.datetimes()
    | st.dates()
    | st.timedeltas()
    | st.uuids()
)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner)
        | st.dictionaries(texts | st.integers() | st.binary(max_size=3) | st.none(), inner)
    ),
    max_leaves=12,
)
fields = st.sampled_from(
    ["id", "text", "source", "metadata", "prompt", "solution", "test", "prompt_chars", "label"]
)
records = st.dictionaries(fields | texts, values | texts, max_size=6)
quick = settings(
    deadline=None,
    derandomize=True,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.slow
@quick
@given(st.lists(records, max_size=5))
def test_any_records_are_written_as_json_that_others_read_and_come_back_plain(tmp_path, rows):
    assert write_records(tmp_path / "r.jsonl", rows) == len(rows)
    expected = [orjson.loads(orjson.dumps(plain(row))) for row in rows]
    assert list(read_records(tmp_path / "r.jsonl")) == expected
    lines = (tmp_path / "r.jsonl").read_bytes().split(b"\n")[:-1]
    assert [orjson.loads(line) for line in lines] == expected


@pytest.mark.slow
@quick
@given(st.lists(records, min_size=1, max_size=5), st.sampled_from([None, {"date": "metadata.x"}]))
def test_each_record_of_a_corpus_is_a_document_or_is_told(tmp_path, rows, columns):
    path, skipped = tmp_path / "r.jsonl", []
    write_records(path, [RECORD | {"metadata": {"x": 1}}, *rows])
    documents = list(read_documents(path, None, columns, lambda *what: skipped.append(what)))
    assert len(documents) + len(skipped) == 1 + len(rows)
    for document in documents:
        orjson.dumps(vars(document))  # what datatrove, pyarrow and others write
        assert isinstance(document.id, str) and isinstance(document.source, str)
        assert 0 <= document.metadata.get("prompt_chars", 0) <= len(document.text)
    write_documents(tmp_path / "again.jsonl", documents)
    assert list(read_documents(tmp_path / "again.jsonl")) == documents


SUFFIXES = [
    ".jsonl", ".JSONL", ".ndjson", ".json", ".jsonl.gz", ".jsonl.zst", ".jsonl.xz", ".json.bz2",
    ".parquet", ".py", ".md",
]  # fmt: skip
starts = st.sampled_from([b"", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"PAR1", b"BZh9", b"[", LINE])
cookies = st.sampled_from(
    [b"hex", b"rot13", b"undefined", b"idna", b"unknown", b"utf-7", b"utf-16", b"unicode_escape"]
).map(lambda name: b"# coding: " + name + b"\n")


@quick
@given(st.sampled_from(SUFFIXES), starts | cookies, st.binary(max_size=60))
def test_any_bytes_under_any_name_are_read_or_told(tmp_path, suffix, start, rest):
    path, skipped = tmp_path / f"f{suffix}", []
    path.write_bytes(start + rest)
    try:
        documents = list(read_documents(path, skip=lambda *what: skipped.append(what)))
    except UserError as error:
        assert "\n" not in str(error)
    else:
        orjson.dumps([vars(document) for document in documents])
    path.unlink()


def test_values_that_json_lacks():
    assert plain(Decimal("4.50")) == 4.5 and plain(Decimal("7")) == 7
    assert plain(Decimal("0.1000000000000000000001")) == "0.1000000000000000000001"
    assert plain([math.nan, math.inf, Decimal("NaN")]) == [None, None, None]
    assert plain(datetime.datetime(2024, 1, 2, 3)) == "2024-01-02T03:00:00"
    assert plain(b"ab\xff") == "ab\\xff" and plain("caf\udce9") == "caf\\udce9"
    assert plain({1: (2,), None: {3}}) == {"1": [2], "null": [3]}
    assert plain(1 << 63) == hex(1 << 63) and plain(-(1 << 63)) == -(1 << 63)
    deep = []
    for _ in range(5000):
        deep = [deep]
    assert "nested deeper than 64 levels" in json.dumps(plain(deep))


COMPRESS = {
    ".gz": gzip.compress,
    ".zst": zstandard.compress,
    ".xz": lzma.compress,
    ".bz2": bz2.compress,
}


def test_every_compression_and_case_is_read(tmp_path):
    compress = COMPRESS | {"": lambda data: data}
    array = json.dumps([RECORD, RECORD], indent=1).encode()
    for suffix, function in compress.items():
        for name, data in ((".jsonl", LINE * 2), (".NDJSON", LINE * 2), (".json", array)):
            path = tmp_path / f"d{name}{suffix}"
            path.write_bytes(function(data))
            assert list(read_numbered(path)) == [(1, RECORD), (2, RECORD)], path
    (tmp_path / "one.json").write_text(json.dumps(RECORD, indent=2))
    assert list(read_records(tmp_path / "one.json")) == [RECORD]
    (tmp_path / "lines.json").write_bytes((b"\xef\xbb\xbf" + LINE) * 2)
    assert list(read_records(tmp_path / "lines.json")) == [RECORD] * 2
    (tmp_path / "torn.json").write_bytes(b'{"text": \n' + LINE)
    skipped = []
    found = list(read_records(tmp_path / "torn.json", lambda *what: skipped.append(what)))
    assert found == [RECORD] and skipped == [("torn.json:1", "broken_json")]


def test_a_zstd_window_of_two_gigabytes_is_read(tmp_path):
    parameters = zstandard.ZstdCompressionParameters(window_log=31, enable_ldm=True)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    (tmp_path / "d.jsonl.zst").write_bytes(compressor.compress(LINE) + compressor.flush())
    assert list(read_records(tmp_path / "d.jsonl.zst")) == [RECORD]


def test_plain_text_named_as_an_archive_is_called_that(tmp_path):
    path = tmp_path / "d.jsonl.gz"
    path.write_bytes(LINE)
    with pytest.raises(UserError, match=r"ends in \.gz but is plain text; rename it to d\.jsonl"):
        list(read_documents(path))
    (tmp_path / "e.jsonl").write_bytes(LINE)
    skipped = []
    assert len(list(read_documents(tmp_path, skip=lambda *what: skipped.append(what)))) == 1
    assert skipped == [("d.jsonl.gz", "misnamed")]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("d.jsonl.zst", gzip.compress(LINE), r"but is gz data; rename it to d\.jsonl\.gz$"),
        ("d.jsonl", zstandard.compress(LINE), r"but is zst data; rename it to d\.jsonl\.zst$"),
        ("d.jsonl.xz", b"]\0\0\x80" + LINE, r"ends in \.xz but is not xz data$"),
    ],
    # Gzip's data holds the time: two processes that collect the tests would name them differently.
    ids=["gz named zst", "zst without an ending", "lzma named xz"],
)
def test_an_archive_of_another_kind_is_called_that(tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=message):
        list(read_records(tmp_path / name))


@pytest.mark.parametrize("suffix", COMPRESS)
def test_nothing_behind_the_first_frame_of_an_archive_goes_without_a_word(tmp_path, suffix):
    """Joined archives are read whole, with padding between them; what is no archive is told."""
    frame, path, skipped = COMPRESS[suffix](LINE), tmp_path / f"d.jsonl{suffix}", []
    for between in (b"", b"\0" * 8, b"\0" * 30_000):
        path.write_bytes(frame + between + frame + between)
        assert list(read_numbered(path)) == [(1, RECORD), (2, RECORD)]
    for rest in (b"garbage", b"\0" * 8 + LINE, frame[:-1]):
        path.write_bytes(frame + rest + frame)
        with pytest.raises(UserError, match=f"d.jsonl{suffix}: damaged after line [12]: "):
            list(read_records(path))
        found = list(read_records(path, lambda *what: skipped.append(what)))
        assert found in ([RECORD], [RECORD] * 2)
        assert skipped.pop() == (path.name, "damaged_archive") and not skipped


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_no_flipped_bit_gives_other_records(tmp_path, suffix):
    rows = [{"id": f"{i}", "text": f"def f{i}(x):\n    return x * {i * i}\n"} for i in range(8)]
    path = tmp_path / f"d.jsonl{suffix}"
    write_records(path, rows)
    data = path.read_bytes()
    errors = 0
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            assert list(read_records(path)) == rows, bit
        except UserError:
            errors += 1
    assert errors > 7 * len(data)  # a few stand for nothing, such as gzip's time


def test_records_nested_too_deep_and_huge_numbers_are_told(tmp_path):
    path, skipped = tmp_path / "d.jsonl", []
    odd = [b'{"text": "a", "metadata": ' + b"[" * 5000 + b"\n", b'{"text": ' + b"9" * 5000 + b"}\n"]
    path.write_bytes(LINE + odd[0] + LINE + odd[1])
    documents = list(read_documents(path, skip=lambda *what: skipped.append(what)))
    assert len(documents) == 2
    assert skipped == [("d.jsonl:2", "broken_json"), ("d.jsonl:4", "broken_json")]
    with pytest.raises(UserError, match="line 2: "):
        list(read_records(path))


def test_a_tables_odd_values_cost_one_row_at_most(tmp_path):
    path, skipped = tmp_path / "t.parquet", []
    good = pyarrow.array([b"x = 1\n", b"\xff\xfe", b"y = 2\n"], pyarrow.binary())
    table = {
        "text": good.view(pyarrow.string()) if hasattr(good, "view") else good.cast("string"),
        "visit": pyarrow.array([1_700_000_000_123_456_789] * 3, pyarrow.timestamp("ns")),
        "metadata": [{"price": Decimal("1.5"), "raw": b"\xff", "day": datetime.date(2024, 1, 2)}]
        * 3,
    }
    pyarrow.parquet.write_table(pyarrow.table(table), path)
    tell = lambda *what: skipped.append(what)  # noqa: E731
    documents = list(read_documents(path, skip=tell))
    assert [d.text for d in documents] == ["x = 1\n", "y = 2\n"]
    assert documents[0].metadata == {"price": 1.5, "raw": "\\xff", "day": "2024-01-02"}
    assert skipped == [("t.parquet:2", "not_utf8")]
    [first, _] = read_documents(path, None, {"text": "text", "date": "visit"}, tell)
    assert first.metadata["date"].startswith("2023-11-14T22:13:20.123456")
    pyarrow.parquet.write_table(pyarrow.table({"text": pyarrow.array([b"x\n", b"\xff"])}), path)
    assert [d.text for d in read_documents(path, skip=tell)] == ["x\n"]


def test_odd_rows_among_good_ones_are_left_out_by_line(tmp_path, capsys):
    rows = [
        {"text": "a", "n": {"b": 1}},
        {"body": "b"},
        {"text": None},
        {"text": 3},
        {"text": "c", "n": None, "id": None, "metadata": None},
        {"text": "d", "metadata": {"prompt_chars": None}},
        {"text": "e", "metadata": {"prompt_chars": 2}},
        {"text": "f\ud800", "id": "i\ud800", "source": "s\udce9"},
        {"text": "gh", "metadata": {"prompt_chars": 1.0}},
    ]
    path = tmp_path / "d.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    documents = list(read_documents(path))
    assert [d.text for d in documents] == ["a", "c", "d", "f\ufffd", "gh"]
    names = ["d.jsonl:1", "d.jsonl:5", "d.jsonl:6", "i\\ud800", "d.jsonl:9"]
    assert [d.id for d in documents] == names
    assert documents[2].metadata == {}
    assert documents[3].metadata == {"normalizations": ["surrogates"]}
    assert type(documents[4].metadata["prompt_chars"]) is int
    told = capsys.readouterr().err
    for line in (
        "d.jsonl:2 (missing_text)",
        "d.jsonl:3 (null_text)",
        "d.jsonl:4 (not_text)",
        "d.jsonl:7 (bad_prompt_chars)",
    ):
        assert f"left out: {line}\n" in told
    # A column inside a record that is null in one row is null; one that no row has is an error.
    mapped = list(read_documents(path, None, {"text": "text", "b": "n.b"}, lambda *what: None))
    assert [d.metadata.get("b") for d in mapped] == [1, *5 * [None]]
    with pytest.raises(UserError, match=r"no column 'n\.c'; it has text, n\.\{b\}; .*--columns"):
        list(read_documents(path, None, {"c": "n.c"}, lambda *what: None))


def test_metadata_that_stages_read_has_their_types_and_every_document_an_id(tmp_path):
    about = {"composition": 5, "normalizations": None, "topic": ["a", 1], "entry_point": {"b": 2}}
    write_records(tmp_path / "d.jsonl", [{"id": "", "text": "a", "metadata": about | {"x": None}}])
    (document,) = read_documents(tmp_path / "d.jsonl")
    assert document.id == "d.jsonl:1"
    assert document.metadata == {
        "composition": ["5"], "topic": "a, 1", "entry_point": "{'b': 2}", "x": None
    }  # fmt: skip
    # In the order that it was read in: the same records give the same bytes in every process.
    assert list(document.metadata) == ["composition", "topic", "entry_point", "x"]


def test_a_log_names_all_counts_all_and_shows_the_first(tmp_path, capsys):
    log = SkipLog(tmp_path / "left_out.jsonl")
    for i in range(9):
        log(f"n\udce9{i}", "broken_json")
        log(f"n\udce9{i}", "broken_json")  # the second reading of the same corpus
    assert log.report() == {"left_out": {"broken_json": 9}} and SkipLog().report() == {}
    rows = list(read_records(tmp_path / "left_out.jsonl"))
    assert len(rows) == 9 and rows[3] == {"id": "n\\udce93", "reason": "broken_json"}
    shown = capsys.readouterr().err
    assert shown.count("left out: n\\udce9") == 3 and "in the result's left_out.jsonl" in shown


def test_files_of_one_name_in_two_folders_are_told_apart(tmp_path):
    for folder in ("a", "b", "c/1", "c/2"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "train.jsonl").write_text('{"text": "x"}\n{\n{"no": 1}\n')
    log = SkipLog(tmp_path / "left_out.jsonl")
    paths = [tmp_path / "a/train.jsonl", tmp_path / "b/train.jsonl", tmp_path / "c"]
    for _ in range(2):
        assert len(list(read_all(paths, None, log))) == 4
    assert log.counts == {"broken_json": 4, "missing_text": 4}


def test_files_that_cannot_be_read_and_their_names(tmp_path):
    (tmp_path / "good.py").write_text("x = 1\n")
    (tmp_path / "io.py").symlink_to("/proc/self/mem")  # any read fails, for root too
    (tmp_path / "gone.py").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.py")
    for name in ("hex", "rot13", "undefined", "nonsense"):
        (tmp_path / f"{name}.py").write_bytes(f"# coding: {name}\nx = 1\n".encode())
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.py")).write_text("x = 2\n")
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv/pyvenv.cfg").write_text("")
    (tmp_path / "venv/other.py").write_text("x = 3\n")
    (tmp_path / "link").symlink_to(tmp_path / "venv")
    skipped = {}
    documents = list(read_documents(tmp_path, skip=skipped.__setitem__))
    assert [(d.id, d.metadata["path"]) for d in documents] == [
        ("caf\\udce9.py", "caf\\udce9.py"),
        ("good.py", "good.py"),
    ]
    assert skipped == {
        "io.py": "unreadable",
        "gone.py": "unreadable",
        "pipe.py": "unreadable",
        "link": "linked_folder",
        "venv": "virtual_environment",
        **{f"{n}.py": "undecodable" for n in ("hex", "rot13", "undefined", "nonsense")},
    }


def test_numbers_that_json_lacks_are_read_as_null_and_told_once_a_file(tmp_path, capsys):
    path = tmp_path / "a.jsonl"
    path.write_text('{"x": NaN}\n{"x": -Infinity}\n{"x": 1}\n')
    for _ in range(2):
        assert [record["x"] for record in read_records(path)] == [None, None, 1]
    told = capsys.readouterr().err
    assert told == f"warning: {path}: NaN and Infinity are not JSON and are read as null\n"
