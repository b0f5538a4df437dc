"""MinHash signatures that see through renamed variables, moved comments and white space.

datatrove does the rest (buckets, clusters, removal); only the shingles are ours. A shingle is a
run of tokens without comments and layout, in which a name counts as the distance back to its last
use inside the run. So consistent renaming changes nothing, yet the flow of data is kept: with
names merely blanked out, unrelated code would look alike.
"""

import builtins
import keyword
import re
from collections.abc import Iterator

import numpy as np
import xxhash
from datatrove.data import DocumentsPipeline
from datatrove.pipeline.dedup import MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.utils.hashing import HashConfig
from datatrove.utils.word_tokenizers import WhitespaceTokenizer

SHINGLE_TOKENS = 8
# Included with probability 1 - (1 - s^8)^14 at similarity s: .36 at .65, .92 at .8, .9997 at .9.
# In the standard library planted near duplicates lie above .8, different files below .66.
MINHASH = MinhashConfig(
    n_grams=SHINGLE_TOKENS,
    num_buckets=14,
    hashes_per_bucket=8,
    hash_config=HashConfig(precision=64, hash_fc="xxhash"),
)

_STRING = (
    r"[rbufRBUF]{0,2}(?:"
    r'"""[\s\S]*?(?:"""|\Z)|' + r"'''[\s\S]*?(?:'''|\Z)|"
    r'"(?:\\[\s\S]|[^"\\\n])*"|' + r"'(?:\\[\s\S]|[^'\\\n])*')"
)
_TOKEN = re.compile(rf"#[^\n]*|{_STRING}|(?:\.\s*)?[^\W\d]\w*|\d[\w.]*|[^\s\w]")
_WORD = re.compile(r"\w+|[^\w\s]")
_NEVER_RENAMED = frozenset(keyword.kwlist) | frozenset(dir(builtins)) | {"self", "cls"}
_NAME, _ATTRIBUTE = 1, 2
_MIX = np.uint64(0x9E3779B97F4A7C15)
_MIX_DISTANCE = np.uint64(0xD6E8FEB86659FD93)


def code_tokens(text: str) -> tuple[list[int], list[int]]:
    """Hashes of the tokens, and for each name how many tokens ago it last occurred (else 0).

    Strings and docstrings count word by word, so that an edit in one stays a small edit.
    """
    hashes: list[int] = []
    distances: list[int] = []
    last: dict[str, int] = {}
    known: dict[str, list[int]] = {}
    for token in _TOKEN.findall(text):
        found = known.get(token)
        if found is None:
            found = known[token] = _token_hashes(token)
        # A name is told by its single hash: attributes count apart from variables, since
        # renaming one does not rename the other.
        if len(found) == 1 and found[0] <= _ATTRIBUTE:
            here = len(hashes)
            distances.append(here - last.get(token, here))
            last[token] = here
        else:
            distances += [0] * len(found)
        hashes += found
    return hashes, distances


def _token_hashes(token: str) -> list[int]:
    """None for a comment, `_NAME` or `_ATTRIBUTE`, one for each word of a string, else one."""
    if token[0] == "#":
        return []
    if token[-1] in "\"'" and len(token) > 1:
        return [xxhash.xxh64_intdigest(word) for word in _WORD.findall(token)]
    if token not in _NEVER_RENAMED:
        if token.isidentifier():
            return [_NAME]
        if token[0] == "." and len(token) > 1:
            return [_ATTRIBUTE]
    return [xxhash.xxh64_intdigest(token)]


def shingles(text: str, prose: bool = False) -> np.ndarray:
    """The distinct hashed shingles of a text: uint64[n]; a short text is one shingle."""
    if prose:
        hashes = [xxhash.xxh64_intdigest(word) for word in _WORD.findall(text.lower())]
        distances = [0] * len(hashes)
    else:
        hashes, distances = code_tokens(text)
    if not hashes:
        return np.empty(0, np.uint64)
    width = min(SHINGLE_TOKENS, len(hashes))
    n = len(hashes) - width + 1
    hash_n = np.array(hashes, np.uint64)
    distance_n = np.array(distances, np.int64)
    result = np.zeros(n, np.uint64)
    for offset in range(width):
        distance = distance_n[offset : offset + n]
        inside = np.where(distance <= offset, distance, 0).astype(np.uint64)
        result ^= hash_n[offset : offset + n] + inside * _MIX_DISTANCE
        result *= _MIX
        result ^= result >> np.uint64(29)
    return np.unique(result)


class CodeSignatures(MinhashDedupSignature):
    """datatrove's first MinHash step, with the shingles above."""

    def __init__(self, output_folder: str) -> None:
        # Never called, but the default for English would ask for spacy.
        words = WhitespaceTokenizer()
        super().__init__(output_folder=output_folder, config=MINHASH, language=words)
        self._prose = False

    def check_can_skip_sig_writing(self, rank: int) -> tuple[bool, None]:
        # datatrove takes files of equal length for whole ones; a killed task may leave such.
        return False, None

    def get_shingles(self, text: str) -> np.ndarray:
        return shingles(text, self._prose).reshape(-1, 1)

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> None:
        def noting_kind() -> Iterator[object]:
            for document in data:
                self._prose = bool(document.metadata["prose"])
                yield document

        return super().run(noting_kind(), rank, world_size)
