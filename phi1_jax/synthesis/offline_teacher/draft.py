"""Draws a program from the grammar: its code and, with it, the words for what it does."""

import builtins
import functools
import keyword
import random
import re
import string
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from phi1_jax.synthesis.offline_teacher import words
from phi1_jax.synthesis.offline_teacher.parts import MAPS, PREDICATES
from phi1_jax.synthesis.offline_teacher.values import KINDS

# How often a part that a rule does not need is there.
_OPTIONAL = {"P": 0.62, "M": 0.35, "Q": 0.6}
_GUARDED = 0.24
_ENDED = 0.25
_INDEXED = 0.28
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
_TOKEN = re.compile(r"\{([A-Za-z]\w*~?)\}|`(\w):|([|`])")


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


def compile_text(text: str) -> tuple[Any, ...]:
    """Text as parts: literals, ("slot", name) and (label, option, option, ...), options alike."""
    stack: list[tuple[str, list[list[Any]]]] = [("", [[]])]
    place = 0
    for token in _TOKEN.finditer(text):
        options = stack[-1][1]
        slot, label, mark = token.groups()
        if mark == "|" and len(stack) == 1:
            continue
        if token.start() > place:
            options[-1].append(text[place : token.start()])
        place = token.end()
        if slot:
            options[-1].append(("slot", slot))
        elif label:
            stack.append((label, [[]]))
        elif mark == "|":
            options.append([])
        else:
            name, made = stack.pop()
            stack[-1][1][-1].append((name, *(tuple(option) for option in made)))
    if len(stack) > 1:
        raise ValueError(f"a choice is not closed: {text}")
    return (*stack[0][1][-1], text[place:])


_CONDITION = re.compile(r"^( *)(\w)=(\d)\? ?")


@dataclass
class Line:
    """A line of code or words that may depend on a choice."""

    parts: tuple[Any, ...]
    label: str = ""
    index: int = 0

    @classmethod
    def read(cls, text: str) -> "Line":
        if found := _CONDITION.match(text):
            indent, label, index = found.groups()
            return cls(compile_text(indent + text[found.end() :]), label, int(index))
        return cls(compile_text(text))


@dataclass
class Rule:
    topic: str
    name: str
    weight: float
    slots: dict[str, tuple[Any, ...]]
    variants: list[list[Line]] = field(default_factory=lambda: [[]])
    result: str = ""
    said: list[tuple[str, tuple[Any, ...], tuple[Any, ...]]] = field(default_factory=list)
    notes: list[tuple[bool, Line]] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)

    @property
    def is_chain(self) -> bool:
        """Whether the second condition is asked where the first one fails, and a rest is left."""
        lines = (line.parts[0] for variant in self.variants for line in variant)
        return any(isinstance(part, str) and part.strip() == "elif" for part in lines)


def _slots(text: str) -> dict[str, tuple[Any, ...]]:
    found = {}
    for slot in filter(None, text.strip().split(";")):
        match = re.match(r"(\w+\??):?(.*)", slot)
        assert match
        found[match[1]] = compile_text(match[2])
    return found


def _count_options(parts: tuple[Any, ...], sizes: dict[str, int]) -> None:
    for part in parts:
        if isinstance(part, tuple) and part[0] != "slot":
            sizes[part[0]] = max(sizes.get(part[0], 0), len(part) - 1)
            for option in part[1:]:
                _count_options(option, sizes)


def _read_rules(text: str) -> list[Rule]:
    rules = []
    for block in text.strip().split("\n@ "):
        first, *lines = block.removeprefix("@ ").split("\n")
        topic, name, weight, slots = first.split(" | ", 3)
        rule = Rule(topic, name, float(weight), _slots(slots))
        for line in lines:
            stripped = _CONDITION.sub("", line)
            if line == "--":
                rule.variants.append([])
            elif line.startswith("=> "):
                rule.result = line[3:]
            elif line.startswith("= "):
                kind, said = line[2:].split(" | ", 1)
                rule.said.append(("what", compile_text(kind), compile_text(said)))
            elif line.startswith("? "):
                rule.said.append(("whether", compile_text("bool"), compile_text(line[2:])))
            elif stripped.startswith((". ", ".. ")):
                note = Line.read(line.replace("? .. ", "? ").replace("? . ", "? ").lstrip(". "))
                rule.notes.append((stripped.startswith(".."), note))
            else:
                rule.variants[-1].append(Line.read(line))
        for made in [made for variant in rule.variants for made in variant]:
            _count_options(made.parts, rule.sizes)
            if made.label:
                rule.sizes[made.label] = max(rule.sizes.get(made.label, 0), made.index + 1)
        for parts in (*rule.slots.values(), *(part for said in rule.said for part in said[1:])):
            _count_options(parts, rule.sizes)
        rules.append(rule)
    return rules


def _rows(text: str) -> list[list[str]]:
    """Lines of " | " between fields, outside of choices."""
    return [
        [part.strip() for part in re.split(r"\|(?=(?:[^`]*`[^`]*`)*[^`]*$)", line)]
        for line in text.strip().split("\n")
    ]


def _read_sections(text: str) -> dict[str, str]:
    """The grammar's parts by name, without remarks."""
    kept = "\n".join(line for line in text.split("\n") if not line.startswith("#"))
    names = re.findall(r"^\[(\w+)\]$", kept, re.MULTILINE)
    return dict(zip(names, re.split(r"^\[\w+\]$", kept, flags=re.MULTILINE)[1:], strict=True))


_GRAMMAR = _read_sections(Path(__file__).with_name("grammar.txt").read_text(encoding="utf-8"))
RULES = _read_rules(_GRAMMAR["rules"])
TOPICS = tuple(dict.fromkeys(rule.topic for rule in RULES))
TOPIC_WEIGHTS = (30, 11, 11, 7, 8, 17, 8, 8, 7, 3, 7, 8)
_Weighted = tuple[list[Any], list[float]]  # and the weights, summed up


def _weighted(pairs: Iterable[tuple[str, Any, float]]) -> dict[str, _Weighted]:
    """(key, item, weight) by key."""
    found: dict[str, _Weighted] = {}
    for key, item, weight in pairs:
        items, sums = found.setdefault(key, ([], []))
        items.append(item)
        sums.append(weight + (sums[-1] if sums else 0.0))
    return found


_BY_TOPIC = _weighted((rule.topic, rule, rule.weight) for rule in RULES)
_SOURCES = _weighted(
    (element, (name, _slots(slots), *map(compile_text, texts)), float(weight))
    for name, weight, element, slots, *texts in _rows(_GRAMMAR["sources"])
)
_ENDINGS = _weighted(
    (kind, (code, _slots(slots), [*map(compile_text, code.split(" / "))], compile_text(said), to),
     float(weight))
    for kind, weight, slots, code, said, to in _rows(_GRAMMAR["endings"])
)  # fmt: skip
_GUARDS: dict[str, list[tuple[str, str]]] = {}
for _kind, _code, _said in _rows(_GRAMMAR["guards"]):
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
      usual_names: arguments have only the usual names of their kind.
      near, marks: numbers and characters on which the outcome turns, so that inputs have them.
      vain: whether a branch is never taken, or always.
      n_results: how many different results are asked of its examples.
    """

    def __init__(self, topic: str, rng: random.Random, usual_names: bool = False):
        self.rng = rng
        self.usual_names = usual_names
        self.params: list[Param] = []
        self.lines: list[str] = []
        self.notes: list[str] = []
        self.near: list[int] = []
        self.marks: list[str] = []
        # What is tested, of which of _VALUES, and how, with "@" for it.
        self.tests: list[tuple[str, str, str]] = []
        self.guard: tuple[str, str] | None = None  # an argument, and the test
        self.taken: set[str] = set()
        self.max_params = rng.choices((1, 2, 3), (0.5, 0.4, 0.1))[0]
        self.source: Source | None = None
        self.labels: dict[str, int] = {}
        self.sizes: dict[str, int] = {}
        self.env: dict[str, Value] = {}
        rules, weights = _BY_TOPIC[topic]
        rule = rng.choices(rules, cum_weights=weights)[0]
        self.parts = [topic, rule.name]
        self._write(rule)
        self.vain = self._is_vain(rule.is_chain)
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

    def _write(self, rule: Rule) -> None:
        rng, self.slots, self.sizes = self.rng, rule.slots, rule.sizes
        self.form, kind, said = rng.choice(rule.said)
        self._kind = kind
        for name in rule.slots:
            if name[0] in "ABCS":
                self.slot(name)
        n = len(rule.variants)
        variant = rule.variants[0 if n == 1 or rng.random() < 0.5 else rng.randrange(1, n)]
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
            if not optional or rng.random() < 0.5:
                self.notes.append(self.render(line.parts, True))
        self.parts += [f"{label}={i}" for label, i in sorted(self.labels.items()) if label < "a"]
        if rule.result:
            self._end(self.env[rule.result[1:-1]].code)
        if rng.random() < _GUARDED and not self.lines[0].startswith(("if ", "def ")):
            self._guard()
        self.notes = [note for note in self.notes if note.strip(" .")]

    def _index_instead(self, variant: list[Line]) -> None:
        """Sometimes lets the loop run over positions, where the loop is the only use of {x}."""
        heads = [line for line in variant if ("slot", "S") in line.parts]
        head = ("for ", ("slot", "x"), " in ", ("slot", "S"), ":")
        if not self.source or [line.parts for line in heads] != [head]:
            return
        code = self.source.code
        if code.isidentifier() and self.source.noun != "keys" and self.rng.random() < _INDEXED:
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
            return self.rng.randrange(n_options)
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
            return self.rng.random() < _OPTIONAL[name[0]], text.split(":")
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
        if draw < 0.6 or self.usual_names:
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
        if self.params and len(self.params) < self.max_params and self.rng.random() < 0.75:
            return self.arg("k", low, high)
        number = self.rng.randint(low, high)
        self.near.append(number)
        return Value(str(number), str(number))

    def _draw_L(self, name: str, kind: str = "letter") -> Value:
        if self.params and len(self.params) < self.max_params and self.rng.random() < 0.7:
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
        sources, weights = _SOURCES[element]
        kind, slots, setup, code, noun, where = self.rng.choices(sources, cum_weights=weights)[0]
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
            rows, weights = PREDICATES[element]
            kind, code, clause, many = self.rng.choices(rows, cum_weights=weights)[0]
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
            rows, weights = MAPS[element]
            name, kind, code, many, one = self.rng.choices(rows, cum_weights=weights)[0]
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
        if self.kind not in _ENDINGS or self.form != "what" or self.rng.random() > _ENDED:
            self.lines.append(f"return {name}")
            return
        endings, weights = _ENDINGS[self.kind]
        key, slots, code, said, kind = self.rng.choices(endings, cum_weights=weights)[0]
        self.parts.append(key)
        self.env, self.labels, self.slots, self.sizes = {}, {}, slots, {}
        self.env |= {"r": Value(name), "said": Value("", self.said)}
        self._kind = (kind,)
        indent = ""
        self.slots = {
            slot: tuple(name if part == ("slot", "r") else part for part in parts)
            for slot, parts in slots.items()
        }
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
