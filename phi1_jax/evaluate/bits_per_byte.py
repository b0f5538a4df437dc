"""Bits per byte of reference solutions: how well a model predicts right programs, none executed.

pass@k says nothing of a model that solves no problem; this measure moves from the first step of
training on, needs no sandbox, and has a narrow interval. Lower is better.

`solution_bits_per_byte` of a benchmark is the bits of all its reference solutions, given their
prompts, over the UTF-8 bytes of all solutions. A solution's bits are the sum of -log2 p over its
tokens:

- Prompt and solution are encoded together, and the first token that counts is the first in which
  this encoding differs from that of the prompt alone (the two may share a token at the seam).
  Bytes, unlike tokens, do not depend on the tokenizer, so models with different ones compare.
- What is longer than the model's context is cut from the left (`n_cut` says how often). A solution
  that is itself longer is read in pieces, from its end backwards, so that each of its tokens counts
  once (`n_in_pieces`).
- Without a prompt the model reads the end-of-text token, as a document's beginning does.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from phi1_jax.corpus.records import read_records, write_records
from phi1_jax.errors import UserError
from phi1_jax.evaluate.benchmarks import Benchmark
from phi1_jax.evaluate.pass_at_k import bootstrap_interval
from phi1_jax.tokens.tokenizer import Tokenizer, check_vocabulary


@dataclass(frozen=True)
class SolutionBits:
    """What one reference solution takes."""

    task_id: str
    bits: float
    n_bytes: int
    n_tokens: int
    n_cut: int  # tokens by which prompt and solution exceed the context
    n_pieces: int  # rows in which it was read; above 1 if it is longer than the context


def solution_bits(
    benchmark: Benchmark, config: Any, params: Any, tokenizer: Tokenizer, batch_size: int = 32
) -> list[SolutionBits]:
    """The bits of each task's reference solution given its prompt, in the benchmark's order.

    Args:
      config: a `ModelConfig`.
      params: its parameters, as in a checkpoint.
      batch_size: rows scored at once.
    Raises:
      UserError: see `check_solutions`; or the tokenizer has more pieces than the model.
    """
    from phi1_jax.generate.score import token_logprobs

    check_solutions(benchmark)
    check_vocabulary(tokenizer, config.vocab_size)
    context = config.max_seq_len
    pieces = []  # (task, ids, index of the first that counts)
    sizes = []
    for at, task in enumerate(benchmark.tasks):
        ids, first = encode_solution(tokenizer, task.prompt, task.solution)
        rows = cut_rows(len(ids), first, context)
        pieces += [(at, ids[start:end], counted - start) for start, counted, end in rows]
        sizes.append((len(ids) - first, max(0, len(ids) - context), len(rows)))
    logprobs = token_logprobs(config, params, [ids for _, ids, _ in pieces], batch_size)
    nats = [0.0] * len(benchmark.tasks)
    for (at, _, first), row in zip(pieces, logprobs, strict=True):
        nats[at] -= float(np.sum(row[first - 1 :], dtype=np.float64))
    return [
        SolutionBits(task.task_id, nats[at] / math.log(2), len(task.solution.encode()), *sizes[at])
        for at, task in enumerate(benchmark.tasks)
    ]


def check_solutions(benchmark: Benchmark) -> None:
    """Refuses what cannot be measured.

    Raises:
      UserError: a task without a reference solution, or with one that begins as its prompt does.
    """
    for task in benchmark.tasks:
        if not task.solution:
            raise UserError(
                f"{benchmark.name}: {task.task_id} has no reference solution to measure"
            )
        head = re.compile(rf"^(?:async )?def {re.escape(task.entry_point)}\b", re.M)
        if head.search(task.prefix) and head.search(task.solution):  # a copy of the prompt is cheap
            raise UserError(
                f"{benchmark.name}: the reference solution of {task.task_id} defines"
                f" {task.entry_point} again, as its prompt does: give what follows the prompt alone"
            )


def encode_solution(tokenizer: Tokenizer, prompt: str, solution: str) -> tuple[list[int], int]:
    """The ids of prompt and solution together, and the index of the first that is not the prompt's.

    There is always one before it.
    """
    alone, together = tokenizer.encode_batch([prompt, prompt + solution])
    first = 0
    while first < min(len(alone), len(together)) and alone[first] == together[first]:
        first += 1
    return (together, first) if first else ([tokenizer.eot_id, *together], 1)


def cut_rows(n_tokens: int, first: int, context: int) -> list[tuple[int, int, int]]:
    """The rows in which tokens `first` to `n_tokens - 1` are scored, the last row first.

    Returns:
      (start, first counted, end) of each; a row has at most `context` tokens and shows at least one
      before those that count.
    """
    rows: list[tuple[int, int, int]] = []
    end = n_tokens
    while not rows or end > first:
        start = max(0, end - context)
        counted = max(first, start + 1)
        rows.append((start, counted, end))
        end = counted
    return rows


def summarize(results: Sequence[SolutionBits]) -> dict[str, Any]:
    """The measure with its 95% interval (bootstrap over problems), and what the context cut.

    Returns:
      value, low, high: bits per byte; n_tasks; n_bytes and n_tokens of the solutions; n_cut:
      problems that did not fit the context; n_in_pieces: those whose solution alone did not.
    """
    bits, sizes = [r.bits for r in results], [r.n_bytes for r in results]
    low, high = bootstrap_interval(bits, sizes)
    return {
        "value": sum(bits) / sum(sizes),
        "low": low,
        "high": high,
        "n_tasks": len(results),
        "n_bytes": sum(sizes),
        "n_tokens": sum(r.n_tokens for r in results),
        "n_cut": sum(r.n_cut > 0 for r in results),
        "n_in_pieces": sum(r.n_pieces > 1 for r in results),
    }


def paired_differences(models: Mapping[str, Sequence[SolutionBits]]) -> list[dict[str, Any]]:
    """By how much each later model differs from each earlier one on the same problems.

    The interval is a bootstrap over problems that are drawn for both models together, which is
    narrower than the two models' own intervals: most of their spread is the problems', and shared.

    Returns:
      For each pair: model, baseline, difference (model - baseline, bits per byte; negative is
      better), low, high.
    Raises:
      ValueError: the models were measured on different problems.
    """
    found = []
    names = list(models)
    for at, name in enumerate(names):
        for other in names[:at]:
            new, old = models[name], models[other]
            if [(r.task_id, r.n_bytes) for r in new] != [(r.task_id, r.n_bytes) for r in old]:
                raise ValueError(f"{name} and {other} were measured on different problems")
            change = [a.bits - b.bits for a, b in zip(new, old, strict=True)]
            sizes = [r.n_bytes for r in new]
            low, high = bootstrap_interval(change, sizes)
            row = {"model": name, "baseline": other, "difference": sum(change) / sum(sizes)}
            found.append({**row, "low": low, "high": high})
    return found


def write_results(path: Path, results: Sequence[SolutionBits]) -> None:
    """One JSON line a problem, with its own `bits_per_byte` beside the fields."""
    write_records(path, ({**asdict(r), "bits_per_byte": r.bits / r.n_bytes} for r in results))


def read_results(path: Path) -> list[SolutionBits]:
    """What `write_results` wrote.

    Raises:
      UserError: the file is not there, or damaged.
    """
    found = []
    for number, row in enumerate(read_records(path), start=1):
        row.pop("bits_per_byte", None)
        try:
            made = SolutionBits(**row)
            if made.n_bytes < 1 or not math.isfinite(made.bits):
                raise ValueError("no measure")
        except (TypeError, ValueError) as error:
            raise UserError(
                f"{path}, line {number} is damaged: {error}; delete the file to measure again"
            ) from None
        found.append(made)
    return found
