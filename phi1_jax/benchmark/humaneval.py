"""HumanEval from prompt to text, as an evaluation generates it; nothing is executed."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from phi1_jax.benchmark import peer
from phi1_jax.benchmark.decode import random_params
from phi1_jax.benchmark.report import OURS, Options, Row, compare
from phi1_jax.benchmark.timing import take_turns
from phi1_jax.config import RunConfig
from phi1_jax.data.tokenizer import train_tokenizer
from phi1_jax.evaluate.benchmarks import read_benchmark
from phi1_jax.generate.generator import Generator


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

    Without a checkpoint the model is random, of `config`'s size, with a tokenizer trained on the
    prompts: then no completion ends early. Prompts that leave no room are cut from the left.
    """
    prompts = [task.prompt for task in read_benchmark("humaneval", problems).tasks]
    if checkpoint is not None:
        generator = Generator.from_checkpoint(checkpoint)
    else:
        tokenizer = train_tokenizer(prompts, min(2000, config.model.vocab_size))
        generator = Generator(config.model, random_params(config), tokenizer)

    def run(prompts: list[str], **settings: Any) -> int:
        found = generator.generate(
            prompts, max_new_tokens=new_tokens, on_overflow="left", seed=0, **settings
        )
        return sum(len(c.token_ids) for samples in found for c in samples)

    contenders: dict[str, Callable[[], int]] = {OURS: lambda: run(prompts, batch_size=len(prompts))}
    if options.peer and checkpoint is None:
        context = config.model.max_seq_len - new_tokens
        rows = [ids[-context:] for ids in generator.tokenizer.encode_batch(prompts)]
        theirs = peer.batch_decoder(config.model, random_params(config))
        contenders["torch eager, dynamic cache"] = lambda: theirs(rows, new_tokens)
    timings = take_turns(contenders, max(2, options.calls // 10), block=1, warm=False)
    n_tokens = contenders[OURS]()
    values = {name: {"tokens_per_s": n_tokens / t.median_s} for name, t in timings.items()}
    yield from compare(f"{len(prompts)} prompts, greedy, one batch", timings, values)

    some = prompts[:n_sampled]
    start = time.perf_counter()
    n_tokens = run(some, n_samples=n_samples, temperature=0.8, batch_size=256)
    seconds = time.perf_counter() - start
    yield Row(
        f"{len(some)} prompts x {n_samples} samples",
        OURS,
        seconds,
        values={"tokens_per_s": n_tokens / seconds, "with": "compilation"},
    )
