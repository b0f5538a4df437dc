"""Asks a teacher for textbooks and exercises, and keeps what can be read and runs as stated.

phi-1 sections 2.2 and 2.3. Executing each exercise with the examples that it states is beyond the
paper, whose authors say that their generated data has a high error rate.
"""

import itertools
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

from phi1_jax.data.documents import Document, write_documents
from phi1_jax.data.exercises import (
    Exercise,
    ReplyError,
    doctest_program,
    parse_exercise,
    to_document,
)
from phi1_jax.data.problems import Problem, write_problems
from phi1_jax.data.teacher import Reply, Request, Teacher

BENCHMARK = "benchmark.jsonl"
TEXTBOOKS = "textbooks.jsonl.zst"
EXERCISES = "exercises.jsonl.zst"
REJECTS = "rejects.jsonl.zst"
PASS = "PASS"
# A shorter section explains nothing: what came back is a refusal or a torn reply.
MIN_SECTION_CHARS = 200
# Not the teacher's errors: what it wrote may be right.
_BLAMELESS = ("duplicate", "infra")


class Outcome(Protocol):
    """What became of one program; `verdict` is PASS if it ended without an exception."""

    @property
    def verdict(self) -> str: ...

    @property
    def message(self) -> str: ...


Run = Callable[[Iterable[str]], Iterator[Outcome]]


class Rejects:
    """Replies set aside, each with the reason and the raw text."""

    def __init__(self) -> None:
        self.documents: list[Document] = []

    def add(self, reply: Reply, reason: str, detail: str = "") -> None:
        request = reply.request
        metadata = {
            "reason": reason,
            "detail": detail,
            "kind": request.kind,
            "topic": request.topic,
            "function_name": request.function_name,
            "seed": request.seed,
        }
        name = f"{reason}/{len(self.documents)}"
        self.documents.append(Document(name, reply.text, "rejects", metadata))

    @property
    def counts(self) -> dict[str, int]:
        return dict(Counter(d.metadata["reason"] for d in self.documents).most_common())


def synthesize(
    output: Path,
    teacher: Teacher,
    textbooks: Iterable[Request],
    exercises: Iterable[Request],
    problems: list[Problem],
    run: Run,
    batch: int = 1,
) -> dict[str, Any]:
    """Writes the benchmark, the textbooks, the verified exercises and the rejects.

    Args:
      output: an existing folder for BENCHMARK, TEXTBOOKS, EXERCISES and REJECTS.
      problems: the held-out benchmark, checked here: its own solutions must pass its tests.
      run: runs self-contained programs, in order (`phi1_jax.sandbox.Sandbox.run`).
      batch: how many exercises share a process at first (see `verify`).
    Returns:
      The stage's counts; `teacher_error_rate` is the share of the teacher's replies that are
      malformed or do not do what they state.
    Raises:
      RuntimeError: a problem's canonical solution fails its test.
    """
    check_benchmark(problems, run)
    write_problems(output / BENCHMARK, problems)
    rejects = Rejects()
    asked: Counter[str] = Counter()
    chars: Counter[str] = Counter()

    def count(requests: Iterable[Request]) -> Iterator[Request]:
        for request in requests:
            asked[request.kind] += 1
            yield request

    def measure(documents: Iterable[Document]) -> Iterator[Document]:
        for document in documents:
            chars[document.source] += len(document.text)
            yield document

    n_textbooks = write_documents(
        output / TEXTBOOKS, measure(write_sections(teacher, count(textbooks), rejects))
    )
    verified = verify(teacher.replies(count(exercises)), run, rejects, batch)
    n_exercises = write_documents(output / EXERCISES, measure(map(to_document, verified)))
    write_documents(output / REJECTS, rejects.documents)
    wrong = sum(n for reason, n in rejects.counts.items() if reason not in _BLAMELESS)
    return {
        "in": {"textbook requests": asked["textbook"], "exercise requests": asked["exercise"]},
        "out": {
            "textbooks": n_textbooks,
            "exercises": n_exercises,
            "problems": len(problems),
        },
        "dropped": rejects.counts,
        "teacher": teacher.name,
        "teacher_error_rate": round(wrong / max(asked.total(), 1), 4),
        "chars": dict(chars),
    }


def check_benchmark(problems: list[Problem], run: Run) -> None:
    """Runs every canonical solution against its test.

    Raises:
      RuntimeError: one fails; the message names the problem.
    """
    programs = (
        f"{p.prompt}{p.canonical_solution}\n{p.test}\ncheck({p.entry_point})\n" for p in problems
    )
    for problem, outcome in zip(problems, run(programs), strict=True):
        if outcome.verdict != PASS:
            raise RuntimeError(f"{problem.task_id}: its own solution fails: {outcome.message}")


def write_sections(
    teacher: Teacher, requests: Iterable[Request], rejects: Rejects
) -> Iterator[Document]:
    """Textbook sections as documents, without repeats; their code is shown, not executed."""
    seen: set[str] = set()
    for number, reply in enumerate(teacher.replies(requests)):
        text = reply.text.replace("\r\n", "\n").strip() + "\n"
        if len(text) < MIN_SECTION_CHARS:
            rejects.add(reply, "short_section")
        elif text in seen:
            rejects.add(reply, "duplicate")
        else:
            seen.add(text)
            request = reply.request
            metadata = {
                **reply.metadata,
                "teacher": teacher.name,
                "topic": request.topic,
                "audience": request.audience,
            }
            yield Document(f"textbook-{number}", text, "textbooks", metadata)


def verify(
    replies: Iterable[Reply], run: Run, rejects: Rejects, batch: int = 1
) -> Iterator[Exercise]:
    """The exercises that can be read, are new, and whose stated examples hold when executed.

    A repeat is one of the same prompt. Replies are read only as fast as `run` takes programs.

    Args:
      batch: how many exercises share a process, which starts ten times slower than most of them
        run. If one of them fails, each is run by itself. One exercise could then hide the failure
        of another, so share processes only between exercises of a trusted teacher.
    """
    pending: deque[list[tuple[Reply, Exercise, str]]] = deque()
    readable = _read(replies, rejects)

    def programs() -> Iterator[str]:
        while group := list(itertools.islice(readable, batch)):
            pending.append(group)
            sources = [program for _, _, program in group]
            yield sources[0] if len(sources) == 1 else _EACH.format(sources)

    alone: list[tuple[Reply, Exercise, str]] = []
    for outcome in run(programs()):
        group = pending.popleft()
        if outcome.verdict == PASS:
            yield from (exercise for _, exercise, _ in group)
        elif len(group) == 1:
            rejects.add(group[0][0], outcome.verdict.lower(), outcome.message)
        else:
            alone += group
    for (reply, exercise, _), outcome in zip(alone, run(p for _, _, p in alone), strict=True):
        if outcome.verdict == PASS:
            yield exercise
        else:
            rejects.add(reply, outcome.verdict.lower(), outcome.message)


_EACH = 'for source in {!r}:\n    exec(source, {{"__name__": "__main__"}})\n'


def _read(replies: Iterable[Reply], rejects: Rejects) -> Iterator[tuple[Reply, Exercise, str]]:
    """The readable and new exercises, each with the program that checks it."""
    seen: set[str] = set()
    for reply in replies:
        try:
            exercise = parse_exercise(reply.text, reply.metadata)
            program = doctest_program(exercise)
        except ReplyError as error:
            rejects.add(reply, error.reason, str(error))
            continue
        wanted = reply.request.function_name
        if exercise.entry_point != wanted:
            rejects.add(reply, "wrong_function_name", f"{exercise.entry_point}, not {wanted}")
        elif exercise.prompt in seen:
            rejects.add(reply, "duplicate")
        else:
            seen.add(exercise.prompt)
            yield reply, exercise, program
