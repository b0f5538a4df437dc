"""Plain values cross unchanged; everything else is refused on either side."""

import contextlib
import math
import random
from collections import Counter, OrderedDict, defaultdict, namedtuple
from fractions import Fraction

import pytest

from phi1_jax.sandbox import wire

PLAIN = [
    None, True, False, 0, 1, -1, 127, 128, -128, -129, 255, 256, 2**63, -(2**63), 10**400,
    0.0, 1.5, -2e300, math.inf, -math.inf, complex(1, -2), "", "text", "é∂\u2028\x00", "\ud800",
    b"", b"\x00\xff", [], [1, [2, [3]]], (), (1,), {}, {"a": [1], 2: (3, None)}, set(),
    {1, "a"}, frozenset({(1, 2)}), {frozenset({1}): {2}}, range(3), range(10, 0, -3),
]  # fmt: skip


@pytest.mark.parametrize("value", PLAIN)  # no ids: those of sets differ between processes
def test_plain_values_cross_with_their_types(value):
    back = wire.decode(wire.encode(value))
    assert back == value
    assert type(back) is type(value)
    assert repr(back) == repr(value)  # 1 is not True, 0.0 is not -0.0, order is kept


def test_nan_and_negative_zero_cross():
    assert math.isnan(wire.decode(wire.encode(math.nan)))
    assert math.copysign(1, wire.decode(wire.encode(-0.0))) == -1


def test_random_nested_values_cross():
    generator = random.Random(0)

    def value(depth: int) -> object:
        if depth and generator.random() < 0.7:
            items = [value(depth - 1) for _ in range(generator.randrange(4))]
            return generator.choice([list, tuple, lambda x: dict(enumerate(x))])(items)
        return generator.choice(
            [generator.randrange(-(10**9), 10**9), generator.random(), "x", b""]
        )

    for _ in range(500):
        plain = value(5)
        assert wire.decode(wire.encode(plain)) == plain


class Sly(int):
    def __eq__(self, other):
        return True

    __hash__ = int.__hash__


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (Counter("aab"), dict),
        (OrderedDict(a=1), dict),
        (defaultdict(int, a=1), dict),
        (namedtuple("P", "x y")(1, 2), tuple),
        (Sly(3), int),
        (bytearray(b"ab"), bytes),
    ],
)
def test_subclasses_cross_as_the_builtin(value, kind):
    back = wire.decode(wire.encode(value))
    assert type(back) is kind
    assert back == kind(value)


def test_an_iterator_crosses_as_an_iterator():
    back = wire.decode(wire.encode(x * x for x in range(4)))
    assert back != [0, 1, 4, 9]
    assert list(back) == [0, 1, 4, 9]


class Anything:
    def __eq__(self, other):
        return True


@pytest.mark.parametrize(
    "value", [Anything(), object, len, Fraction(1, 2), [Anything()], {"a": lambda: 0}, Ellipsis]
)
def test_other_types_do_not_cross(value):
    with pytest.raises(wire.WireError, match="not a plain value"):
        wire.encode(value)


def test_cycles_depth_size_and_endless_iterators_are_refused(monkeypatch):
    cycle: list = []
    cycle.append(cycle)
    deep: list = []
    for _ in range(wire.MAX_DEPTH + 1):
        deep = [deep]
    for value in (cycle, deep):
        with pytest.raises(wire.WireError, match="deep"):
            wire.encode(value)
    monkeypatch.setattr(wire, "MAX_BYTES", 1000)
    wire.encode("x" * 990)
    for value in ("x" * 1001, iter(int, 1)):
        with pytest.raises(wire.WireError, match="more than"):
            wire.encode(value)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"X", b"NN", b"i", b"i\x00\x00\x00\x05\x01", b"s\x00\x00\x00\x01\xff", b"f\x00",
        b"l\xff\xff\xff\xff", b"d\x00\x00\x00\x02l\x00\x00\x00\x00N", b"d\x00\x00\x00\x03NNN",
        b"S\x00\x00\x00\x01l\x00\x00\x00\x00", b"r\x00\x00\x00\x03NNN", b"r\x00\x00\x00\x00",
        b"r\x00\x00\x00\x03" + b"i\x00\x00\x00\x01\x00" * 3,
        b"l\x00\x00\x00\x01" * 5000 + b"N", b"\x80\x04K\x01.",
    ],
)  # fmt: skip
def test_malformed_bytes_are_refused(data):
    with pytest.raises(wire.WireError):
        wire.decode(data)


def test_random_bytes_never_do_anything_but_decode_or_raise():
    generator = random.Random(1)
    good = wire.encode({"a": [1, 2.5, (None, "x")], "b": {1, 2}})
    for _ in range(20_000):
        data = bytearray(good)
        for _ in range(generator.randrange(1, 4)):
            data[generator.randrange(len(data))] = generator.randrange(256)
        with contextlib.suppress(wire.WireError):
            wire.decode(bytes(data))
