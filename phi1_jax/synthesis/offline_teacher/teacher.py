"""The built-in teacher: needs no network, and answers each request with a function of it alone."""

import functools
import random
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from phi1_jax.errors import UserError
from phi1_jax.synthesis.offline_teacher.draft import TOPICS
from phi1_jax.synthesis.offline_teacher.exercise import Exercise, draw_exercise
from phi1_jax.synthesis.offline_teacher.textbooks import AUDIENCES, write_section
from phi1_jax.synthesis.teacher import TeacherReply, TeacherRequest

# Topics as leaves of a tree, as the topics of `synthesis.topics` are.
_AREA = "programs > "


class OfflineTeacher:
    """Writes exercises and textbook sections about the programs of its grammar."""

    name = "offline"

    def replies(self, requests: Iterable[TeacherRequest]) -> Iterator[TeacherReply]:
        """One reply a request, in order.

        Raises:
          UserError: a request's topic is not in the grammar, or its name is not the one that
            `plan_exercises` drew with its seed.
        """
        for request in requests:
            exercise = _exercise(request.kind, request.topic, request.seed)
            if request.kind == "textbook":
                text = write_section(exercise, request.audience, random.Random(request.seed))
            elif request.function_name != exercise.name:
                raise UserError(
                    f"the offline teacher calls seed {request.seed} {exercise.name!r}, not "
                    f"{request.function_name!r}; take its requests from plan_exercises"
                )
            else:
                text = f"```python\n{exercise.prompt}{exercise.solution}```\n"
            metadata: dict[str, Any] = {"composition": list(exercise.composition)}
            if request.kind == "exercise" and exercise.stated == 0:
                metadata["unstated_examples"] = exercise.calls(2)
            yield TeacherReply(request, text, metadata)


@functools.lru_cache(maxsize=64)  # planned, then asked for
def _exercise(kind: str, topic: str, seed: int) -> Exercise:
    name = topic.removeprefix(_AREA)
    if name not in TOPICS:
        raise UserError(f"topic {topic!r}: the offline teacher has {', '.join(TOPICS)}")
    return draw_exercise(name, random.Random(seed), "" if kind == "exercise" else "none")


def plan_exercises(n_exercises: int, seed: int) -> Iterator[TeacherRequest]:
    """Requests for exercises; the i-th depends on (seed, i) only."""
    for index in range(n_exercises):
        rng = random.Random(f"plan {seed} {index}")
        topic = _AREA + TOPICS.draw(rng)
        drawn = rng.getrandbits(48)
        name = _exercise("exercise", topic, drawn).name
        yield TeacherRequest("exercise", topic, function_name=name, seed=drawn)


def plan_textbooks(
    n_sections: int, seed: int, held_out: Collection[tuple[str, ...]] = ()
) -> Iterator[TeacherRequest]:
    """Requests for textbook sections, topic x audience; the i-th depends on (seed, i) only.

    Args:
      held_out: compositions that no section may show, since a benchmark tests them.
    """
    for index in range(n_sections):
        rng = random.Random(f"plan textbook {seed} {index}")
        topic = _AREA + rng.choice(list(TOPICS))
        drawn = rng.getrandbits(48)
        while contains_any(_exercise("textbook", topic, drawn).composition, held_out):
            drawn = rng.getrandbits(48)
        yield TeacherRequest("textbook", topic, rng.choice(list(AUDIENCES)), seed=drawn)


def contains_any(composition: tuple[str, ...], others: Collection[tuple[str, ...]]) -> bool:
    """Whether one of the others is the composition, or a stretch of it."""
    n = len(composition)
    return any(composition[i:j] in others for i in range(n) for j in range(i + 1, n + 1))
