"""The rows that decode together: filled with prompts, refilled as completions end."""

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from jax.sharding import Mesh

from phi1_jax.config import ModelConfig
from phi1_jax.generate.decoder import State, begin, bucket, decode, empty_state, pick, put
from phi1_jax.generate.sampling import History, SamplerInput, Sampling
from phi1_jax.model.cache import Weights

# Tokens in one prefill: bounds its activations, whatever the batch.
_PREFILL_TOKENS = 16_384
# Another shape is compiled when it saves at least this many operations each time that it runs.
_WORTH_COMPILING = 3e10


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
    """Decodes a queue of rows, at most `size` at a time.

    Compiled code knows few shapes: rows are `size`, or at the end of a large model's queue the
    power of four that holds what is left; slots grow by buckets.
    """

    def __init__(
        self,
        config: ModelConfig,
        n_ids: int,
        weights: Weights,
        mesh: Mesh | None,
        waiting: deque[Row],
        size: int,
        steps: int,
    ) -> None:
        """Args:
        n_ids: ids from here on are padding of the embedding and are never chosen.
        waiting: rows to decode, best in order of length, samples of a prompt together.
        steps: tokens to decode between two calls of `retire`.
        """
        self.rows: list[Row | None] = []
        self._config, self._n_ids, self._weights, self._mesh = config, n_ids, weights, mesh
        self._waiting, self._steps = waiting, steps
        self._size = self._fit(min(size, power_of_four(len(waiting))))
        self._state: State | None = None
        self._slots = 0
        self._last_read: tuple[list[int], State] | None = None

    def refill(self) -> bool:
        """Lets waiting rows in when a quarter of the batch is free; False when all is done."""
        live = [index for index, row in enumerate(self.rows) if row]
        free = self._size - len(live)
        entering: list[Row] = []
        if free >= self._size // 4 or not live:
            entering = [self._waiting.popleft() for _ in range(min(free, len(self._waiting)))]
        rows = [row for row in self.rows if row] + entering
        if not rows:
            return False
        size = len(self.rows) or self._size
        smaller = self._fit(power_of_four(len(rows)))
        if not self._waiting and self._worth_compiling((size - smaller) * self._steps):
            size = smaller
        slots = max(self._slots, bucket(max(row.length for row in rows) + self._steps))
        if self._state is None:
            self._state = empty_state(self._config, self._mesh, size, slots)
            self.rows = [None] * size
        elif size != len(self.rows) or slots != self._slots:
            from_state = np.zeros(size, np.int32)
            from_state[: len(live)] = live
            self._state = pick(slots, self._mesh, self._state, from_state)
            self.rows = [*(self.rows[i] for i in live), *[None] * (size - len(live))]
        self._slots = slots
        if entering:
            self._enter(entering)
        return True

    def decode(self, sampling: Sampling) -> None:
        """Adds `steps` tokens to every row; what lies past a row's end is for `retire` to drop."""
        assert self._state is not None
        rows = self.rows
        draw = SamplerInput(
            np.stack([row.key if row else np.zeros(2, np.uint32) for row in rows]),
            np.array([len(row.ids) if row else 0 for row in rows], np.int32),
            np.array([row.length if row else 0 for row in rows], np.int32),
            self._past(sampling),
            sampling.numbers,
        )
        self._state, tokens, logprobs = decode(
            self._config,
            self._n_ids,
            self._mesh,
            sampling.rule,
            self._steps,
            self._weights,
            self._state,
            draw,
        )
        for row, ids, values in zip(rows, np.asarray(tokens), np.asarray(logprobs), strict=True):
            if row:
                row.ids += ids.tolist()
                row.logprobs += values.tolist()

    def _past(self, sampling: Sampling) -> History:
        """What the rule asks about the rows' tokens."""
        rule, shape = sampling.rule, (len(self.rows), self._config.vocab_size)
        past = History(
            np.zeros(shape, bool) if rule.penalised else None,
            np.zeros(shape, np.int32) if rule.counted else None,
            np.zeros((len(self.rows), self._slots), np.int32) if rule.ngram else None,
        )
        for index, row in enumerate(self.rows):
            if row and rule.penalised:
                past.seen_bv[index, row.prompt_ids + row.ids] = True
            if row and rule.counted:
                np.add.at(past.counts_bv[index], row.ids, 1)
            if row and rule.ngram:
                past.tokens_bs[index, : row.length] = row.prompt_ids + row.ids
        return past

    def retire(self, index: int) -> None:
        """Frees a row."""
        self.rows[index] = None

    def _enter(self, entering: list[Row]) -> None:
        """Reads the prompts of these rows into places that are free."""
        free = deque(index for index, row in enumerate(self.rows) if row is None)
        while entering:
            prompts, fresh = self._read(entering)
            from_fresh = np.full(len(self.rows), -1, np.int32)
            while entering and entering[0].prompt in prompts:
                row, place = entering.pop(0), free.popleft()
                from_fresh[place] = prompts.index(row.prompt)
                self.rows[place] = row
            assert self._state is not None
            self._state = put(self._mesh, *self._state, fresh, from_fresh)
        if self._last_read and not (
            self._waiting and self._waiting[0].prompt in self._last_read[0]
        ):
            self._last_read = None  # frees its memory

    def _read(self, entering: list[Row]) -> tuple[list[int], State]:
        """Reads the prompts of the first rows, as many as one prefill takes."""
        if self._last_read and entering[0].prompt in self._last_read[0]:
            return self._last_read  # more samples of the prompt that the last prefill ended with
        distinct = list({row.prompt: row.prompt_ids for row in entering}.items())
        slots = bucket(max(len(ids) for _, ids in distinct))
        most = min(self._size, max(1, _PREFILL_TOKENS // slots))
        count = min(power_of_four(len(distinct)), most)
        if not self._worth_compiling((most - count) * slots):
            count = most
        distinct = distinct[:count]
        tokens = np.zeros((count, slots), np.int32)
        lengths = np.ones(count, np.int32)
        for index, (_, ids) in enumerate(distinct):
            tokens[index, : len(ids)] = ids
            lengths[index] = len(ids)
        fresh = begin(self._config, self._n_ids, self._mesh, self._weights, tokens, lengths)
        self._last_read = [prompt for prompt, _ in distinct], fresh
        return self._last_read

    def _worth_compiling(self, tokens_saved: int) -> bool:
        config = self._config
        block = config.d_model * (4 * config.d_model + 2 * config.d_mlp)
        matrices = config.n_layers * block + config.d_model * config.vocab_size
        return 2 * matrices * tokens_saved >= _WORTH_COMPILING

    def _fit(self, rows: int) -> int:
        """Rows that the data-parallel axes of the mesh share evenly."""
        shares = self._mesh.shape["data"] * self._mesh.shape["fsdp"] if self._mesh else 1
        return -(-rows // shares) * shares


def power_of_four(n: int) -> int:
    """The smallest one that is at least n."""
    return 4 ** max(0, ((n - 1).bit_length() + 1) // 2)
