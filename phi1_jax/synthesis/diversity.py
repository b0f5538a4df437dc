"""How diverse a synthetic corpus is, and how much of it repeats itself.

Beyond the paper: phi-1 section 6 says that no good measure of a synthetic set's diversity and
redundancy exists. No figure here is one; together they show what a teacher does over and over.
"""

import hashlib
import math
import random
from array import array
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import zstandard

from phi1_jax.corpus.documents import Document
from phi1_jax.corpus.fingerprints import fingerprint_document
from phi1_jax.corpus.parallel import ordered_map
from phi1_jax.corpus.similarity import match_rates

# Two functions are near variants from this match rate of their syntax trees on (the paper's tau):
# in a function of 20 nodes, up to two of them differ.
NEAR_RATE = 0.9
N_SAMPLED = 200
# Distinct n-grams fall with length, so they are counted in the same number of words everywhere.
N_WORDS = 200_000
MAX_N = 4
_CHUNK_DOCUMENTS = 500
_N_SHOWN = 20
_N_GROWTH = 50


@dataclass
class _Tally:
    """What is kept of a corpus while it is read."""

    names: Counter[str] = field(default_factory=Counter)
    leaves: Counter[str] = field(default_factory=Counter)
    audiences: Counter[str] = field(default_factory=Counter)
    trees: dict[bytes, list[int]] = field(default_factory=lambda: defaultdict(list))
    tokens: list[array] = field(default_factory=list)
    words: array = field(default_factory=lambda: array("I"))
    growth: list[tuple[int, int, int]] = field(default_factory=list)
    n_documents: int = 0
    n_bytes: int = 0
    apart_bytes: int = 0


def measure(
    documents: Iterable[Document],
    steps: Mapping[str, str],
    tree: Collection[str],
    workers: int = 1,
    seed: int = 0,
) -> dict[str, Any]:
    """The figures of one corpus, JSON-serialisable.

    Args:
      steps: for documents that state a composition: step -> leaf of the tree.
      tree: all leaves, "area > topic" each; empty if nobody knows.
      workers: processes that parse.
      seed: draws the documents whose near variants are counted.
    Returns:
      `names`, `verbs` (their first words), `topics`, `audiences`: see `spread`; `coverage` of the
      tree; `compression`; `distinct_n`: distinct runs of n words among the first N_WORDS; `code`:
      functions that are equal up to local names; `near_variants`: how many others of the corpus
      have a match rate of NEAR_RATE or more with one of it; `growth`: (documents, distinct
      functions, distinct names) along the corpus.
    """
    tally = _Tally()
    whole = zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters.from_level(
            6, window_log=27, enable_ldm=True
        )
    ).compressobj()
    apart = zstandard.ZstdCompressor(level=6, write_content_size=False)
    together_bytes = 0
    shown: dict[int, str] = {}
    for chunk, fingerprints in ordered_map(_fingerprint, None, _chunks(documents), workers):
        for document, (words, tokens) in zip(chunk, fingerprints, strict=True):
            _count(tally, document, words, tokens, steps)
            data = document.text.encode("utf-8", "backslashreplace")
            tally.n_bytes += len(data)
            tally.apart_bytes += len(apart.compress(data))
            together_bytes += len(whole.compress(data))
            if tokens and len(tally.trees[_digest(tokens)]) == 2:
                shown[tally.trees[_digest(tokens)][0]] = document.text
    together_bytes += len(whole.flush())
    verbs: Counter[str] = Counter()
    for name, n in tally.names.items():
        verbs[name.strip("_").split("_")[0]] += n
    tally.growth.append((tally.n_documents, len(tally.trees), len(tally.names)))
    return {
        "documents": tally.n_documents,
        "bytes": tally.n_bytes,
        "names": spread(tally.names),
        "verbs": spread(verbs),
        "topics": spread(tally.leaves),
        "audiences": spread(tally.audiences),
        "coverage": _coverage(tally.leaves, tree),
        "compression": {
            "together_bytes": together_bytes,
            "apart_bytes": tally.apart_bytes,
            "text_to_together": round(tally.n_bytes / max(together_bytes, 1), 3),
            "apart_to_together": round(tally.apart_bytes / max(together_bytes, 1), 3),
        },
        "distinct_n": distinct_n(tally.words),
        "code": _clusters(tally.trees, shown),
        "near_variants": _near_variants(tally.tokens, seed),
        "growth": tally.growth[:: max(1, len(tally.growth) // _N_GROWTH)] + tally.growth[-1:],
    }


def spread(counts: Counter[str]) -> dict[str, Any]:
    """Entropy in bits, and 2 to that power: as many equally frequent values would have it."""
    total = counts.total()
    shares = [n / total for n in counts.values()]
    entropy = -sum(share * math.log2(share) for share in shares)
    return {
        "counted": total,
        "distinct": len(counts),
        "entropy_bits": round(entropy, 3),
        "effective": round(2**entropy, 1) if counts else 0.0,
        "largest_share": round(max(shares, default=0.0), 4),
        "most_common": [[name, n] for name, n in counts.most_common(_N_SHOWN)],
        # By rank, thinned out: for the plot.
        "ranked": _thinned(sorted(counts.values(), reverse=True)),
    }


def distinct_n(words: array) -> dict[str, float]:
    """For n from 1 to MAX_N: distinct runs of n words / all of them, in the first N_WORDS."""
    hashes = np.frombuffer(words, np.uint32).astype(np.uint64)[:N_WORDS]
    shares = {}
    grams = np.zeros(len(hashes), np.uint64)
    for n in range(1, MAX_N + 1):
        if len(hashes) < n:
            break
        grams = grams[: len(hashes) - n + 1] * np.uint64(0x9E3779B97F4A7C15) + hashes[n - 1 :]
        grams ^= grams >> np.uint64(29)
        shares[str(n)] = round(len(np.unique(grams)) / len(grams), 4)
    return shares


def _chunks(documents: Iterable[Document]) -> Iterator[list[Document]]:
    iterator = iter(documents)
    while chunk := list(islice(iterator, _CHUNK_DOCUMENTS)):
        yield chunk


def _fingerprint(state: None, chunk: list[Document]) -> list[tuple[array, array]]:
    """Of each document the hashed words of its prose, and its functions' trees end to end."""
    found = []
    for document in chunk:
        fingerprint = fingerprint_document(document)
        tokens: array = array("I")
        for as_written, _ in fingerprint.functions:
            tokens += as_written
        found.append((fingerprint.words, tokens))
    return found


def _count(
    tally: _Tally, document: Document, words: array, tokens: array, steps: Mapping[str, str]
) -> None:
    metadata = document.metadata
    if name := metadata.get("entry_point"):
        tally.names[name] += 1
    if audience := metadata.get("audience"):
        tally.audiences[audience] += 1
    composition = metadata.get("composition")
    if composition:
        tally.leaves.update(steps.get(step, f"other > {step}") for step in composition)
    elif topic := metadata.get("topic"):
        tally.leaves[topic if " > " in topic else f"other > {topic}"] += 1
    if len(tally.words) < N_WORDS:
        tally.words += words
    if tokens:
        tally.trees[_digest(tokens)].append(tally.n_documents)
        tally.tokens.append(tokens)
    tally.n_documents += 1
    if tally.n_documents % 100 == 0:
        tally.growth.append((tally.n_documents, len(tally.trees), len(tally.names)))


def _digest(tokens: array) -> bytes:
    return hashlib.blake2b(tokens.tobytes(), digest_size=16).digest()


def _coverage(leaves: Counter[str], tree: Collection[str]) -> dict[str, Any]:
    areas: dict[str, dict[str, int]] = defaultdict(lambda: {"covered": 0, "of": 0, "documents": 0})
    for leaf in tree:
        area = areas[leaf.split(" > ")[0]]
        area["of"] += 1
        area["covered"] += leaf in leaves
    for leaf, n in leaves.items():
        areas[leaf.split(" > ")[0]]["documents"] += n
    missing = [leaf for leaf in tree if leaf not in leaves]
    return {
        "covered": len(tree) - len(missing),
        "of": len(tree),
        "areas": dict(areas),
        "missing": missing[:100],
    }


def _clusters(trees: Mapping[bytes, list[int]], shown: Mapping[int, str]) -> dict[str, Any]:
    sizes = sorted(map(len, trees.values()), reverse=True)
    n_documents = sum(sizes)
    largest = sorted((c for c in trees.values() if len(c) > 1), key=len, reverse=True)
    return {
        "with_functions": n_documents,
        "distinct": len(sizes),
        "clusters": len(largest),
        "in_clusters": sum(map(len, largest)),
        "duplicate_share": round(1 - len(sizes) / n_documents, 4) if sizes else 0.0,
        # Good and Turing: how likely the next document's functions are to be new.
        "chance_of_new": round(sizes.count(1) / n_documents, 4) if sizes else 0.0,
        "ranked": _thinned(sizes),
        "largest": [
            {"size": len(c), "documents": c[:5], "text": shown[c[0]]} for c in largest[:_N_SHOWN]
        ],
    }


def _near_variants(tokens: list[array], seed: int) -> dict[str, Any]:
    chosen = random.Random(seed).sample(range(len(tokens)), min(N_SAMPLED, len(tokens)))
    few = [tokens[i] for i in chosen]
    counts = np.full(len(few), -1)  # each is its own
    for start in range(0, len(tokens), 50_000):
        rates = match_rates(tokens[start : start + 50_000], few)
        counts += (rates >= NEAR_RATE).sum(0)
    if not few:
        counts = np.zeros(1, int)
    return {
        "match_rate": NEAR_RATE,
        "sampled": len(few),
        "mean": round(float(counts.mean()), 2),
        "median": float(np.median(counts)),
        "p90": float(np.quantile(counts, 0.9)),
        "most": int(counts.max()),
        "share_with_any": round(float((counts > 0).mean()), 4),
        "counts": sorted(counts.tolist(), reverse=True),
    }


def _thinned(ranked: list[int], n: int = 200) -> list[list[int]]:
    """(rank, value) pairs at about n ranks, dense at the front."""
    if not ranked:
        return []
    ranks = np.unique(np.geomspace(1, len(ranked), n).round().astype(int))
    return [[int(rank), ranked[rank - 1]] for rank in ranks]
