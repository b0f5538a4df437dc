import gzip
import hashlib
import itertools
import json
import sys
import sysconfig
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from configs.sources.public import get_config
from phi1_jax.config_dict import from_dict
from phi1_jax.corpus import documents as documents_module
from phi1_jax.corpus import records
from phi1_jax.corpus.documents import Document, make_document
from phi1_jax.corpus.records import SkipLog
from phi1_jax.curation.hub import Hub
from phi1_jax.curation.sources import (
    DeclaredSource,
    Source,
    check_source,
    count_files,
    module_docstring,
    normalize,
    parse_source,
    read_source,
    read_sources,
)
from phi1_jax.errors import UserError


def test_the_standard_library_is_read_whole_and_its_unreadable_files_named():
    skipped = []
    documents = list(read_source(Source("stdlib"), lambda *what: skipped.append(what)))
    ids = {d.id for d in documents}
    assert {"heapq.py", "json/decoder.py", "asyncio/queues.py"} <= ids
    assert not any("site-packages" in name for name in ids)
    assert sum(len(d.text) for d in documents) > 8_000_000
    heapq = next(d for d in documents if d.id == "heapq.py")
    assert heapq.text == (Path(sysconfig.get_path("stdlib")) / "heapq.py").read_text("utf-8")
    assert heapq.source == "stdlib"
    assert all("\r" not in d.text and "\0" not in d.text for d in documents)
    assert all(reason in ("undecodable", "nul_characters") for _, reason in skipped)
    assert len(ids | {name for name, _ in skipped}) == len(documents) + len(skipped)


def test_parts_are_the_whole_without_overlap(tmp_path):
    for i in range(7):
        (tmp_path / f"{i}.py").write_text(f"x = {i}\n")
    source = parse_source(f"mine={tmp_path}")
    parts = [[d.id for d in read_source(source, pytest.fail, part, 3)] for part in range(3)]
    assert sorted(name for part in parts for name in part) == [f"{i}.py" for i in range(7)]


def test_prose_is_the_manual_and_the_docstrings_without_importing_anything():
    before = set(sys.modules)
    documents = {d.id: d for d in read_source(Source("prose", prose=True), pytest.fail)}
    assert not {m for m in set(sys.modules) - before if not m.startswith("pydoc_data")}
    assert 'The "for" statement' in documents["topics/for"].text
    assert documents["docstrings/bisect.py"].text == "Bisection algorithms.\n"
    assert {d.source for d in documents.values()} == {"prose"}


@pytest.mark.parametrize(
    ("text", "docstring"),
    [
        ('#!x\n# c\n\n"""One.\n\n    Two.\n    """\nx = 1\n', "One.\n\nTwo."),
        ("r'raw \\d'\n", "raw \\d"),
        ("'a' 'b'\n", "ab"),
        ("import os\n'no'\n", None),
        ("'no' + x\n", None),
        ("f'no'\n", None),
        ("", None),
        ("'''open", None),
    ],
)
def test_module_docstring(text, docstring):
    assert module_docstring(text) == docstring


def test_normalizations_are_noted_and_keep_the_prompts_end():
    odd = make_document("a", "\ufeffa\r\nb\rc\u2028\ud800", "s", {"path": "p", "prompt_chars": 4})
    normalized = normalize(odd)
    assert normalized.text == "a\nb\nc\u2028\ufffd"
    assert normalized.metadata == {
        "path": "p",
        "prompt_chars": 2,
        "normalizations": ["surrogates", "byte_order_mark", "line_ends", "line_separators"],
    }
    plain = Document("b", "x\n", "s")
    assert normalize(plain) is plain


def test_nul_characters_are_told_by_name(tmp_path):
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / "b.py").write_bytes(b"x = '\0'\n")
    skipped = []
    source = parse_source(str(tmp_path))
    assert [d.id for d in read_source(source, lambda *what: skipped.append(what))] == ["a.py"]
    assert skipped == [("b.py", "nul_characters")]


def test_source_flags(tmp_path):
    path = tmp_path / "pool.jsonl"
    path.write_text("")
    psf = {"licence": "PSF-2.0", "about": {"python": sys.version.split()[0]}}
    assert parse_source("stdlib") == Source("stdlib", **psf)
    assert parse_source("prose") == Source("prose", prose=True, **psf)
    assert parse_source(str(path)) == Source("pool", path)
    assert parse_source(f"x={path}", {"text": "t"}) == Source("x", path, columns={"text": "t"})
    assert parse_source(f"prose:x={path}") == Source("x", path, prose=True, kind="prose")
    with pytest.raises(UserError, match="nowhere is not a file or folder"):
        parse_source("nowhere")


PUBLIC = {
    name: from_dict(DeclaredSource, values) for name, values in get_config().to_dict().items()
}


def read(source, part=0, n_parts=1):
    skipped = []
    documents = list(read_source(source, lambda *what: skipped.append(what), part, n_parts))
    return documents, skipped


def test_what_two_sources_leave_out_is_counted_twice(tmp_path):
    sources = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "rows.jsonl").write_text('{"text": "x"}\n{broken\n')
        sources.append(parse_source(str(tmp_path / name)))
    skip = SkipLog()
    assert [d.source for d in read_sources(sources, skip)] == ["a", "b"]
    assert skip.counts == {"broken_json": 2}


def test_each_document_carries_where_it_is_from(tmp_path):
    (tmp_path / "a.py").write_bytes(b"x = 1\r\n")
    [document], _ = read(Source("mine", tmp_path, licence="MIT"))
    assert document.metadata == {
        "path": "a.py",
        "normalizations": ["line_ends"],
        "licence": "MIT",
        "sha256": hashlib.sha256(b"x = 1\n").hexdigest(),
    }


def test_files_of_a_code_folder_that_are_not_python_are_named(tmp_path):
    for name in ("a.py", "b.c", "sub/README.md", ".git/objects/x", "sub/__pycache__/a.pyc"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x = 1\n")
    for part in range(2):
        documents, skipped = read(Source("mine", tmp_path), part, 2)
        assert [d.id for d in documents] == ["a.py"][part:]
        assert skipped == [("b.c", "not_python"), ("sub/README.md", "not_python")][2 * part :]


def test_what_is_too_large_is_named_and_the_rest_read(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "MAX_LINE_BYTES", 64)
    monkeypatch.setattr(documents_module, "MAX_FILE_BYTES", 64)
    lines = [{"text": "a"}, {"text": "b" * 500}, {"text": "c"}, {"text": "d" * 51}, {"text": "e"}]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    documents, skipped = read(Source("d", tmp_path / "d.jsonl"))
    assert [d.text for d in documents] == ["a", "c", "d" * 51, "e"]
    assert skipped == [("d.jsonl:2", "huge_record")]
    # An array is read whole, or named; of lines behind one that is none, none is torn.
    (tmp_path / "a.json").write_text(json.dumps(lines, indent=1))
    with pytest.raises(UserError, match=r"an array of more than 64 bytes; write it as JSON lines"):
        list(records.read_records(tmp_path / "a.json"))
    skipped = []
    assert not list(records.read_records(tmp_path / "a.json", lambda *what: skipped.append(what)))
    assert skipped == [("a.json", "huge_record")]
    rows = "".join(json.dumps({"text": "x" * n}) + "\n" for n in range(40))
    (tmp_path / "b.json").write_text("begin\n" + rows)
    found = records.read_numbered(tmp_path / "b.json", lambda *what: None)
    assert [(number, len(record["text"])) for number, record in found] == [
        (n + 2, n) for n in range(40)
    ]
    (tmp_path / "code").mkdir()
    (tmp_path / "code/a.py").write_text("x = 1\n")
    (tmp_path / "code/b.py").write_text("x = 1\n" * 99)
    documents, skipped = read(Source("code", tmp_path / "code"))
    assert [d.id for d in documents] == ["a.py"] and skipped == [("b.py", "huge_file")]


def test_broken_members_and_tables_are_named_and_the_rest_read(tmp_path):
    def member(text):
        return gzip.compress(json.dumps({"text": text}).encode() + b"\n")

    broken = bytearray(member("x" * 200))
    broken[-6] ^= 0xFF  # its checksum
    (tmp_path / "1.jsonl.gz").write_bytes(member("a") + bytes(broken) + member("c"))
    (tmp_path / "2.jsonl.gz").write_bytes(member("d"))
    pyarrow.parquet.write_table(pyarrow.table({"text": ["e"]}), tmp_path / "3.parquet")
    data = (tmp_path / "3.parquet").read_bytes()
    (tmp_path / "4.parquet").write_bytes(data[: len(data) // 2])
    documents, skipped = read(Source("d", tmp_path))
    assert [d.text for d in documents] == ["a", "d", "e"] or (
        [d.text for d in documents] == ["a", "x" * 200, "d", "e"]
    )
    assert skipped == [("1.jsonl.gz", "damaged_archive"), ("4.parquet", "damaged_archive")]


@pytest.fixture
def table(tmp_path):
    """A data set in several files, as on the Hub: code of two languages, with a nested column."""
    folder = tmp_path / "data_set"
    folder.mkdir()
    for number in range(3):
        rows = {
            "content": [f"x = {number}\n", f"y = {number}\u2028\n", "int z;", None],
            "sha": [f"{number}{i}" for i in range(4)],
            "lang": ["Python", "python", "C", "Python"],
            "meta": [{"license": "MIT", "stars": 1}] * 4,
        }
        pyarrow.parquet.write_table(pyarrow.table(rows), folder / f"{number}.parquet")
    return folder


COLUMNS = {"text": "content", "id": "sha", "language": "lang", "licence": "meta.license"}


def test_a_hub_data_set_and_its_copy_on_disk_give_the_same_documents(table):
    pytest.importorskip("datasets")
    about = {"columns": COLUMNS, "where": {"language": "Python"}}
    streamed = Source("code", hub=Hub(str(table)), **about)
    copied = Source("code", table, **about)
    assert count_files(streamed) == count_files(copied) == 3
    for n_parts in (1, 2, 3, 4):
        found = []
        for source in (streamed, copied):
            parts = [read(source, part, n_parts) for part in range(n_parts)]
            ids = [[d.id[0] for d in part] for part, _ in parts]
            assert not any(
                set(a) & set(b) for a, b in itertools.combinations(ids, 2)
            )  # whole files
            found.append(sorted((d for part, _ in parts for d in part), key=lambda d: d.id))
            reasons = sorted(reason for _, told in parts for _, reason in told)
            assert reasons == ["null_text"] * 3 + ["other_language"] * 3
        assert found[0] == found[1]
        assert [d.id for d in found[1]] == ["00", "01", "10", "11", "20", "21"]
    assert found[1][1].metadata == {
        "language": "python",
        "licence": "MIT",
        "normalizations": ["line_separators"],
        "sha256": hashlib.sha256("y = 0\u2028\n".encode()).hexdigest(),
    }


def test_wrong_columns_and_empty_sources_stop_the_run_with_what_there_is(table, tmp_path):
    pytest.importorskip("datasets")
    wrong = {"text": "content", "licence": "meta.licence"}
    for source in (
        Source("s", hub=Hub(str(table)), columns=wrong),
        Source("s", table, columns=wrong),
    ):
        with pytest.raises(UserError, match=r"no column 'meta\.licence'; it has .*license"):
            check_source(source)
    with pytest.raises(UserError, match="no column 'text'; it has content, sha, lang, meta"):
        check_source(Source("s", hub=Hub(str(table))))
    with pytest.raises(
        UserError, match=r"data_set: yields no document \(other_language 9, null_text 3\)"
    ):
        check_source(Source("s", table, columns=COLUMNS, where={"language": "Lisp"}))
    with pytest.raises(UserError, match=r"hub:.*nowhere"):
        check_source(Source("s", hub=Hub(str(tmp_path / "nowhere"))))
    program = tmp_path / "program"
    program.mkdir()
    (program / "program.py").write_text("import datasets\n")
    with pytest.raises(UserError, match=r"hub:.*found program\.py \(download its files of data"):
        check_source(Source("s", hub=Hub(str(program))))
    pyarrow.parquet.write_table(pyarrow.table({"blob_id": ["1"]}), tmp_path / "edu.parquet")
    with pytest.raises(UserError, match="it has blob_id; its text must be fetched from Software"):
        check_source(Source("edu", tmp_path / "edu.parquet"))


def test_exercises_of_two_columns_keep_their_boundary(tmp_path):
    row = {"problem": 'def f():\n    """One."""\n', "solution": "    return 1\n"}
    (tmp_path / "e.jsonl").write_text(json.dumps(row) + "\n")
    source = parse_source(f"@code_exercises:{tmp_path / 'e.jsonl'}", None, PUBLIC)
    [document], _ = read(source)
    assert document.text == row["problem"] + row["solution"]
    assert document.metadata["prompt_chars"] == len(row["problem"])
    assert document.metadata["licence"].startswith("CC-BY-NC-SA-4.0")


def test_a_path_may_hold_an_equals_sign_and_a_folder_both_code_and_data(tmp_path):
    folder = tmp_path / "run=3"
    folder.mkdir()
    (folder / "a.py").write_text("x = 1\n")
    (folder / "b.jsonl").write_text('{"text": "y = 1"}\n')
    assert parse_source(str(folder)) == Source("run=3", folder)
    assert parse_source(f"mine={folder}") == Source("mine", folder)
    for kind, ids in (("code", ["a.py"]), ("data", ["b.jsonl:1"])):
        source = parse_source(f"{kind}:mine={folder}")
        assert [d.id for d in read_source(source, lambda *what: None)] == ids
        assert count_files(source) == 1
    with pytest.raises(UserError, match="choose with --source=code:PATH or --source=data:PATH"):
        check_source(parse_source(f"mine={folder}"))


def test_declared_sources(tmp_path):
    for name, config in PUBLIC.items():
        assert config.licence and config.before, name
        assert config.columns or config.unusable or config.package, name
    assert parse_source("@the_stack_dedup", None, PUBLIC).hub == Hub(
        "bigcode/the-stack-dedup", data_dir="data/python"
    )
    for name in ("python_edu", "stack_edu"):
        with pytest.raises(UserError, match=f"@{name}: it has no text, only the ids of files"):
            parse_source(f"@{name}", None, PUBLIC)
    with pytest.raises(UserError, match="--sources declares only algorithms, "):
        parse_source("@nothing", None, PUBLIC)
    with pytest.raises(UserError, match="nowhere is not a file or folder"):
        parse_source("@stackv2_edu:nowhere", None, PUBLIC)
    own = {"local": DeclaredSource(), "bare": DeclaredSource(package="toolz==1.2.0")}
    with pytest.raises(UserError, match="declares neither hub nor package; give @local:PATH"):
        parse_source("@local", None, own)
    with pytest.raises(UserError, match=r"toolz==1\.2\.0: give one version, such as pip:"):
        parse_source("@bare", None, own)
    assert parse_source("prose:x=hub:a/b,subset=c,split=d") == Source(
        "x", prose=True, hub=Hub("a/b", subset="c", split="d")
    )
    assert parse_source("hub:a/b").name == "b"
    with pytest.raises(UserError, match="give hub:NAME with"):
        parse_source("hub:a/b,revision=c")
