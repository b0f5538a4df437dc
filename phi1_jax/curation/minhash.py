"""MinHash signatures that see through renamed variables, moved comments and formatters.

datatrove does the rest (buckets, clusters, removal); only the shingles are ours. A shingle is a
run of tokens without what a formatter may change: comments, layout, quotes, string prefixes,
escapes, parentheses, commas, semicolons, the spelling of numbers. In it a name counts as the
distance back to its last use inside the run. So consistent renaming changes nothing, yet the flow
of data is kept: with names merely blanked out, unrelated code would look alike.
"""

import builtins
import keyword
import re
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import xxhash
from datatrove.data import DocumentsPipeline
from datatrove.io import DataFolderLike
from datatrove.pipeline.dedup import MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.utils.hashing import HashConfig
from datatrove.utils.word_tokenizers import WhitespaceTokenizer

SHINGLE_TOKENS = 8
# Included with probability 1 - (1 - s^8)^14 at similarity s: .36 at .65, .92 at .8, .9996 at .9.
# In the standard library planted near duplicates lie above .8, different files below .66.
MINHASH = MinhashConfig(
    n_grams=SHINGLE_TOKENS,
    num_buckets=14,
    hashes_per_bucket=8,
    hash_config=HashConfig(precision=64, hash_fc="xxhash"),
)

# None in quotes of one character begins behind a backslash; see `phi1_jax.corpus.fingerprints`.
_STRING = (
    r"[rbufRBUF]{0,2}(?:"
    r'"""[\s\S]*?(?:"""|\Z)|' + r"'''[\s\S]*?(?:'''|\Z)|"
    r'(?<!\\)"(?:\\[\s\S]|[^"\\\n])*"|' + r"(?<!\\)'(?:\\[\s\S]|[^'\\\n])*')"
)
# Strings with nothing but layout between them are one string.
_STRINGS = rf"{_STRING}(?:(?:[\s\\]|#[^\n]*\n)*{_STRING})*"
_PART = re.compile(rf"#[^\n]*|({_STRING})")
# A name with the parenthesis after it is told apart: of builtins only calls are never renamed.
_TOKEN = re.compile(rf"#[^\n]*|{_STRINGS}|(?:\.\s*)?[^\W\d]\w*(?:[ \t]*\()?|\d[\w.]*|[^\s\w(),;\\]")
_WORD = re.compile(r"\w+|[^\w\s]")
_REPLACED = re.compile(r"\{([^{}]*)\}")
_ESCAPE = re.compile(
    r"\\(?:x([\da-fA-F]{2})|u([\da-fA-F]{4})|U([\da-fA-F]{8})|([0-7]{1,3})|([\s\S]))"
)
_ESCAPED = dict(zip("abfnrtv", "\a\b\f\n\r\t\v", strict=True)) | {"\n": ""}
_KEYWORDS = frozenset(keyword.kwlist)
_BUILTINS = frozenset(dir(builtins))
_NAME, _ATTRIBUTE = 1, 2
_MIX = np.uint64(0x9E3779B97F4A7C15)
_MIX_DISTANCE = np.uint64(0xD6E8FEB86659FD93)


def code_tokens(text: str) -> tuple[list[int], list[int]]:
    """Hashes of the tokens, and for each name how many tokens ago it last occurred (else 0).

    Strings and docstrings count word by word, so that an edit in one stays a small edit.

    Returns:
      Two lists of the same length; a hash is below 2**64.
    """
    hashes: list[int] = []
    distances: list[int] = []
    last: dict[str, int] = {}
    known: dict[str, list[tuple[str, int]]] = {}
    for token in _TOKEN.findall(text):
        found = known.get(token)
        if found is None:
            found = known[token] = _read_token(token)
        for name, code in found:
            if name:
                here = len(hashes)
                distances.append(here - last.get(name, here))
                last[name] = here
            else:
                distances.append(0)
            hashes.append(code)
    return hashes, distances


def _read_token(token: str) -> list[tuple[str, int]]:
    """(name, `_NAME` or `_ATTRIBUTE`) or ("", hash) pairs: for a string one a word, else one."""
    if token[0] == "#":
        return []
    if token[-1] in "\"'" and len(token) > 1:
        return _read_string(token)
    # Attributes count apart from variables, since renaming one does not rename the other.
    name = token.rstrip("( \t")
    if name[0] == "." and len(name) > 1:
        return [("." + name[1:].lstrip(), _ATTRIBUTE)]
    if name.isidentifier() and name not in _KEYWORDS:
        if not (token[-1] == "(" and name in _BUILTINS):
            return [(name, _NAME)]
    elif name[0].isdigit():
        name = _plain_number(name)
    return [("", _digest(name))]


def _read_string(token: str) -> list[tuple[str, int]]:
    # Text and code in turn, as an f-string has them.
    parts = [""]
    for string in filter(None, _PART.findall(token)):
        start = min(i for i in (string.find("'"), string.find('"')) if i >= 0)
        prefix, quotes = string[:start].lower(), string[start] * 3
        n = 3 if string.startswith(quotes, start) else 1
        content = string[start + n : -n]
        if "\\" in content and "r" not in prefix:
            content = _ESCAPE.sub(_unescape, content)
        found = _REPLACED.split(content) if "f" in prefix else [content]
        parts[-1] += found[0]
        parts += found[1:]
    result = []
    for i, part in enumerate(parts):
        for word in (_TOKEN if i % 2 else _WORD).findall(part):
            result += _read_token(word) if i % 2 else [("", _digest(word))]
    return result


def _digest(word: str) -> int:
    # Escapes may name half surrogates.
    return xxhash.xxh64_intdigest(word.encode("utf-8", "surrogatepass"))


def _unescape(match: re.Match[str]) -> str:
    if digits := match[1] or match[2] or match[3]:
        return chr(min(int(digits, 16), 0x10FFFF))
    return chr(int(match[4], 8)) if match[4] else _ESCAPED.get(match[5], match[5])


def _plain_number(text: str) -> str:
    """One spelling of a number: 0xFF is 255, 1_000 is 1000, 1.50 is 1.5."""
    with suppress(ValueError):
        return str(int(text, 0))
    with suppress(ValueError):
        return str(float(text))
    return text.lower()


def shingles(text: str, prose: bool = False) -> np.ndarray:
    """The distinct hashed shingles of a text, uint64[n]; a short text is one shingle."""
    if prose:
        hashes = [_digest(word) for word in _WORD.findall(text.lower())]
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

    def __init__(self, output_folder: DataFolderLike) -> None:
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
