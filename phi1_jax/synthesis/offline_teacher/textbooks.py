"""Textbook sections: mostly prose, written for an audience, with code that really ran."""

import random
from collections.abc import Sequence
from typing import Any

from phi1_jax.synthesis.offline_teacher.chains import Chain, apply_chain, parse_topic
from phi1_jax.synthesis.offline_teacher.concepts import CONCEPTS
from phi1_jax.synthesis.offline_teacher.primitives import Primitive
from phi1_jax.synthesis.offline_teacher.prose import AUDIENCES, FAMILIES, JOINING, Audience
from phi1_jax.synthesis.offline_teacher.solutions import step_code, write_body
from phi1_jax.synthesis.offline_teacher.values import KINDS, draw_value
from phi1_jax.synthesis.offline_teacher.wording import fill, name_function
from phi1_jax.synthesis.offline_teacher.writer import draw_examples


def write_section(topic: str, audience: str, rng: random.Random) -> tuple[str, tuple[str, ...]]:
    """A section in markdown, and the composition of the code that it shows.

    Args:
      topic: a key of CONCEPTS, or a chain's topic.
      audience: a key of AUDIENCES; any other text gets the tone of one of them.
    Raises:
      UserError: the topic is neither a concept nor a chain of the catalog.
    """
    tone = AUDIENCES.get(audience) or rng.choice(list(AUDIENCES.values()))
    if topic in CONCEPTS:
        first, *rest = CONCEPTS[topic]
        chosen = rng.sample(rest, min(3, len(rest)))
        opening = _opening(tone, f"use {topic}", "a value", rng)
        heading = f"# {_sentence(topic)} for {audience}"
        return _join(heading, opening, first, *chosen, rng.choice(tone.closings)), ()
    chain = parse_topic(topic)
    write = _explain if len(chain.steps) == 1 else _combine
    return write(chain, tone, rng), chain.composition


def _explain(chain: Chain, tone: Audience, rng: random.Random) -> str:
    """A section on one step: what it is, the line that does it, a loop or a function, the edge."""
    (step,) = chain.steps
    constants, (value,) = draw_examples(chain, 1, rng)
    argument = rng.choice(KINDS[step.source].arguments)
    said, *others = [fill(verb, constants[0]) for verb in rng.sample(step.verbs, len(step.verbs))]
    described = KINDS[step.source].described
    result = apply_chain(chain, constants, value)
    parts = [f"# {_sentence(said)}", _opening(tone, said, described, rng), _why(step, rng)]
    if others:
        parts.append(f'The same task may be put in other words: "{others[0]}".')
    needed = f"{step.imports}\n" if step.imports else ""
    if step.expression:
        line = step_code(step.expression, argument, constants[0])
        parts += [
            f"Let `{argument}` be {described}, for example `{value!r}`. One line is enough:",
            _block(f"{needed}{argument} = {value!r}\nresult = {line}"),
            f"Now `result` is `{result!r}`. {_reading(step, constants[0])}".strip(),
        ]
    if step.loop and (not step.expression or rng.random() < 0.5):
        loop = step_code(step.loop, argument, constants[0], "result")
        parts += [
            "Written as a loop, every move can be seen:",
            _block(needed + loop),
            f"Before the loop `result` is what we answer for nothing. After it, for `{value!r}`, "
            f"it is `{result!r}`.",
        ]
    else:
        name = name_function(chain, rng)
        body = write_body(chain, constants, argument, "comprehension", rng)
        parts += [
            "Under a name of its own the step can be used again:",
            _block(f"def {name}({argument}):\n{body.rstrip()}"),
            f"The call `{name}({value!r})` returns `{result!r}`.",
        ]
    nothing = draw_value(step.source, rng, "", [], 0)
    edge = apply_chain(chain, constants, nothing)
    parts.append(f"And the smallest input? For `{nothing!r}` the result is `{edge!r}`.")
    return _join(*parts, rng.choice(tone.closings))


def _combine(chain: Chain, tone: Audience, rng: random.Random) -> str:
    """A section on several steps: each explained, then all in one function, traced on a value."""
    constants, (value,) = draw_examples(chain, 1, rng)
    argument = rng.choice(KINDS[chain.steps[0].source].arguments)
    said = [fill(rng.choice(s.verbs), k) for s, k in zip(chain.steps, constants, strict=True)]
    parts = [
        f"# {_sentence(', then '.join(said))}",
        _opening(tone, " and then ".join(said), KINDS[chain.steps[0].source].described, rng),
        rng.choice(JOINING),
    ]
    for place, step, words in zip(("first", "second", "third"), chain.steps, said, strict=False):
        parts.append(f"The {place} step is to {words}. {_why(step, rng)}")
    name = name_function(chain, rng)
    body = write_body(chain, constants, argument, "comprehension", rng)
    parts += [
        f"Put together, with `{argument}` for the input:",
        _block(f"def {name}({argument}):\n{body.rstrip()}"),
        _trace(chain, constants, value),
    ]
    return _join(*parts, rng.choice(tone.closings))


def _why(step: Primitive, rng: random.Random) -> str:
    family = "reshape" if step.family == "convert" and step.source == step.target else step.family
    text = rng.choice(FAMILIES[family])
    source, target = KINDS[step.source].described, KINDS[step.target].described
    return text.replace("SOURCE", source).replace("TARGET", target)


def _trace(chain: Chain, constants: Sequence[Any], value: Any) -> str:
    stops = []
    current = value
    for step, constant in zip(chain.steps, constants, strict=True):
        current = step.apply(current, constant)
        stops.append(f"`{current!r}`")
    return f"Start from `{value!r}`. The steps give {', then '.join(stops)}."


def _reading(step: Primitive, constant: Any) -> str:
    """How to read the step's line, where there is one element to speak of."""
    variable = KINDS[step.source].variable
    element = step_code(step.element, "", constant)
    if step.family == "map" and element:
        return f"Here `{variable}` is one element at a time, and `{element}` takes its place."
    if step.family == "filter" and element:
        return f"Here `{variable}` is one element at a time; it stays if `{element}` is true."
    return ""


def _opening(tone: Audience, task: str, kind: str, rng: random.Random) -> str:
    return rng.choice(tone.openings).replace("DO", task).replace("KIND", kind)


def _block(code: str) -> str:
    return f"```python\n{code}\n```"


def _join(*paragraphs: str) -> str:
    return "\n\n".join(paragraphs) + "\n"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]
