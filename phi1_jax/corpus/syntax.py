"""Parsing code that others wrote."""

import ast
import warnings


def parse_python(text: str) -> ast.Module | None:
    """The syntax tree, or None if this interpreter cannot parse the text; never warns about it."""
    with warnings.catch_warnings():
        # Invalid escapes are the author's affair, and would be errors under `-W error`.
        warnings.simplefilter("ignore")
        try:
            return ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None
