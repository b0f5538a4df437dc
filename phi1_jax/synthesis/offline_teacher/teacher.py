"""The built-in teacher: needs no network, and answers each request with a function of it alone."""

import random
from collections.abc import Collection, Iterable, Iterator

from phi1_jax.synthesis.offline_teacher.chains import draw_chain, parse_topic
from phi1_jax.synthesis.offline_teacher.concepts import CONCEPTS
from phi1_jax.synthesis.offline_teacher.prose import AUDIENCES
from phi1_jax.synthesis.offline_teacher.settings import TeacherSettings
from phi1_jax.synthesis.offline_teacher.textbooks import write_section
from phi1_jax.synthesis.offline_teacher.wording import name_function
from phi1_jax.synthesis.offline_teacher.writer import write_exercise
from phi1_jax.synthesis.teacher import TeacherReply, TeacherRequest


class OfflineTeacher:
    """Writes exercises and textbook sections about the chains of its catalog."""

    name = "offline"

    def __init__(self, settings: TeacherSettings | None = None):
        self.settings = settings or TeacherSettings()

    def replies(self, requests: Iterable[TeacherRequest]) -> Iterator[TeacherReply]:
        """One reply a request, in order.

        Raises:
          UserError: a request's topic is not in the catalog.
        """
        for request in requests:
            yield self._textbook(request) if request.kind == "textbook" else self._exercise(request)

    def _exercise(self, request: TeacherRequest) -> TeacherReply:
        chain = parse_topic(request.topic)
        rng = random.Random(f"exercise {request.seed}")
        written = write_exercise(chain, request.function_name, rng, self.settings)
        text = f"```python\n{written.prompt}{written.solution}```\n"
        return TeacherReply(request, text, {"composition": list(chain.composition)})

    def _textbook(self, request: TeacherRequest) -> TeacherReply:
        text, composition = write_section(
            request.topic, request.audience, random.Random(f"textbook {request.seed}")
        )
        return TeacherReply(request, text, {"composition": list(composition)})


def plan_exercises(
    n_exercises: int, seed: int, settings: TeacherSettings | None = None
) -> Iterator[TeacherRequest]:
    """Requests for exercises; the i-th depends on (seed, i) only."""
    settings = settings or TeacherSettings()
    for index in range(n_exercises):
        rng = random.Random(f"plan {seed} {index}")
        length = rng.choices((1, 2, 3), settings.lengths)[0]
        chain = draw_chain(length, rng, settings.allowed)
        name = name_function(chain, rng)
        yield TeacherRequest("exercise", chain.topic, function_name=name, seed=rng.getrandbits(48))


def plan_textbooks(
    n_sections: int,
    seed: int,
    settings: TeacherSettings | None = None,
    held_out: Collection[tuple[str, ...]] = (),
) -> Iterator[TeacherRequest]:
    """Requests for textbook sections, topic x audience; the i-th depends on (seed, i) only.

    Half of the sections explain one step, a third the combination of two, the rest a concept.

    Args:
      held_out: compositions that no section may show, since a benchmark tests them.
    """
    settings = settings or TeacherSettings()
    for index in range(n_sections):
        rng = random.Random(f"plan textbook {seed} {index}")
        draw = rng.random()
        if draw < 1 / 6:
            topic = rng.choice(list(CONCEPTS))
        else:
            length = 1 if draw < 2 / 3 else 2
            chain = draw_chain(length, rng, settings.allowed)
            while chain.holds(held_out):
                chain = draw_chain(length, rng, settings.allowed)
            topic = chain.topic
        yield TeacherRequest(
            "textbook", topic, rng.choice(list(AUDIENCES)), seed=rng.getrandbits(48)
        )
