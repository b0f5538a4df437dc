"""Completions of prompts: batches in, texts out.

Rows of a fixed batch are refilled as completions end: prompts are read in order of length, n
samples share one reading of their prompt, and all rows then decode a chunk of tokens at a time.
"""

import functools
import hashlib
import operator
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import jax
import numpy as np
from jax.sharding import Mesh

from phi1_jax.config import ModelConfig
from phi1_jax.errors import UserError
from phi1_jax.generate.batch import Batch, Row
from phi1_jax.generate.decoder import Spec
from phi1_jax.generate.sampling import stream_key
from phi1_jax.generate.settings import Sampling
from phi1_jax.generate.stopping import FinishReason, find_end, printable
from phi1_jax.interop.opened import OpenModel
from phi1_jax.model.decoding import decoding_weights
from phi1_jax.model.phi import Phi
from phi1_jax.model.sharding import mesh_of, param_shardings, platform_of
from phi1_jax.tokens.tokenizer import Tokenizer, check_texts, check_vocabulary

Overflow = Literal["error", "left"]


@dataclass(frozen=True)
class Completion:
    """One continuation of a prompt."""

    text: str  # ends before the stop string
    token_ids: list[int]  # as generated: with the end-of-text token, or those of the stop string
    logprobs: list[float]  # of each token under the model itself, at temperature 1, unfiltered
    finish_reason: FinishReason


class Progress(NamedTuple):
    """A completion after one more chunk of tokens."""

    prompt: int  # index into the prompts
    sample: int
    text: str  # so far; later texts begin with it
    n_tokens: int  # of the row that belong to it so far
    completion: Completion | None  # when it has ended


class Generator:
    """A model and its tokenizer, ready to complete prompts."""

    def __init__(
        self, model_config: ModelConfig, params: Any, tokenizer: Tokenizer, chunk_tokens: int = 32
    ) -> None:
        """Args:
        params: nested dict as in a checkpoint; on a mesh, rows of a batch are spread over its
          data-parallel axes and heads over `tensor`.
        chunk_tokens: tokens decoded between two looks at the result.

        Raises:
          UserError: the tokenizer has more pieces than the model.
        """
        check_vocabulary(tokenizer, model_config.vocab_size)
        self.config = model_config
        self.tokenizer = tokenizer
        self.chunk_tokens = chunk_tokens
        self.mesh = mesh_of(params)
        self._spec = Spec(model_config, platform_of(params), self.mesh, tokenizer.vocab_size)
        self._weights = decoding_weights(model_config, params)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Changes when the weights do: a hash of those that this process holds."""
        made = hashlib.sha256()
        for leaf in jax.tree.leaves(self._weights):
            for shard in leaf.addressable_shards:
                if shard.replica_id == 0:
                    made.update(np.ascontiguousarray(shard.data).tobytes())
        return made.hexdigest()

    @classmethod
    def from_checkpoint(
        cls,
        place: Path | str,
        step: int | None = None,
        mesh: Mesh | None = None,
        chunk_tokens: int = 32,
    ) -> "Generator":
        """Loads a run, RUN@STEP, or a Hugging Face folder.

        Args:
          step: which checkpoint of the run; None is the newest.
          mesh: where to put the weights; None is the first device.
        Raises:
          UserError: no model or tokenizer there, no such step, or a damaged one.
        """
        opened = OpenModel(place, step)
        config, tokenizer = opened.config, opened.tokenizer
        shardings = None if mesh is None else param_shardings(mesh, Phi.skeleton(config)[1])
        return cls(config, opened.params(shardings), tokenizer, chunk_tokens)

    def generate(
        self,
        prompts: Sequence[str],
        *,
        max_new_tokens: int,
        n_samples: int = 1,
        seed: int = 0,
        stop: Sequence[str] = (),
        batch_size: int = 64,
        on_overflow: Overflow = "error",
        **sampling: Any,
    ) -> list[list[Completion]]:
        """Completes every prompt `n_samples` times; results do not depend on the batch.

        Args:
          max_new_tokens: where a completion ends at the latest.
          seed: the same seed, prompt and sample number give the same sample.
          stop: strings before which a completion ends, exact across token boundaries.
          batch_size: completions that are decoded at the same time.
          on_overflow: with "left", a prompt is cut from the left wherever it and `max_new_tokens`
            together exceed the model's context, so that they fit. With "error", its completion
            ends (`length`) where the context does, and a prompt that leaves no room is an error.
          sampling: fields of `Sampling`, such as `temperature=0.2`; greedy without any.
        Returns:
          A list per prompt, in order, of its samples.
        Raises:
          UserError: a value out of range, or a prompt that is too long; names it.
        """
        prompts = prompts if isinstance(prompts, str) else list(prompts)
        results: list[dict[int, Completion]] = [{} for _ in prompts]
        for progress in self.stream(
            prompts,
            Sampling(**sampling),
            max_new_tokens=max_new_tokens,
            n_samples=n_samples,
            seed=seed,
            stop=stop,
            batch_size=batch_size,
            on_overflow=on_overflow,
        ):
            if progress.completion is not None:
                results[progress.prompt][progress.sample] = progress.completion
        return [[samples[i] for i in range(n_samples)] for samples in results]

    def stream(
        self,
        prompts: Sequence[str],
        sampling: Sampling,
        *,
        max_new_tokens: int,
        n_samples: int = 1,
        seed: int = 0,
        stop: Sequence[str] = (),
        batch_size: int = 64,
        on_overflow: Overflow = "error",
    ) -> Iterator[Progress]:
        """`generate` as it goes on: every completion after every chunk of its tokens.

        What is wrong with the arguments is raised here, before the first of them.
        """
        max_new_tokens = operator.index(max_new_tokens)  # NumPy's integers count no bits
        prompts, stop = (x if isinstance(x, str) else list(x) for x in (prompts, stop))
        sizes = {"max_new_tokens": max_new_tokens, "n_samples": n_samples, "batch_size": batch_size}
        for name, number in sizes.items():
            if number < 1:
                raise UserError(f"{name}={number} must be at least 1")
        if n_samples > 1 and sampling.temperature == 0:
            raise UserError(
                f"n_samples={n_samples} with temperature=0 gives the same text {n_samples} times;"
                " set a temperature above 0"
            )
        if isinstance(stop, str) or not all(isinstance(text, str) and text for text in stop):
            raise UserError(f"stop={stop!r} must be a list of strings, none of them empty")
        if on_overflow not in get_args(Overflow):
            raise UserError(f"on_overflow={on_overflow!r} must be error or left")
        check_texts(prompts, "prompt")
        context = self.config.max_seq_len
        if on_overflow == "left" and max_new_tokens >= context:
            raise UserError(
                f"max_new_tokens={max_new_tokens} does not fit the model's context of {context}"
                f" with a prompt before it: at most {context - 1} do"
            )
        rows = []
        for index, ids in enumerate(self.tokenizer.encode_batch(prompts)):
            # A document begins after an end of text, so that is what an empty prompt is.
            ids = ids or [self.tokenizer.eot_id]
            if on_overflow == "left":
                ids = ids[max(0, len(ids) + max_new_tokens - context) :]
            elif len(ids) >= context:
                raise UserError(
                    f"prompt {index} has {len(ids)} tokens, which leaves no room in the model's"
                    f" context of {context}; shorten it, or cut it from the left:"
                    f" --on_overflow=left, with --max_new_tokens below {context} (in Python,"
                    " the arguments of these names)"
                )
            limit = min(max_new_tokens, context - len(ids))
            for sample in range(n_samples):
                key = stream_key(seed, ids, sample)
                rows.append(Row(index, sample, ids, limit, key, sampling, stop))
        rows.sort(key=lambda row: len(row.prompt_ids))
        # Chunks of one size, so that none is decoded in vain.
        steps = -(-max_new_tokens // -(-max_new_tokens // self.chunk_tokens))
        return self._run(Batch(self._spec, self._weights, deque(rows), batch_size, steps))

    def _run(self, batch: Batch) -> Iterator[Progress]:
        while found := self.advance(batch):
            yield from (progress for _, progress in found)

    def open_batch(self, max_rows: int) -> Batch:
        """An empty batch, to whose `waiting` rows are added while others decode (see `advance`)."""
        return Batch(self._spec, self._weights, deque(), max_rows, self.chunk_tokens, is_open=True)

    def advance(self, batch: Batch) -> list[tuple[Row, Progress]]:
        """Lets waiting rows in, decodes a chunk of tokens, and frees the rows that have ended.

        Returns:
          Every row of the batch and how far it is; empty when all are done.
        """
        found: list[tuple[Row, Progress]] = []
        if not batch.refill():
            return found
        if any(row and row.limit for row in batch.rows):
            batch.decode()
        for index, row in enumerate(batch.rows):
            if row is None:
                continue
            checked = max(0, len(row.ids) - batch.steps)
            end = find_end(self.tokenizer, row.ids, checked, row.limit, row.stop)
            done = None
            if end is None:
                text, n_tokens = printable(self.tokenizer.decode(row.ids), row.stop), len(row.ids)
            else:
                batch.retire(index)
                text, n_tokens, reason = end
                done = Completion(text, row.ids[:n_tokens], row.logprobs[:n_tokens], reason)
            found.append((row, Progress(row.prompt, row.sample, text, n_tokens, done)))
        return found
