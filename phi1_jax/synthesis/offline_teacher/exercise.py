"""One exercise: a program, its name and signature, the task in words, and examples that ran."""

import ast
import random
import re
from dataclasses import dataclass
from typing import Any

from phi1_jax.synthesis.offline_teacher import words
from phi1_jax.synthesis.offline_teacher.draft import RESERVED, Draft
from phi1_jax.synthesis.offline_teacher.layout import draw_length, lay_out, lay_out_tests, spell
from phi1_jax.synthesis.offline_teacher.values import KINDS

# How a task is written: the form of its examples, or as MBPP does, the tests below the task.
FORMS = {">>>": 0.36, "==": 0.11, "➞": 0.05, "=>": 0.05, "prose": 0.11, "none": 0.08, "mbpp": 0.24}
HINTED = 0.42
# How many arguments to ask for, so that there are as many as MBPP's functions take, which its tests
# alone tell: of its training split 57 % have one, 31 % two, 12 % more. Some programs need a second.
_MBPP_ARGUMENTS = {1: 0.62, 2: 0.25, 3: 0.13}
_N_TRIES = 30  # for so many; some topics have no such program
# Words of a function's name that no task and no vocabulary holds: in MBPP's manner, and else.
_INVENTED, _INVENTED_ELSE = 0.3, 0.12
# What a program may answer to an argument that it is not made for; anything else is a fault of it.
NO_RESULT = (ArithmeticError, LookupError, ValueError)
_MAX_CHARS = 72
_N_INPUTS = 7
_LINE_CHARS = 84
_STOP = frozenset(
    """the of in a an and or to that is are each with by for if its it from on at as than which not
    no all one them they has have be been does do true false otherwise none when up whose there
    other return""".split()  # noqa: SIM905
)
_DROP_MARKS = re.compile(r"«\w+»|[^a-z ]")
_ARGUMENT = re.compile(r"(the )?«(\w+)»")


@dataclass(frozen=True)
class Exercise:
    """An exercise in parts.

    Attributes:
      prompt: what the model completes; ends in a newline.
      solution: what completes it.
      composition: the program's structure.
      examples: (arguments, result) pairs, all that were run.
      stated: how many of them the prompt states, from the front.
    """

    draft: Draft
    name: str
    form: str
    prompt: str
    solution: str
    examples: tuple[tuple[tuple[Any, ...], Any], ...]
    stated: int

    @property
    def composition(self) -> tuple[str, ...]:
        return tuple(self.draft.parts)

    @property
    def code(self) -> str:
        """The function without a docstring."""
        if self.form == "mbpp":
            return self.solution
        names = ", ".join(param.name for param in self.draft.params)
        return f"def {self.name}({names}):\n{self.solution}"

    def calls(self, n: int) -> list[tuple[str, str]]:
        """n calls as text, with the text of their results."""
        return [
            (f"{self.name}({', '.join(map(repr, arguments))})", repr(result))
            for arguments, result in self.examples[:n]
        ]


def draw_exercise(topic: str, rng: random.Random, form: str = "") -> Exercise:
    """Draws programs until one needs all its parts and tells inputs apart, and writes its task.

    Args:
      form: a key of FORMS; by default drawn.
    Raises:
      RuntimeError: none is found in a hundred, which is a fault of the grammar.
    """
    drawn = form or rng.choices(list(FORMS), list(FORMS.values()))[0]
    n_arguments = 0
    if drawn == "mbpp":
        n_arguments = rng.choices(list(_MBPP_ARGUMENTS), list(_MBPP_ARGUMENTS.values()))[0]
    for n in range(100):
        draft = Draft(topic, rng, n_arguments)
        if len(draft.params) < n_arguments and n < _N_TRIES:
            continue
        name = _name_in_mbpps_manner(draft, rng) if drawn == "mbpp" else _function_name(draft, rng)
        body = "".join(f"    {line}\n" if line else "\n" for line in draft.lines)
        body = body.replace("SELF", name)
        parameters = ", ".join(param.name for param in draft.params)
        function = load(f"def {name}({parameters}):\n{body}", name)
        examples = () if draft.vain else _examples(draft, function, rng)
        if examples:
            return _write(draft, name, body, drawn, examples, rng)
    raise RuntimeError(f"topic {topic!r}: no program of it tells inputs apart")


def load(source: str | ast.Module, name: str, **names: Any) -> Any:
    """The function that a program defines, which may use `names`."""
    exec(compile(source, "<exercise>", "exec"), names)
    return names[name]


def draw_arguments(draft: Draft, rng: random.Random, size: int) -> tuple[Any, ...]:
    """One value for each parameter; size 0 gives empty ones."""
    values: list[Any] = []
    marks = list(draft.marks)
    for param in draft.params:
        if param.kind == "k":
            top = max(param.high, 1)
            value: Any = rng.randint(param.low, top) if rng.random() < 0.9 else rng.randint(0, top)
        else:
            # Two lists are not always of one length.
            own_size = rng.randint(1, 6) if values and size and rng.random() < 0.3 else size
            value = KINDS[param.kind].draw(rng, draft.near, own_size)
        values.append(value)
        if param.kind in ("letter", "sep"):
            marks.append(value)
    for index, param in enumerate(draft.params):
        value = values[index]
        if param.kind == "str" and marks and " " in value and rng.random() < 0.7:
            values[index] = value.replace(" ", rng.choice(marks))
        elif param.kind == "letter" and rng.random() < 0.6:
            text = next((v for v in values if v and isinstance(v, str) and v is not value), "")
            values[index] = rng.choice(text) if text else value
        if index and rng.random() < 0.6:
            values[index] = _related(values[0], values[index], rng)
    return tuple(values)


def _related(first: Any, second: Any, rng: random.Random) -> Any:
    """The second value with something of the first in it, where both hold elements."""
    if isinstance(second, list) and second and isinstance(first, list | dict) and first:
        pool = list(first)
        if isinstance(pool[0], type(second[0])):
            return [rng.choice(pool) if rng.random() < 0.5 else value for value in second]
    if isinstance(second, dict) and isinstance(first, dict):
        return second | {key: rng.randint(0, 20) for key in first if rng.random() < 0.5}
    if isinstance(second, str) and isinstance(first, str) and len(first) > 2 and len(second) > 2:
        return first[rng.randrange(len(first) - 2) :] + second[:3]
    return second


def _examples(
    draft: Draft, function: Any, rng: random.Random
) -> tuple[tuple[tuple[Any, ...], Any], ...]:
    """Short inputs with what the function returns; nothing if it returns much the same for all, or
    one of its arguments."""
    found, shown = [], set()
    for n in range(_N_INPUTS):
        arguments = draw_arguments(draft, rng, rng.randint(2, 5) if n else rng.randint(0, 2))
        try:
            result = function(*arguments)
        except NO_RESULT:
            continue
        text = repr(arguments)
        if len(text) <= _MAX_CHARS and len(repr(result)) <= _MAX_CHARS and text not in shown:
            shown.add(text)
            found.append((arguments, result))
    results = {repr(result) for _, result in found}
    same = any(
        all(result == arguments[place] for arguments, result in found)
        for place in range(len(draft.params))
    )
    if len(found) < 4 or len(results) < draft.n_results or same:
        return ()
    # What is said first should show something: an empty or repeated result comes last.
    told: set[str] = set()
    order = []
    for place, (_, result) in enumerate(found):
        text = repr(result)
        order.append((text in told, not result and draft.kind != "bool", place))
        told.add(text)
    return tuple(found[place] for *_, place in sorted(order))


def _words_said(draft: Draft) -> list[str]:
    """The words for what is returned that could stand in a name, in order."""
    return [w for w in _DROP_MARKS.sub(" ", draft.said.lower()).split() if w not in _STOP]


def _name_in_mbpps_manner(draft: Draft, rng: random.Random) -> str:
    """A name of words of the task, as MBPP's tests call it: the prompt has it there only."""
    said = _words_said(draft)
    while True:
        n = draw_length(rng)
        start = rng.randrange(max(len(said) - n, 0) + 1)
        chosen = said[start : start + n]
        chosen += rng.choices(words.NOUNS, k=n - len(chosen))
        if n > 1 and rng.random() < 0.5:
            chosen[0] = rng.choice(words.VERBS)
        chosen = [words.invent(rng) if rng.random() < _INVENTED else word for word in chosen]
        name = spell(chosen, rng)
        if name not in draft.taken and name not in RESERVED:
            return name


def _function_name(draft: Draft, rng: random.Random) -> str:
    """A name of what is returned, or of the vocabulary; it hides nothing."""
    said = _words_said(draft)
    while True:
        share = rng.random()
        verb = rng.choice(words.VERBS)
        if draft.form == "whether" and share < 0.5:
            verb = rng.choice(("is", "has", "check", "are", "all", "any"))
        if share < 0.55 and said:
            start = rng.randrange(min(len(said), 3))
            about = "_".join(said[start : start + rng.randint(1, 2)])
            name = about if share < 0.12 and "_" in about else f"{verb}_{about}"
        elif share < 0.55 + _INVENTED_ELSE:
            name = rng.choice((f"{verb}_{words.invent(rng)}", words.invent(rng)))
        elif share < 0.85:
            name = f"{verb}_{rng.choice(words.NOUNS)}"
        elif share < 0.95:
            name = f"{rng.choice(words.ADJECTIVES)}_{rng.choice(words.NOUNS)}"
        else:
            name = rng.choice(words.NOUNS)
        if name not in draft.taken and name not in RESERVED:
            return name


def _write(
    draft: Draft,
    name: str,
    body: str,
    form: str,
    examples: tuple[tuple[tuple[Any, ...], Any], ...],
    rng: random.Random,
) -> Exercise:
    signature, imports = _signature(draft, name, rng, 0.0 if form == "mbpp" else HINTED)
    if form == ">>>" and all(result is None for _, result in examples[:1]):
        form = "=="
    n = rng.choices((1, 2, 3), draft.style.n_examples)[0]
    if form == ">>>":
        examples = tuple(sorted(examples, key=lambda example: example[1] is None))
        n = min(n, sum(result is not None for _, result in examples))
    calls = [f"{name}({', '.join(map(repr, args))})" for args, _ in examples]
    if form == "mbpp":
        n = min(3, len(examples))
        tests = [f"assert {calls[i]} == {examples[i][1]!r}" for i in range(n)]
        task = _task(draft, rng, nameless=True, start=rng.choice(("Write a function to ",) * 3 + (
            "Write a python function to ",)))  # fmt: skip
        prompt = f'"""\n{task}\n' + "\n".join(lay_out_tests(tests, rng)) + '\n"""\n'
        solution = lay_out(signature + body, rng)
        return Exercise(draft, name, form, prompt, solution, examples, n)
    stated = list(zip(calls, (repr(result) for _, result in examples[:n]), strict=False))
    lines = _wrap(_task(draft, rng, nameless=rng.random() < 0.15))
    if form == "none":
        n = 0
    elif form == ">>>":
        lines += [""] * (rng.random() < 0.3)
        lines += [line for call, result in stated for line in (f">>> {call}", result)]
    elif form == "prose":
        for index, (call, result) in enumerate(stated):
            verb = rng.choice(("returns", "should return", "is", "gives"))
            start = rng.choice(("For example, ", "E.g. ", "")) if index == 0 else ""
            lines.append(f"{start}{call} {verb} {result}.")
    else:
        if rng.random() < 0.6:
            lines += [""] * (rng.random() < 0.6)
            lines.append(rng.choice(("Examples:", "Example:", "For example:", "Examples")))
        lines += [f"{call} {form} {result}" for call, result in stated]
    quotes = '"""' if rng.random() < 0.9 else "'''"
    first = quotes + rng.choice(("", "", " ", "\n    "))
    text = "\n".join(f"    {line}" if line else "" for line in lines).strip()
    prompt = f"{imports}{signature}    {first}{text}\n    {quotes}\n"
    if "\\" in text:
        prompt = prompt.replace(first + text, "r" + first + text)
    return Exercise(draft, name, form, prompt, body, examples, n)


def _signature(draft: Draft, name: str, rng: random.Random, hinted: float) -> tuple[str, str]:
    """The line with `def`, and the imports that its type hints need."""
    if rng.random() >= hinted:
        return f"def {name}({', '.join(param.name for param in draft.params)}):\n", ""
    old = rng.random() < 0.6
    hints = [KINDS[p.kind].typing if old else KINDS[p.kind].annotation for p in draft.params]
    back = {"list": "list", "dict": "dict", "tuple2": "tuple"}.get(draft.kind, "")
    if draft.kind in KINDS:
        back = KINDS[draft.kind].typing if old else KINDS[draft.kind].annotation
    given = ", ".join(f"{p.name}: {hint}" for p, hint in zip(draft.params, hints, strict=True))
    needed = sorted({word for word in ("Dict", "List", "Tuple") if word in f"{given} {back}"})
    imports = f"from typing import {', '.join(needed)}\n\n\n" if needed else ""
    return f"def {name}({given}){f' -> {back}' if back else ''}:\n", imports


_STARTS = {
    "what": ("Return @.",) * 5 + ("Find @.", "Compute @.", "Calculate @.", "Determine @.", "Get @.",
             "The function returns @.", "This function should return @.", "Given #, return @.",
             "Given #, return @.", "Given #, find @.", "You are given #. Return @.",
             "You are given #. Your task is to return @.",
             "Write a function that takes # and returns @.",
             "For #, return @.", "Take # and return @.", "Returns @."),
    "whether": ("Return True if @, otherwise False.", "Return True if @, and False otherwise.",
                "Check whether @.", "Check if @.", "Determine whether @.", "Return whether @.",
                "Given #, return True if @.", "Given #, check whether @.",
                "Write a function that takes # and returns True if @, else False.",
                "You are given #. Return True if @, False otherwise.", "Tell whether @."),
}  # fmt: skip


def _task(draft: Draft, rng: random.Random, nameless: bool, start: str = "") -> str:
    """The task in one to four sentences."""
    said = draft.said
    notes = list(draft.notes)
    asks = draft.form == "whether"
    if start:
        verb = rng.choice(("check whether ", "check if ") if asks else ("find ", "get ", "return ",
                          "compute ", "find "))  # fmt: skip
        if said.startswith("True") or " if " in said:
            verb = "return "
        text = f"{start}{verb}{said}."
    else:
        template = rng.choice(_STARTS[draft.form])
        if said.startswith(("True", "how", "'")) or " if " in said:
            template = rng.choice(("Return @.", "Given #, return @.", "The function returns @."))
        intro = ""
        if "#" in template:
            items = []
            for param in draft.params:
                described = rng.choice(KINDS[param.kind].described)
                items.append(described if nameless else f"{described} {param.name}")
            intro = ", ".join(items[:-1]) + (" and " if len(items) > 1 else "") + items[-1]
        text = template.replace("#", intro).replace("@", said)
        if rng.random() < draft.style.aside:
            notes.insert(0, _story(draft, rng))
        if rng.random() < draft.style.aside:
            param = rng.choice(draft.params)
            described = KINDS[param.kind].described[0]
            notes.append(rng.choice((
                f"«{param.name}» is {described}.",
                f"The argument «{param.name}» is {described}.",
                f"You may assume that «{param.name}» is {described}.")))  # fmt: skip
    text = " ".join([text, *notes])
    return name_arguments(text, draft, rng, nameless)


def _story(draft: Draft, rng: random.Random) -> str:
    """A sentence about where the argument comes from."""
    name = draft.params[0].name
    noun, other = words.plural(rng.choice(words.NOUNS)), words.plural(rng.choice(words.NOUNS))
    place, adjective = rng.choice(words.PLACES), rng.choice(words.ADJECTIVES)
    return rng.choice((
        f"«{name}» comes from {words.a(place)}.",
        f"«{name}» describes the {adjective} {noun} of {words.a(place)}.",
        f"{words.a(place).capitalize()} uses this to {rng.choice(words.VERBS)} {noun}.",
        f"This helps to {rng.choice(words.VERBS)} {adjective} {noun} and {other}.",
        f"Think of «{name}» as the {noun} in {words.a(place)}.",
    ))  # fmt: skip


def name_arguments(text: str, draft: Draft, rng: random.Random, nameless: bool) -> str:
    """Puts the arguments' names, or descriptions of them, where « » stand."""
    style = "" if nameless else rng.choices(("bare", "ticks", "typed"), (0.7, 0.15, 0.15))[0]
    if style == "bare":
        return text.replace("«", "").replace("»", "")
    if style == "ticks":
        return text.replace("«", "`").replace("»", "`")
    shown: dict[str, str] = {}
    shorts = [KINDS[param.kind].short[0] for param in draft.params]
    for param, short in zip(draft.params, shorts, strict=True):
        if style == "typed":
            shown[param.name] = f"the {short} {param.name}"
        elif shorts.count(short) > 1:
            place = ("first", "second", "third", "fourth")[
                shorts[: len(shown) + 1].count(short) - 1
            ]
            shown[param.name] = f"the {place} {short}"
        else:
            given = rng.choice(("given ", "given ", ""))
            shown[param.name] = f"the {given}{rng.choice(KINDS[param.kind].short)}"
    text = _ARGUMENT.sub(lambda found: shown[found[2]], text)
    return re.sub(r"(?<=\. )the ", "The ", text)


def _wrap(text: str) -> list[str]:
    """Lines of at most _LINE_CHARS characters."""
    lines = [""]
    for word in text.split(" "):
        if len(lines[-1]) + len(word) > _LINE_CHARS and lines[-1]:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return lines
