"""Teachers: what writes the synthetic textbooks and exercises (phi-1 sections 2.2 and 2.3).

A teacher gets `TeacherRequest`s and answers with `TeacherReply`s, markdown as a language model
writes it.
The paper asks for diversity by constraining each request: textbooks by topic and target audience,
exercises by the function's name. Its prompts were not published; the ones below are ours.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

DIFFICULTIES = {
    "easy": "easy; one idea, a body of one to three lines",
    "medium": "medium; two ideas together, or a loop with a condition",
    "hard": "hard; several steps, or edge cases that need thought",
}


@dataclass(frozen=True)
class TeacherRequest:
    """One textbook section or one exercise to write.

    Attributes:
      kind: what to write.
      topic: what it is about.
      audience: whom a textbook section is for; empty for exercises.
      function_name: the name the exercise's function must have; empty for textbooks.
      difficulty: a key of DIFFICULTIES; empty leaves it open.
      seed: tells apart requests that agree in all else; a teacher's only source of randomness.
    """

    kind: Literal["textbook", "exercise"]
    topic: str
    audience: str = ""
    function_name: str = ""
    difficulty: str = ""
    seed: int = 0

    @property
    def messages(self) -> list[dict[str, str]]:
        """The request as chat messages, for teachers behind a language-model API."""
        system, user = _PROMPTS[self.kind]
        user = user.format(
            topic=self.topic,
            audience=self.audience,
            name=self.function_name,
            difficulty=DIFFICULTIES.get(self.difficulty, "any"),
        )
        return [{"role": "system", "content": system}, {"role": "user", "content": user}]


@dataclass(frozen=True)
class TeacherReply:
    """What a teacher wrote.

    Attributes:
      metadata: JSON-serialisable; travels with the document.
      problem: why the text is to be set aside unread, e.g. "truncated"; "" if it is whole.
    """

    request: TeacherRequest
    text: str
    metadata: dict[str, Any] = field(default_factory=dict)
    problem: str = ""


class Teacher(Protocol):
    """Writes what is asked. Replies may come in any order and may be malformed or wrong."""

    name: str

    def replies(self, requests: Iterable[TeacherRequest]) -> Iterator[TeacherReply]: ...


_PROMPTS = {
    "textbook": (
        "You write sections of a Python textbook. Prose carries the explanation: plain, exact, "
        "self-contained. Code is short, correct and shown in ```python blocks, next to the "
        "sentence that explains it.",
        "Topic: {topic}\nReaders: {audience}\n\nWrite one section for these readers. Begin with a "
        "heading. Explain the idea in their terms and say why it matters to them, show one or two "
        "short pieces of code, walk through what they do on a concrete value, and end with what "
        "happens on the smallest input.",
    ),
    "exercise": (
        "You write Python exercises. Reply with exactly one ```python block and nothing else. "
        "The block holds one function and no other code: a signature, a docstring that states "
        "the task in one or two sentences without ambiguity and gives one or two doctest "
        "examples, and a body that solves it with the standard library. Say in the docstring "
        "what the function returns for empty input if that is not obvious.",
        "Function name: {name}\nTopic: {topic}\nDifficulty: {difficulty}\n\nWrite the exercise.",
    ),
}
