"""What may cross between an untrusted program and its examiner: plain builtin values, as bytes.

Hand-written, because every general serializer lets the sender name code or types of its choice.
Decoding builds only None, bool, int, float, complex, str, bytes, list, tuple, dict, set,
frozenset, range and an iterator over such values; any other value is an error on the sender's side.
"""

import struct
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Any

MAX_BYTES = 8 << 20
MAX_DEPTH = 100

_COUNT = struct.Struct(">I")
_DOUBLE = struct.Struct(">d")
_COMPLEX = struct.Struct(">dd")
_PLAIN = {b"N": None, b"T": True, b"F": False}
_FROM_BLOCK: dict[bytes, Callable[[bytes], Any]] = {
    b"i": lambda block: int.from_bytes(block, "big", signed=True),
    b"s": lambda block: block.decode("utf-8", "surrogatepass"),
    b"b": bytes,
}
# Tag: the type, the items of a value, and the value of the items.
_CONTAINERS: dict[bytes, tuple[type, Callable[[Any], list[Any]], Callable[[list[Any]], Any]]] = {
    b"l": (list, list, list),
    b"t": (tuple, list, tuple),
    b"d": (
        dict,
        lambda value: list(chain.from_iterable(value.items())),
        lambda items: dict(zip(items[::2], items[1::2], strict=True)),
    ),
    b"S": (set, list, set),
    b"Z": (frozenset, list, frozenset),
    b"r": (
        range,
        lambda value: [value.start, value.stop, value.step],
        lambda items: range(*items),
    ),
    # Tests write list(f(x)) of a generator; its items cross, and stay unequal to a list.
    b"I": (Iterator, lambda value: list(islice(value, MAX_BYTES + 1)), iter),
}


class WireError(ValueError):
    """The value, or the bytes received, are not plain, too large, too deep or malformed."""


def encode(value: Any) -> bytes:
    """The bytes of a plain value; a subclass of a plain type is sent as that plain type.

    Raises:
      WireError: another type, deeper than `MAX_DEPTH` (a cycle is), or more than `MAX_BYTES`.
    """
    out = bytearray()
    _put(out, value, 0)
    return bytes(out)


def _put(out: bytearray, value: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise WireError(f"the value is nested more than {MAX_DEPTH} deep")
    if value is None:
        out += b"N"
    elif isinstance(value, bool):
        out += b"T" if value else b"F"
    elif isinstance(value, int):
        size = value.bit_length() // 8 + 1
        _check_size(size)  # before the memory for it is taken
        _put_block(out, b"i", value.to_bytes(size, "big", signed=True))
    elif isinstance(value, float):
        out += b"f" + _DOUBLE.pack(value)
    elif isinstance(value, complex):
        out += b"c" + _COMPLEX.pack(value.real, value.imag)
    elif isinstance(value, str):
        _check_size(len(value))
        _put_block(out, b"s", value.encode("utf-8", "surrogatepass"))
    elif isinstance(value, bytes | bytearray):
        _put_block(out, b"b", value)
    else:
        for tag, (kind, items_of, _) in _CONTAINERS.items():
            if isinstance(value, kind):
                items = items_of(value)
                out += tag + _COUNT.pack(len(items))
                for item in items:
                    _put(out, item, depth + 1)
                break
        else:
            raise WireError(f"a value of type {type(value).__name__} is not a plain value")
    _check_size(len(out))


def _check_size(size: int) -> None:
    if size > MAX_BYTES:
        raise WireError(f"the value takes more than {MAX_BYTES} bytes")


def _put_block(out: bytearray, tag: bytes, block: bytes | bytearray) -> None:
    _check_size(len(block))
    out += tag + _COUNT.pack(len(block))
    out += block


def decode(data: bytes) -> Any:
    """The plain value behind untrusted bytes.

    Raises:
      WireError: anything but exactly one well-formed value within the limits.
    """
    try:
        value, end = _get(data, 0, 0)
    except (struct.error, IndexError, TypeError, ValueError, OverflowError) as error:
        raise WireError(f"malformed: {error}") from None
    if end != len(data):
        raise WireError("malformed: bytes are left over")
    return value


def _get(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    if depth > MAX_DEPTH:
        raise WireError(f"nested more than {MAX_DEPTH} deep")
    tag, at = data[at : at + 1], at + 1
    if tag in _PLAIN:
        return _PLAIN[tag], at
    if tag == b"f":
        return _DOUBLE.unpack_from(data, at)[0], at + 8
    if tag == b"c":
        return complex(*_COMPLEX.unpack_from(data, at)), at + 16
    (count,) = _COUNT.unpack_from(data, at)
    at += 4
    if count > len(data) - at:
        # Every item takes a byte at least, so a huge count is refused before it allocates.
        raise WireError("cut short")
    if tag in _FROM_BLOCK:
        return _FROM_BLOCK[tag](data[at : at + count]), at + count
    if tag not in _CONTAINERS:
        raise WireError(f"unknown tag {tag!r}")
    items = []
    for _ in range(count):
        item, at = _get(data, at, depth + 1)
        items.append(item)
    return _CONTAINERS[tag][2](items), at


def read_exactly(read: Callable[[int], bytes], count: int) -> bytes:
    """`count` bytes from `read`, which gives at most so many at a time; b"" if it ends before."""
    data = bytearray()
    while len(data) < count:
        block = read(min(count - len(data), 1 << 20))
        if not block:
            return b""
        data += block
    return bytes(data)
