"""Draws a program from the grammar: its code and, with it, the words for what it does."""

import ast
import builtins
import functools
import keyword
import random
import re
import string
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from phi1_jax.synthesis.offline_teacher import words
from phi1_jax.synthesis.offline_teacher.grammar import (
    Line,
    Rule,
    Table,
    compile_text,
    read_rows,
    read_rules,
    read_sections,
    read_slots,
    tables,
)
from phi1_jax.synthesis.offline_teacher.parts import MAPS, PREDICATES
from phi1_jax.synthesis.offline_teacher.values import KINDS

_T = TypeVar("_T")


@dataclass(frozen=True)
class Style:
    """How far programs and their words go beyond what the rules ask for; shares are of 1.

    Attributes:
      power: of the weights by which parts are drawn: above 1, the usual ones come more often.
      optional: how often a condition P, a mapping M or a second condition Q is there where a rule
        can do without.
      argument: how often a number or a character in the program is an argument of its own.
      variant: how often a program is written in another than the first way of its rule.
      index: how often a loop over a list runs over its positions.
      ending: how often one more step is done with the result.
      guard: how often an early return stands in front.
      note: how often a sentence of the rule stands that the task does not need.
      aside: how often there is a story, and how often a sentence on an argument's kind.
      n_operations: weights of 1, 2 and 3 operations in an expression.
      n_examples: weights of 1, 2 and 3 examples.
    """

    power: float
    optional: Mapping[str, float]
    argument: float
    variant: float
    index: float
    ending: float
    guard: float
    note: float
    aside: float
    n_operations: tuple[float, float, float]
    n_examples: tuple[float, float, float]


# What is asked first and most often, and what longer programs look like. A small model learns from
# the former how words and code belong together: from programs that were all rich it learnt, in the
# same time, to write programs of the right kind that do not do what is asked.
PLAIN = Style(
    power=2.0, optional={"P": 0.55, "M": 0.2, "Q": 0.25}, argument=0.3, variant=0.0, index=0.0,
    ending=0.0, guard=0.0, note=0.0, aside=0.0, n_operations=(0.7, 0.3, 0.0),
    n_examples=(0.7, 0.3, 0.0),
)  # fmt: skip
RICH = Style(
    power=1.0, optional={"P": 0.62, "M": 0.35, "Q": 0.6}, argument=0.75, variant=0.5, index=0.28,
    ending=0.25, guard=0.5, note=0.5, aside=0.15, n_operations=(0.3, 0.5, 0.2),
    n_examples=(0.3, 0.45, 0.25),
)  # fmt: skip
_PLAIN = 0.7  # of the programs
_MBPP_ARGUMENT = 0.9  # how often, in MBPP's manner, a constant becomes an argument
_INVENTED = 0.25  # of the arguments with a name that is not usual
_POOLS = {
    "r": ("result", "result", "res", "ans", "out", "output", "total", "answer"),
    "n": ("count", "count", "cnt", "n_found", "counter", "num_found"),
    "t": ("best", "temp", "current", "seen", "values", "tmp", "total", "kept"),
    "i": ("i", "i", "i", "idx", "index", "pos", "left"),
    "j": ("j", "j", "k", "other", "right"),
    "k": ("k", "key", "name"),
    "v": ("v", "value", "val"),
    "w": ("word", "w", "token", "part"),
    "c": ("c", "ch", "char", "letter"),
    "d": ("digits", "items", "parts", "values", "data", "numbers"),
    "e": ("x", "el", "e", "item"),
    "a": ("a", "first", "x1", "left", "one"),
    "b": ("b", "second", "x2", "right", "two"),
    "f": ("check", "is_valid", "helper", "is_good", "test", "matches", "fits"),
    "m": ("m", "number", "value", "z"),
    "y": ("y", "value", "cell", "entry"),
}
_ELEMENTS = {
    "int": ("x", "n", "num", "number", "i", "val", "el", "elem", "item"),
    "float": ("x", "value", "v", "num"),
    "str": ("word", "w", "s", "string", "item", "name"),
    "char": ("c", "ch", "char", "letter", "i"),
}
_ONE = {"int": "number", "float": "number", "str": "word", "char": "character"}
_MANY = {"int": "ints", "float": "floats", "str": "strs", "char": "strs"}
_LABELS = """low high medium small large cold warm hot cheap fair costly weak strong empty full left
right yes no ok good bad odd even open closed early late none some many""".split()  # noqa: SIM905
RESERVED = frozenset(
    [*keyword.kwlist, *dir(builtins), "d"]  # parts of the grammar call a digit "d"
)


@dataclass
class Value:
    """Something that a slot stands for: the code, the words for it, and its kind.

    Of a condition, `said` is what holds of one element, and `many` the elements for which it does;
    of a mapping, what is made of one and of many.
    """

    code: str
    said: str = ""
    many: str = ""
    kind: str = ""


@dataclass
class Source:
    """What a loop runs over; the words for its elements, and where they are."""

    kind: str
    code: str
    element: str
    noun: str
    where: str


_GRAMMAR = read_sections(Path(__file__).with_name("grammar.txt").read_text(encoding="utf-8"))
TOPICS = Table((name, float(weight)) for name, weight in read_rows(_GRAMMAR["topics"]))
_RULES = tables((rule.topic, rule, rule.weight) for rule in read_rules(_GRAMMAR["rules"]))
_SOURCES: dict[str, Table[Any]] = tables(
    (element, (name, read_slots(slots), *map(compile_text, texts)), float(weight))
    for name, weight, element, slots, *texts in read_rows(_GRAMMAR["sources"])
)
_ENDINGS = tables(
    (kind, (code, read_slots(slots), [*map(compile_text, code.split(" / "))], compile_text(said),
            to), float(weight))
    for kind, weight, slots, code, said, to in read_rows(_GRAMMAR["endings"])
)  # fmt: skip
_OPERATIONS = tables(
    (of, (code, read_slots(slots), compile_text(code), compile_text(said), to), float(weight))
    for kind, weight, slots, code, said, to in read_rows(_GRAMMAR["operations"])
    for of in ((kind, "natural") if kind == "int" else (kind,))
)
_ARGUMENTS = Table((kind, float(weight)) for kind, weight in read_rows(_GRAMMAR["arguments"]))
_GUARDS: dict[str, list[tuple[str, str]]] = {}
for _kind, _code, _said in read_rows(_GRAMMAR["guards"]):
    _GUARDS.setdefault(_kind, []).append((_code, _said))


_FORMULAS = (
    ("# * @ + $", "# times @ plus $"), ("@ ** 2 - $", "the square of @ minus $"),
    ("# * @", "# times @"), ("@ - $", "@ minus $"), ("@ + $", "@ plus $"), ("@", "@"),
    ("(@ + $) * #", "# times the sum of @ and $"),
)  # fmt: skip
_WITH_Q = {
    "andQ": compile_text(", each other one that {Q} counts {K2}"),
    "orQ": compile_text(", and each other one that {Q} by its {N}"),
    "elseQ": compile_text("{F2} if instead it {Q}, "),
    "elseU": compile_text("{U} if instead it {Q}, "),
}


# Values on which conditions are tried: of an element type, or narrower ones of a source.
_VALUES: dict[str, Any] = {
    "int": range(-40, 41),
    "float": [n / 4 for n in range(-60, 61)],
    "str": [
        start + text[:n] for start in ("", "a", "X", "7", "o ")
        for text in ("bcdcbcdcbcdc", "FGHGFGHGFGHG", "1 b-C 1 b-C") for n in range(12)
    ],
    "char": string.ascii_letters + string.digits + " .,-",
    "digits": range(10), "lengths": range(13), "divisors": range(1, 41), "range": range(41),
    "lower": string.ascii_lowercase + string.digits + " .,-",
}  # fmt: skip
_LITERAL = re.compile(r"'[^']+'")


@functools.lru_cache(maxsize=1 << 14)
def _decide(tests: tuple[str, ...], values: str) -> bool:
    """Whether each condition holds for some value for which none before it does, and none for some.

    Args:
      tests: conditions on "@"; what depends on an argument is taken to hold at times.
      values: a key of _VALUES.
    """
    left = list(_VALUES[values])
    if values == "str":
        marks = [eval(text) for test in tests for text in _LITERAL.findall(test)]
        left += [made for mark in marks for made in (mark, mark + "xyz", "xyz" + mark)]
    for test in tests:
        holds = eval(f"lambda _: {test.replace('@', '_')}", {})  # without our own names
        try:
            others = [value for value in left if not holds(value)]
        except NameError:
            return True
        if len(others) == len(left):
            return False
        left = others
    return bool(left)


@dataclass
class Param:
    """An argument: its name, a key of KINDS, and for numbers the range that makes sense."""

    name: str
    kind: str
    low: int = 0
    high: int = 0


class Draft:
    """A program and the words for it, while they are drawn.

    In words, arguments stand between « », since a text may call them by name or "the given list".

    Attributes:
      lines: the body, without the common indent; `SELF` stands for the function's name.
      said: what is returned, a noun phrase; or, if form is "whether", a clause.
      kind: of the result, a key of KINDS or "list", "dict", "tuple2", "none".
      notes: further sentences of the docstring.
      parts: the program's structure, which names and constants leave alone.
      style: how rich the program and its words are.
      as_mbpp: arguments, which MBPP's prompts do not name, have usual names; constants are few.
      near, marks: numbers and characters on which the outcome turns, so that inputs have them.
      vain: whether a branch is never taken, or always.
      n_results: how many different results are asked of its examples.
    """

    def __init__(self, topic: str, rng: random.Random, mbpp_arguments: int = 0):
        """
        Args:
          mbpp_arguments: how many arguments to have at most, in MBPP's manner; 0: not in it.
        """
        self.rng = rng
        self.style = PLAIN if rng.random() < _PLAIN else RICH
        self.as_mbpp = mbpp_arguments > 0
        self.params: list[Param] = []
        self.lines: list[str] = []
        self.notes: list[str] = []
        self.near: list[int] = []
        self.marks: list[str] = []
        # What is tested, of which of _VALUES, and how, with "@" for it.
        self.tests: list[tuple[str, str, str]] = []
        self.guard: tuple[str, str] | None = None  # an argument, and the test
        self.taken: set[str] = set()
        self.max_params = mbpp_arguments or rng.choices((1, 2, 3), (0.5, 0.4, 0.1))[0]
        self.source: Source | None = None
        self.first_words = False  # of alternatives, the first
        self.labels: dict[str, int] = {}
        self.slots: Mapping[str, tuple[Any, ...]] = {}
        self.sizes: dict[str, int] = {}
        self.env: dict[str, Value] = {}
        self.parts = [topic]
        is_chain = False
        if topic == "expressions":
            self._compose()
        else:
            rule = self._pick(_RULES[topic])
            self.parts.append(rule.name)
            self._write(rule)
            is_chain = rule.is_chain
        self.vain = self._is_vain(is_chain)
        code = "\n".join(self.lines)
        n_labels = sum(self.env[name].code in code for name in "WUT" if name in self.env)
        self.n_results = 2 if self.kind == "bool" or n_labels == 2 else 3

    def _is_vain(self, is_chain: bool) -> bool:
        chains: list[tuple[str, str, list[str]]] = []
        for tested, values, test in self.tests:
            if is_chain and chains and chains[-1][0] == tested:
                chains[-1][2].append(test)
            else:
                guard = [self.guard[1]] if self.guard and self.guard[0] == tested else []
                chains.append((tested, values, [*guard, test]))
        return not all(_decide(tuple(tests), values) for _, values, tests in chains)

    def _pick(self, table: Table[_T]) -> _T:
        return table.draw(self.rng, self.style.power)

    def _compose(self) -> None:
        """An expression of operations, each on the result of the one before it."""
        rng = self.rng
        kind = self._pick(_ARGUMENTS)
        self.parts.append(kind)
        value = self.arg(kind)
        code, said = value.code, value.said
        n = 1 + rng.choices(range(3), self.style.n_operations)[0]
        # Behind one another only the first words are clear: "the first two of x reversed" is not.
        self.first_words = n > 1
        self.form = "what"
        while len(self.parts) < 2 + n and kind in _OPERATIONS and self.form == "what":
            key, slots, made, words_for, to = self._pick(_OPERATIONS[kind])
            is_last = len(self.parts) == 1 + n
            # Nothing comes after a bool, and arithmetic on arithmetic is hard to say in words.
            if not is_last and (to == "bool" or (to == kind == "int" and rng.random() < 0.9)):
                continue
            if key in self.parts:
                n -= 1
                continue
            if code != value.code and (key.count("{r}") > 1 or rng.random() < 0.3):
                name = self.name(*_POOLS["t"])
                self.lines.append(f"{name} = {_unparse(code)}")
                code = name
            self._enter(slots, f"({code})", said)
            code, said, kind = self.render(made, False), self.render(words_for, True), to
            self.parts.append(key)
            if said.startswith("? "):
                self.form, said = "whether", said[2:]
        self.lines.append(f"return {_unparse(code)}")
        self.said = said
        self.kind = "int" if kind == "natural" else kind

    def _enter(self, slots: Mapping[str, tuple[Any, ...]], result: str, said: str) -> None:
        """Makes {r} and {said} stand for a result, in the slots' own texts too."""
        self.env, self.labels, self.sizes = {"r": Value(result), "said": Value("", said)}, {}, {}
        self.slots = {
            slot: tuple(result if part == ("slot", "r") else part for part in parts)
            for slot, parts in slots.items()
        }

    def _write(self, rule: Rule) -> None:
        rng, self.slots, self.sizes = self.rng, rule.slots, rule.sizes
        self.form, kind, said = rng.choice(rule.said)
        self._kind = kind
        for name in rule.slots:
            if name[0] in "ABCS":
                self.slot(name)
        variant, *others = rule.variants
        if others and rng.random() < self.style.variant:
            variant = rng.choice(others)
        self._index_instead(variant)
        lines = [
            self.render(line.parts, False)
            for line in variant
            if not line.label or self.choose(line.label) == line.index
        ]
        self.lines += _without_empty_branches(lines)
        while not self.lines[-1]:
            self.lines.pop()
        self.kind = self.kind_of(self.render(kind, False))
        self.said = self.render(said, True)
        for optional, line in rule.notes:
            if line.label and self.choose(line.label) != line.index:
                continue
            if not optional or rng.random() < self.style.note:
                self.notes.append(self.render(line.parts, True))
        self.parts += [f"{label}={i}" for label, i in sorted(self.labels.items()) if label < "a"]
        if rule.result:
            self._end(self.env[rule.result[1:-1]].code)
        if rng.random() < self.style.guard and not self.lines[0].startswith(("if ", "def ")):
            self._guard()
        self.notes = [note for note in self.notes if note.strip(" .")]

    def _index_instead(self, variant: list[Line]) -> None:
        """Sometimes lets the loop run over positions, where the loop is the only use of {x}."""
        heads = [line for line in variant if ("slot", "S") in line.parts]
        head = ("for ", ("slot", "x"), " in ", ("slot", "S"), ":")
        if not self.source or [line.parts for line in heads] != [head]:
            return
        code = self.source.code
        index = self.rng.random() < self.style.index
        if index and code.isidentifier() and self.source.noun != "keys":
            i = self.slot("i").code
            self.env["x"] = Value(f"{code}[{i}]")
            self.env["S"] = Value(f"range(len({code}))", self.env["S"].said)
            self.env["x_head"] = Value(i)

    # -- rendering -------------------------------------------------------------------------------

    def render(self, parts: tuple[Any, ...], in_words: bool) -> str:
        made = []
        previous = ""
        for part in parts:
            if isinstance(part, str):
                made.append(part)
            elif part[0] == "slot":
                name = part[1]
                if name == "x" and previous == "for " and "x_head" in self.env:
                    name = "x_head"
                value = self.slot(name.removesuffix("~"))
                made.append(
                    value.many if name[-1] == "~" else value.said if in_words else value.code
                )
            else:
                label, *options = part
                index = self.choose(label, len(options))
                made.append(self.render(options[min(index, len(options) - 1)], in_words))
            previous = part if isinstance(part, str) else ""
        return "".join(made)

    def choose(self, label: str, n_options: int = 1) -> int:
        if label == "_":
            return 0 if self.first_words else self.rng.randrange(n_options)
        if label not in self.labels:
            self.labels[label] = self.rng.randrange(self.sizes.get(label, n_options))
        return self.labels[label]

    def slot(self, name: str) -> Value:
        if name not in self.env:
            maker = getattr(self, f"_slot_{name}", None) or getattr(self, f"_draw_{name[0]}", None)
            self.env[name] = maker(name) if maker else self._local(name)
        return self.env[name]

    def spec(self, name: str) -> tuple[bool, list[str]]:
        """Whether a slot is filled, and what the rule says of it."""
        if name in self.slots:
            return True, self.render(self.slots[name], False).split(":") if self.slots[name] else []
        if f"{name}?" in self.slots:
            text = self.render(self.slots[f"{name}?"], False)
            return self.rng.random() < self.style.optional[name[0]], text.split(":")
        return True, []

    # -- names and arguments ---------------------------------------------------------------------

    def name(self, *pool: str) -> str:
        name = self.rng.choice(pool)
        while name in self.taken or name in RESERVED:
            pool = (*pool, f"{name}_{self.rng.randint(1, 3)}")
            name = self.rng.choice(pool)
        self.taken.add(name)
        return name

    def arg(self, kind: str, low: int = 0, high: int = 0) -> Value:
        known, draw, rng = KINDS[kind], self.rng.random(), self.rng
        if draw < 0.6 or self.as_mbpp:
            name = self.name(*known.names)
        else:
            noun = rng.choice(words.NOUNS)
            if rng.random() < _INVENTED:
                noun = words.invent(rng)
            elif known.annotation.startswith(("list", "tuple", "dict")):
                noun = words.plural(noun)
            name = self.name(f"{rng.choice(words.ADJECTIVES)}_{noun}" if draw > 0.88 else noun)
        self.params.append(Param(name, kind, low, high))
        return Value(name, f"«{name}»", kind=kind)

    def _local(self, name: str) -> Value:
        _, given = self.spec(name)
        pool = given[0].split(",") if given and given[0] else _POOLS[name[0]]
        return Value(self.name(*pool))

    def _slot_x(self, name: str) -> Value:
        if "x" in self.slots or not self.source:
            return self._local(name) if "x" in self.slots else Value(self.name("row", "x", "line"))
        return Value(self.name(*_ELEMENTS[self.source.element]))

    def _draw_A(self, name: str) -> Value:
        return self.arg(self.spec(name)[1][0])

    _draw_B = _draw_C = _draw_A

    def _draw_K(self, name: str) -> Value:
        given = self.spec(name)[1]
        low, high = map(int, given[0].split("-")) if given and given[0] else (1, 10)
        return self.number(low, high)

    def number(self, low: int, high: int) -> Value:
        if self._as_argument():
            return self.arg("k", low, high)
        return self._literal(low, high)

    def _as_argument(self) -> bool:
        """Whether a constant of the program becomes one more argument of it."""
        free = self.params and len(self.params) < self.max_params
        share = _MBPP_ARGUMENT if self.as_mbpp else self.style.argument
        return bool(free) and self.rng.random() < share

    def _draw_J(self, name: str) -> Value:
        """A number that is never an argument, since other numbers would need other words."""
        low, high = map(int, self.spec(name)[1][0].split("-"))
        return self._literal(low, high)

    def _literal(self, low: int, high: int) -> Value:
        number = self.rng.randint(low, high)
        self.near.append(number)
        return Value(str(number), str(number))

    def _draw_L(self, name: str, kind: str = "letter") -> Value:
        if self._as_argument():
            return self.arg(kind)
        mark = KINDS[kind].draw(self.rng, (), 2)
        self.marks.append(mark)
        return Value(repr(mark), repr(mark))

    def _draw_Z(self, name: str) -> Value:
        return self._draw_L(name, "sep")

    # -- parts -----------------------------------------------------------------------------------

    def _draw_S(self, name: str) -> Value:
        _, given = self.spec(name)
        elements = given[0].split(",") if given and given[0] else (
            "int", "int", "int", "str", "str", "char", "float")  # fmt: skip
        element = self.rng.choice(elements)
        kind, slots, setup, code, noun, where = self._pick(_SOURCES[element])
        kept = self.env, self.labels, self.slots, self.sizes
        self.env, self.labels, self.slots, self.sizes = {}, {}, slots, {}
        for slot in slots:
            if slot[0] in "AB":
                self.slot(slot)
        if any(setup):
            self.lines.append(self.render(setup, False))
        made = Source(kind, self.render(code, False), element, self.render(noun, True),
                      self.render(where, True))  # fmt: skip
        self.parts += [f"{element} {kind}", *map(str, self.labels.values())]
        self.env, self.labels, self.slots, self.sizes = kept
        self.source = made
        self.env |= {"noun": Value("", made.noun), "where": Value("", made.where),
                     "one": Value("", _ONE[element])}  # fmt: skip
        return Value(made.code, f"{made.noun} {made.where}", made.noun, element)

    def _draw_P(self, name: str) -> Value:
        present, given = self.spec(name)
        if not present:
            return Value("True" if name[0] == "P" else "False")
        if len(given) > 1:
            element, x, noun = given[0], ":".join(given[1:]), f"{_ONE[given[0]]}s"
            values = element
        else:
            assert self.source
            element, x, noun = self.source.element, self.slot("x").code, self.source.noun
            values = self.source.kind if self.source.kind in _VALUES else element
        while True:  # none twice: what stands behind the second would never run
            kind, code, clause, many = self._pick(PREDICATES[element])
            if f"if {kind}" not in self.parts or "#" in code or "$" in code:
                break
        self.parts.append(f"if {kind}")
        if " " in x and "@ %" in code:
            x = f"({x})"
        code, clause, many = self._filled((code, clause, many), "@", noun)
        self.tests.append((x, values, code))
        code = code.replace("@", x)
        return Value(code, clause, many)

    _draw_Q = _draw_P

    def _draw_M(self, name: str) -> Value:
        present, given = self.spec(name)
        if not present:
            return Value("")
        if len(given) > 1:
            element, x, wanted = given[0], given[1], given[2] if len(given) > 2 else ""
            noun = f"{_ONE[element]}s"
        else:
            assert self.source
            element, x, wanted = self.source.element, self.slot("x").code, "".join(given)
            noun = "\0"
        while True:
            name, kind, code, many, one = self._pick(MAPS[element])
            if not wanted or kind == wanted or (wanted == "num" and kind in ("int", "float")):
                break
        self.parts.append(name)
        code, many, one = self._filled((code, many, one), x, noun)
        return Value(code, one, many, kind)

    _draw_N = _draw_M

    def _filled(self, templates: tuple[str, ...], x: str, noun: str) -> tuple[str, ...]:
        code, *said = templates
        for mark, draw in (("#", self._bound), ("$", self._draw_L)):
            if mark in code:
                value = draw(code)
                code = code.replace(mark, value.code)
                said = [text.replace(mark, value.said) for text in said]
        return code.replace("@", x), *(text.replace("~", noun) for text in said)

    def _bound(self, code: str) -> Value:
        low, high = (2, 9) if "%" in code or "//" in code else (1, 10)
        if "len(" in code or "[:#]" in code:
            low, high = 2, 6
        return self.number(low, high)

    def _mapped(self) -> Value | None:
        """The mapping, if the rule has one and it was drawn."""
        if "M" in self.slots or "M?" in self.slots:
            made = self.slot("M")
            return made if made.code else None
        return None

    def _slot_E(self, name: str) -> Value:
        assert self.source
        test = self.slot("P") if "P" in self.slots or "P?" in self.slots else None
        noun = test.many if test and test.many else self.source.noun
        return Value("", f"{noun} {self.source.where}")

    def _slot_V(self, name: str) -> Value:
        assert self.source
        code = self.slot("x").code
        said = self.slot("E").said if self.env.get("P") or "P" not in self.slots else ""
        if made := self._mapped():
            return Value(made.code, made.many.replace("\0", said), kind=made.kind)
        return Value(code, said, kind=self.source.element)

    def _slot_V1(self, name: str) -> Value:
        made = self._mapped()
        return Value(made.code if made else self.slot("x").code)

    def _slot_itsV(self, name: str) -> Value:
        made = self._mapped()
        return Value("", f"its {made.said}" if made else "it")

    def _slot_if(self, name: str) -> Value:
        code = self.slot("P").code
        return Value("" if code == "True" else f" if {code}")

    def _slot_andQ(self, name: str) -> Value:
        """Words that stand only where the second condition does."""
        return Value("", self.render(_WITH_Q[name], True) if self.slot("Q").said else "")

    _slot_orQ = _slot_elseQ = _slot_elseU = _slot_andQ

    def _slot_more(self, name: str) -> Value:
        return Value("".join(f", {param.name}" for param in self.params[1:]))

    def _slot_reverse(self, name: str) -> Value:
        return Value(", reverse=True" if self.choose("3", 2) else "")

    def _draw_F(self, name: str) -> Value:
        x = self.slot("B" if name.endswith("B") else "A")
        form = self.rng.randrange(len(_FORMULAS))
        self.parts.append(f"f{form}")
        a, b = self.rng.sample(range(2, 20), 2)
        code, said = (text.replace("#", str(a)).replace("$", str(b)) for text in _FORMULAS[form])
        return Value(code.replace("@", x.code), said.replace("@", x.said))

    def _draw_W(self, name: str) -> Value:
        label = repr(self.rng.choice(_LABELS))
        while any(value.code == label for value in self.env.values()):
            label = repr(self.rng.choice(_LABELS))
        return Value(label, label)

    _draw_U = _draw_T = _draw_W

    def _draw_D(self, name: str) -> Value:
        return self._default(self.kind_of(self.render(self._kind, False)))

    def _default(self, kind: str) -> Value:
        if kind == "int":
            literal = self.rng.choice(("0", "0", "-1", "None"))
        elif kind == "bool":
            literal = self.rng.choice(("True", "False", "False"))
        elif kind in KINDS:
            literal = self.rng.choice((KINDS[kind].empty,) * 4 + ("None",))
        else:
            literal = {"list": "[]", "dict": "{}", "char": "''"}.get(kind, "None")
        return Value(literal, literal)

    def kind_of(self, text: str) -> str:
        if text == "V":
            made = self._mapped()
            text = made.kind if made else "elem"
        elif text == "A":
            text = self.env["A"].kind
            return {"natural": "int", "word": "str"}.get(text, text)
        elif text == "M":
            text = self.slot("M").kind
        elif text == "many":
            made = self._mapped() if self.parts[0] != "sorting" else None
            assert self.source
            return _MANY[made.kind if made else self.source.element]
        if text == "elem":
            assert self.source
            text = self.source.element
        return "str" if text == "char" else text

    # -- the end and the beginning ---------------------------------------------------------------

    def _end(self, name: str) -> None:
        """Returns what has a name, perhaps after one more step."""
        ended = self.rng.random() < self.style.ending
        if not ended or self.kind not in _ENDINGS or self.form != "what":
            self.lines.append(f"return {name}")
            return
        key, slots, code, said, kind = self._pick(_ENDINGS[self.kind])
        self.parts.append(key)
        self._enter(slots, name, self.said)
        self._kind = (kind,)
        indent = ""
        for line in code:
            self.lines.append(indent + self.render(line, False))
            indent = "    " if self.lines[-1].endswith(":") else ""
        self.said = self.render(said, True)
        if self.said.startswith("? "):
            self.form, self.said = "whether", self.said[2:]
        self.kind = kind

    def _guard(self) -> None:
        """Puts an early return for empty or senseless arguments in front of the body."""
        cases = []
        for index, param in enumerate(self.params):
            kind = "k" if param.kind == "k" else KINDS[param.kind].annotation.partition("[")[0]
            if index == 0 or kind == "k":
                cases += [(param.name, case) for case in _GUARDS.get(kind, ())]
        if not cases:
            return
        name, (code, said) = self.rng.choice(cases)
        default = self._default(self.kind).code
        if self.kind == "str" and self.rng.random() < 0.2:
            default = repr(self.rng.choice(("empty", "none", "invalid", "nothing", "error")))
        self.parts.append("guard")
        self.guard = name, code.replace("{A}", "@")
        self.lines[:0] = [f"if {code.replace('{A}', name)}:", f"    return {default}"]
        said = said.replace("{A}", f"«{name}»")
        self.notes.append(self.rng.choice((
            f"If {said}, return {default}.", f"Return {default} if {said}.",
            f"If {said}, the result is {default}.", f"When {said}, return {default}.",
            f"If {said}, the function should return {default}.",
        )))  # fmt: skip


def _unparse(expression: str) -> str:
    """The expression without needless parentheses."""
    return ast.unparse(ast.parse(expression))


def _without_empty_branches(lines: list[str]) -> list[str]:
    """Unwraps `if True:` and drops `if False:` with its block, which stand for absent parts."""
    made: list[str] = []
    unwrapped: list[int] = []
    dropped: int | None = None
    for line in lines:
        code = line.lstrip()
        depth = len(line) - len(code)
        while unwrapped and depth <= unwrapped[-1]:
            unwrapped.pop()
        if dropped is not None and depth > dropped:
            continue
        dropped = None
        if code in ("if False:", "elif False:"):
            dropped = depth
        elif code == "if True:":
            unwrapped.append(depth)
        else:
            made.append("    " * ((depth // 4) - len(unwrapped)) + code)
    return made
