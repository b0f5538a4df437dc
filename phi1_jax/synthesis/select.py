"""Takes a part of the exercises: by kind, by construct, by how far they hold when executed."""

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from phi1_jax.corpus.documents import Document
from phi1_jax.errors import UserError, did_you_mean
from phi1_jax.synthesis.diversity import CONSTRUCTS, ConstructCounter
from phi1_jax.synthesis.exercises import entry_point
from phi1_jax.synthesis.verify import TESTS_PASS, VERDICTS


@dataclass(frozen=True)
class Selection:
    """Which exercises stay; by default all.

    Attributes:
      require: how far an exercise must hold, by the verdict in its metadata.
      without: constructs that no solution may use, such as while; a wrong name gets the list.
      by: what makes two exercises of one kind: the first word of the function's name, or what the
        teacher says its program does (the topic, for teachers that say no more).
      kinds: share of the kinds that stay; a smaller share is a part of a larger one.
      seed: draws the kinds.
    Raises:
      UserError: an unknown construct, or a share that is not above 0 and at most 1.
    """

    require: Literal["parses", "runs", "doctest_passes"] = "parses"
    without: tuple[str, ...] = ()
    by: Literal["name", "program"] = "program"
    kinds: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in self.without:
            if name not in CONSTRUCTS:
                known = f"; the constructs are {', '.join(CONSTRUCTS)}"
                raise UserError(
                    f"--without={name}: no such construct{did_you_mean(name, CONSTRUCTS) or known}"
                )
        if not 0 < self.kinds <= 1:
            raise UserError(f"--kinds={self.kinds}: must be above 0 and at most 1")

    def kind_of(self, document: Document) -> str:
        """The kind that an exercise is of; "" if it states none."""
        if self.by == "name":
            return entry_point(document).partition("_")[0]
        metadata = document.metadata
        parts = metadata.get("composition", ())[:2] or [metadata.get("topic", "")]
        return " > ".join(parts)


def select(
    documents: Iterable[Document], selection: Selection, dropped: Counter[str]
) -> Iterator[Document]:
    """The exercises that stay, in order.

    Args:
      dropped: counts what goes, by reason.
    Raises:
      UserError: nothing stays, or kinds are to be drawn and no exercise states its kind.
    """
    read = list(documents)
    kept = set[str]()
    if selection.kinds < 1:
        kinds = sorted({selection.kind_of(document) for document in read} - {""})
        if not kinds:
            lacks = "function" if selection.by == "name" else "topic; take --by=name"
            raise UserError(f"--kinds={selection.kinds}: no exercise has a {lacks}")
        random.Random(f"kinds {selection.seed}").shuffle(kinds)
        kept = set(kinds[: max(1, round(selection.kinds * len(kinds)))])
    least = VERDICTS.index(selection.require)
    counter = ConstructCounter()
    stay = 0
    for document in read:
        if _level(document) < least:
            dropped["verdict"] += 1
        elif selection.kinds < 1 and (kind := selection.kind_of(document)) not in kept:
            dropped["kind" if kind else "no_kind"] += 1
        elif (used := counter.used_by(document) if selection.without else set[str]()) is None:
            dropped["unparsed"] += 1
        elif used.intersection(selection.without):
            dropped["construct"] += 1
        else:
            stay += 1
            yield document
    if not stay:
        raise UserError(f"no exercise is left of {len(read):,} ({dict(dropped)}); select less")


def _level(document: Document) -> int:
    """How far an exercise holds; nothing is known of one with another word, or none."""
    known = (*VERDICTS, TESTS_PASS)
    verdict = document.metadata.get("verdict")
    return known.index(verdict) if verdict in known else 0
