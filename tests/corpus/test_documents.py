import gzip
import json
import os
from array import array
from dataclasses import replace
from random import Random

import pyarrow
import pyarrow.parquet
import pytest
import zstandard

from phi1_jax.corpus.documents import Document, list_files, read_documents, write_documents
from phi1_jax.corpus.problems import Problem, read_problems, write_problems
from phi1_jax.corpus.records import read_records
from phi1_jax.errors import UserError

ODD = [
    Document("a", "x = 1\u2028y\x85z\x0b\x1c\r\n\ttab\0", "one", {"k": [1, None]}),
    Document("b", "", "two"),
    Document("c", '\u6f22 \U0001f600 \\n "quoted"\n', "one", {"\u00e9": "\u2029"}),
]


@pytest.mark.parametrize("name", ["d.jsonl", "d.jsonl.gz", "d.jsonl.zst"])
def test_odd_documents_come_back_and_equal_input_gives_equal_bytes(tmp_path, name):
    assert write_documents(tmp_path / name, ODD) == 3
    assert list(read_documents(tmp_path / name)) == ODD
    first = (tmp_path / name).read_bytes()
    write_documents(tmp_path / name, iter(ODD))
    assert (tmp_path / name).read_bytes() == first


def test_other_libraries_read_what_is_written(tmp_path):
    for name, reader in (("d.jsonl.gz", gzip.open), ("d.jsonl.zst", zstandard.open)):
        write_documents(tmp_path / name, ODD)
        with reader(tmp_path / name, "rt", newline="\n", encoding="utf-8") as file:
            assert [json.loads(line)["text"] for line in file] == [d.text for d in ODD]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "d.jsonl.zst"
    write_documents(path, ODD)

    def broken():
        yield ODD[0]
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        write_documents(path, broken())
    assert list(read_documents(path)) == ODD


def test_several_zstd_frames_are_all_read(tmp_path):
    path = tmp_path / "d.jsonl.zst"
    lines = [json.dumps({"text": str(i)}).encode() + b"\n" for i in range(3)]
    path.write_bytes(b"".join(zstandard.compress(line) for line in lines))
    assert [d.text for d in read_documents(path)] == ["0", "1", "2"]
    assert [d.id for d in read_documents(path)] == [f"d.jsonl.zst:{i}" for i in (1, 2, 3)]


def test_parquet_with_a_column_map(tmp_path):
    path = tmp_path / "stack.parquet"
    rows = {"content": ["a = 1\n", None, "b = 2\n"], "sha": ["x", "y", "z"], "license": ["MIT"] * 3}
    pyarrow.parquet.write_table(pyarrow.table(rows), path)
    skipped = []
    columns = {"text": "content", "id": "sha", "licence": "license"}
    documents = list(read_documents(path, "stack", columns, lambda *what: skipped.append(what)))
    assert documents == [
        Document("x", "a = 1\n", "stack", {"licence": "MIT"}),
        Document("z", "b = 2\n", "stack", {"licence": "MIT"}),
    ]
    assert skipped == [("stack.parquet:2", "null_text")]
    with pytest.raises(UserError, match="no column 'body'; it has content, sha, license"):
        list(read_documents(path, columns={"text": "body"}))
    with pytest.raises(UserError, match=r"no column 'text'.*--columns=prompt=NAME,solution=NAME"):
        list(read_documents(path))


def test_a_folder_is_code_if_it_holds_any_else_data(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b/z.py").write_bytes(b"z = 1\r\n")
    (tmp_path / "a.py").write_bytes(b"# -*- coding: latin-1 -*-\nname = '\xe9'\n")
    (tmp_path / "bad.py").write_bytes(b"name = '\xe9'\n")
    skipped = []
    documents = list(read_documents(tmp_path, "mine", None, lambda *what: skipped.append(what)))
    assert [(d.id, d.source) for d in documents] == [("a.py", "mine"), ("b/z.py", "mine")]
    assert documents[0].text.endswith("name = '\u00e9'\n")
    assert documents[1].text == "z = 1\r\n"
    assert skipped == [("bad.py", "undecodable")]
    data = tmp_path / "data"
    write_documents(data / "2.jsonl", ODD[:1])
    write_documents(data / "1.jsonl.gz", ODD[1:])
    (data / "README.md").write_text("not data")
    assert [d.id for d in read_documents(data, skip=lambda *what: None)] == ["b", "c", "a"]
    assert [file.name for file in list_files(data)] == ["1.jsonl.gz", "2.jsonl"]


def test_a_folder_of_both_code_and_data_is_refused_unless_one_is_chosen(tmp_path):
    (tmp_path / "loader.py").write_text("x = 1\n")
    write_documents(tmp_path / "train" / "1.jsonl", ODD)
    with pytest.raises(UserError, match=r"holds code \(loader\.py\) and data \(train/1\.jsonl\)"):
        list(read_documents(tmp_path))
    assert [file.name for file in list_files(tmp_path, "code")] == ["loader.py"]
    assert [file.name for file in list_files(tmp_path, "data")] == ["1.jsonl"]
    assert [file.name for file in list_files(tmp_path / "train", "code")] == ["1.jsonl"]


def test_a_folder_with_what_a_stage_wrote_is_refused_and_its_files_are_named(tmp_path):
    """What it dropped lies beside what it kept."""
    for name in ("clean", "dropped"):
        write_documents(tmp_path / "out" / f"{name}.jsonl.zst", ODD)
    (tmp_path / "out" / "stage.json").write_text('{"stage": "decontaminate"}')
    for folder in (tmp_path, tmp_path / "out"):
        with pytest.raises(UserError, match=r"'decontaminate', .*/clean\.jsonl\.zst, .*/dropped"):
            list_files(folder)
    assert list(read_documents(tmp_path / "out" / "clean.jsonl.zst")) == ODD
    (tmp_path / "mine.py").write_text("x = 1\n")  # a project, with runs in it
    assert list_files(tmp_path, "code") == [tmp_path / "mine.py"]
    (tmp_path / "mine.py").unlink()
    (tmp_path / "out" / "stage.json").write_text('{"scene": 1}')  # another program's
    assert len(list_files(tmp_path)) == 3


def test_broken_records_are_named_or_counted(tmp_path):
    path = tmp_path / "d.jsonl"
    path.write_bytes(b'{"text": "a"}\n{"text": \n\n[1]\n{"text": "b"}\n')
    with pytest.raises(UserError, match=r"d\.jsonl, line 2"):
        list(read_records(path))
    skipped = []
    documents = list(read_documents(path, skip=lambda *what: skipped.append(what)))
    assert [d.text for d in documents] == ["a", "b"]
    assert skipped == [("d.jsonl:2", "broken_json"), ("d.jsonl:4", "broken_json")]


@pytest.mark.parametrize("name", ["d.jsonl.gz", "d.jsonl.zst"])
def test_a_truncated_archive_is_named_or_counted(tmp_path, name):
    random = Random(0)
    many = [Document(str(i), random.randbytes(300).hex(), "s") for i in range(5000)]
    write_documents(tmp_path / name, many)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=f"{name}: damaged after line "):
        list(read_records(tmp_path / name))
    skipped = []
    documents = list(read_documents(tmp_path / name, skip=lambda *what: skipped.append(what)))
    assert 0 < len(documents) < 5000
    assert skipped == [(name, "damaged_archive")]


def test_bad_input_is_one_clear_line(tmp_path):
    (tmp_path / "x.csv").write_text("a,b")
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "latin.jsonl").write_bytes('{"text": "\u00e9"}\n'.encode("latin-1"))
    (tmp_path / "number.jsonl").write_text('{"text": 3}\n')
    (tmp_path / "columns.jsonl").write_text('{"content": "a", "lang": "b"}\n')
    (tmp_path / "no.parquet").write_text("no")
    (tmp_path / "hollow").mkdir()
    os.mkfifo(tmp_path / "pipe.jsonl")
    for name, message in (
        ("missing", "no such file or folder"),
        ("x.csv", "unknown format"),
        ("pipe.jsonl", "is a pipe or a device"),
        ("empty.jsonl", "yields no document"),
        ("latin.jsonl", "line 1: not UTF-8$"),
        ("number.jsonl", r"yields no document \(not_text 1\)"),
        ("columns.jsonl", "no column 'text'; it has content, lang"),
        ("no.parquet", "not a readable parquet file"),
        ("hollow", "holds no file ending in"),
    ):
        with pytest.raises(UserError, match=message) as error:
            list(read_documents(tmp_path / name))
        assert "\n" not in str(error.value) and name in str(error.value)


def test_problems_keep_humanevals_format(tmp_path):
    problems = [
        Problem("t/0", "def f(x):\n", "f", "    return x\n", "def check(c):\n    pass\n"),
        Problem("t/1", "def g():\n", "g", "    return 1\n", "def check(c): ...", ("a", "b")),
    ]
    path = tmp_path / "p.jsonl.gz"
    assert write_problems(path, problems) == 2
    assert read_problems(path) == problems
    ends = [replace(problem, prompt=problem.prompt.replace("\n", "\r\n")) for problem in problems]
    write_problems(path, ends)
    assert read_problems(path) == problems, "a model knows no other ends of lines"
    with gzip.open(path, "rt") as file:
        record = json.loads(file.readline())
    assert {"task_id", "prompt", "entry_point", "canonical_solution", "test"} <= set(record)
    write_problems(path, [problems[0], problems[0]])
    with pytest.raises(UserError, match=r"'t/0' occurs twice"):
        read_problems(path)
    (tmp_path / "p.jsonl").write_text('{"task_id": "t", "prompt": "p"}\n')
    with pytest.raises(UserError, match="no text under 'entry_point'"):
        read_problems(tmp_path / "p.jsonl")


def test_exercises_are_prompt_and_solution_in_every_corpus(tmp_path):
    prompt = 'def one():\n    """Return 1."""\n'
    rows = [
        {"prompt": prompt, "solution": "    return 1\n", "test": "assert one() == 1"},
        {"prompt": prompt, "text": prompt + "    return 1\n", "task_id": "mine/2"},
        {"prompt": "Write one.", "solution": "def one(): ..."},
        {"prompt": None, "text": "x = 1\n"},
        {"prompt": 3, "text": "x = 1\n"},
        # As a table of both kinds has them.
        {"prompt": None, "solution": None, "text": "x = 2\n", "id": None, "task_id": "mine/6"},
        {"prompt": "Write one.", "solution": None, "text": "def one(): ..."},
        {"prompt": "Write one.", "solution": "def one(): ...", "text": None},
        {"prompt": "Write one.", "solution": None},
    ]
    path, skipped = tmp_path / "e.jsonl", []
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    documents = list(read_documents(path, skip=lambda *what: skipped.append(what)))
    whole = {"prompt_chars": len(prompt)}
    assert documents == [
        Document("e.jsonl:1", prompt + "    return 1\n", "e", {"test": rows[0]["test"], **whole}),
        Document("mine/2", prompt + "    return 1\n", "e", whole),
        Document("e.jsonl:3", "Write one.\ndef one(): ...", "e", {"prompt_chars": 11}),
        Document("e.jsonl:4", "x = 1\n", "e"),
        Document("mine/6", "x = 2\n", "e"),
        Document("e.jsonl:7", "Write one.\ndef one(): ...", "e", {"prompt_chars": 11}),
        Document("e.jsonl:8", "Write one.\ndef one(): ...", "e", {"prompt_chars": 11}),
    ]
    assert skipped == [("e.jsonl:5", "not_text"), ("e.jsonl:9", "null_text")]
    # What another script writes and reads again is the same.
    write_documents(tmp_path / "again.jsonl.zst", documents)
    assert list(read_documents(tmp_path / "again.jsonl.zst")) == documents
    # A map of other fields adds to the metadata, and keeps the boundary that is there.
    added = list(read_documents(tmp_path / "again.jsonl.zst", None, {"whole": "text"}))
    assert [{**d.metadata, "whole": d.text} for d in documents] == [d.metadata for d in added]
    columns = {"prompt": "text", "solution": "prompt", "level": "task_id"}
    second = list(read_documents(path, None, columns, lambda *what: None))[1]
    assert second.id == "mine/2" and second.text == rows[1]["text"] + prompt
    with pytest.raises(UserError, match="name what comes before the solution as prompt=NAME"):
        list(read_documents(path, None, {"text": "prompt", "solution": "solution"}))


@pytest.mark.parametrize("kind", ["stream", "file"])
def test_a_folder_of_arrow_files_as_datasets_saves_it(tmp_path, kind):
    texts = [f"x = {n}\n" for n in range(2500)]
    columns = {"content": pyarrow.array(texts).dictionary_encode(), "n": pyarrow.array(range(2500))}
    table = pyarrow.table({**columns, "meta": pyarrow.array([{"licence": "MIT"}] * 2500)})
    path = tmp_path / "data-00000-of-00001.arrow"
    new = pyarrow.ipc.new_stream if kind == "stream" else pyarrow.ipc.new_file
    with path.open("wb") as raw, new(raw, table.schema) as writer:
        writer.write_table(table, max_chunksize=1100)
    (tmp_path / "cache-0a1b.arrow").write_bytes(path.read_bytes())
    (tmp_path / "dataset_info.json").write_text('{\n "features": {"content": {}}\n}\n')
    (tmp_path / "state.json").write_text('{\n "_split": "train"\n}\n')
    skipped = []
    columns = {"text": "content", "licence": "meta.licence"}
    found = list(read_documents(tmp_path, None, columns, lambda *what: skipped.append(what)))
    assert [d.text for d in found] == texts
    assert (found[7].id, found[7].metadata) == (f"{path.name}:8", {"licence": "MIT"})
    assert skipped == [
        ("cache-0a1b.arrow", "unknown_format"),
        ("dataset_info.json:1", "missing_text"),
        ("state.json:1", "missing_text"),
    ]
    whole = path.read_bytes()
    for cut in (0, 5, 100, len(whole) // 2, len(whole) - 8):  # the last: between two batches
        path.write_bytes(whole[:cut])
        with pytest.raises(UserError, match=r"damaged after row|not a readable arrow file"):
            list(read_records(path))


def test_an_arrow_file_with_impossible_values_ends_nothing(tmp_path):
    def strings(offsets):
        buffers = [None, pyarrow.py_buffer(array("i", offsets)), pyarrow.py_buffer(b"a\xffc")]
        return pyarrow.Array.from_buffers(pyarrow.string(), 3, buffers)

    for offsets, words in (
        ((0, 1, 2, 3), "t.arrow, row 2: text that is not UTF-8"),
        ((0, 1 << 30, 2, 3), "not a readable arrow file"),
    ):
        table = pyarrow.table({"text": strings(offsets)})
        path = tmp_path / "t.arrow"
        with path.open("wb") as raw, pyarrow.ipc.new_stream(raw, table.schema) as writer:
            writer.write_table(table)
        with pytest.raises(UserError, match=words):
            list(read_records(path))


def test_a_map_of_the_prompt_alone_finds_the_solution_beside_it(tmp_path):
    table = {"problem": ["def one():\n"], "solution": ["    return 1\n"], "raw": [3]}
    pyarrow.parquet.write_table(pyarrow.table(table), tmp_path / "e.parquet")
    (found,) = read_documents(tmp_path / "e.parquet", columns={"prompt": "problem"})
    assert (found.text, found.metadata) == ("def one():\n    return 1\n", {"prompt_chars": 11})
    with pytest.raises(UserError, match="no column 'problm'; it has problem, solution, raw"):
        list(read_documents(tmp_path / "e.parquet", columns={"prompt": "problm"}))


def test_prose_folders_hold_text_for_readers(tmp_path):
    for name, text in (("b.MD", "\ufeff# One\n"), ("a/c.rst", "Two\n"), ("d.txt", "Three\n")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert [d.text for d in read_documents(tmp_path)] == ["Two\n", "# One\n", "Three\n"]
    (tmp_path / "conf.py").write_text("x = 1\n")
    (tmp_path / "notes.csv").write_text("a,b\n")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    write_documents(tmp_path / "more.jsonl", ODD[:1])
    skipped = {}
    documents = list(read_documents(tmp_path, "s", None, skipped.__setitem__, kind="prose"))
    assert [d.id for d in documents] == ["a/c.rst", "b.MD", "d.txt", "a"]
    assert documents[1].text == "# One\n"
    assert skipped == {
        "conf.py": "not_prose",
        "notes.csv": "unknown_format",
        "latin.txt": "undecodable",
    }
