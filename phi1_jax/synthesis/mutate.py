"""Makes right solutions wrong: a small edit each, proved wrong by the exercise's own examples.

For measuring what errors in the data do to a model; the paper says that its generated exercises
have a high error rate, and does not say how high.
"""

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from phi1_jax.corpus.documents import Document, write_documents
from phi1_jax.corpus.records import Skip, SkipLog
from phi1_jax.corpus.syntax import parse_python
from phi1_jax.errors import UserError
from phi1_jax.llm_client.replies import fenced
from phi1_jax.synthesis.edits import KINDS, edits
from phi1_jax.synthesis.exercises import entry_point, parse_exercise, read_examples
from phi1_jax.synthesis.replies import ReplyError
from phi1_jax.synthesis.synthesize import EXERCISES
from phi1_jax.synthesis.teacher import TeacherReply, TeacherRequest
from phi1_jax.synthesis.verify import Run, verify

# Edits that are tried on an exercise before it is left out.
MAX_TRIES = 4


def mutants(document: Document, seed: int) -> Iterator[Document]:
    """Versions of an exercise with one edit each, in a drawn order.

    The kinds take turns, so that none is drawn more often for having more places. Edits of a
    `while` come last: each that never ends costs a second. The metadata says what was done:
    `mutation`.
    """
    rng = random.Random(f"mutate {seed} {document.id}")
    prompt = document.text[: document.metadata["prompt_chars"]]
    places = edits(document.text, len(prompt.encode()))
    rng.shuffle(places)
    kinds = rng.sample(KINDS, len(KINDS))
    turn = {kind: 0 for kind in KINDS}
    order = []
    for place in places:
        order.append((place.in_while, turn[place.kind], kinds.index(place.kind)))
        turn[place.kind] += 1
    for _, place in sorted(zip(order, places, strict=True), key=lambda pair: pair[0]):
        text = place.apply(document.text)
        if parse_python(text):
            metadata = {**document.metadata, "mutation": place.kind}
            yield replace(document, text=text, metadata=metadata)


def make_wrong(
    documents: Sequence[Document], run: Run, seed: int = 0, batch: int = 1
) -> list[Document | None]:
    """For each exercise a version that its own examples prove wrong, or None.

    Args:
      batch: how many exercises share a process; see `verify`.
    Returns:
      Documents whose metadata has `verdict` (see `verify.VERDICTS`; never doctest_passes),
      `mutation` (of KINDS) and `reason`, "example_differs" or how it ended.
    """
    found: list[Document | None] = [None] * len(documents)
    left = {place: mutants(document, seed) for place, document in enumerate(documents)}
    for _ in range(MAX_TRIES):
        tried = {place: one for place in left if (one := next(left[place], None))}
        replies = (_as_reply(one, place) for place, one in tried.items())
        for verified in verify(replies, run, batch):
            place = verified.reply.request.seed
            # What states no example may be as wrong as before the edit.
            states = verified.exercise and read_examples(verified.exercise)
            if states and verified.verdict in ("parses", "runs"):
                metadata = {"verdict": verified.verdict, "reason": verified.reason}
                one = tried[place]
                found[place] = replace(one, metadata={**one.metadata, **metadata})
        left = {place: left[place] for place in tried if found[place] is None}
    return found


def _as_reply(document: Document, place: int) -> TeacherReply:
    request = TeacherRequest("exercise", "", function_name=entry_point(document), seed=place)
    return TeacherReply(request, fenced(document.text), document.metadata)


def _why_no_exercise(document: Document) -> str:
    """Why a document cannot be read as an exercise, and so not executed; empty if it can."""
    if not (document.metadata.get("prompt_chars") and entry_point(document)):
        return "no_exercise"
    try:
        parse_exercise(fenced(document.text))
    except ReplyError as error:
        return error.reason
    return ""


def write_with_errors(
    documents: Iterable[Document],
    shares: Sequence[float],
    output: Path,
    run: Run,
    seed: int = 0,
    batch: int = 1,
    skip: Skip | None = None,
) -> dict[str, Any]:
    """Writes the same exercises once for each share of wrong solutions, `wrong_0.25/` say.

    A file holds every exercise of which a wrong version was found, right or wrong; those that are
    wrong at one share are wrong at all larger ones.

    Args:
      skip: told of documents that are no exercises, or none that `parse_exercise` reads.
    Raises:
      UserError: no document is an exercise, or none could be made wrong.
    """
    tell = skip or SkipLog()
    right, other = [], ""
    reasons: Counter[str] = Counter()
    for document in documents:
        if reason := _why_no_exercise(document):
            other = document.id
            reasons[reason] += 1
            tell(other, reason)
        else:
            right.append(document)
    if other and not right:
        found = ", ".join(f"{reason} {n}" for reason, n in reasons.most_common())
        raise UserError(
            f"{other}: no exercise, nor is any other ({found}): each needs prompt_chars in its"
            " metadata (docs/data.md) and must be one function with a docstring, after imports"
            " alone (docs/synthesis.md)"
        )
    wrong = make_wrong(right, run, seed, batch)
    pairs = [(a, b) for a, b in zip(right, wrong, strict=True) if b]
    if not pairs:
        raise UserError("no exercise could be made wrong: do they state examples?")
    random.Random(f"errors {seed}").shuffle(order := list(range(len(pairs))))
    out = {}
    for share in shares:
        wrong_at = set(order[: round(share * len(pairs))])
        mixed = (b if i in wrong_at else a for i, (a, b) in enumerate(pairs))
        folder = output / f"wrong_{share:g}"
        folder.mkdir()
        out[f"wrong_{share:g}"] = write_documents(folder / EXERCISES, mixed)
    return {
        "in": {"exercises": len(right)},
        "out": out,
        "dropped": {"no wrong version found": len(right) - len(pairs)},
        "mutations": dict(Counter(b.metadata["mutation"] for _, b in pairs)),
        "reasons": dict(Counter(b.metadata["reason"] for _, b in pairs)),
    }
