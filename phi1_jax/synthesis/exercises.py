"""Exercises: from a teacher's reply to a record, to a document, to the examples it states."""

import ast
import doctest
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from phi1_jax.corpus.documents import Document
from phi1_jax.corpus.syntax import UNPARSABLE, last_function, parse_python, parse_quietly
from phi1_jax.llm_client.replies import python_blocks
from phi1_jax.synthesis.replies import ReplyError, clean_reply, refuse_refusals


@dataclass(frozen=True)
class Exercise:
    """A function to complete (phi-1 section 2.3), as HumanEval states its problems.

    Attributes:
      prompt: imports, signature and docstring; or, in MBPP's manner, the task and tests alone, as
        a text of the program's own. Ends in a newline.
      solution: the indented body, or the whole function; ends in a newline. `prompt + solution` is
        a program.
      entry_point: the function's name.
      composition: the primitives that solve it, in order, where the teacher knows them.
      metadata: JSON-serialisable provenance.
    """

    prompt: str
    solution: str
    entry_point: str
    composition: tuple[str, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)


def to_document(exercise: Exercise) -> Document:
    """The exercise as a training document; its id is a hash of the prompt."""
    return Document(
        id=hashlib.sha256(exercise.prompt.encode()).hexdigest()[:16],
        text=exercise.prompt + exercise.solution,
        source="exercises",
        metadata={
            **exercise.metadata,
            "prompt_chars": len(exercise.prompt),
            "entry_point": exercise.entry_point,
            "composition": list(exercise.composition),
        },
    )


def entry_point(document: Document) -> str:
    """The function that an exercise asks for; "" if it has none."""
    if name := document.metadata.get("entry_point"):
        return str(name)
    cut = document.metadata.get("prompt_chars", 0)
    tree, _ = parse_program(document.text[:cut], document.text[cut:])
    last = last_function(tree) if tree else None
    return last.name if last else ""


def parse_program(prompt: str, solution: str) -> tuple[ast.Module | None, bool]:
    """The syntax tree of an exercise, and whether it is of the solution alone.

    It is where the prompt is an instruction in plain words. None if neither parses.
    """
    tree = parse_python(prompt + solution)
    return (tree, False) if tree or not prompt else (parse_python(solution), True)


def parse_exercise(text: str, metadata: Mapping[str, Any] | None = None) -> Exercise:
    """Reads the one exercise in a teacher's Markdown.

    Its one block of Python may hold imports and then one function, with a docstring and a body; or,
    in MBPP's manner, first a docstring with the task, then imports and a function.

    Args:
      metadata: provenance for the record; its key "composition", if any, becomes the field.
    Raises:
      ReplyError: anything else; `reason` says what.
    """
    blocks = python_blocks(clean_reply(text))
    if len(blocks) != 1:
        raise ReplyError("several_code_blocks" if blocks else "no_code_block")
    if not blocks[0].closed:
        raise ReplyError("no_code_block", "the code block does not end")
    source = blocks[0].code.strip("\n") + "\n"
    try:
        tree = parse_quietly(source)
    except UNPARSABLE as error:
        raise ReplyError("syntax_error", str(error)) from error
    *before, function = tree.body or [ast.Pass()]
    if not isinstance(function, ast.FunctionDef):
        raise ReplyError("no_function_last", type(function).__name__)
    own = ast.get_docstring(function)
    task = None if own is not None else ast.get_docstring(tree)
    if task:
        before = before[1:]
    if other := [n for n in before if not isinstance(n, ast.Import | ast.ImportFrom)]:
        raise ReplyError("code_outside_function", type(other[0]).__name__)
    if (docstring := task or own) is None:
        raise ReplyError("no_docstring")
    refuse_refusals(docstring)
    if not task and len(function.body) < 2:
        raise ReplyError("no_body")
    lines = source.split("\n")  # as ast counts them: str.splitlines also breaks at U+2028
    first, second = (tree if task else function).body[:2]
    end = first.end_lineno or 0
    if second.lineno <= end or lines[end - 1].rstrip()[-3:] not in ('"""', "'''"):
        raise ReplyError("docstring_shares_a_line")
    rest = dict(metadata or {})
    composition = tuple(rest.pop("composition", ()))
    prompt, solution = "\n".join(lines[:end]) + "\n", "\n".join(lines[end:])
    return Exercise(prompt, solution, function.name, composition, rest)


def read_examples(exercise: Exercise) -> tuple[tuple[str, str, dict[int, bool]], ...]:
    """What the task states: (example, wanted output, doctest's options) each.

    Doctests; where there are none, lines such as `f(1) == 2`, `f(1) ➞ 2`, `assert f(1) == 2` or
    "For example, f(1) returns 2."; where the task states nothing, what its teacher knows of it
    besides (`unstated_examples` in the metadata). Empty if nothing can be read.
    """
    tree = parse_quietly(exercise.prompt + exercise.solution)
    function = next(n for n in tree.body if isinstance(n, ast.FunctionDef))
    text = ast.get_docstring(tree) or ast.get_docstring(function) or ""
    try:
        found = doctest.DocTestParser().get_examples(text)
    except ValueError:
        return ()
    examples = [example for example in found if not example.options.get(doctest.SKIP)]
    if any(e.want or e.exc_msg for e in examples):
        return tuple(
            (e.source, e.want if e.exc_msg is None else e.exc_msg, e.options) for e in examples
        )
    stated = [read for line in text.split("\n") if (read := _read_line(line, function.name))]
    known = stated or exercise.metadata.get("unstated_examples", ())
    return tuple((f"print(repr({call}))\n", f"{result}\n", {}) for call, result in known)


_STATED = re.compile(
    r"\s*(?:assert |for example,? |e\.g\.,? )?(\w+\(.*\))(?: ?== ?| (?:➞|→|->|=>|is|gives|returns|"
    r"should return) )(.+)",
    re.IGNORECASE,
)


def _read_line(line: str, name: str) -> tuple[str, str] | None:
    """The call and the result that a line states, if it is one that can be read."""
    found = _STATED.fullmatch(line.rstrip())
    if not found or not found[1].startswith(f"{name}("):
        return None
    for result in (found[2].removesuffix("."), found[2]):  # a sentence ends in a full stop
        try:
            ast.parse(found[1], mode="eval")
            return found[1], repr(ast.literal_eval(result))
        except (*UNPARSABLE, TypeError):
            continue
    return None
