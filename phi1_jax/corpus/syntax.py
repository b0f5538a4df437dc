"""Parsing code that others wrote."""

import ast
import warnings

# What `ast` raises for a text that this interpreter cannot parse; some of it for deep nesting.
UNPARSABLE = (SyntaxError, ValueError, RecursionError, MemoryError)


def parse_quietly(text: str) -> ast.Module:
    """The syntax tree, without warnings: invalid escapes, say, are the author's affair.

    Raises:
      SyntaxError, ValueError, RecursionError, MemoryError: this interpreter cannot parse the text.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text)


def parse_python(text: str) -> ast.Module | None:
    """The syntax tree, or None if this interpreter cannot parse the text."""
    try:
        return parse_quietly(text)
    except UNPARSABLE:
        return None


def last_function(tree: ast.Module) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    """The last one at the top level: what an exercise asks for that names no entry point."""
    found = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    return found[-1] if found else None
