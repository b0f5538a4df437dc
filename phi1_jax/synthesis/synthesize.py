"""Asks a teacher for textbooks and exercises, and keeps what can be read and holds when executed.

phi-1 sections 2.2 and 2.3. Executing the exercises is beyond the paper; see `verify`.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from phi1_jax.corpus.documents import Document, write_documents
from phi1_jax.corpus.problems import Problem, write_problems
from phi1_jax.errors import UserError
from phi1_jax.llm_client import UnusableReplies
from phi1_jax.sandbox import Verdict
from phi1_jax.synthesis.exercises import to_document
from phi1_jax.synthesis.replies import ReplyError, parse_section
from phi1_jax.synthesis.teacher import Teacher, TeacherReply, TeacherRequest
from phi1_jax.synthesis.verify import VERDICTS, Run, Verified, verify

BENCHMARK = "benchmark.jsonl"
TEXTBOOKS = "textbooks.jsonl.zst"
EXERCISES = "exercises.jsonl.zst"
REJECTS = "rejects.jsonl.zst"
# Not the teacher's errors: what it wrote may be right, or nothing of it came through.
_BLAMELESS = ("duplicate", "infra", "error")


def synthesize(
    output: Path,
    teacher: Teacher,
    textbooks: Iterable[TeacherRequest],
    exercises: Iterable[TeacherRequest],
    problems: list[Problem],
    run: Run,
    batch: int = 1,
    require: str = "doctest_passes",
) -> dict[str, Any]:
    """Writes the benchmark, the textbooks, the verified exercises and the rejects.

    Args:
      output: an existing folder for BENCHMARK, TEXTBOOKS, EXERCISES and REJECTS.
      problems: the held-out benchmark, checked here: its own solutions must pass its tests;
        without problems no BENCHMARK is written.
      batch: how many exercises share a process at first (see `verify`).
      require: the least of VERDICTS that an exercise needs to be kept.
    Returns:
      The stage's counts. `verdicts` counts the exercises by how far they hold ("off_format": no
      exercise could be read) and `error_rate_by_verdict` is their share of the exercises executed;
      `teacher_error_rate` is the share of all replies, textbooks too, that are off-format or do
      not do what they state, whether kept or not.
    Raises:
      RuntimeError: a problem's canonical solution fails its test.
      UserError: not one reply can be used.
    """
    check_benchmark(problems, run)
    if problems:
        write_problems(output / BENCHMARK, problems)
    rejects: list[Document] = []
    chars: Counter[str] = Counter()
    verdicts = Counter(dict.fromkeys(("off_format", *VERDICTS), 0))

    def measure(documents: Iterable[Document]) -> Iterator[Document]:
        for document in documents:
            chars[document.source] += len(document.text)
            yield document

    def keep(tried: Iterable[Verified]) -> Iterator[Document]:
        for verified in tried:
            request, verdict = verified.reply.request, verified.verdict
            if verified.reason not in _BLAMELESS:
                verdicts[verdict or "off_format"] += 1
            levels = VERDICTS[VERDICTS.index(require) :]
            if verified.exercise is None or verdict not in levels:
                why = verified.reason, verified.detail, verdict
                rejects.append(rejected(verified.reply, *why))
                continue
            notes = {"teacher": teacher.name, "topic": request.topic}
            if request.difficulty:
                notes["difficulty"] = request.difficulty
            document = to_document(verified.exercise)
            document.metadata.update(notes)
            yield document

    sections = write_sections(teacher, textbooks, rejects)
    n_textbooks = write_documents(output / TEXTBOOKS, measure(sections))
    n_sections = n_textbooks + len(rejects)
    bad_sections = sum(d.metadata["reason"] not in _BLAMELESS for d in rejects)
    tried = verify(teacher.replies(exercises), run, batch)
    n_exercises = write_documents(output / EXERCISES, measure(keep(tried)))
    # In an order that does not depend on which process ended first.
    write_documents(output / REJECTS, sorted(rejects, key=lambda d: (d.id, d.text)))
    dropped = dict(Counter(d.metadata["reason"] for d in rejects).most_common())
    n_replies = n_textbooks + n_exercises + len(rejects)
    if rejects and not n_textbooks + n_exercises:
        reasons = ", ".join(f"{n} {reason}" for reason, n in dropped.items())
        raise UserError(
            f"none of {n_replies} replies can be used ({reasons}); see {output / REJECTS}"
        )
    executed = max(verdicts.total(), 1)
    wrong = bad_sections + verdicts.total() - verdicts["doctest_passes"]
    return {
        "in": {"textbook requests": n_sections, "exercise requests": n_replies - n_sections},
        "out": {"textbooks": n_textbooks, "exercises": n_exercises, "problems": len(problems)},
        "dropped": dropped,
        "teacher": teacher.name,
        "require": require,
        "verdicts": dict(verdicts),
        "error_rate_by_verdict": {
            verdict: round(n / executed, 4)
            for verdict, n in verdicts.items()
            if verdict != "doctest_passes"
        },
        "teacher_error_rate": round(wrong / max(n_replies, 1), 4),
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
        if outcome.verdict != Verdict.PASS:
            raise RuntimeError(f"{problem.task_id}: its own solution fails: {outcome.message}")


def rejected(reply: TeacherReply, reason: str, detail: str = "", verdict: str = "") -> Document:
    """A reply that is set aside, with the reason and the raw text."""
    names = ("kind", "topic", "function_name", "seed")
    about = {name: getattr(reply.request, name) for name in names}
    metadata = {"reason": reason, "detail": detail, "verdict": verdict, **about}
    return Document("/".join(map(str, about.values())), reply.text, "rejects", metadata)


def write_sections(
    teacher: Teacher, requests: Iterable[TeacherRequest], rejects: list[Document]
) -> Iterator[Document]:
    """Textbook sections as documents, without repeats; their code is shown, not executed."""
    seen: set[bytes] = set()
    unusable = UnusableReplies()
    for number, reply in enumerate(teacher.replies(requests)):
        if reply.problem:
            rejects.append(rejected(reply, reply.problem))
            continue
        try:
            text = parse_section(reply.text)
        except ReplyError as error:
            rejects.append(rejected(reply, error.reason, str(error)))
            unusable.note(error.reason, reply.text)
            continue
        unusable.note("", text)
        digest = hashlib.sha256(text.encode("utf-8", "backslashreplace")).digest()
        if digest in seen:
            rejects.append(rejected(reply, "duplicate"))
        else:
            seen.add(digest)
            request = reply.request
            about = {"topic": request.topic, "audience": request.audience}
            metadata = {**reply.metadata, "teacher": teacher.name, **about}
            yield Document(f"textbook-{number}", text, "textbooks", metadata)
