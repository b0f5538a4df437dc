"""Textbook sections: mostly prose, written for an audience, about a program that really ran."""

import ast
import random
import sys
from typing import Any

from phi1_jax.synthesis.offline_teacher.exercise import Exercise, load, name_arguments
from phi1_jax.synthesis.offline_teacher.values import KINDS

# Audience -> sentences that open a section and sentences that close it. DO is the task.
AUDIENCES = {
    "young beginners": (
        ("Imagine a pile of cards on the table. Somebody wants to know this: DO.",
         "Computers are very fast, but they must be told every step. Today one has to work out DO.",
         "Here is a small puzzle that you could also solve with paper and a pencil: DO."),
        ("Try it with values of your own and guess the answer before you run it.",
         "Change one number and see what happens. You cannot break anything."),
    ),
    "data analysts": (
        ("Before a table can be charted, someone often needs DO.",
         "Cleaning data takes more time than modelling it, and much of it is like this: DO.",
         "A column rarely has the shape that a report needs. Suppose that we want DO."),
        ("The same lines work on ten values and on ten million.",
         "Keep such steps small, and a colleague can check each of them against the raw data."),
    ),
    "returning programmers": (
        ("If you know another language, you will recognise the task: DO.",
         "You have done this before in other words. We want DO, and Python has its own idiom.",
         "The task is old and the notation is short: DO."),
        ("Once the idiom is familiar, it reads faster than any clever version.",
         "Nothing here is hidden: each line does one thing."),
    ),
    "science students": (
        ("A series of measurements lies before us, and we want DO.",
         "Say precisely what is wanted before you write code. Here it is DO.",
         "An experiment ends with numbers, and then somebody computes DO."),
        ("Check the function on a case that you can work out by hand.",
         "A result that nobody has checked on a small case is not yet a result."),
    ),
    "office workers": (
        ("A spreadsheet can do this with a formula, a program can do it every night: DO.",
         "Monday morning, the data has come by mail, and somebody asks for DO.",
         "Tasks that bore people suit computers well. Here is one: DO."),
        ("Save the function once and you never need to do this by hand again.",
         "Try it on a short input whose answer you know before you trust it with a long one."),
    ),
    "mathematics teachers": (
        ("In words the rule is short: DO. In Python it is nearly as short.",
         "A function takes values to a value. Ours gives DO.",
         "Let us read the task as a definition. We look for DO."),
        ("Ask the class for an input on which two different rules would agree.",
         "It is worth proving to yourself that the rule also holds for the smallest input."),
    ),
}  # fmt: skip

# Topic -> what is to be understood about it.
_IDEAS = {
    "accumulating": (
        "Many values go in and one result comes out. A name is set up before the loop, and each "
        "round changes it a little.",
        "The accumulator pattern has three parts: a start value, an update inside the loop, and a "
        "return after the loop. The start value is also the answer for an empty input.",
    ),
    "searching": (
        "A search can stop as soon as the answer is known. So does a return inside a loop: "
        "it leaves the loop and the function at once.",
        "Only after the last element do we know that nothing was found, so the other answer stands "
        "behind the loop, not in an else inside it.",
    ),
    "branching": (
        "For every element the loop decides anew. The first condition that holds is taken, and "
        "the others are not even looked at.",
        "With if, elif and else exactly one of the blocks runs. Two separate ifs could both run.",
    ),
    "nested loops": (
        "The inner loop runs from start to end for every single round of the outer loop.",
        "To meet every pair once, the second position starts right behind the first one.",
    ),
    "while loops": (
        "A while loop repeats its block as long as its condition is true. Something in the block "
        "has to change the condition, or the loop never ends.",
        "The remainder by 10 is the last digit of a number, and dividing by 10 without remainder "
        "takes that digit away. Many loops on numbers are built on these two operations.",
    ),
    "formulas": (
        "No loop is needed here. The value is compared, a case is chosen, and a formula gives the "
        "answer.",
        "The order of the conditions matters: the second one is looked at only if the first fails.",
    ),
    "texts": (
        "A text cannot be changed in place. We build a new one, piece by piece, from the empty "
        "text or from a list that is joined at the end.",
        "Walking over a text gives its characters; splitting it gives its words.",
    ),
    "dictionaries": (
        "A dictionary finds a value by its key. Asking for a key that is not there is an error, so "
        "we look first, or use get with a default.",
        "The items of a dictionary are pairs of key and value, and a loop can unpack them at once.",
    ),
    "sorting": (
        "The function sorted builds a new list. Its argument key is a function that says by what "
        "an element is compared.",
        "Sorting is stable: elements with equal keys stay in the order in which they came.",
    ),
    "recursion": (
        "The function calls itself on a smaller input. One case must be so small that it is "
        "answered without a call; otherwise the calls never end.",
        "Trust the call: suppose that it already gives the right answer for the smaller input, and "
        "say how the answer for the whole follows from it.",
    ),
    "neighbours": (
        "Here elements are compared with each other, so we need their positions. The first element "
        "has none before it, and the loop has to take care not to run over the end.",
        "Positions are counted from 0, and the last one is the length minus 1.",
    ),
    "expressions": (
        "One expression is enough here, since Python already has a function, a method or an "
        "operator for each step.",
        "An expression is read from the inside out: what stands innermost is computed first, and "
        "the step around it takes the result.",
    ),
    "helpers": (
        "A question that is asked of every element deserves a function of its own. It has a name, "
        "it can be tested alone, and the loop around it becomes short.",
        "The helper is defined inside the function that uses it, before it is called.",
    ),
}  # fmt: skip


def write_section(exercise: Exercise, audience: str, rng: random.Random) -> str:
    """A section in markdown about the exercise's program.

    Args:
      audience: a key of AUDIENCES; any other text gets the tone of one of them.
    """
    draft, topic = exercise.draft, exercise.composition[0]
    openings, closings = AUDIENCES.get(audience) or rng.choice(list(AUDIENCES.values()))
    said = name_arguments(draft.said, draft, rng, nameless=True)
    task = f"whether {said}" if draft.form == "whether" else said
    code = exercise.code
    tree = ast.parse(code).body[-1]
    assert isinstance(tree, ast.FunctionDef)
    given = [f"`{p.name}` is {rng.choice(KINDS[p.kind].described)}" for p in draft.params]
    arguments, result = exercise.examples[0]
    ideas = list(_IDEAS[topic])
    parts = [
        f"# {topic.capitalize()}: {said if len(said) < 70 else exercise.name.replace('_', ' ')}",
        rng.choice(openings).replace("DO", task),
        rng.choice(ideas),
        f"In the function `{exercise.name}` {' and '.join(given)}."
        + "".join(f" {name_arguments(note, draft, rng, nameless=False)}" for note in draft.notes),
        f"```python\n{code}```",
        " ".join(dict.fromkeys(_explain(tree.body, rng))),
        _trace(exercise, arguments, result),
    ]
    if len(exercise.examples) > 1 and rng.random() < 0.6:
        other, value = exercise.examples[-1]
        call = f"{exercise.name}({', '.join(map(repr, other))})"
        parts.append(f"Another call: `{call}` returns `{value!r}`.")
    return "\n\n".join([*parts, rng.choice(closings)]) + "\n"


def _explain(body: list[ast.stmt], rng: random.Random) -> list[str]:
    """A sentence for each statement, from the outside in."""
    said = []
    for statement in body:
        said += _sentences(statement, rng)
        for block in ("body", "orelse"):
            said += _explain(getattr(statement, block, []), rng)
    return said


def _sentences(node: ast.stmt, rng: random.Random) -> list[str]:
    text = ast.unparse
    if isinstance(node, ast.Assign):
        name, value = text(node.targets[0]), text(node.value)
        if isinstance(node.value, ast.Constant) or value in ("[]", "{}", "set()"):
            return [
                rng.choice((f"`{name}` starts as `{value}`.", f"At first `{name}` is `{value}`."))
            ]
        return [
            rng.choice((f"Then `{name}` is set to `{value}`.", f"`{name}` stands for `{value}`."))
        ]
    if isinstance(node, ast.AugAssign):
        verb = {"Add": "grows by", "Sub": "is reduced by", "Mult": "is multiplied by",
                "FloorDiv": "is floor-divided by"}.get(type(node.op).__name__)  # fmt: skip
        return [f"`{text(node.target)}` {verb} `{text(node.value)}`."] if verb else []
    if isinstance(node, ast.For):
        over, name = text(node.iter), text(node.target)
        if over.startswith("range("):
            return [f"The loop lets `{name}` count through `{over}`."]
        if over.startswith("enumerate("):
            return [f"The loop gives each element together with its position, as `{name}`."]
        return [rng.choice((f"The loop calls each element of `{over}` in turn `{name}`.",
                            f"The block is run for each `{name}` in `{over}`."))]  # fmt: skip
    if isinstance(node, ast.While):
        return [f"The block is repeated as long as `{text(node.test)}` holds."]
    if isinstance(node, ast.If):
        leaves = isinstance(node.body[0], ast.Return | ast.Continue | ast.Break)
        then = "the next line decides what comes" if leaves else "the next line is run"
        return [
            rng.choice((f"If `{text(node.test)}`, {then}.", f"We ask whether `{text(node.test)}`."))
        ]
    if isinstance(node, ast.Return) and node.value:
        return [rng.choice((f"The function returns `{text(node.value)}`.",
                            f"`return {text(node.value)}` ends the function."))]  # fmt: skip
    if isinstance(node, ast.FunctionDef):
        return [f"The helper `{node.name}` answers one question about its argument."]
    if isinstance(node, ast.Expr) and text(node.value).split("(")[0].endswith(".append"):
        name, _, value = text(node.value).partition(".append(")
        return [f"`{value[:-1]}` is put at the end of `{name}`."]
    return []


def _trace(exercise: Exercise, arguments: tuple[Any, ...], result: Any) -> str:
    """What a call does to the variable that is set first."""
    call = f"{exercise.name}({', '.join(map(repr, arguments))})"
    tree = ast.parse(exercise.code).body[-1]
    assert isinstance(tree, ast.FunctionDef)
    names = [text.id for node in tree.body if isinstance(node, ast.Assign)
             for text in node.targets if isinstance(text, ast.Name)]  # fmt: skip
    function = load(exercise.code, exercise.name)
    seen: list[str] = []

    def watch(frame: Any, event: str, argument: Any) -> Any:
        if frame.f_code.co_name == exercise.name and names and names[-1] in frame.f_locals:
            value = repr(frame.f_locals[names[-1]])
            if not seen or seen[-1] != value:
                seen.append(value)
        return watch

    before = sys.gettrace()
    sys.settrace(watch)
    try:
        function(*arguments)
    finally:
        sys.settrace(before)
    if 1 < len(seen) <= 8 and sum(map(len, seen)) < 200:
        path = ", then ".join(f"`{value}`" for value in seen)
        return f"Follow the call `{call}`. `{names[-1]}` is {path}. The result is `{result!r}`."
    return f"The call `{call}` returns `{result!r}`."
