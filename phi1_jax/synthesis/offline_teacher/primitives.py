"""One step of a task: its wording, its code in several styles, and what it does.

Templates use four upper-case marks, which occur in no word of the catalog: `X` is the value that
the step works on, `K` its constant, `V` the variable over the elements of `X`, and `OUT` the name
of the result. In wordings, `ITEM` and `ITEMS` say what the elements are called.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from phi1_jax.synthesis.offline_teacher.values import KINDS

SMALL = (2, 3, 4)
DIGITS = (2, 3, 4, 5, 6, 7, 8, 9)
LIMITS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12)
LETTERS = ("a", "e", "i", "o", "r", "s", "t", "n")


@dataclass(frozen=True, eq=False)
class Primitive:
    """A typed step.

    Args:
      name: what compositions are told apart by. Steps with the same code on several kinds share
        it, so that holding out a composition holds out its twins on other kinds.
      source, target: keys of KINDS.
      family: map, filter, fold, order, slice, test or convert; textbooks explain by family.
      expression: code of the step as one expression, or "" when only a loop says it well.
      loop: the step as lines that build OUT, or "".
      element: for maps and filters, the code of one element, which a helper function can hold.
      verbs: ways to ask for the step; each is unambiguous by itself.
      noun: the result in words, outermost first, or "" where that would read badly.
      word: what the step adds to a function name.
      constants: what K may be; empty when the step has no constant.
      wants: traits that make an input interesting (see `draw_value`).
      imports: the import statement that the code needs, or "".
      first_only: takes only an input of the task, since a computed one may be huge.
      apply: the step as a function of X and K.
    """

    name: str
    source: str
    target: str
    family: str
    expression: str
    loop: str
    element: str
    verbs: tuple[str, ...]
    noun: str
    word: str
    constants: tuple[Any, ...]
    wants: str
    imports: str
    first_only: bool
    apply: Callable[[Any, Any], Any]


def steps(
    name: str,
    sources: str,
    expression: str,
    verbs: str,
    noun: str,
    word: str,
    *,
    target: str = "",
    family: str = "convert",
    loop: str = "",
    element: str = "",
    constants: tuple[Any, ...] = (),
    wants: str = "",
    imports: str = "",
    first_only: bool = False,
) -> Iterator[Primitive]:
    """The step on each of `sources` (kinds, space-separated). `target` is the source's by default,
    and "item" stands for the kind of the source's elements.

    `DEFAULT` in a template is the literal that stands for "nothing" in the target kind.
    """
    for source in sources.split():
        kind = KINDS[source]
        result = kind.element if target == "item" else target or source
        default = KINDS[result].empty

        def code(
            text: str, variable: str = kind.variable, empty: str = default.replace("''", '""')
        ) -> str:
            return text.replace("V", variable).replace("DEFAULT", empty)

        def words(text: str, kind: Any = kind, empty: str = default) -> str:
            text = text.replace("ITEMS", kind.items).replace("ITEM", kind.item)
            return text.replace("DEFAULT", empty)

        yield Primitive(
            name, source, result, family, code(expression), code(loop), code(element),
            tuple(words(verb) for verb in verbs.split("|")), words(noun), word, constants, wants,
            imports, first_only, _compile(imports, code(expression), code(loop)),
        )  # fmt: skip


def maps(
    name: str, sources: str, element: str, verbs: str, noun: str, word: str, **more: Any
) -> Iterator[Primitive]:
    """The step that replaces each element (each character, each value of a dict)."""
    for source in sources.split():
        expression, loop = _shapes(source, more.get("target", source), element, "")
        yield from steps(
            name, source, expression, verbs, noun, word,
            family="map", loop=loop, element=element, **more,
        )  # fmt: skip


def filters(
    name: str, sources: str, element: str, verbs: str, noun: str, word: str, **more: Any
) -> Iterator[Primitive]:
    """The step that keeps the elements (characters, values of a dict) that pass a test."""
    for source in sources.split():
        expression, loop = _shapes(source, source, "V", element)
        yield from steps(
            name, source, expression, verbs, noun, word,
            family="filter", loop=loop, element=element, **more,
        )  # fmt: skip


def _shapes(source: str, target: str, element: str, test: str) -> tuple[str, str]:
    tail = f" if {test}" if test else ""
    if source in ("counts", "groups"):
        start, each, add = "{}", "k, V in X.items()", f"OUT[k] = {element}"
        expression = f"{{k: {element} for {each}{tail}}}"
    elif target == "str":
        start, each, add = '""', "V in X", f"OUT += {element}"
        expression = f'"".join({element} for {each}{tail})'
    else:
        start, each, add = "[]", "V in X", f"OUT.append({element})"
        expression = f"[{element} for {each}{tail}]"
    body = f"    if {test}:\n        {add}" if test else f"    {add}"
    return expression, f"OUT = {start}\nfor {each}:\n{body}"


def _compile(imports: str, expression: str, loop: str) -> Callable[[Any, Any], Any]:
    names: dict[str, Any] = {}
    exec(imports, names)
    body = f"return {expression}" if expression else loop + "\nreturn OUT"
    exec("def step(X, K):\n    " + body.replace("\n", "\n    "), names)
    return names["step"]
