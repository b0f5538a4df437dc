"""Exercises: from a teacher's reply to a record, to a document, to the examples it states."""

import ast
import doctest
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from phi1_jax.corpus.documents import Document
from phi1_jax.llm_client.replies import python_blocks, without_thinking
from phi1_jax.synthesis.replies import ReplyError, refuse_control_characters, refuse_refusals

SOURCE = "exercises"


@dataclass(frozen=True)
class Exercise:
    """A function to complete (phi-1 section 2.3), as HumanEval states its problems.

    Attributes:
      prompt: imports, signature and docstring; ends in a newline.
      solution: the indented body; ends in a newline. `prompt + solution` is a program.
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
        source=SOURCE,
        metadata={
            **exercise.metadata,
            "prompt_chars": len(exercise.prompt),
            "entry_point": exercise.entry_point,
            "composition": list(exercise.composition),
        },
    )


def parse_exercise(text: str, metadata: Mapping[str, Any] | None = None) -> Exercise:
    """Reads the one exercise in a teacher's Markdown.

    Its one block of Python may hold imports and then one function, with a docstring and a body.

    Args:
      metadata: provenance for the record; its key "composition", if any, becomes the field.
    Raises:
      ReplyError: anything else; `reason` says what.
    """
    text = without_thinking(text)
    refuse_control_characters(text)
    refuse_refusals(text)
    blocks = python_blocks(text)
    if len(blocks) != 1:
        raise ReplyError("several_code_blocks" if blocks else "no_code_block")
    if not blocks[0].closed:
        raise ReplyError("no_code_block", "the code block does not end")
    source = blocks[0].code.strip("\n") + "\n"
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError) as error:
        raise ReplyError("syntax_error", str(error)) from error
    *before, function = tree.body or [ast.Pass()]
    if not isinstance(function, ast.FunctionDef):
        raise ReplyError("no_function_last", type(function).__name__)
    if other := [n for n in before if not isinstance(n, ast.Import | ast.ImportFrom)]:
        raise ReplyError("code_outside_function", type(other[0]).__name__)
    if (docstring := ast.get_docstring(function)) is None:
        raise ReplyError("no_docstring")
    refuse_refusals(docstring)
    if len(function.body) < 2:
        raise ReplyError("no_body")
    lines = source.split("\n")  # as ast counts them: str.splitlines also breaks at U+2028
    end = function.body[0].end_lineno or 0
    if function.body[1].lineno <= end or lines[end - 1].rstrip()[-3:] not in ('"""', "'''"):
        raise ReplyError("docstring_shares_a_line")
    rest = dict(metadata or {})
    composition = tuple(rest.pop("composition", ()))
    prompt, solution = "\n".join(lines[:end]) + "\n", "\n".join(lines[end:])
    return Exercise(prompt, solution, function.name, composition, rest)


def read_examples(exercise: Exercise) -> tuple[tuple[str, str, dict[int, bool]], ...]:
    """What the docstring states: (example, wanted output, doctest's options) each.

    Empty if it states nothing: no example, none with an output, or none that can be read.
    """
    tree = ast.parse(exercise.prompt + exercise.solution)
    function = next(n for n in tree.body if isinstance(n, ast.FunctionDef))
    try:
        examples = doctest.DocTestParser().get_examples(ast.get_docstring(function) or "")
    except ValueError:
        return ()
    if not any(e.want or e.exc_msg for e in examples):
        return ()
    return tuple(
        (e.source, e.want if e.exc_msg is None else e.exc_msg, e.options) for e in examples
    )
