"""The quality classifier of section 2.1: a random forest on the documents' embeddings.

It is kept as a skops archive, which holds no pickles; what it may hold is listed here.
"""

import hashlib
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import skops.io
from sklearn.ensemble import RandomForestClassifier

from phi1_jax.errors import UserError
from phi1_jax.files import read_json, write_json

MODEL = "forest.skops"
INFO = "forest.json"
# The one type in the archive that skops does not know by itself: the arrays of a fitted tree.
TRUSTED = ["sklearn.tree._tree.Tree"]


@dataclass(frozen=True)
class Forest:
    """A fitted classifier and what its answers mean."""

    classifier: Any
    embedder: str  # fingerprint of the model whose vectors it was fitted on
    positive_from: float  # a document with at least this educational value counts as good

    def score(self, vectors_nd: np.ndarray) -> np.ndarray:
        """The probability that each document is of educational value: float32[n]."""
        # Rounded, for the order in which threads add up the trees shows in the last bits.
        return self.classifier.predict_proba(vectors_nd)[:, 1].round(6).astype(np.float32)


def fit_forest(
    vectors_nd: np.ndarray,
    values_n: np.ndarray,
    *,
    embedder: str,
    positive_from: float,
    n_trees: int = 300,
    seed: int = 0,
) -> tuple[Forest, np.ndarray]:
    """Fits the forest on annotated documents.

    Args:
      values_n: educational value of each document in [0, 1].
      positive_from: the least value of a good document; the paper gives none [ours].
    Returns:
      The forest, and float64[n]: for each document the mean vote of the trees that were grown
      without it, so that figures made from these are out of sample.
    Raises:
      UserError: fewer than 10 good or 10 bad documents, or so few trees that all of them saw one.
    """
    good_n = values_n >= positive_from
    if min(good_n.sum(), (~good_n).sum()) < 10:
        raise UserError(
            f"{good_n.sum()} of {len(good_n)} annotated documents are good, with a value of"
            f" {positive_from:g} or more; the forest needs 10 of each kind: annotate more, or"
            " change what counts as good (--positive_from or --positive_share)"
        )
    classifier = RandomForestClassifier(
        n_trees, min_samples_leaf=2, oob_score=True, random_state=seed, n_jobs=-1
    )
    with warnings.catch_warnings():  # of what is refused below
        warnings.filterwarnings("ignore", category=UserWarning, message="Some inputs do not have")
        classifier.fit(vectors_nd, good_n)
    votes_n = classifier.oob_decision_function_[:, 1]
    # Of a document without a vote scikit-learn says that it is of neither kind.
    if seen_by_all := int((~classifier.oob_decision_function_.any(1)).sum()):
        raise UserError(
            f"--trees={n_trees}: all trees were grown with {seen_by_all} of the {len(votes_n)}"
            " documents, so no figure out of sample can count these; give more trees, such as 50"
        )
    return Forest(classifier, embedder, positive_from), votes_n


def save_forest(forest: Forest, folder: Path) -> None:
    """Writes the archive and, last, what identifies it."""
    skops.io.dump(forest.classifier, folder / MODEL)
    write_json(
        folder / INFO,
        {
            "embedder": forest.embedder,
            "positive_from": forest.positive_from,
            "sha256": hashlib.sha256((folder / MODEL).read_bytes()).hexdigest(),
            "sklearn": sklearn.__version__,
        },
    )


def load_forest(folder: Path, embedder: str) -> Forest:
    """Loads what `save_forest` wrote, to score vectors of the embedder named.

    Raises:
      UserError: no forest there, a damaged one, one that holds more than a forest, one of another
        scikit-learn, or one that was fitted on vectors of another embedder.
    """
    keys = ("embedder", "positive_from", "sha256", "sklearn")
    info = read_json(folder / INFO, keys, "fit a forest with launch/fit_quality.py")
    data = (folder / MODEL).read_bytes() if (folder / MODEL).is_file() else b""
    if hashlib.sha256(data).hexdigest() != info["sha256"]:
        raise UserError(f"{folder / MODEL}: not the forest that {INFO} describes; fit it again")
    if info["embedder"] != embedder:
        raise UserError(
            f"{folder}: fitted on vectors of embedder {info['embedder'][:12]}, these are of"
            f" {embedder[:12]}; embed with the same checkpoint, or fit again"
        )
    if info["sklearn"] != sklearn.__version__:
        raise UserError(
            f"{folder}: fitted by scikit-learn {info['sklearn']}, this is {sklearn.__version__};"
            " fit it again"
        )
    try:
        strange = set(skops.io.get_untrusted_types(data=data)) - set(TRUSTED)
    except zipfile.BadZipFile as error:
        raise UserError(f"{folder / MODEL}: not a skops archive; fit the forest again") from error
    if strange:
        raise UserError(f"{folder / MODEL}: holds {sorted(strange)[0]}, which no forest does")
    classifier = skops.io.loads(data, trusted=TRUSTED)
    if not isinstance(classifier, RandomForestClassifier):
        raise UserError(f"{folder / MODEL}: holds a {type(classifier).__name__}, not a forest")
    return Forest(classifier, embedder, float(info["positive_from"]))
