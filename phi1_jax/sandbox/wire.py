"""What may cross between an untrusted program and its examiner: plain builtin values, as bytes.

Hand-written, because every general serializer lets the sender name code or types of its choice.
Decoding builds only None, bool, int, float, complex, str, bytes, list, tuple, dict, set,
frozenset, range and an iterator over such values; any other value is an error on the sender's side.
"""

import struct
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

MAX_BYTES = 8 << 20
MAX_DEPTH = 100

_COUNT = struct.Struct(">I")
_DOUBLE = struct.Struct(">d")
_COMPLEX = struct.Struct(">dd")


class WireError(ValueError):
    """The value, or the bytes received, are not plain, too large, too deep or malformed."""


def encode(value: Any, max_bytes: int = MAX_BYTES) -> bytes:
    """The bytes of a plain value; a subclass of a plain type is sent as that plain type.

    Raises:
      WireError: another type, deeper than `MAX_DEPTH` (a cycle is), or more than `max_bytes`.
    """
    out = bytearray()
    _put(out, value, 0, max_bytes)
    return bytes(out)


def _put(out: bytearray, value: Any, depth: int, limit: int) -> None:
    if depth > MAX_DEPTH:
        raise WireError(f"the value is nested more than {MAX_DEPTH} deep")
    if value is None:
        out += b"N"
    elif isinstance(value, bool):
        out += b"T" if value else b"F"
    elif isinstance(value, int):
        size = value.bit_length() // 8 + 1
        _check_size(size, limit)  # before the memory for it is taken
        _put_block(out, b"i", value.to_bytes(size, "big", signed=True), limit)
    elif isinstance(value, float):
        out += b"f" + _DOUBLE.pack(value)
    elif isinstance(value, str):
        _check_size(len(value), limit)
        _put_block(out, b"s", value.encode("utf-8", "surrogatepass"), limit)
    elif isinstance(value, list | tuple | set | frozenset):
        out += _tag(value) + _COUNT.pack(len(value))
        for item in value:
            _put(out, item, depth + 1, limit)
    elif isinstance(value, dict):
        out += b"d" + _COUNT.pack(len(value))
        for key, item in value.items():
            _put(out, key, depth + 1, limit)
            _put(out, item, depth + 1, limit)
    elif isinstance(value, bytes | bytearray):
        _put_block(out, b"b", value, limit)
    elif isinstance(value, complex):
        out += b"c" + _COMPLEX.pack(value.real, value.imag)
    elif isinstance(value, range):
        out += b"r"
        for item in (value.start, value.stop, value.step):
            _put(out, item, depth + 1, limit)
    elif isinstance(value, Iterator):
        # Tests write list(f(x)) of a generator; its items cross, and stay unequal to a list.
        items = list(islice(value, limit + 1))
        out += b"I" + _COUNT.pack(len(items))
        for item in items:
            _put(out, item, depth + 1, limit)
    else:
        raise WireError(f"a value of type {type(value).__name__} is not a plain value")
    _check_size(len(out), limit)


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise WireError(f"the value takes more than {limit} bytes")


def _put_block(out: bytearray, tag: bytes, block: bytes | bytearray, limit: int) -> None:
    _check_size(len(block), limit)
    out += tag + _COUNT.pack(len(block))
    out += block


def _tag(value: list[Any] | tuple[Any, ...] | set[Any] | frozenset[Any]) -> bytes:
    if isinstance(value, list):
        return b"l"
    if isinstance(value, tuple):
        return b"t"
    return b"S" if isinstance(value, set) else b"Z"


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


_MAKERS: dict[int, Callable[[list[Any]], Any]] = {
    ord("l"): lambda items: items,
    ord("t"): tuple,
    ord("S"): set,
    ord("Z"): frozenset,
    ord("I"): iter,
}


def _get(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    if depth > MAX_DEPTH:
        raise WireError(f"nested more than {MAX_DEPTH} deep")
    tag = data[at]
    at += 1
    if tag == ord("N"):
        return None, at
    if tag in b"TF":
        return tag == ord("T"), at
    if tag == ord("f"):
        return _DOUBLE.unpack_from(data, at)[0], at + 8
    if tag == ord("c"):
        return complex(*_COMPLEX.unpack_from(data, at)), at + 16
    if tag == ord("r"):
        bounds = []
        for _ in range(3):
            bound, at = _get(data, at, depth + 1)
            bounds.append(bound)
        return range(*bounds), at
    (count,) = _COUNT.unpack_from(data, at)
    at += 4
    if count > len(data) - at:
        # Every item takes a byte at least, so a huge count is refused before it allocates.
        raise WireError("malformed: cut short")
    if tag in b"isb":
        block = data[at : at + count]
        at += count
        if tag == ord("i"):
            return int.from_bytes(block, "big", signed=True), at
        return (block if tag == ord("b") else block.decode("utf-8", "surrogatepass")), at
    if tag == ord("d"):
        pairs = {}
        for _ in range(count):
            key, at = _get(data, at, depth + 1)
            pairs[key], at = _get(data, at, depth + 1)
        return pairs, at
    if tag not in _MAKERS:
        raise WireError(f"malformed: unknown tag {tag}")
    items = []
    for _ in range(count):
        item, at = _get(data, at, depth + 1)
        items.append(item)
    return _MAKERS[tag](items), at
