"""What is planted is found, and what is found is a near duplicate, on the standard library."""

import difflib
import random
from collections import defaultdict

import numpy as np
import pytest
from planted import EDITS

from phi1_jax.curation.heuristics import rejection
from phi1_jax.curation.minhash import MINHASH, CodeSignatures, shingles
from phi1_jax.curation.sources import Source, read_source


@pytest.fixture(scope="module")
def library():
    """Every file of the standard library that passes the heuristics and says anything."""
    documents = read_source(Source("stdlib"), lambda name, reason: None)
    return [d for d in documents if not rejection(d.text) and len(shingles(d.text))]


@pytest.fixture(scope="module")
def buckets(tmp_path_factory):
    signer = CodeSignatures(str(tmp_path_factory.mktemp("signatures")))

    def of(text):
        return list(map(tuple, signer.get_signature(shingles(text).reshape(-1, 1))))

    return of


@pytest.mark.slow
@pytest.mark.parametrize("edit", EDITS)
def test_planted_near_duplicates_are_found(edit, library, buckets):
    rng = random.Random(1)
    sample = rng.sample([d for d in library if 1_000 < len(d.text) < 40_000], 100)
    found = sum(
        any(a == b for a, b in zip(buckets(d.text), buckets(EDITS[edit](d.text, rng)), strict=True))
        for d in sample
    )
    assert found >= 95


@pytest.mark.slow
def test_of_the_whole_library_only_real_near_duplicates_are_found(library, buckets):
    tables = [defaultdict(list) for _ in range(MINHASH.num_buckets)]
    matches = defaultdict(set)
    for index, document in enumerate(library):
        for table, bucket in zip(tables, buckets(document.text), strict=True):
            matches[index].update(table[bucket])
            table[bucket].append(index)
    lines = [d.text.split("\n") for d in library]

    def alike(one, other):
        """Half of their lines are the same, in order."""
        matcher = difflib.SequenceMatcher(None, lines[one], lines[other], autojunk=False)
        return matcher.ratio() >= 0.5

    found = {index: others for index, others in matches.items() if others}
    false = [i for i, others in found.items() if not any(alike(i, other) for other in others)]
    assert len(found) > 30  # the library has its own: codecs made from one template
    assert len(false) / len(library) <= 0.01


def test_shingles_follow_the_data_and_ignore_names_comments_and_layout():
    text = "def f(a, b):\n    c = a - b\n    return c * a  # product\n" * 3
    same = "def g(x, y):\n  # difference\n  z = x-y\n\n  return z*x\n" * 3
    swapped = "def f(a, b):\n    c = b - a\n    return c * a\n" * 3
    assert np.array_equal(shingles(text), shingles(same))
    assert not np.array_equal(shingles(text), shingles(swapped))
    assert len(shingles("")) == 0 and len(shingles("x")) == 1
    assert not np.array_equal(shingles("one two", prose=True), shingles("one six", prose=True))
