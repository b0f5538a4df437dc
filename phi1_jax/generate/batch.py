"""The rows that decode together: filled with prompts, refilled as completions end."""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from phi1_jax.generate.decoder import Spec, State, decode, empty_state, insert, prefill, resize
from phi1_jax.generate.sampling import History, SamplerInput, Sampling

# Tokens in one prefill: bounds its activations for any batch.
_PREFILL_TOKENS = 16_384


@dataclass(eq=False)
class Row:
    """A completion on its way."""

    prompt: int  # index into the caller's prompts
    sample: int
    prompt_ids: list[int]
    limit: int  # tokens at which it ends for length
    key: np.ndarray  # uint32[2], its stream of random numbers
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)

    @property
    def length(self) -> int:
        return len(self.prompt_ids) + len(self.ids)


class Batch:
    """Decodes a queue of rows, a fixed number at a time.

    Prompts are read into a state of their own, a quarter of the batch at once and ahead of need;
    their samples move into the batch as rows become free. So each prompt is read once, and few
    shapes are compiled: the numbers of rows stay, and slots grow by buckets.
    """

    def __init__(
        self, spec: Spec, weights: Any, waiting: deque[Row], max_rows: int, steps: int
    ) -> None:
        """Args:
        weights: as `decoding_weights` makes them.
        waiting: rows to decode, best in order of length; samples of a prompt stand together.
        steps: tokens to decode between two calls of `retire`.
        """
        self._spec, self._weights, self._waiting, self._steps = spec, weights, waiting, steps
        n_rows = self._fit(min(max_rows, _few_sizes(len(waiting))))
        n_prompts = _few_sizes(len({row.prompt for row in waiting}))
        self._prompts_at_once = self._fit(min(-(-n_rows // 4), n_prompts))
        self.rows: list[Row | None] = [None] * n_rows
        self._state: State | None = None
        self._slots = 0
        self._read: tuple[list[int], State] | None = None  # prompts, some read ahead

    def refill(self) -> bool:
        """Lets waiting rows in where a quarter of the batch is free; False when all is done."""
        free = deque(index for index, row in enumerate(self.rows) if row is None)
        n_entering = min(len(free), len(self._waiting)) if 4 * len(free) >= len(self.rows) else 0
        entering = [self._waiting.popleft() for _ in range(n_entering)]
        live = [row for row in (*self.rows, *entering) if row]
        if not live:
            return False
        slots = max(self._slots, bucket(max(row.length for row in live) + self._steps))
        if self._state is None:
            self._state = empty_state(self._spec, len(self.rows), slots)
        elif slots > self._slots:
            self._state = resize(self._spec, slots, self._state)
        self._slots = slots
        while entering:
            prompts, new = self._prefill(entering)
            from_b = np.full(len(self.rows), -1, np.int32)
            while entering and entering[0].prompt in prompts:
                row, index = entering.pop(0), free.popleft()
                from_b[index], self.rows[index] = prompts.index(row.prompt), row
            self._state = insert(self._spec, self._state, new, from_b)
        if self._read and not (self._waiting and self._waiting[0].prompt in self._read[0]):
            self._read = None  # frees its memory
        return True

    def decode(self, sampling: Sampling) -> None:
        """Adds `steps` tokens to every row; what lies past a row's end is for `retire` to drop."""
        assert self._state is not None
        given = SamplerInput(
            np.stack([row.key if row else np.zeros(2, np.uint32) for row in self.rows]),
            np.array([len(row.ids) if row else 0 for row in self.rows], np.int32),
            np.array([row.length if row else 0 for row in self.rows], np.int32),
            self._history(sampling),
            sampling.numbers,
        )
        self._state, tokens_bn, logprobs_bn = decode(
            self._spec, sampling.rule, self._steps, self._weights, self._state, given
        )
        tokens_bn, logprobs_bn = np.asarray(tokens_bn), np.asarray(logprobs_bn)
        for row, ids, logprobs in zip(self.rows, tokens_bn, logprobs_bn, strict=True):
            if row:
                row.ids += ids.tolist()
                row.logprobs += logprobs.tolist()

    def retire(self, index: int) -> None:
        """Frees a row."""
        self.rows[index] = None

    def _prefill(self, entering: list[Row]) -> tuple[list[int], State]:
        """The prompts read last, if the first entering row is of them; else reads the next ones."""
        if self._read and entering[0].prompt in self._read[0]:
            return self._read
        ahead = {row.prompt: row.prompt_ids for row in (*entering, *self._waiting)}
        distinct = list(ahead.items())[: self._prompts_at_once]
        longest = max(len(ids) for _, ids in distinct)
        slots = min(bucket(longest), self._spec.config.max_seq_len)
        count = min(self._prompts_at_once, self._fit(max(1, _PREFILL_TOKENS // slots)))
        tokens_bt, lengths_b = np.zeros((count, slots), np.int32), np.ones(count, np.int32)
        for index, (_, ids) in enumerate(distinct[:count]):
            tokens_bt[index, : len(ids)], lengths_b[index] = ids, len(ids)
        new = prefill(self._spec, self._weights, tokens_bt, lengths_b)
        self._read = [prompt for prompt, _ in distinct[:count]], new
        return self._read

    def _history(self, sampling: Sampling) -> History:
        """What the rule asks about the rows' tokens."""
        rule, shape = sampling.rule, (len(self.rows), self._spec.config.vocab_size)
        history = History(
            np.zeros(shape, bool) if rule.penalised else None,
            np.zeros(shape, np.int32) if rule.counted else None,
            np.zeros((len(self.rows), self._slots), np.int32) if rule.ngram else None,
        )
        for index, row in enumerate(self.rows):
            if row and rule.penalised:
                history.seen_bv[index, row.prompt_ids + row.ids] = True
            if row and rule.counted:
                np.add.at(history.counts_bv[index], row.ids, 1)
            if row and rule.ngram:
                history.tokens_bs[index, : row.length] = row.prompt_ids + row.ids
        return history

    def _fit(self, rows: int) -> int:
        """Rows that the data-parallel axes of the mesh share evenly."""
        mesh = self._spec.mesh
        shares = mesh.shape["data"] * mesh.shape["fsdp"] if mesh else 1
        return -(-rows // shares) * shares


def bucket(tokens: int) -> int:
    """Cache slots for so many tokens: few different numbers, and little to attend to in vain."""
    size = 128 if tokens <= 512 else 256
    return -(-tokens // size) * size


def _few_sizes(n: int) -> int:
    """The first of 1, 4, 16, 64, ... that is at least n."""
    size = 1
    while size < n:
        size *= 4
    return size
