"""Parsing code that others wrote."""

import ast
import warnings


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
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
