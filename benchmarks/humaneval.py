"""HumanEval's prompts completed as an evaluation completes them; nothing is executed."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import baseline
from benchmarks.decode import Numbers, random_params
from benchmarks.report import OURS, Options, Row, compare, roofline_rows
from benchmarks.timing import rooflines, take_turns
from phi1_jax.config import RunConfig
from phi1_jax.errors import UserError
from phi1_jax.evaluate.benchmarks import read_benchmark
from phi1_jax.generate.generator import Generator
from phi1_jax.model.phi import compute_dtype
from phi1_jax.tokens.sentencepiece_bpe import train_tokenizer


def measure(
    config: RunConfig,
    options: Options,
    problems: Path,
    checkpoint: Path | None,
    new_tokens: int,
    n_samples: int,
    n_sampled: int,
) -> Iterator[Row]:
    """All prompts greedily as one batch; then `n_samples` of each of the first `n_sampled`.

    Without a checkpoint the model is random, of `config`'s size, and the prompts are the ids of a
    tokenizer trained on them, cut from the left so that `new_tokens` have room: every completion of
    either side has that many.

    Raises:
      UserError: no prompt has room.
    """
    prompts = [task.prompt for task in read_benchmark("humaneval", problems).tasks]
    ways = None
    rows: list[list[int]] = []
    if checkpoint is not None:
        generator = Generator.from_checkpoint(checkpoint)
    else:
        room = config.model.max_seq_len - new_tokens
        if room < 1:
            raise UserError(
                f"--new_tokens={new_tokens} must be below"
                f" model.max_seq_len={config.model.max_seq_len}"
            )
        tokenizer = train_tokenizer(prompts, min(2000, config.model.vocab_size))
        rows = [ids[-room:] for ids in tokenizer.encode_batch(prompts)]
        numbers = Numbers(config.model.vocab_size)
        prompts = [numbers.decode(ids) for ids in rows]
        params = random_params(config)
        generator = Generator(config.model, params, numbers)
        if options.baseline:
            ways = baseline.decoders(config.model, params, options.modes, options.attentions)

    def run(prompts: list[str], **settings: Any) -> list[list[int]]:
        found = generator.generate(
            prompts, max_new_tokens=new_tokens, on_overflow="left", seed=0, **settings
        )
        return [c.token_ids for samples in found for c in samples]

    case = f"{len(prompts)} prompts, greedy, one batch"
    variants: dict[str, Callable[[], Any]] = {OURS: lambda: run(prompts, batch_size=len(prompts))}
    n_tokens = {OURS: sum(map(len, variants[OURS]()))}
    values: dict[str, dict[str, Any]] = {OURS: {}}
    if ways:
        check = baseline.same_tokens(config.model, np.array(variants[OURS]()))
        fastest, found = yield from baseline.select_fastest(case, ways(rows, new_tokens), check)
        variants |= fastest
        n_tokens |= {name: len(rows) * new_tokens for name in fastest}
        values |= {name: dict(found) for name in fastest}
    timings = take_turns(variants, max(2, options.calls // 10), block=1, warm=False)
    for name, timing in timings.items():
        values[name]["tokens_per_s"] = n_tokens[name] / timing.median_s
    yield from compare(case, timings, values)

    some = prompts[:n_sampled]
    start = time.perf_counter()
    done = sum(map(len, run(some, n_samples=n_samples, temperature=0.8, batch_size=256)))
    seconds = time.perf_counter() - start
    case = f"{len(some)} prompts x {n_samples} samples"
    yield Row(case, OURS, seconds, values={"tokens_per_s": done / seconds, "with": "compilation"})
    yield from roofline_rows(rooflines(compute_dtype(generator.config)))
