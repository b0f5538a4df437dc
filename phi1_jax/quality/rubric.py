"""How much a learner of basic coding gets from a file: scores between 0 and 1.

phi-1 section 2.1 has GPT-4 judge "educational value for a student whose goal is to learn basic
coding concepts", and a random forest predict it. The rubric is our offline stand-in: seven things
that anyone can check by reading the file.
"""

import ast
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from phi1_jax.corpus.documents import Document
from phi1_jax.corpus.syntax import parse_python

# Where an annotator's judgement stands in a document's metadata, and the forest's.
VALUE, ANNOTATOR, WHY = "annotated_value", "annotator", "annotated_why"
SCORE = "educational_value"
# What the rubric is called as an annotator; changes when the same document could get another score.
RUBRIC = "rubric-1"

# Criterion -> weight; they sum to 1. What each one asks stands in `judge_code`.
WEIGHTS = {
    "documented": 0.25,
    "explained": 0.15,
    "small_functions": 0.2,
    "named": 0.1,
    "shallow": 0.1,
    "self_contained": 0.1,
    "thoughtful": 0.1,
}
# Sets of types: two million `isinstance` calls would cost as much as parsing.
_FUNCTIONS = frozenset({ast.FunctionDef, ast.AsyncFunctionDef})
_BLOCKS = _FUNCTIONS | {ast.For, ast.While, ast.If, ast.With, ast.Try}
_STATEMENTS = frozenset(ast.stmt.__subclasses__())
_DISPLAYS = frozenset({ast.List, ast.Tuple, ast.Dict, ast.Set})
_SHORT_NAMES = frozenset("abcdefghijklmnopqrstuvwxyz_") | {"id", "ok", "lo", "hi", "fn", "df"}
# Kept for the step that drops what does not parse: parsing costs more than judging.
parse_code = lru_cache(maxsize=1)(parse_python)
_FOREIGN = (".", "_", "test", "ctypes")
_SENTENCE = re.compile(r"[a-z]{2}[.:]\s")


def score_document(document: Document) -> float:
    """The document's educational value, from 0 to 1; code that does not parse scores 0."""
    if document.metadata.get("prose"):
        return judge_prose(document.text)
    criteria = judge_code(document.text)
    return round(sum(weight * criteria.get(name, 0.0) for name, weight in WEIGHTS.items()), 4)


def judge_code(text: str) -> dict[str, float]:
    """Each criterion of `WEIGHTS` for a Python file, in [0, 1]; empty if it does not parse."""
    tree = parse_code(text)
    if tree is None:
        return {}
    functions: list[ast.FunctionDef | ast.AsyncFunctionDef] = []
    public: list[ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef] = [tree]
    names: list[str] = []
    imports: list[str] = []
    words = n_asserts = n_statements = n_blobs = depth_sum = 0
    for node, depth in _walk(tree):
        kind = type(node)
        if kind in _STATEMENTS:
            n_statements += 1
            depth_sum += depth
            if kind is ast.Import:
                imports += [alias.name for alias in node.names]
            elif kind is ast.ImportFrom:
                imports.append("." * node.level + (node.module or ""))
            elif kind in _FUNCTIONS or kind is ast.ClassDef:
                if not node.name.startswith("_"):
                    public.append(node)
                if kind in _FUNCTIONS:
                    functions.append(node)
                    names += [argument.arg for argument in node.args.args]
            else:
                n_asserts += _is_assertion(node)
        elif kind is ast.Name:
            if type(node.ctx) is ast.Store:
                names.append(node.id)
        elif kind in _DISPLAYS:
            n_blobs += max(0, len(node.values if kind is ast.Dict else node.elts) - 20)
    documented = 0
    for owner in public:
        if docstring := ast.get_docstring(owner, clean=False):
            documented += 1
            words += len(docstring.split())
    lines = [line.strip() for line in text.split("\n")]
    words += sum(len(line.split()) for line in lines if line.startswith("#"))
    n_lines = max(1, sum(1 for line in lines if line))
    n_statements = max(1, n_statements)
    lengths = [(function.end_lineno or 0) - function.lineno + 1 for function in functions]
    return {
        # Modules, public classes and functions that have a docstring.
        "documented": documented / len(public),
        # Words of docstrings and comments, two a line being plenty.
        "explained": min(1.0, words / n_lines / 2),
        # Functions up to 20 lines count whole, from 60 lines not at all.
        "small_functions": _mean([min(1.0, max(0.0, (60 - n) / 40)) for n in lengths]),
        # Variables that are words, or the letters that every textbook uses.
        "named": _mean([float(len(name) > 2 or name in _SHORT_NAMES) for name in names]),
        # Statements nested two deep on average are fine, five deep are not.
        "shallow": min(1.0, max(0.0, (5 - depth_sum / n_statements) / 3)),
        # Few imports, none of them relative or private, which count twice.
        "self_contained": 1 / (1 + sum(1 + name.startswith(_FOREIGN) for name in imports) / 4),
        # Neither a wall of assertions nor a table of constants.
        "thoughtful": max(0.0, 1 - 2 * n_asserts / n_statements)
        * max(0.0, 1 - n_blobs / (4 * n_lines)),
    }


def judge_prose(text: str) -> float:
    """Prose: it has sentences of a sane length, mostly letters, and some code to look at."""
    n_words = max(1, len(text.split()))
    sentences = len(_SENTENCE.findall(text + " "))
    letters = sum(map(str.isalpha, text)) / max(1, len(text))
    code = sum(1 for line in text.split("\n") if line.startswith(("   ", ">>>", "\t")))
    sane = min(1.0, sentences / (n_words / 30))
    length = min(1.0, n_words / 150)
    return round(
        0.4 * sane + 0.2 * min(1.0, letters / 0.7) + 0.25 * length + 0.15 * min(1, code), 4
    )


def _walk(tree: ast.Module) -> Iterator[tuple[Any, int]]:
    """Every statement, name and display with the number of blocks around it."""
    stack: list[tuple[Any, int]] = [(tree, 0)]
    while stack:
        node, depth = stack.pop()
        yield node, depth
        inner = depth + (type(node) in _BLOCKS)
        for name in node._fields:
            # The context of a name (load, store) is a node too; there are a million of them.
            if name == "ctx":
                continue
            value = getattr(node, name, None)
            if type(value) is list:
                stack += [(item, inner) for item in value if hasattr(item, "_fields")]
            elif hasattr(value, "_fields"):
                stack.append((value, inner))


def _is_assertion(node: ast.stmt) -> bool:
    if type(node) is ast.Assert:
        return True
    if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Call):
        return False
    function = node.value.func
    return isinstance(function, ast.Attribute) and function.attr.startswith("assert")


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
