"""Scores a pool with the forest and keeps the best under a budget (section 2.1).

The paper does not say where it drew the line; here the budget draws it [ours].
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
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
      budget_tokens: what to keep, best first, in tokens of the embedder; None: no limit.
      budget_bytes: the same in UTF-8 bytes.
      min_score: documents with a lower score go, even within the budget.
    Raises:
      UserError: vectors of another embedder than the forest's, a document without a vector, or
        nothing to keep.
    """
    forest = load_forest(model, embedder_of(embeddings))
    scores = score_parts(embeddings, forest)
    is_read, is_prose = np.zeros((2, len(scores.key)), bool)
    with tqdm(read(), desc="find", unit="doc", unit_scale=True) as bar:
        for document in bar:
            row = _row(scores.key, document)
            is_read[row] = True
            is_prose[row] = bool(document.metadata.get("prose"))
    scores, is_prose = Scores(*(column[is_read] for column in scores)), is_prose[is_read]
    kept = choose(scores, budget_tokens, budget_bytes, min_score)
    per_source: dict[str, dict[str, int]] = {}
    dropped: Counter[str] = Counter()

    def passing(
        bar: Iterable[Document], drop: Callable[[Mapping[str, Any]], None]
    ) -> Iterator[Document]:
        to_come = kept.copy()
        for document in bar:
            row = _row(scores.key, document)
            score = float(scores.score[row])
            source = per_source.setdefault(document.source, {"filtered": 0, "excluded": 0})
            if to_come[row]:
                to_come[row] = False
                source["filtered"] += 1
                metadata = {**document.metadata, SCORE: round(score, 4)}
                yield replace(document, metadata=metadata)
                continue
            source["excluded"] += 1
            reason = "low_quality" if score < min_score else "over_budget"
            reason = "repeated" if kept[row] else reason  # its size was counted once
            dropped[reason] += 1
            about = {"id": document.id, "source": document.source}
            drop({**about, "step": "quality", "reason": reason, SCORE: round(score, 4)})

    with (
        tqdm(read(), desc="filter", unit="doc", unit_scale=True) as bar,
        open_records(output / "excluded.jsonl.zst") as drop,
    ):
        n_filtered = write_documents(output / "filtered.jsonl.zst", passing(bar, drop))
    sizes = scores.bytes
    share = float(sizes[kept & is_prose].sum() / max(1, sizes[kept].sum()))
    share_read = float(sizes[is_prose].sum() / max(1, sizes.sum()))
    if dropped and share > max(0.5, 1.5 * share_read) and share_read < 1:
        print(
            f"warning: prose fills the budget: it is {share:.0%} of what is kept and "
            f"{share_read:.0%} of what was read; filter code and prose apart, each with its budget",
            file=sys.stderr,
        )
    return {
        "in": {"documents": n_filtered + dropped.total()},
        "out": {
            "filtered": n_filtered,
            "filtered_bytes": int(sizes[kept].sum()),
            "filtered_tokens": int(scores.tokens[kept].sum()),
        },
        "dropped": dict(sorted(dropped.items())),
        "threshold": round(float(scores.score[kept].min()), 6),
        "quantiles": {
            str(q): round(float(np.quantile(scores.score, q)), 4)
            for q in (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
        },
        "sources": per_source,
    }


def score_parts(embeddings: Sequence[Path], forest: Forest) -> Scores:
    """The forest's score of every vector; about 30 bytes of memory a document.

    Raises:
      UserError: there is no vector.
    """
    with tqdm(read_parts(embeddings), desc="score", unit="part") as bar:
        parts = [Scores(p.key, forest.score(p.vector), p.tokens, p.bytes) for p in bar]
    if not parts:  # of many --shard those alone that had no part
        raise UserError(
            f"--embeddings={', '.join(map(str, embeddings))}: hold no vector; name also the folders"
            " of the other --shard"
        )
    scores = Scores(*map(np.concatenate, zip(*parts, strict=True)))
    _, first = np.unique(scores.key, return_index=True)
    return Scores(*(column[first] for column in scores))


def choose(
    scores: Scores, budget_tokens: int | None, budget_bytes: int | None, min_score: float
) -> np.ndarray:
    """The best documents whose sizes together stay within the budgets.

    Returns:
      bool[n] in the order of `scores`.
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
    return kept


def _row(keys: np.ndarray, document: Document) -> int:
    key = np.uint64(document_key(document))
    row = int(np.searchsorted(keys, key))
    if row == len(keys) or keys[row] != key:
        raise UserError(
            f"document {document.id!r} of {document.source!r} has no vector in --embeddings; run"
            " launch/embed.py on the same corpus"
        )
    return row
