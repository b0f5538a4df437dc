"""Small edits that make most right programs wrong."""

import ast
from dataclasses import dataclass
from typing import Any

from phi1_jax.corpus.syntax import parse_python

KINDS = ("off_by_one", "wrong_branch", "wrong_value")
_TOO_LARGE = 1 << 63  # of a number to be written in digits
_OPPOSITE: dict[type[ast.AST], str] = {
    ast.Lt: ">=", ast.GtE: "<", ast.Gt: "<=", ast.LtE: ">", ast.Eq: "!=", ast.NotEq: "==",
    ast.In: "not in", ast.NotIn: "in", ast.Is: "is not", ast.IsNot: "is",
}  # fmt: skip
_NEXT = {ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">"}
_OTHER = {ast.Add: "-", ast.Sub: "+", ast.Mult: "+", ast.Mod: "//", ast.FloorDiv: "%", ast.Div: "*"}
_NAMES = {
    "min": "max", "max": "min", "sum": "len", "any": "all", "all": "any", "upper": "lower",
    "lower": "upper", "startswith": "endswith", "endswith": "startswith", "True": "False",
    "False": "True",
}  # fmt: skip


@dataclass(frozen=True)
class Edit:
    """Bytes `start` to `end` of a program become `text`; within a `while`, it may never end."""

    kind: str
    start: int
    end: int
    text: str
    in_while: bool

    def apply(self, program: str) -> str:
        """The program that it was found in, edited."""
        data = program.encode()
        return (data[: self.start] + self.text.encode() + data[self.end :]).decode()


def edits(program: str, after: int) -> list[Edit]:
    """The edits of `KINDS`; a few may break the syntax, as within an f-string.

    Args:
      program: source; of what does not parse, or ends lines with "\\r" alone, there are none.
      after: bytes that stay, such as a prompt.
    """
    tree = parse_python(program)
    if tree is None or "\r" in program.replace("\r\n", ""):  # ast counts such lines, `starts` not
        return []
    data = program.encode()
    starts = [0]
    for line in data.split(b"\n"):
        starts.append(starts[-1] + len(line) + 1)

    def span(node: Any) -> tuple[int, int]:
        return (
            starts[node.lineno - 1] + node.col_offset,
            starts[node.end_lineno - 1] + node.end_col_offset,
        )

    found: list[Edit] = []

    def edit(kind: str, start: int, end: int, text: str) -> None:
        changed = data[:start] + text.encode() + data[end:]
        if start >= after and changed != data:
            in_while = any(first <= start < last for first, last in whiles)
            found.append(Edit(kind, start, end, text, in_while))

    def between(kind: str, left: ast.AST, right: ast.AST, text: str) -> None:
        """Replaces the operator between two expressions, and not the brackets around it."""
        start, end = span(left)[1], span(right)[0]
        gap = data[start:end].decode()
        operator = gap.strip("() \n\\")
        at = start + len(gap[: gap.index(operator)].encode())
        edit(kind, at, at + len(operator.encode()), text)

    whiles = [span(node) for node in ast.walk(tree) if isinstance(node, ast.While)]
    conditions = {id(n.test) for n in ast.walk(tree) if isinstance(n, ast.If | ast.IfExp)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            right, operator = node.comparators[0], type(node.ops[0])
            between("wrong_branch", node.left, right, _OPPOSITE[operator])
            if operator in _NEXT:
                between("off_by_one", node.left, right, _NEXT[operator])
        elif id(node) in conditions:
            start, end = span(node)
            edit("wrong_branch", start, end, f"not ({data[start:end].decode()})")
        match node:
            case ast.BoolOp(op, [left, right, *_]):
                between("wrong_branch", left, right, "or" if isinstance(op, ast.And) else "and")
            case ast.BinOp(left, op, right) if type(op) in _OTHER:
                between("wrong_value", left, right, _OTHER[type(op)])
            case ast.Constant(bool()):
                edit("wrong_value", *span(node), _NAMES[str(node.value)])
            case ast.Constant(int(value) | float(value)) if abs(value) < _TOO_LARGE:
                edit("off_by_one", *span(node), repr(value + 1))
            case ast.Constant(str(value)):
                edit("wrong_value", *span(node), repr(value[:-1] or "x"))
            case ast.Name(name) if name in _NAMES:
                edit("wrong_value", *span(node), _NAMES[name])
            case ast.Attribute(attr=name) if name in _NAMES:
                _, end = span(node)
                edit("wrong_value", end - len(name), end, _NAMES[name])
            case ast.Call(ast.Name("range"), [*arguments]) if arguments:
                _, end = span(arguments[min(1, len(arguments) - 1)])
                edit("off_by_one", end, end, " - 1")
            case ast.Slice(None, None):
                start, _ = span(node)
                edit("off_by_one", start, start, "1")
    return found
