"""The rows that decode together: filled with prompts, refilled as completions end."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from phi1_jax.generate.decoder import Spec, State, decode, empty_state, insert, prefill
from phi1_jax.generate.sampling import History, SamplerInput, numbers_of
from phi1_jax.generate.score import TokenScores
from phi1_jax.generate.settings import Rule, Sampling

# Tokens in one prefill: bounds its activations for any batch.
_PREFILL_TOKENS = 16_384
N_TOP = 5  # tokens that are named in the place of each, for rows that ask


@dataclass(eq=False)
class Row:
    """A completion on its way."""

    prompt: int  # index into the caller's prompts
    sample: int
    prompt_ids: list[int]
    limit: int  # tokens at which it ends for length; 0 only reads the prompt
    key: np.ndarray  # uint32[2], its stream of random numbers
    sampling: Sampling
    stop: Sequence[str]
    names_top: bool = False  # keep the N_TOP likeliest tokens beside each
    scores_prompt: bool = False  # keep the scores of the prompt's tokens
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    top: list[list[tuple[int, float]]] = field(default_factory=list)
    prompt_scores: TokenScores | None = None  # as arrays without b

    @property
    def length(self) -> int:
        return len(self.prompt_ids) + len(self.ids)


class Batch:
    """Decodes a queue of rows, a fixed number at a time.

    Prompts are read into a state of their own, a quarter of the batch at once and ahead of need;
    their samples move into the batch as rows become free. So each prompt is read once, and few
    shapes are compiled: the numbers of rows stay, and slots grow by buckets.

    An open batch takes rows while others decode: they enter at once, a prompt at a time, so that
    none waits for another's. It has as many slots as its rows now need, and on the CPU, where the
    time of a step depends on it, as many rows.
    """

    def __init__(
        self,
        spec: Spec,
        weights: Any,
        waiting: deque[Row],
        max_rows: int,
        steps: int,
        is_open: bool = False,
    ) -> None:
        """Args:
        weights: as `decoding_weights` makes them.
        waiting: rows to decode, best in order of length; samples of a prompt stand together.
        steps: tokens to decode between two calls of `retire`.
        is_open: rows are added to `waiting` between two calls of `refill`.
        """
        self._spec, self._weights, self.waiting, self.steps = spec, weights, waiting, steps
        self._max_rows, self._is_open = max_rows, is_open
        n_rows = self._n_rows(len(waiting))
        n_prompts = _few_sizes(len({row.prompt for row in waiting}))
        self._prompts_at_once = self._fit(min(-(-n_rows // 4), n_prompts))
        self.rows: list[Row | None] = [None] * n_rows
        self._state: State | None = None
        self._slots = 0
        # Prompts, some read ahead.
        self._read: tuple[list[int], State, TokenScores | None] | None = None

    def refill(self) -> bool:
        """Lets waiting rows in where a quarter of the batch is free; False when all is done."""
        if self._is_open:
            self._reshape(self._n_rows(len(self.waiting) + sum(map(bool, self.rows))), self._slots)
        n_free = self.rows.count(None)
        lets_in = self._is_open or 4 * n_free >= len(self.rows)
        n_entering = min(n_free, len(self.waiting)) if lets_in else 0
        entering = [self.waiting.popleft() for _ in range(n_entering)]
        live = [row for row in (*self.rows, *entering) if row]
        if not live:
            return False
        slots = self._bucket(max(row.length for row in live) + self.steps)
        self._reshape(len(self.rows), slots if self._is_open else max(slots, self._slots))
        # Only now: a batch of another shape has its rows in other places.
        free = deque(index for index, row in enumerate(self.rows) if row is None)
        while entering:
            prompts, new, scores = self._prefill(entering)
            from_b = np.full(len(self.rows), -1, np.int32)
            while entering and entering[0].prompt in prompts:
                row, index = entering.pop(0), free.popleft()
                at = prompts.index(row.prompt)
                from_b[index], self.rows[index] = at, row
                if row.scores_prompt and scores:
                    n = len(row.prompt_ids) - 1
                    row.prompt_scores = TokenScores(*(np.asarray(x[at, :n]) for x in scores))
            self._state = insert(self._spec, self._state, new, from_b)
        if self._read and not (self.waiting and self.waiting[0].prompt in self._read[0]):
            self._read = None  # frees its memory
        return True

    def decode(self) -> None:
        """Adds `steps` tokens to every row; what lies past a row's end is for `retire` to drop."""
        live = [row for row in self.rows if row]
        rule = Rule(*map(max, zip(*(row.sampling.rule for row in live), strict=True)))
        given = SamplerInput(
            np.stack([row.key if row else np.zeros(2, np.uint32) for row in self.rows]),
            np.array([len(row.ids) if row else 0 for row in self.rows], np.int32),
            np.array([row.length if row else 0 for row in self.rows], np.int32),
            self._history(rule),
            numbers_of([row.sampling if row else Sampling() for row in self.rows]),
        )
        n_top = min(N_TOP, self._spec.n_ids) if any(row.names_top for row in live) else 0
        self._state, tokens_bn, scores = decode(
            self._spec, rule, self.steps, self._weights, self._state, given, n_top
        )
        tokens_bn, scores = np.asarray(tokens_bn), TokenScores(*map(np.asarray, scores))
        for row, tokens_n, *its_scores in zip(self.rows, tokens_bn, *scores, strict=True):
            if row:
                logprobs_n, top_ids_nk, top_nk = its_scores
                row.ids += tokens_n.tolist()
                row.logprobs += logprobs_n.tolist()
                if row.names_top:
                    row.top += named(top_ids_nk, top_nk)

    def retire(self, index: int) -> None:
        """Frees a row."""
        self.rows[index] = None

    def _reshape(self, n_rows: int, slots: int) -> None:
        """Moves the live rows into a state of other rows and slots."""
        if self._state and (n_rows, slots) == (len(self.rows), self._slots):
            return
        state = empty_state(self._spec, n_rows, slots) if slots else None
        kept = [index for index, row in enumerate(self.rows) if row]
        if self._state and kept:
            from_b = np.full(n_rows, -1, np.int32)
            from_b[: len(kept)] = kept
            state = insert(self._spec, state, self._state, from_b)
        self.rows = [self.rows[index] for index in kept] + [None] * (n_rows - len(kept))
        self._state, self._slots = state, slots

    def _prefill(self, entering: list[Row]) -> tuple[list[int], State, TokenScores | None]:
        """The prompts read last, if the first entering row is of them; else reads the next ones."""
        if self._read and entering[0].prompt in self._read[0]:
            return self._read
        ahead = {row.prompt: row for row in (*entering, *self.waiting)}
        distinct = list(ahead.values())[: self._prompts_at_once]
        longest = max(len(row.prompt_ids) for row in distinct)
        slots = min(self._bucket(longest), self._spec.config.max_seq_len)
        count = min(self._prompts_at_once, self._fit(max(1, _PREFILL_TOKENS // slots)))
        tokens_bt, lengths_b = np.zeros((count, slots), np.int32), np.ones(count, np.int32)
        for index, row in enumerate(distinct[:count]):
            ids = row.prompt_ids
            tokens_bt[index, : len(ids)], lengths_b[index] = ids, len(ids)
        scored = any(row.scores_prompt for row in distinct[:count])
        n_top = min(N_TOP, self._spec.n_ids) if scored else 0
        read = prefill(self._spec, self._weights, tokens_bt, lengths_b, n_top)
        self._read = [row.prompt for row in distinct[:count]], *read
        return self._read

    def _history(self, rule: Rule) -> History:
        """What the rule asks about the rows' tokens."""
        shape = (len(self.rows), self._spec.config.vocab_size)
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

    def _n_rows(self, n_wanted: int) -> int:
        """The batch's size for so many completions."""
        n_rows = min(self._max_rows, _few_sizes(n_wanted))
        if self._spec.platform != "cpu":
            # At least two: XLA's GPU program for a matmul of one row writes all products to memory.
            # An empty row costs nothing, since `flash_decoding` reads no cache for it.
            n_rows = max(2, self._max_rows if self._is_open else n_rows)
        return self._fit(n_rows)

    def _bucket(self, tokens: int) -> int:
        """Cache slots for so many tokens; fewer sizes in an open batch, whose slots also shrink."""
        if not self._is_open:
            return bucket(tokens)
        most = bucket(self._spec.config.max_seq_len + self.steps)
        return min(128 << ((tokens - 1) // 128).bit_length(), most)


def named(ids_nk: np.ndarray, logprobs_nk: np.ndarray) -> list[list[tuple[int, float]]]:
    """The likeliest tokens in each place, with their log-probabilities."""
    rows = zip(ids_nk.tolist(), logprobs_nk.tolist(), strict=True)
    return [list(zip(*row, strict=True)) for row in rows]


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
