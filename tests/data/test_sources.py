import sys
import sysconfig
from pathlib import Path

import pytest

from phi1_jax.data.documents import Document
from phi1_jax.data.sources import (
    Source,
    mend,
    module_docstring,
    parse_source,
    read_source,
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


def test_mending_is_noted():
    odd = Document("a", "\ufeffa\r\nb\rc\u2028\ud800", "s", {"path": "p"})
    mended = mend(odd)
    assert mended.text == "a\nb\nc\u2028\ufffd"
    assert mended.metadata == {
        "path": "p",
        "mended": ["byte_order_mark", "line_ends", "surrogates", "line_separators"],
    }
    plain = Document("b", "x\n", "s")
    assert mend(plain) is plain


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
    assert parse_source("stdlib") == Source("stdlib")
    assert parse_source("prose") == Source("prose", prose=True)
    assert parse_source(str(path)) == Source("pool", path)
    assert parse_source(f"x={path}", {"text": "t"}) == Source("x", path, columns={"text": "t"})
    assert parse_source(f"prose:x={path}") == Source("x", path, prose=True)
    with pytest.raises(UserError, match="nowhere is no file or folder"):
        parse_source("nowhere")
