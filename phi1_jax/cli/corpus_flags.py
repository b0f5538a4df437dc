"""The flags of every script that reads a corpus, --corpus and --columns; import it to define them.

A corpus is a folder of Python, or records as JSON lines, JSON or parquet (or a folder of those): a
column `text`, or exercises of `prompt` and `solution`; or text for readers. docs/data.md has more.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from absl import flags

from phi1_jax.cli import script
from phi1_jax.corpus.documents import Document, read_all
from phi1_jax.corpus.records import Skip
from phi1_jax.errors import UserError

CORPUS = flags.DEFINE_multi_string(
    "corpus", [], "File or folder of documents or exercises; repeat for several."
)
COLUMNS = flags.DEFINE_list(
    "columns", [], "Column map of the corpus, e.g. text=content,id=hexsha or prompt=task,text=code."
)


def paths() -> list[Path]:
    """The files and folders named.

    Raises:
      UserError: none, or one of them twice, also inside another: its documents would count double.
    """
    script.require(CORPUS)
    found: dict[Path, Path] = {}
    for path in map(Path, CORPUS.value):
        if found.setdefault(path.resolve(), path) is not path:
            raise UserError(f"--corpus={path}: is named twice; name it once")
    for own, path in found.items():
        if holder := next((found[parent] for parent in own.parents if parent in found), None):
            raise UserError(f"--corpus={path}: lies in --corpus={holder}; name only one of them")
    return list(found.values())


def inputs() -> dict[str, Any]:
    """What of it a stage is told apart by."""
    return {"corpus": paths(), "columns": script.pairs(COLUMNS)}


def read(skip: Skip | None = None) -> Iterator[Document]:
    """All documents; `skip` is told what cannot be read (see `read_documents`)."""
    return read_all(paths(), script.pairs(COLUMNS), skip)
