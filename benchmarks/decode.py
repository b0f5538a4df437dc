"""Greedy generation from random prompts, end to end: prefill, cache, every token."""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from benchmarks import baseline, llama_cpp
from benchmarks.report import OURS, Options, Row, compare, roofline_rows
from benchmarks.timing import rooflines, take_turns
from phi1_jax.config import ModelConfig, RunConfig
from phi1_jax.errors import UserError
from phi1_jax.generate.generator import Generator
from phi1_jax.generate.score import token_logprobs
from phi1_jax.model.phi import Phi, compute_dtype
from phi1_jax.train.flops import matmul_params

LLAMA_CPP_TIE = 0.001  # nats


class Numbers:
    """A tokenizer whose texts are ids with spaces between; no id ends a text."""

    eot_id, stop_ids, fingerprint = -1, frozenset({-1}), "numbers"

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        return [list(map(int, text.split())) for text in texts]

    def decode(self, ids: Sequence[int]) -> str:
        return " ".join(map(str, ids))


def measure(
    config: RunConfig,
    options: Options,
    batch_sizes: Sequence[int],
    prompt_tokens: int,
    new_tokens: int,
) -> Iterator[Row]:
    """A case for each batch size; both sides get the same ids, and must answer with the same.

    On a CPU llama.cpp is in the final beside the fastest way of torch, if it is installed.

    The floor is the time to read all weights once a token, and each row's cache, at the speed of
    the copy measured in the same run.
    """
    model = config.model
    if prompt_tokens + new_tokens > model.max_seq_len:
        raise UserError(
            f"--prompt_tokens={prompt_tokens} and --new_tokens={new_tokens} must fit into"
            f" model.max_seq_len={model.max_seq_len}"
        )
    params = random_params(config)
    generator = Generator(model, params, Numbers(model.vocab_size))
    ways = None
    if options.baseline:
        ways = baseline.decoders(model, params, options.modes, options.attentions)
    roofline = rooflines(compute_dtype(model))
    for rows in batch_sizes:
        rng = np.random.default_rng(rows)
        prompts = rng.integers(1, model.vocab_size, (rows, prompt_tokens))
        case = f"batch {rows}, {prompt_tokens} + {new_tokens} tokens"
        variants: dict[str, Callable[[], np.ndarray]] = {
            OURS: partial(generate, generator, prompts, new_tokens)
        }
        theirs: dict[str, Mapping[str, Any]] = {}
        if ways:
            want = variants[OURS]()
            fastest, values = yield from baseline.select_fastest(
                case, ways(prompts.tolist(), new_tokens), baseline.same_tokens(model, want)
            )
            variants |= fastest
            theirs = dict.fromkeys(fastest, values)
            asked = options.llama_cpp and llama_cpp.is_installed()
            if asked and jax.default_backend() == "cpu":
                peer = llama(model, params, rows, prompt_tokens + new_tokens)
                call = partial(peer.generate_together, prompts.tolist(), new_tokens)
                theirs[llama_cpp.NAME] = same_but_for_ties(model, params, prompts, want, call())
                variants[llama_cpp.NAME] = call
        timings = take_turns(variants, options.calls, block=2)
        bytes_a_step = _bytes_a_step(config, rows, prompt_tokens + new_tokens)
        floor_s = new_tokens * bytes_a_step / roofline["copy_bytes_per_s"]
        measured = {
            name: {
                "tokens_per_s": rows * new_tokens / timing.median_s,
                "of_bandwidth_floor": floor_s / timing.median_s,
                **theirs.get(name, {}),
            }
            for name, timing in timings.items()
        }
        yield from compare(case, timings, measured)
    yield from roofline_rows(roofline)


def same_but_for_ties(
    model: ModelConfig, params: Any, prompts: np.ndarray, want: np.ndarray, found: np.ndarray
) -> dict[str, float]:
    """The share of llama.cpp's tokens that are ours.

    Its GELU is looked up in a table of half precision, so that between two tokens that are all but
    equally likely it may take the other.

    Raises:
      AssertionError: where a row first differs, ours is likelier by more than LLAMA_CPP_TIE nats.
    """
    for row in np.flatnonzero((found != want).any(axis=1)):
        at = int(np.argmax(found[row] != want[row]))
        before = [*prompts[row].tolist(), *want[row, :at].tolist()]
        rows = [[*before, int(tokens[row, at])] for tokens in (want, found)]
        ours, theirs = (float(scores[-1]) for scores in token_logprobs(model, params, rows))
        if ours - theirs > LLAMA_CPP_TIE:
            raise AssertionError(
                f"{llama_cpp.NAME}: row {row}, token {at}: ours is likelier by {ours - theirs:.4f}"
            )
    return {"same_tokens": float((found == want).mean())}


def llama(model: ModelConfig, params: Any, rows: int, context: int) -> llama_cpp.LlamaCpp:
    """llama.cpp with the same parameters, on the same cores."""
    # On disk, not in a /tmp that may be memory.
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".benchmark-") as folder:
        path = Path(folder, "model.gguf")
        llama_cpp.write_model(path, model, params)
        # It has mapped the file into its memory, or read it, when it answers.
        return llama_cpp.LlamaCpp(path, rows, context, len(os.sched_getaffinity(0)))


def random_params(config: RunConfig) -> Any:
    """The model's initial values."""

    def init() -> Any:
        state = nnx.state(Phi(config.model, nnx.Rngs(params=config.seed)), nnx.Param)
        return nnx.to_pure_dict(state)

    return jax.jit(init)()


def generate(generator: Generator, prompts: np.ndarray, new_tokens: int) -> np.ndarray:
    """int[b, new_tokens], greedily."""
    texts = [" ".join(map(str, row)) for row in prompts.tolist()]
    found = generator.generate(texts, max_new_tokens=new_tokens, batch_size=len(texts))
    return np.array([completion.token_ids for (completion,) in found])


def _bytes_a_step(config: RunConfig, rows: int, context: int) -> float:
    width = compute_dtype(config.model).itemsize
    cache = 2 * config.model.n_layers * config.model.d_model * context
    return width * (matmul_params(config.model) + rows * cache)
