"""Times synthesis, decontamination and tokenization on this machine.

Example: python launch/benchmark_data.py --n_exercises=1050000
         python launch/benchmark_data.py --problems=HumanEval.jsonl.gz --mean_chars=650
         python launch/benchmark_data.py --mb=40

With --n_exercises: the offline teacher's whole catalog, written and parsed, not executed, and how
many of the exercises are distinct. With --problems: --n_documents against the problems, through the
whole of launch/decontaminate.py at four taus; the offline teacher's exercises, unverified, as many
joined as give documents of --mean_chars (one exercise has about 300), each --repeats times (a
document costs the same whether or not another is like it). With --mb: so much of the running
interpreter's library through launch/tokenize_corpus.py, beside sentencepiece's bare encode. Seconds
of processor time are of one process, so that other programs do not count; seconds of wall time are
with --workers.
"""

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any

import _environment
from absl import flags

from phi1_jax.cli import script
from phi1_jax.corpus.documents import Document
from phi1_jax.errors import UserError

N_EXERCISES = flags.DEFINE_integer("n_exercises", None, "Exercises to write.", 1)
PROBLEMS = flags.DEFINE_string("problems", None, "File to compare with: HumanEval.jsonl.gz.")
N_DOCUMENTS = flags.DEFINE_integer("n_documents", 880_000, "Exercises to compare.", 1000)
REPEATS = flags.DEFINE_integer("repeats", 10, "Times that each exercise occurs.", 1)
MEAN_CHARS = flags.DEFINE_integer("mean_chars", 0, "Of the documents; 0: an exercise each.", 0)
MB = flags.DEFINE_float("mb", None, "MB of code to tokenize.", 1)
VOCAB_SIZE = flags.DEFINE_integer("vocab_size", 8192, "Pieces of the tokenizer.", 300)
WORKERS = flags.DEFINE_integer("workers", os.cpu_count(), "Processes.", 1)
N_TIMED = 4000  # exercises that processor time is measured on


def main() -> None:
    if not (N_EXERCISES.value or PROBLEMS.value or MB.value):
        raise UserError("give --n_exercises, --problems or --mb, what to time; see --help")
    if PROBLEMS.value and not Path(PROBLEMS.value).is_file():
        raise UserError(f"--problems={PROBLEMS.value}: no such file")
    with tempfile.TemporaryDirectory() as folder:
        if N_EXERCISES.value:
            print(json.dumps(time_synthesis(N_EXERCISES.value), indent=1))
        if PROBLEMS.value:
            print(json.dumps(time_decontamination(Path(folder), Path(PROBLEMS.value)), indent=1))
        if MB.value:
            print(json.dumps(time_tokenization(Path(folder)), indent=1))


def time_synthesis(n: int) -> dict[str, Any]:
    from tqdm import tqdm

    seen: set[bytes] = set()

    def work() -> None:
        for document in tqdm(write_exercises(n), "exercises", n, mininterval=1):
            seen.add(hashlib.sha256(document.text.encode()).digest())

    _, cpu, wall = timed(work)
    return {
        "exercises": n,
        "distinct": len(seen),
        "wall_seconds": round(wall, 1),
        "per_cpu_second": round(n / cpu),
    }


def time_decontamination(folder: Path, problems: Path) -> dict[str, Any]:
    from phi1_jax.corpus.documents import write_documents
    from phi1_jax.decontamination.contamination import Rules
    from phi1_jax.decontamination.decontaminate import decontaminate
    from phi1_jax.evaluate.benchmarks import read_for_comparison

    found = read_for_comparison(str(problems))
    distinct = list(islice(joined(MEAN_CHARS.value), N_DOCUMENTS.value // REPEATS.value))
    write_documents(folder / "all.jsonl.zst", chain.from_iterable(repeat(distinct, REPEATS.value)))
    some = distinct[:N_TIMED]
    write_documents(folder / "some.jsonl.zst", some)
    rules = Rules(taus=(0.95, 0.9, 0.85, 0.8))

    def work(corpus: str, workers: int) -> dict[str, Any]:
        output = folder / f"out_{corpus}"
        return decontaminate(
            [folder / f"{corpus}.jsonl.zst"], found, output, rules, workers=workers
        )

    work("some", 1)
    _, cpu, _ = timed(lambda: work("some", 1))
    report, _, wall = timed(lambda: work("all", WORKERS.value))
    return {
        "documents": report["in"]["all"],
        "distinct": len({document.text for document in distinct}),
        "mean_chars": round(sum(len(d.text) for d in distinct) / len(distinct)),
        "problems": report["n_problems"],
        "left": report["out"],
        "workers": WORKERS.value,
        "wall_seconds": round(wall, 1),
        "cpu_ms_per_document": round(cpu / len(some) * 1e3, 3),
        "cpu_minutes_for_880k": round(cpu / len(some) * 880_000 / 60, 1),
    }


def joined(mean_chars: int) -> Iterator[Document]:
    """Exercises one after the other, cut into documents where their mean reaches `mean_chars`."""
    parts: list[str] = []
    n_chars = n_documents = 0
    for exercise in write_exercises(1 << 40):
        parts.append(exercise.text)
        n_chars += len(exercise.text) + 2 * (len(parts) > 1)
        if n_chars >= mean_chars * (n_documents + 1):
            n_documents += 1
            yield Document(str(n_documents), "\n\n".join(parts), "exercises")
            parts = []


def write_exercises(n: int) -> Iterator[Document]:
    from phi1_jax.synthesis.exercises import parse_exercise, to_document
    from phi1_jax.synthesis.offline_teacher import OfflineTeacher, plan_exercises
    from phi1_jax.synthesis.replies import ReplyError

    for reply in OfflineTeacher().replies(plan_exercises(n, 0)):
        try:
            yield to_document(parse_exercise(reply.text, reply.metadata))
        except ReplyError:
            continue


def time_tokenization(folder: Path) -> dict[str, Any]:
    from phi1_jax.curation.sources import Source, read_source
    from phi1_jax.tokens.sentencepiece_bpe import sample_texts, train_tokenizer
    from phi1_jax.tokens.shards import write_shards

    documents, size = [], 0
    for document in read_source(Source("stdlib"), lambda name, reason: None):
        documents.append(document)
        size += len(document.text.encode())
        if size >= MB.value * 1e6:
            break
    tokenizer = train_tokenizer(sample_texts(documents, 2_000_000), VOCAB_SIZE.value)
    size /= 1e6
    some = documents[::10]
    some_size = sum(len(document.text.encode()) for document in some) / 1e6

    def work(chosen: list[Document], workers: int) -> Any:
        return write_shards(chosen, tokenizer, folder / "shards", workers=workers)

    rates: dict[str, list[float]] = {"bare": [], "stage": []}
    for _ in range(3):
        _, cpu, _ = timed(lambda: [tokenizer.encode(document.text) for document in some])
        rates["bare"].append(some_size / cpu)
        _, cpu, _ = timed(lambda: work(some, 1))
        rates["stage"].append(some_size / cpu)
    manifest, _, wall = timed(lambda: work(documents, WORKERS.value))
    return {
        "mb": round(size, 1),
        "pieces": tokenizer.vocab_size,
        "bytes_per_token": {k: v["bytes_per_token"] for k, v in manifest["sources"].items()},
        "bare_encode_mb_per_s_core": [round(rate, 2) for rate in rates["bare"]],
        "stage_mb_per_s_core": [round(rate, 2) for rate in rates["stage"]],
        "workers": WORKERS.value,
        "wall_mb_per_s": round(size / wall, 2),
    }


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """The result, seconds of processor time in this process, and seconds of wall time."""
    cpu, wall = time.process_time(), time.perf_counter()
    result = work()
    return result, time.process_time() - cpu, time.perf_counter() - wall


if __name__ == "__main__":
    script.run(main)
