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
_LEVELS = {"P": "parses", "R": "runs", "D": "doctest_passes"}
_LINE = re.compile(r"([PRD]) (\d+) (\d+) (.*)")
_Item = tuple[TeacherReply, Exercise]


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
      run: runs self-contained programs, in order (`phi1_jax.sandbox.Sandbox.run`).
      batch: how many exercises share a process, which starts ten times slower than most of them
        run. If one of them ends it, each is run by itself. One exercise could then falsify the
        verdict of another, so share processes only between exercises of a trusted teacher.
    """
    pending: deque[list[_Item]] = deque()
    set_aside: list[Verified] = []
    readable = _read(replies, set_aside)

    def programs() -> Iterator[str]:
        while group := list(itertools.islice(readable, batch)):
            pending.append(group)
            yield _program([exercise for _, exercise in group])

    alone: list[_Item] = []
    bare: list[tuple[_Item, str]] = []
    for outcome in run(programs()):
        group = pending.popleft()
        if lines := _lines(outcome, len(group)):
            yield from map(_verified, group, lines)
        elif len(group) > 1:
            alone += group
        else:
            bare.append((group[0], outcome.verdict))
        yield from _drained(set_aside)
    yield from _drained(set_aside)
    for item, outcome in zip(alone, run(_program([e]) for _, e in alone), strict=True):
        if lines := _lines(outcome, 1):
            yield _verified(item, lines[0])
        else:
            bare.append((item, outcome.verdict))
    # An input made from the examples may loop for ever where the examples do not.
    again = run(_program([exercise], with_inputs=False) for (_, exercise), _ in bare)
    for ((reply, exercise), ended), outcome in zip(bare, again, strict=True):
        if lines := _lines(outcome, 1):
            yield _verified((reply, exercise), lines[0], ended)
        elif Verdict.INFRA in (ended, outcome.verdict):
            yield Verified(reply, exercise, "", "infra", outcome.message)
        else:
            reason = "crash" if outcome.verdict == Verdict.PASS else outcome.verdict.lower()
            yield Verified(reply, _noted(exercise, "parses"), "parses", reason, outcome.message)


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


def _drained(verified: list[Verified]) -> Iterator[Verified]:
    while verified:
        yield verified.pop(0)


def _program(exercises: list[Exercise], with_inputs: bool = True) -> str:
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
    notes = {"inputs_ended": ended} if ended else {}
    exercise = _noted(
        exercise,
        _LEVELS[level],
        inputs_tried=int(tried),
        inputs_raised=int(raised),
        **notes,
    )
    reason = {"D": "", "P": "raises", "R": "example_differs"}[level]
    # Without a reason in brackets nothing was tried.
    if not read_examples(exercise) and (level == "R" or detail == "no example is stated"):
        reason = "no_doctest"
    return Verified(reply, exercise, _LEVELS[level], reason, detail)


def _noted(exercise: Exercise, verdict: str, **notes: Any) -> Exercise:
    return replace(exercise, metadata={**exercise.metadata, "verdict": verdict, **notes})
