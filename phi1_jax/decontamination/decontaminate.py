"""Takes out of a corpus whatever gives a benchmark problem away, and shows what is left near it.

Section 5 of the paper: the exercises near a HumanEval problem go, the model is trained on the rest,
and HumanEval is split into the problems that had something similar and those that had not. What
counts as near is in `comparison`; the paper states results for several match rates of syntax
trees, so several may be asked for at once.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from phi1_jax.corpus.documents import Document, read_documents
from phi1_jax.corpus.parallel import ordered_map
from phi1_jax.corpus.problems import Problem, read_problems
from phi1_jax.corpus.records import Skip, open_records, read_records, write_records
from phi1_jax.decontamination.contamination import (
    ROUNDING,
    WHOLE_WORDS,
    Comparison,
    Findings,
    Rules,
)
from phi1_jax.errors import UserError
from phi1_jax.files import write_json

SPLITS = "splits.json"
# Texts -> float32[texts, d], each row of length 1.
Embed = Callable[[Sequence[str]], np.ndarray]
_CHUNK = 1000
_Chunk = tuple[list[Document], np.ndarray | None]


class Nearest:
    """For each problem and measure the nearest document: of all, and of those left at each tau."""

    def __init__(self, comparison: Comparison) -> None:
        self.measures = comparison.measures
        shape = (1 + len(comparison.rules.taus), len(self.measures), len(comparison.problems))
        self.similarity = np.zeros(shape)
        self.documents = np.full(self.similarity.shape, None, object)

    def note(self, documents: Sequence[Document], found: Findings) -> None:
        for place in np.argwhere(found.nearest > self.similarity):
            where = tuple(place)
            self.similarity[where] = found.nearest[where]
            self.documents[where] = documents[found.rows[where]]

    def describe(self, level: int, problem: int) -> dict[str, dict[str, Any]]:
        """Measure -> similarity (of embeddings also the distance), document and text."""
        result = {}
        for index, measure in enumerate(self.measures):
            similarity = float(self.similarity[level, index, problem])
            document = self.documents[level, index, problem]
            result[measure] = {
                "similarity": round(similarity, 4),
                **({"distance": _distance(similarity)} if measure == "embedding" else {}),
                "document": document.id if document else None,
                "text": document.text[:4000] if document else "",
            }
        return result


def decontaminate(
    corpora: Sequence[Path],
    benchmark: Path,
    output: Path,
    rules: Rules,
    *,
    problems: Sequence[Problem] | None = None,
    embed: Embed | None = None,
    workers: int = 1,
    columns: Mapping[str, str] | None = None,
    skip: Skip | None = None,
) -> dict[str, Any]:
    """Writes each corpus without its leaks, what was dropped, and what is nearest to each problem.

    OUTPUT gets one file a corpus under its own name (with several taus: in a folder for each,
    `tau_0.95`), `dropped.jsonl.zst` (with reason, task_ids and the first tau at which it goes),
    `nearest.jsonl` (a row a problem) and `splits.json`, the problems with and without a similar
    document at each tau. Every file written is read again: it holds the documents that were found
    clean at its tau, those only, and whole.

    Args:
      problems: those of `benchmark`, if it is not in HumanEval's format: a prompt may then be a
        docstring of the module and the solution a whole program.
      embed: gives the embeddings; without it that measure is left out.
      workers: processes.
      columns, skip: see `read_documents`.
    Raises:
      UserError: two corpora of the same name, or a corpus that is nothing but leaks.
    """
    names = [corpus.name.split(".")[0] for corpus in corpora]
    if repeated := [name for name, n in Counter(names).items() if n > 1]:
        raise UserError(f"--corpus: two are called {repeated[0]}; give them different names")
    if rules.max_distance is not None and embed is None:
        raise UserError("--max_distance: needs embeddings; name a model with --embedder")
    problems = problems or read_problems(benchmark)
    programs = [problem.prompt + problem.canonical_solution for problem in problems]
    comparison = Comparison(problems, rules, embed(programs) if embed else None)
    folders = [output / f"tau_{tau}" if len(rules.taus) > 1 else output for tau in rules.taus]
    nearest = Nearest(comparison)
    found_clean: dict[Path, str] = {}
    n_in: dict[str, int] = {}
    n_out = [dict.fromkeys(names, 0) for _ in rules.taus]
    reasons: list[Counter[str]] = [Counter() for _ in rules.taus]
    caught_by: Counter[str] = Counter()
    with open_records(output / "dropped.jsonl.zst") as drop:
        for corpus, name in zip(corpora, names, strict=True):
            n_in[name] = 0
            with ExitStack() as stack:
                keep = [
                    stack.enter_context(open_records(folder / f"{name}.jsonl.zst"))
                    for folder in folders
                ]
                clean = [hashlib.sha256() for _ in folders]
                chunks = _chunks(corpus, f"decontaminate {corpus.name}", embed, columns, skip)
                for (documents, _), found in ordered_map(_compare, comparison, chunks, workers):
                    nearest.note(documents, found)
                    n_in[name] += len(documents)
                    for row, document in enumerate(documents):
                        leak = found.leaks.get(row)
                        goes_at = leak.level if leak else len(rules.taus)
                        line = _line(vars(document))
                        for level in range(goes_at):
                            keep[level](vars(document))
                            clean[level].update(line)
                            n_out[level][name] += 1
                        if leak is None:
                            continue
                        for level in range(goes_at, len(rules.taus)):
                            reasons[level][leak.reason] += 1
                        caught_by.update(leak.task_ids.keys())
                        about = {
                            "reason": leak.reason,
                            "task_ids": leak.task_ids,
                            "tau": rules.taus[leak.level],
                            "match_rate": leak.match_rate,
                        }
                        metadata = {**document.metadata, "leak": about}
                        drop({**vars(document), "metadata": metadata})
            for folder, digest in zip(folders, clean, strict=True):
                found_clean[folder / f"{name}.jsonl.zst"] = digest.hexdigest()
            for tau, counts in zip(rules.taus, n_out, strict=True):
                if not counts[name]:
                    raise UserError(
                        f"{corpus}: at tau={tau} every document gives a benchmark problem away"
                    )
    written = ordered_map(_digest_of_file, None, found_clean, workers)
    if damaged := [str(path) for path, digest in written if digest != found_clean[path]]:
        raise RuntimeError(
            f"{damaged[0]}: does not hold what was found clean; a fault of the disk?"
        )
    write_records(output / "nearest.jsonl", _describe(problems, rules, nearest))
    splits = _split(problems, rules, nearest)
    write_json(output / SPLITS, {"benchmark": str(benchmark), **splits})
    return {
        "in": n_in,
        "out": n_out[0] if len(rules.taus) == 1 else _by_tau(rules, n_out),
        "dropped": dict(reasons[-1].most_common()),
        "dropped_by_tau": _by_tau(rules, [dict(counts) for counts in reasons]),
        "caught_by": dict(caught_by),
        "rules": {**vars(rules), "whole_words": WHOLE_WORDS, "embedding": embed is not None},
        "n_problems": len(problems),
        "n_similar": {str(s["tau"]): len(s["similar"]) for s in splits["splits"]},
        "nearest": {
            measure: _summarise(nearest.similarity[1, index])
            for index, measure in enumerate(nearest.measures)
        },
        "nearest_per_problem": {
            problem.task_id: {
                measure: [near["similarity"], near["document"]]
                for measure, near in nearest.describe(1, index).items()
            }
            for index, problem in enumerate(problems)
        },
    }


def _compare(comparison: Comparison, chunk: _Chunk) -> Findings:
    return comparison.compare(*chunk)


def _chunks(
    corpus: Path,
    description: str,
    embed: Embed | None,
    columns: Mapping[str, str] | None,
    skip: Skip | None,
) -> Iterator[_Chunk]:
    documents = read_documents(corpus, columns=columns, skip=skip)
    documents = iter(tqdm(documents, desc=description, unit="doc"))
    while chunk := list(islice(documents, _CHUNK)):
        yield chunk, embed([document.text for document in chunk]) if embed else None


def _line(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, ensure_ascii=False).encode()


def _digest_of_file(_: None, path: Path) -> str:
    digest = hashlib.sha256()
    for record in read_records(path):
        digest.update(_line(record))
    return digest.hexdigest()


def _split(problems: Sequence[Problem], rules: Rules, nearest: Nearest) -> dict[str, Any]:
    """The paper's Table 3: which problems have a similar document in the corpora, at each tau."""
    of_all = dict(zip(nearest.measures, nearest.similarity[0], strict=True))
    close = of_all.get("embedding", np.zeros(len(problems))) >= rules.min_cosine
    splits = []
    for tau in rules.taus:
        similar = (of_all["ast"] >= tau - ROUNDING) | close
        pairs = list(zip(problems, similar, strict=True))
        splits.append(
            {
                "tau": tau,
                "similar": [problem.task_id for problem, is_similar in pairs if is_similar],
                "non_similar": [problem.task_id for problem, is_similar in pairs if not is_similar],
            }
        )
    measure = "ast" if rules.max_distance is None else f"ast or embedding <= {rules.max_distance}"
    return {"measure": measure, "splits": splits}


def _describe(
    problems: Sequence[Problem], rules: Rules, nearest: Nearest
) -> Iterator[dict[str, Any]]:
    """One row a problem, with the text of its nearest documents, for people to read."""
    for index, problem in enumerate(problems):
        yield {
            "task_id": problem.task_id,
            "composition": list(problem.composition),
            "problem": problem.prompt + problem.canonical_solution,
            "nearest": nearest.describe(0, index),
            "left": {
                str(tau): nearest.describe(level, index)
                for level, tau in enumerate(rules.taus, start=1)
            },
        }


def _by_tau(rules: Rules, values: Sequence[Any]) -> dict[str, Any]:
    return {str(tau): value for tau, value in zip(rules.taus, values, strict=True)}


def _distance(cosine: float) -> float:
    return round(float(np.sqrt(max(2 - 2 * cosine, 0))), 4)


def _summarise(similarities: np.ndarray) -> dict[str, float]:
    return {
        "mean": round(float(similarities.mean()), 4),
        "median": round(float(np.median(similarities)), 4),
        "max": round(float(similarities.max()), 4),
    }
