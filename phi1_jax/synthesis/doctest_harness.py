"""Tries exercises: their stated examples, then inputs made from those by type.

This file is sent to the sandbox as text, in front of `__result__ = try_all(...)`; it uses nothing
but the language, since an import takes longer than most exercises do.
"""

import io
import sys
from typing import Any

MAX_INPUTS = 12
_BY_ANNOTATION: dict[Any, list[Any]] = {
    int: [3, 0], float: [2.5, 0.0], str: ["abca", ""], bool: [True, False],
    list: [[3, 1, 2], []], tuple: [(3, 1, 2), ()], dict: [{"a": 1}, {}], set: [{1, 2}, set()],
}  # fmt: skip


def try_all(exercises: list[Any], detail_chars: int) -> str:
    """One line an exercise: level, inputs tried, inputs raised, and what was wrong.

    The level is "D" if the stated examples hold, "R" if they run to their end, else "P". Where
    none is stated it is "S" if some input runs to its end, "P" if all raise, "N" if none is tried.

    Args:
      exercises: (source, entry point, ((example, wanted output, doctest options), ...)) each.
    """
    lines = []
    for exercise in exercises:
        real = sys.stdout
        try:
            level, tried, raised, detail = try_one(*exercise)
        except Exception as error:
            level, tried, raised, detail = "P", 0, 0, describe(error)
        finally:
            sys.stdout = real
        lines.append(f"{level} {tried} {raised} {' '.join(detail.split())[:detail_chars]}")
    return "\n".join(lines)


def try_one(source: str, entry_point: str, examples: Any) -> tuple[str, int, int, str]:
    names: dict[str, Any] = {"__name__": "exercise"}
    exec(compile(source, "<exercise>", "exec"), names)
    function = names[entry_point]
    seen: list[tuple[Any, ...]] = []
    # The examples call a double that notes its arguments. It is in a scope of their own: recursion
    # goes to the function itself.
    scope = dict(names)

    def noting(*arguments: Any, **keywords: Any) -> Any:
        if not keywords and len(seen) < 4:
            seen.append(copied(arguments))
        return function(*arguments, **keywords)

    scope[entry_point] = noting
    level, detail = ("D", "") if examples else ("S", "no example is stated")
    for example, wanted, options in examples:
        sys.stdout = printed = io.StringIO()
        error = None
        try:
            exec(compile(example, "<example>", "single"), scope)
            got = printed.getvalue()
        except Exception as caught:
            error = caught
            got = describe(error) + "\n"
            wanted = stated_error(wanted, error, options)
        if not same(got, wanted, options):
            stated = wanted.strip() or "nothing"
            level = "P" if error or level == "P" else "R"
            detail = detail or f"{example.strip()} gives {got.strip()}, stated {stated}"
    tried = raised = 0
    sys.stdout = io.StringIO()
    for arguments in inputs(function, seen):
        tried += 1
        try:
            function(*copied(arguments))
        except Exception as error:
            raised += 1
            if not examples and not detail.endswith(")"):
                detail = f"no example is stated ({describe(error)})"
    if not examples and tried == raised:
        level = "P" if tried else "N"
    return level, tried, raised, detail


def same(got: str, wanted: str, options: dict[int, bool]) -> bool:
    if got == wanted:
        return True
    if not options and "<BLANKLINE>" not in wanted:
        return False
    from doctest import OutputChecker

    flags = sum(flag for flag, on in options.items() if on)
    return OutputChecker().check_output(wanted, got, flags)


def stated_error(wanted: str, error: Exception, options: dict[int, bool]) -> str:
    """What an example states of an error, as `describe` puts it: the name without its module.

    With doctest's IGNORE_EXCEPTION_DETAIL the name alone decides.
    """
    wanted = wanted.removeprefix(f"{type(error).__module__}.")
    if options:
        from doctest import IGNORE_EXCEPTION_DETAIL

        name = wanted.split("\n")[0].split(":")[0].strip().rpartition(".")[2]
        if options.get(IGNORE_EXCEPTION_DETAIL) and name == type(error).__name__:
            return describe(error) + "\n"
    return wanted


def describe(error: BaseException) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def copied(value: Any) -> Any:
    """The value with its own containers, for functions that alter what they are given."""
    kind = type(value)
    if kind in (list, tuple, set):
        return kind(map(copied, value))
    return {k: copied(v) for k, v in value.items()} if kind is dict else value


def inputs(function: Any, seen: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Argument tuples near those of the examples, one argument varied at a time.

    Without an example, annotations say what to try; nothing is tried if there are none.
    """
    if not seen:
        kinds = [kind for name, kind in function.__annotations__.items() if name != "return"]
        code = getattr(function, "__wrapped__", function).__code__  # under lru_cache, say
        if len(kinds) != code.co_argcount or not kinds:
            return []
        choices = [_BY_ANNOTATION.get(getattr(kind, "__origin__", kind)) for kind in kinds]
        return list(zip(*choices, strict=True))[:MAX_INPUTS] if all(choices) else []
    found = []
    for arguments in seen:
        for place, value in enumerate(arguments):
            for other in variants(value):
                made = (*arguments[:place], other, *arguments[place + 1 :])
                if made not in found:
                    found.append(made)
    return found[:MAX_INPUTS]


def variants(value: Any) -> list[Any]:
    kind = type(value)
    if kind is bool:
        return [not value]
    if kind in (int, float):
        return [kind(0), -value, value + 1]
    if kind in (str, list, tuple):
        return [kind(), value[:1], value[::-1], value + value]
    if kind is dict:
        return [{}, dict(list(value.items())[:1])]
    return [set()] if kind is set else []
