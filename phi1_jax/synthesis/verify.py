"""Executes exercises in the sandbox and says how far each holds.

Beyond the paper, whose authors say that their generated data has a high error rate.
"""

import hashlib
import itertools
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from phi1_jax.llm_client import UnusableReplies
from phi1_jax.sandbox import Outcome, Verdict
from phi1_jax.synthesis import doctest_harness
from phi1_jax.synthesis.exercises import Exercise, parse_exercise, read_examples
from phi1_jax.synthesis.replies import ReplyError
from phi1_jax.synthesis.teacher import TeacherReply

# How far an exercise holds, from least to most: it can be read; its examples, or where it states
# none some inputs of the annotated types, run to their end; its stated examples hold.
VERDICTS = ("parses", "runs", "doctest_passes")
# Of one that came with tests and passes them; it holds as far as any.
TESTS_PASS = "tests_pass"
# What the sandbox returns of a program is cut at 2,000 bytes.
_DETAIL_BYTES = 1600
_HARNESS = Path(doctest_harness.__file__).read_text(encoding="utf-8")
# How the harness says how far one holds, and why not further; see `try_all`.
_LEVELS = {
    "N": ("parses", "no_doctest"),
    "P": ("parses", "raises"),
    "S": ("runs", "no_doctest"),
    "R": ("runs", "example_differs"),
    "D": ("doctest_passes", ""),
}
_LINE = re.compile(r"([NPSRD]) (\d+) (\d+) (.*)")
_Item = tuple[TeacherReply, Exercise]
# Runs self-contained programs, in order: `phi1_jax.sandbox.Sandbox.run`.
Run = Callable[[Iterable[str]], Iterator[Outcome]]


@dataclass(frozen=True)
class Verified:
    """A reply and what came of it.

    Attributes:
      exercise: None if the reply holds none; its metadata has `verdict`, `inputs_tried` and
        `inputs_raised`, and `inputs_ended` if the inputs made from the examples took the process
        down (TIMEOUT, say).
      verdict: one of VERDICTS, or "" if nothing was executed.
      reason: why it is not "doctest_passes", a short key to count by, e.g. "example_differs".
    """

    reply: TeacherReply
    exercise: Exercise | None
    verdict: str = ""
    reason: str = ""
    detail: str = ""


def verify(replies: Iterable[TeacherReply], run: Run, batch: int = 1) -> Iterator[Verified]:
    """Reads and executes replies; they are drawn only as fast as `run` takes programs.

    A repeat is one of the same prompt.

    Args:
      batch: how many exercises share a process, which starts ten times slower than most of them
        run. If one of them ends it, each is run by itself. One exercise could then falsify the
        verdict of another, so share processes only between exercises of a trusted teacher.
    """
    set_aside: list[Verified] = []
    alone: list[_Item] = []
    stopped: list[tuple[_Item, str]] = []
    for items, size in ((_read(replies, set_aside), batch), (alone, 1)):
        for group, outcome in _outcomes(items, run, size):
            if lines := _lines(outcome, len(group)):
                yield from map(_verified, group, lines)
            elif len(group) > 1:
                alone += group
            else:
                stopped.append((group[0], outcome.verdict))
    yield from set_aside
    # An input made from the examples may loop for ever where the examples do not.
    again = _outcomes((item for item, _ in stopped), run, 1, with_inputs=False)
    for (item, ended), (_, outcome) in zip(stopped, again, strict=True):
        reply, exercise = item
        if lines := _lines(outcome, 1):
            yield _verified(item, lines[0], ended)
        elif Verdict.INFRA in (ended, outcome.verdict):
            yield Verified(reply, exercise, "", "infra", outcome.message)
        else:
            reason = "crash" if outcome.verdict == Verdict.PASS else outcome.verdict.lower()
            yield Verified(reply, _noted(exercise, "parses"), "parses", reason, outcome.message)


def _outcomes(
    items: Iterable[_Item], run: Run, size: int, with_inputs: bool = True
) -> Iterator[tuple[list[_Item], Outcome]]:
    """Runs items, `size` of them in a process; yields each group with what came of it."""
    pending: deque[list[_Item]] = deque()
    left = iter(items)

    def programs() -> Iterator[str]:
        while group := list(itertools.islice(left, size)):
            pending.append(group)
            yield _program([exercise for _, exercise in group], with_inputs)

    for outcome in run(programs()):
        yield pending.popleft(), outcome


def _read(replies: Iterable[TeacherReply], set_aside: list[Verified]) -> Iterator[_Item]:
    """The readable and new exercises.

    Raises:
      UserError: the first ten replies are all unreadable for one reason.
    """
    seen: set[bytes] = set()
    unusable = UnusableReplies()
    for reply in replies:
        if reply.problem:
            set_aside.append(Verified(reply, None, "", reply.problem))
            continue
        try:
            exercise = parse_exercise(reply.text, reply.metadata)
        except ReplyError as error:
            set_aside.append(Verified(reply, None, "", error.reason, str(error)))
            unusable.note(error.reason, reply.text)
            continue
        unusable.note("", reply.text)
        wanted = reply.request.function_name
        digest = hashlib.sha256(exercise.prompt.encode()).digest()
        if exercise.entry_point != wanted:
            detail = f"{exercise.entry_point}, not {wanted}"
            set_aside.append(Verified(reply, None, "", "wrong_function_name", detail))
        elif digest in seen:
            set_aside.append(Verified(reply, None, "", "duplicate"))
        else:
            seen.add(digest)
            yield reply, exercise


def _program(exercises: list[Exercise], with_inputs: bool) -> str:
    tried = [(e.prompt + e.solution, e.entry_point, read_examples(e)) for e in exercises]
    limit = "" if with_inputs else "MAX_INPUTS = 0\n"
    detail_chars = _DETAIL_BYTES // (4 * len(exercises))  # a character has at most four bytes
    return f"{_HARNESS}\n{limit}__result__ = try_all({tried!r}, {detail_chars})\n"


def _lines(outcome: Outcome, n_exercises: int) -> list[str]:
    """What the harness wrote, one line an exercise; [] if it did not get so far.

    An exercise that patches what the harness stands on does not get so far either.
    """
    lines = outcome.message.split("\n")
    whole = len(lines) == n_exercises and all(map(_LINE.fullmatch, lines))
    return lines if outcome.verdict == Verdict.PASS and whole else []


def _verified(item: _Item, line: str, ended: str = "") -> Verified:
    reply, exercise = item
    level, tried, raised, detail = line.split(" ", 3)
    verdict, reason = _LEVELS[level]
    notes: dict[str, Any] = {"inputs_tried": int(tried), "inputs_raised": int(raised)}
    if ended:
        notes["inputs_ended"] = ended
    return Verified(reply, _noted(exercise, verdict, **notes), verdict, reason, detail)


def _noted(exercise: Exercise, verdict: str, **notes: Any) -> Exercise:
    return replace(exercise, metadata={**exercise.metadata, "verdict": verdict, **notes})
