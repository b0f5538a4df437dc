"""Teachers: what writes the synthetic textbooks and exercises (phi-1 sections 2.2 and 2.3).

A teacher gets `TeacherRequest`s and answers with `TeacherReply`s, markdown as a language model
writes it. Here is the one behind an OpenAI-compatible endpoint; `offline_teacher` needs none.
The paper asks for diversity by constraining each request: textbooks by topic and target audience,
exercises by the function's name. Its prompts were not published; the ones below are ours.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from phi1_jax.llm_client import ChatRequest, LanguageModel

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
    """Writes what is asked, one reply a request, in any order; some may be malformed or wrong."""

    name: str

    def replies(self, requests: Iterable[TeacherRequest]) -> Iterator[TeacherReply]: ...


class APITeacher:
    """Has a language model write; replies that it did not finish or refused carry a `problem`.

    Attributes:
      name: "api:" and the model's name; it is noted with every document.
      temperature: of sampling.
    """

    def __init__(self, model: LanguageModel, temperature: float = 1.0):
        self.name = f"api:{model.settings.model}"
        self.temperature = temperature
        self._model = model

    def replies(self, requests: Iterable[TeacherRequest]) -> Iterator[TeacherReply]:
        """One reply a request, in order, so that the same replies make the same corpus.

        Raises:
          UserError: see `LanguageModel.complete`.
        """
        asked = ((numbered, self.completion(numbered[1])) for numbered in enumerate(requests))
        arrived: dict[int, TeacherReply] = {}
        following = 0
        for (number, request), reply in self._model.complete(asked):
            arrived[number] = TeacherReply(request, reply.text, problem=reply.problem)
            while following in arrived:
                yield arrived.pop(following)
                following += 1

    def completion(self, request: TeacherRequest) -> ChatRequest:
        """What the endpoint is asked."""
        system, user, max_tokens = _PROMPTS[request.kind]
        user = user.format(
            topic=request.topic,
            audience=request.audience,
            name=request.function_name,
            difficulty=DIFFICULTIES.get(request.difficulty, "any"),
        )
        return ChatRequest.of(
            system, user, temperature=self.temperature, max_tokens=max_tokens, seed=request.seed
        )


# System, user, and the most tokens: longer replies are cut by the endpoint, and set aside.
_PROMPTS = {
    "textbook": (
        "You write sections of a Python textbook. Prose carries the explanation: plain, exact, "
        "self-contained. Code is short, correct and shown in ```python blocks, next to the "
        "sentence that explains it.",
        "Topic: {topic}\nReaders: {audience}\n\nWrite one section for these readers. Begin with a "
        "heading. Explain the idea in their terms and say why it matters to them, show one or two "
        "short pieces of code, walk through what they do on a concrete value, and end with what "
        "happens on the smallest input.",
        2048,
    ),
    "exercise": (
        "You write Python exercises. Reply with exactly one ```python block and nothing else. "
        "The block holds one function and no other code: a signature, a docstring that states "
        "the task in one or two sentences without ambiguity and gives one or two doctest "
        "examples, and a body that solves it with the standard library. Say in the docstring "
        "what the function returns for empty input if that is not obvious.",
        "Function name: {name}\nTopic: {topic}\nDifficulty: {difficulty}\n\nWrite the exercise.",
        768,
    ),
}
