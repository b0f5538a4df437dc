"""How far to trust the forest: out-of-sample figures, a calibration plot, documents to read."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from phi1_jax.corpus.documents import Document, read_all
from phi1_jax.errors import UserError
from phi1_jax.llm_client.replies import fenced
from phi1_jax.markdown import table
from phi1_jax.quality.embeddings import embedder_of, find_vectors
from phi1_jax.quality.forest import fit_forest, save_forest
from phi1_jax.quality.rubric import ANNOTATOR, VALUE

N_READ = 20
_EXCERPT_LINES = 40


def fit_and_report(
    annotated: Sequence[Path],
    embeddings: Sequence[Path],
    output: Path,
    *,
    positive_from: float | None = None,
    positive_share: float | None = None,
    n_trees: int,
    seed: int,
) -> dict[str, Any]:
    """Fits the forest on annotated documents and writes it and its report; returns the figures.

    Each text counts once, at its first place: of two of the same vector a tree would be grown on
    one and asked about the other, and the figures would not be out of sample.

    Args:
      positive_from: the least value of a good document.
      positive_share: without `positive_from`, the share of the documents that are good.
    Raises:
      UserError: a document without an annotation or a vector, or too few of one kind.
    """
    read = list(read_all(annotated))
    first: dict[str, Document] = {}
    for document in read:
        if not isinstance(document.metadata.get(VALUE), int | float):
            raise UserError(
                f"--annotated: document {document.id!r} has no {VALUE}; run launch/annotate.py"
            )
        first.setdefault(document.text, document)
    documents = list(first.values())
    if repeated := len(read) - len(documents):
        print(
            f"warning: {repeated} of {len(read)} annotated documents have the text of an earlier"
            " one and are left out: each text counts once",
            file=sys.stderr,
        )
    values_n = np.array([document.metadata[VALUE] for document in documents])
    asked = positive_share if positive_from is None else None
    if positive_from is None:
        positive_from = float(np.quantile(values_n, 1 - (positive_share or 0)))
    forest, votes_n = fit_forest(
        find_vectors(embeddings, documents),
        values_n,
        embedder=embedder_of(embeddings),
        positive_from=positive_from,
        n_trees=n_trees,
        seed=seed,
    )
    save_forest(forest, output)
    annotator = ", ".join(sorted({str(d.metadata.get(ANNOTATOR)) for d in documents}))
    share = float((values_n >= positive_from).mean())
    if asked is not None and abs(share - asked) > 0.1:
        print(
            f"warning: {share:.0%} of the documents have a value of {positive_from:g} or more, not"
            f" {asked:.0%}, since many have the same; --positive_from=N says which values are good",
            file=sys.stderr,
        )
    if not 0.1 <= share <= 0.9:
        which = "nearly everything" if share > 0.5 else "next to nothing"
        print(
            f"warning: a value of {positive_from:g} or more calls {which} good ({share:.0%} of "
            f"{len(documents)} documents), so the forest has little to tell apart; give "
            "--positive_share=0.5, say",
            file=sys.stderr,
        )
    figures = write_report(output, documents, values_n, votes_n, positive_from, annotator)
    return {
        "in": {"annotated": len(read)},
        "out": {"good": int((values_n >= positive_from).sum())},
        "dropped": {"repeated": repeated},
        "annotator": annotator,
        "positive_from": positive_from,
        "share_good": round(share, 4),
        "out_of_sample": {name: round(value, 4) for name, value in figures.items()},
        "embedder": forest.embedder,
    }


def write_report(
    output: Path,
    documents: Sequence[Document],
    values_n: np.ndarray,
    votes_n: np.ndarray,
    positive_from: float,
    annotator: str,
) -> dict[str, float]:
    """Writes `quality.png`, `quality.md` and the documents to read, and returns the figures.

    Args:
      values_n: educational value that the annotator gave, in [0, 1].
      votes_n: the forest's out-of-sample probability.
    """
    good_n = values_n >= positive_from
    figures = measure(good_n, votes_n)
    plot(good_n, votes_n).savefig(output / "quality.png", dpi=150)
    measured = [(name.replace("_", " "), f"{value:.3f}") for name, value in figures.items()]
    lines = [
        "# The quality filter, out of sample",
        "",
        f"{len(good_n)} documents annotated by {annotator}, {good_n.sum()} of them good (value"
        f" {positive_from:g} or more); each is scored by the trees grown without it.",
        "",
        table(["measure", "value"], measured),
        "",
        "![precision and recall, and calibration](quality.png)",
        "",
        f"The {N_READ} documents that it likes [best](best.md) and [least](worst.md).",
    ]
    (output / "quality.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    order = np.argsort(-votes_n, kind="stable")
    for name, rows in (("best", order[:N_READ]), ("worst", order[::-1][:N_READ])):
        text = [f"# The {len(rows)} {name} of the annotated documents\n"]
        text += [_excerpt(documents[i], votes_n[i], values_n[i]) for i in rows]
        (output / f"{name}.md").write_text("\n".join(text), encoding="utf-8")
    return figures


def measure(good_n: np.ndarray, votes_n: np.ndarray) -> dict[str, float]:
    """Figures for the answer "good from a probability of one half on", and for the ranking."""
    said_n = votes_n >= 0.5
    right = int((said_n & good_n).sum())
    return {
        "share_of_good": float(good_n.mean()),
        "precision": right / max(1, int(said_n.sum())),
        "recall": right / int(good_n.sum()),
        "accuracy": float((said_n == good_n).mean()),
        "average_precision": float(average_precision_score(good_n, votes_n)),
        "roc_auc": float(roc_auc_score(good_n, votes_n)),
        # Mean distance between what it says and what comes true, over ten bins.
        "calibration_error": _calibration_error(good_n, votes_n),
    }


def _calibration_error(good_n: np.ndarray, votes_n: np.ndarray) -> float:
    bins = np.minimum((votes_n * 10).astype(int), 9)
    gaps = [
        abs(votes_n[bins == b].mean() - good_n[bins == b].mean()) * (bins == b).sum()
        for b in np.unique(bins)
    ]
    return float(sum(gaps) / len(votes_n))


def plot(good_n: np.ndarray, votes_n: np.ndarray) -> Any:
    """A matplotlib Figure: precision against recall, and what came true against what was said."""
    from matplotlib.figure import Figure

    figures, blue, gray = measure(good_n, votes_n), "#1f5fae", "#6b7280"
    figure = Figure(figsize=(11, 5.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    precision, recall, _ = precision_recall_curve(good_n, votes_n)
    label = f"forest (average precision {figures['average_precision']:.2f})"
    left.plot(recall, precision, color=blue, label=label)
    recall_at, precision_at = figures["recall"], figures["precision"]
    label = f"good from a probability of 0.5 (precision {precision_at:.2f}, recall {recall_at:.2f})"
    left.plot(recall_at, precision_at, "D", color="#c2410c", clip_on=False, label=label)
    label = f"chance: the share of good documents ({figures['share_of_good']:.2f})"
    left.axhline(good_n.mean(), color=gray, linestyle="--", label=label)
    left.set(title="Which documents are good, out of sample", xlabel="recall", ylabel="precision")
    true, said = calibration_curve(good_n, votes_n, n_bins=10, strategy="quantile")
    right.plot(said, true, marker="o", color=blue, label="forest, by tenths of the documents")
    right.plot([0, 1], [0, 1], color=gray, linestyle="--", label="perfectly calibrated")
    right.set(
        title=f"Calibration, out of sample: error {figures['calibration_error']:.2f}",
        xlabel="probability that the forest gives",
        ylabel="share of documents that are good",
    )
    for axes in (left, right):
        axes.set(xlim=(0, 1), ylim=(0, 1.02))
        # Below the axes, where it covers no curve.
        axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.12))
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _excerpt(document: Document, vote: float, value: float) -> str:
    lines = document.text.split("\n")
    more = len(lines) - _EXCERPT_LINES
    text = "\n".join(lines[:_EXCERPT_LINES]) + (f"\n... {more} more lines" if more > 0 else "")
    head = f"## {document.source}: {document.id}\n\nforest {vote:.2f}, annotated {value:.2f}"
    return f"{head}\n\n{fenced(text)}"
