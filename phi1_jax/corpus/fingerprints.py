"""What of a document could give a benchmark problem away: its words, its functions, its chain."""

import ast
import re
import zlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from phi1_jax.corpus.documents import Document
from phi1_jax.corpus.problems import Problem
from phi1_jax.corpus.syntax import parse_python

_BREAK = "|"
# Stands between two texts of one document, so that no run of words crosses from one to the other.
BREAK = zlib.crc32(_BREAK.encode())
_WORD = re.compile(r"[a-z]+|\d+", re.ASCII)
_CODE_BLOCK = re.compile(r"^```[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
# An example ends at a blank line, as doctest has it, or with its text.
_DOCTEST = re.compile(r"^[ \t]*>>>.*?(?:\n[ \t]*(?:\n|\Z)|\Z)", re.MULTILINE | re.DOTALL)
_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Fingerprint:
    """One document or problem, reduced to what is compared.

    Attributes:
      id: of the document, or the task_id.
      words: 32-bit hashes of the words of its docstrings and prose (see `normalise_words`); each
        text stands between two `BREAK`s.
      functions: for each function the hashed tokens of its syntax tree, local names normalised;
        as written, and with the statements of each block sorted (see `tree_tokens`).
      composition: the primitives that solve it, in order; empty where nobody states them.
    """

    id: str
    words: array
    functions: tuple[tuple[array, array], ...]
    composition: tuple[str, ...] = ()


def code_blocks(text: str) -> list[str]:
    """The text itself if it is Python, else the fenced blocks in it."""
    return [text] if parse_python(text) is not None else _CODE_BLOCK.findall(text)


def fingerprint_document(document: Document) -> Fingerprint:
    """A document of code, or of text with fenced code in it (where only the fences are parsed)."""
    composition = tuple(document.metadata.get("composition") or ())
    tree = parse_python(document.text)
    if tree is not None:
        words, functions = _read_code(tree)
        return Fingerprint(document.id, _hash(words), tuple(functions), composition)
    prose = _CODE_BLOCK.split(document.text)[::2]
    words = [_BREAK]
    for passage in prose:
        words += [*normalise_words(passage), _BREAK]
    functions = []
    for block in _CODE_BLOCK.findall(document.text):
        if (tree := parse_python(block)) is not None:
            block_words, block_functions = _read_code(tree)
            words += block_words
            functions += block_functions
    return Fingerprint(document.id, _hash(words), tuple(functions), composition)


def fingerprint_problem(problem: Problem) -> Fingerprint:
    """A problem: its docstring and the tree of its entry point, which helpers may precede."""
    code = problem.prompt + problem.canonical_solution
    tree = parse_python(code)
    functions = [] if tree is None else list(_functions(tree))
    entry = [f for f in functions if f.name == problem.entry_point]
    if not entry:
        # A solution that this Python cannot parse still has words to compare.
        words = [_BREAK, *normalise_words(problem.prompt), _BREAK]
        return Fingerprint(problem.task_id, _hash(words), (), problem.composition)
    # MBPP's task stands before the program, HumanEval's in the function.
    before = tree.body[:1] if tree and ast.get_docstring(tree) else []
    body = ast.Module(body=[*before, entry[-1]], type_ignores=[])
    words, trees = _read_code(body)
    return Fingerprint(problem.task_id, _hash(words), tuple(trees), problem.composition)


def normalise_words(text: str) -> list[str]:
    """Lower-case words without the examples; every number becomes "0"."""
    words = _WORD.findall(_DOCTEST.sub("\n", text).lower())
    return ["0" if word.isdigit() else word for word in words]


def tree_tokens(function: _Function) -> tuple[array, array]:
    """The syntax tree in writing order, one 32-bit hash a node: as written, and put in order.

    Names that the function binds are numbered as they appear; docstrings, annotations and
    decorators are left out; constants, operators, attributes and names from outside are kept. In
    the second the statements of each block are sorted, so that moved ones come to the same place.
    """
    bound = _bound_names(function)

    def name_of(name: str) -> int | str:
        return name if name in bound else _crc(name)

    def visit(node: ast.AST, parts: list[_Part]) -> None:
        kind = type(node).__name__
        if isinstance(node, ast.Name):
            parts.append(name_of(node.id))
            return
        if isinstance(node, ast.Constant):
            parts.append(_crc(f"C{node.value!r}"))
            return
        if isinstance(node, ast.arg):
            parts.append(node.arg)
            return
        parts.append(_crc(kind))
        for field, value in ast.iter_fields(node):
            if field in ("returns", "annotation", "decorator_list", "type_comment", "ctx"):
                continue
            if isinstance(value, list):
                if field in ("body", "orelse", "finalbody"):
                    block: list[list[_Part]] = []
                    for item in _without_docstring(value) if field == "body" else value:
                        block.append([])
                        visit(item, block[-1])
                    parts += (block, _crc("end"))
                    continue
                for item in value:
                    if isinstance(item, ast.AST):
                        visit(item, parts)
                    else:
                        parts.append(_crc(f"S{item}"))
                if field == "args":
                    parts.append(_crc("end"))
            elif isinstance(value, ast.AST):
                if kind in ("Slice", "arguments"):
                    # x[2:] and x[::2] differ only in which field is set.
                    parts.append(_crc(field))
                visit(value, parts)
            elif isinstance(value, str):
                parts.append(name_of(value) if field == "name" else _crc(f"S{value}"))

    parts: list[_Part] = []
    try:
        visit(function, parts)
        return _number_names(_flatten(parts, False)), _number_names(_flatten(parts, True))
    except RecursionError:
        return array("I"), array("I")


# A token, the name of something local, or a block: the parts of each of its statements.
_Part = int | str | list[list[Any]]


def _flatten(parts: list[_Part], in_order: bool) -> list[int | str]:
    flat: list[int | str] = []
    for part in parts:
        if not isinstance(part, list):
            flat.append(part)
            continue
        statements = [_flatten(statement, in_order) for statement in part]
        if in_order and len(statements) > 1:
            # What a local variable is called must not decide its place.
            statements.sort(key=lambda tokens: [0 if type(t) is str else t for t in tokens])
        for statement in statements:
            flat += statement
    return flat


def _number_names(tokens: list[int | str]) -> array:
    numbered: dict[str, int] = {}
    return array(
        "I",
        [
            token
            if isinstance(token, int)
            else numbered.setdefault(token, _crc(f"V{len(numbered)}"))
            for token in tokens
        ],
    )


@lru_cache(1 << 14)
def _crc(token: str) -> int:
    return zlib.crc32(token.encode("utf-8", "replace"))


def _hash(words: list[str]) -> array:
    return array("I", [zlib.crc32(word.encode()) for word in words])


def _bound_names(function: _Function) -> set[str]:
    """The names that a function gives to itself, its arguments, variables and inner functions."""
    names = set()
    stack: list[Any] = [function]
    while stack:
        node = stack.pop()
        kind = type(node)
        if kind is ast.Name:
            if type(node.ctx) is not ast.Load:
                names.add(node.id)
            continue
        if kind is ast.arg:
            names.add(node.arg)
        elif kind is ast.FunctionDef or kind is ast.AsyncFunctionDef:
            names.add(node.name)
        # Half the time of ast.walk, which is most of what a fingerprint costs.
        for name in node._fields:
            value = getattr(node, name, None)
            if type(value) is list:
                stack += [item for item in value if hasattr(item, "_fields")]
            elif hasattr(value, "_fields"):
                stack.append(value)
    return names


def _read_code(tree: ast.Module) -> tuple[list[str], list[tuple[array, array]]]:
    words = [_BREAK]
    if docstring := ast.get_docstring(tree):
        words += [*normalise_words(docstring), _BREAK]
    functions = []
    for function in _functions(tree):
        if docstring := ast.get_docstring(function):
            words += [*normalise_words(docstring), _BREAK]
        functions.append(tree_tokens(function))
    return words, functions


def _functions(tree: ast.Module) -> Iterator[_Function]:
    """Functions of the module and methods of its classes; inner functions belong to theirs."""
    for node in tree.body:
        if isinstance(node, _Function):
            yield node
        elif isinstance(node, ast.ClassDef):
            yield from (item for item in node.body if isinstance(item, _Function))


def _without_docstring(body: list[ast.AST]) -> list[ast.AST]:
    first = body[0] if body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        return body[1:] if isinstance(first.value.value, str) else body
    return body
