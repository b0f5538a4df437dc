"""What is planted is found, and what is found is a near duplicate, on the standard library."""

import ast
import builtins
import difflib
import random
import time
from collections import defaultdict
from functools import cache

import black
import numpy as np
import pytest
from planted import EDITS

from phi1_jax.curation.heuristics import rejection
from phi1_jax.curation.minhash import MINHASH, CodeSignatures, shingles
from phi1_jax.curation.sources import Source, read_source

shingles_once = cache(shingles)


@pytest.fixture(scope="module")
def library():
    """Every file of the standard library that passes the heuristics and says anything."""
    documents = read_source(Source("stdlib"), lambda name, reason: None)
    return [d for d in documents if not rejection(d.text) and len(shingles_once(d.text))]


@pytest.fixture(scope="module")
def buckets(tmp_path_factory):
    signer = CodeSignatures(str(tmp_path_factory.mktemp("signatures")))

    @cache
    def of(text):
        return list(map(tuple, signer.get_signature(shingles_once(text).reshape(-1, 1))))

    return of


class Rename(ast.NodeTransformer):
    """Gives every name that a file binds, `self` among them, another."""

    def __init__(self, tree):
        defined = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
        bound = {n.name for n in ast.walk(tree) if isinstance(n, defined)}
        bound |= {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
        bound |= {n.id for n in ast.walk(tree)
                  if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}  # fmt: skip
        kept = {name for name in bound if name.startswith("__")} | set(dir(builtins))
        self.names = {name: f"name_{i}" for i, name in enumerate(sorted(bound - kept))}

    def generic_visit(self, node):
        super().generic_visit(node)
        for field in ("id", "arg", "name"):
            if (name := getattr(node, field, None)) in self.names:
                setattr(node, field, self.names[name])
        if isinstance(node, ast.Global | ast.Nonlocal):
            node.names = [self.names.get(name, name) for name in node.names]
        return node


FORMATTERS = {
    "black": lambda text: black.format_str(text, mode=black.Mode()),
    "unparse": lambda text: ast.unparse(ast.parse(text)),
    "unparse_renamed": lambda text: ast.unparse(Rename(tree := ast.parse(text)).visit(tree)),
}


@pytest.mark.slow
@pytest.mark.parametrize("formatter", FORMATTERS)
def test_files_of_another_formatter_are_found(formatter, library, buckets):
    sample = random.Random(2).sample([d for d in library if 1_000 < len(d.text) < 10_000], 40)
    found = sum(
        any(
            a == b
            for a, b in zip(buckets(d.text), buckets(FORMATTERS[formatter](d.text)), strict=True)
        )
        for d in sample
    )
    assert found >= 0.95 * len(sample)


@pytest.mark.parametrize(
    "other",
    [
        "x = f('a b', [1, 2])",
        "x = f(\n    'a '\n    \"b\",\n    [\n        1,\n        2,\n    ],\n)",
        'x = (f(u"a b", [0x1, 2])) ;',
        "x = \\\n  f(r'a b', [1, 2,])  # comment",
        'y = f("""a\nb""", [1, 2])',
        "x = f ('\\x61\\tb', [1, 0b10])",
        "x = f('a'  # it's \"so\"\n      \\\n      r' ' f'b', [1, 2])",
    ],
)
def test_shingles_ignore_what_formatters_change(other):
    assert np.array_equal(shingles('x = f("a b", [1, 2])'), shingles(other))


def test_names_in_f_strings_are_names_and_shadowed_builtins_too():
    text = "def f(self, id):\n    return f'at {id}: {self.where!r:>5}'\n"
    same = 'def g(me, at):\n    return f"at {at}: {me.where!r:>5}"\n'
    assert np.array_equal(shingles(text), shingles(same))
    assert not np.array_equal(shingles(text), shingles(text.replace("{id}", "{self}")))
    joined = text.replace("at {id}: {", "at {id}: ' rf'{")
    assert np.array_equal(shingles(text), shingles(joined))
    assert not np.array_equal(shingles("a = len(b)" * 5), shingles("a = max(b)" * 5))


@pytest.mark.slow
@pytest.mark.parametrize("edit", EDITS)
def test_planted_near_duplicates_are_found(edit, library, buckets):
    rng = random.Random(1)
    sample = rng.sample([d for d in library if 1_000 < len(d.text) < 40_000], 100)
    found = sum(
        any(a == b for a, b in zip(buckets(d.text), buckets(EDITS[edit](d.text, rng)), strict=True))
        for d in sample
    )
    assert found >= 95


@pytest.mark.slow
def test_of_the_whole_library_only_real_near_duplicates_are_found(library, buckets):
    tables = [defaultdict(list) for _ in range(MINHASH.num_buckets)]
    matches = defaultdict(set)
    for index, document in enumerate(library):
        for table, bucket in zip(tables, buckets(document.text), strict=True):
            matches[index].update(table[bucket])
            table[bucket].append(index)
    lines = [d.text.split("\n") for d in library]

    def alike(one, other):
        """Half of their lines are the same, in order."""
        matcher = difflib.SequenceMatcher(None, lines[one], lines[other], autojunk=False)
        return matcher.ratio() >= 0.5

    found = {index: others for index, others in matches.items() if others}
    false = [i for i, others in found.items() if not any(alike(i, other) for other in others)]
    assert len(found) > 30  # the library has its own: codecs made from one template
    assert len(false) / len(library) <= 0.01


def test_shingles_follow_the_data_and_ignore_names_comments_and_layout():
    text = "def f(a, b):\n    c = a - b\n    return c * a  # product\n" * 3
    same = "def g(x, y):\n  # difference\n  z = x-y\n\n  return z*x\n" * 3
    swapped = "def f(a, b):\n    c = b - a\n    return c * a\n" * 3
    assert np.array_equal(shingles(text), shingles(same))
    assert not np.array_equal(shingles(text), shingles(swapped))
    assert len(shingles("")) == 0 and len(shingles("x")) == 1
    assert not np.array_equal(shingles("x = ['a', 'b']"), shingles("x = ['ab']"))
    assert not np.array_equal(shingles("one two", prose=True), shingles("one six", prose=True))


def test_escaped_quotes_outside_of_strings_take_no_longer_than_others():
    start = time.perf_counter()
    shingles(r"{\"name\": \"item\", \"it\'s\": 1}, " * 2000)
    assert time.perf_counter() - start < 2
