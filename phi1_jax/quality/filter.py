"""Scores a pool with the forest and keeps the best under a budget (section 2.1).

The paper does not say where it drew the line; here the budget draws it [ours].
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from phi1_jax.corpus.documents import Document, Read, write_documents
from phi1_jax.corpus.records import open_records
from phi1_jax.errors import UserError
from phi1_jax.quality.embeddings import document_key, embedder_of, read_parts
from phi1_jax.quality.forest import Forest, load_forest
from phi1_jax.quality.rubric import SCORE


class Scores(NamedTuple):
    """Scores of n documents, sorted by key; a document that occurs twice stands here once."""

    key: np.ndarray  # uint64[n]
    score: np.ndarray  # float32[n]
    tokens: np.ndarray  # int64[n]
    bytes: np.ndarray  # int64[n]


def filter_corpus(
    read: Read,
    embeddings: Sequence[Path],
    model: Path,
    output: Path,
    *,
    budget_tokens: int | None = None,
    budget_bytes: int | None = None,
    min_score: float = 0.0,
) -> dict[str, Any]:
    """Writes `filtered` and `excluded` (.jsonl.zst) and returns the counts and the threshold.

    Args:
      read: called twice.
      embeddings: folders of launch/embed.py that cover the documents, and perhaps others, such as
        those of a larger corpus: what is not read takes no part.
      model: folder of the forest.
      budget_tokens: what to keep, best first, in tokens of the embedder; None: no limit.
      budget_bytes: the same in UTF-8 bytes.
      min_score: documents with a lower score go, even within the budget.
    Raises:
      UserError: vectors of another embedder than the forest's, a document without a vector, or
        nothing to keep.
    """
    forest = load_forest(model, embedder_of(embeddings))
    scores = score_parts(embeddings, forest)
    is_read = np.zeros(len(scores.key), bool)
    with tqdm(read(), desc="find", unit="doc", unit_scale=True) as bar:
        for document in bar:
            is_read[_row(scores.key, document)] = True
    scores = Scores(*(column[is_read] for column in scores))
    threshold, kept = choose(scores, budget_tokens, budget_bytes, min_score)
    counts = {"filtered": 0, "filtered_bytes": 0, "filtered_tokens": 0}
    per_source: dict[str, dict[str, int]] = {}
    dropped: Counter[str] = Counter()
    prose_bytes: Counter[str] = Counter()  # read, kept
    taken = np.zeros_like(kept)

    def passing(
        bar: Iterable[Document], drop: Callable[[Mapping[str, Any]], None]
    ) -> Iterator[Document]:
        for document in bar:
            row = _row(scores.key, document)
            score = float(scores.score[row])
            is_prose = bool(document.metadata.get("prose"))
            prose_bytes["read"] += is_prose * int(scores.bytes[row])
            source = per_source.setdefault(document.source, {"filtered": 0, "excluded": 0})
            if not kept[row] or taken[row]:
                source["excluded"] += 1
                reason = "low_quality" if score < min_score else "over_budget"
                reason = "repeated" if taken[row] else reason  # its size was counted once
                dropped[reason] += 1
                drop(
                    {
                        "id": document.id,
                        "source": document.source,
                        "step": "quality",
                        "reason": reason,
                        SCORE: round(score, 4),
                    }
                )
                continue
            taken[row] = True
            source["filtered"] += 1
            counts["filtered"] += 1
            counts["filtered_bytes"] += int(scores.bytes[row])
            prose_bytes["kept"] += is_prose * int(scores.bytes[row])
            counts["filtered_tokens"] += int(scores.tokens[row])
            metadata = {**document.metadata, SCORE: round(score, 4)}
            yield Document(document.id, document.text, document.source, metadata)

    with (
        tqdm(read(), desc="filter", unit="doc", unit_scale=True) as bar,
        open_records(output / "excluded.jsonl.zst") as drop,
    ):
        write_documents(output / "filtered.jsonl.zst", passing(bar, drop))
    share = prose_bytes["kept"] / max(1, counts["filtered_bytes"])
    share_read = prose_bytes["read"] / max(1, int(scores.bytes.sum()))
    if dropped and share > max(0.5, 1.5 * share_read) and share_read < 1:
        print(
            f"warning: prose fills the budget: it is {share:.0%} of what is kept and "
            f"{share_read:.0%} of what was read; filter code and prose apart, each with its budget",
            file=sys.stderr,
        )
    return {
        "in": {"documents": counts["filtered"] + dropped.total()},
        "out": counts,
        "dropped": dict(sorted(dropped.items())),
        "threshold": round(threshold, 6),
        "quantiles": {
            str(q): round(float(np.quantile(scores.score, q)), 4)
            for q in (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
        },
        "sources": per_source,
    }


def score_parts(embeddings: Sequence[Path], forest: Forest) -> Scores:
    """The forest's score of every vector; about 30 bytes of memory a document."""
    columns: list[Scores] = []
    with tqdm(read_parts(embeddings), desc="score", unit="part") as bar:
        for part in bar:
            columns.append(Scores(part.key, forest.score(part.vector), part.tokens, part.bytes))
    key, first = np.unique(np.concatenate([c.key for c in columns]), return_index=True)
    return Scores(
        key,
        *(np.concatenate([c[i] for c in columns])[first] for i in range(1, len(Scores._fields))),
    )


def choose(
    scores: Scores, budget_tokens: int | None, budget_bytes: int | None, min_score: float
) -> tuple[float, np.ndarray]:
    """The best documents whose sizes together stay within the budgets.

    Returns:
      The least score among them, and bool[n] in the order of `scores`.
    Raises:
      UserError: nothing is left.
    """
    # Equal scores are taken by key: at random, yet the same every time.
    order = np.lexsort((scores.key, -scores.score))
    fits = scores.score[order] >= min_score
    for budget, sizes in ((budget_tokens, scores.tokens), (budget_bytes, scores.bytes)):
        if budget is not None:
            fits &= np.cumsum(sizes[order]) <= budget
    kept = np.zeros(len(order), bool)
    kept[order[fits]] = True
    if not kept.any():
        raise UserError(
            f"nothing is kept of {len(order)} documents, the best with a score of"
            f" {scores.score.max():.3f}; raise the budget or lower --min_score"
        )
    return float(scores.score[kept].min()), kept


def _row(keys: np.ndarray, document: Document) -> int:
    key = np.uint64(document_key(document))
    row = int(np.searchsorted(keys, key))
    if row == len(keys) or keys[row] != key:
        raise UserError(
            f"document {document.id!r} of {document.source!r} has no vector in --embeddings; run"
            " launch/embed.py on the same corpus"
        )
    return row
