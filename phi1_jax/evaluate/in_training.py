"""Evaluators for the training loop: bits per byte and pass@1 as curves, completions as text."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from phi1_jax.config import ModelConfig, RunConfig
from phi1_jax.errors import UserError
from phi1_jax.evaluate.benchmarks import Benchmark, read_benchmark
from phi1_jax.evaluate.bits_per_byte import solution_bits, summarize, write_results
from phi1_jax.evaluate.evaluate import BITS_PER_BYTE, METRICS, PASS_AT_K, EvaluationConfig
from phi1_jax.evaluate.executor import TestExecutor
from phi1_jax.evaluate.samples import SamplingPlan
from phi1_jax.evaluate.saved import read_rows
from phi1_jax.evaluate.scoring import evaluate_model
from phi1_jax.generate.generator import Generator
from phi1_jax.sandbox import Limits, open_sandbox
from phi1_jax.tokens.load import load_tokenizer
from phi1_jax.tokens.tokenizer import Tokenizer, check_texts

# Called with the step and the parameters.
Evaluator = Callable[[int, Any], dict[str, float | str]]

_SHOWN = 5  # problems whose completions are shown


@dataclass(frozen=True)
class Watched:
    """What is looked at every `eval_every_steps` of a run.

    Attributes:
      benchmark: as `read_benchmark` takes it; None for none.
      problems: the copy of a public benchmark's file.
      prompts: whose completions are shown.
      max_new_tokens: of completions; None takes evaluate.py's, or half the context if that is less.
      batch_size: completions drawn at once.
    """

    benchmark: str | None = None
    problems: Path | None = None
    metrics: Sequence[str] = METRICS
    allow_code_execution: bool = False
    prompts: Sequence[str] = ()
    max_new_tokens: int | None = None
    batch_size: int = 64


@contextmanager
def open_evaluators(
    config: RunConfig, run_dir: Path, watched: Watched
) -> Iterator[dict[str, Evaluator]]:
    """The evaluators of a run, by name; enter it before JAX starts its threads: the sandbox forks.

    Raises:
      UserError: code would be executed without `allow_code_execution`, or something is missing.
    """
    if not watched.benchmark and not watched.prompts:
        yield {}
        return
    check_texts(watched.prompts, "prompt")
    if not config.eval_every_steps:
        raise UserError("config field eval_every_steps=0: say how often, --config.eval_every_steps")
    if not config.data.tokenizer:
        raise UserError("--tokenizer is missing: completions are drawn with it")
    tokenizer = load_tokenizer(Path(config.data.tokenizer))
    # Longer ones would take the context from the prompts, which are cut from the left.
    longest = min(SamplingPlan.max_new_tokens, max(1, config.model.max_seq_len // 2))
    longest = watched.max_new_tokens or longest
    if longest >= config.model.max_seq_len:
        raise UserError(
            f"--eval_max_new_tokens={longest}: the model's context of {config.model.max_seq_len}"
            " must hold a prompt, too"
        )
    evaluators: dict[str, Evaluator] = {}
    with ExitStack() as stack:
        if watched.benchmark:
            benchmark, metrics = _benchmark_of(watched)
            executor = None
            if PASS_AT_K in metrics:
                sandbox = stack.enter_context(open_sandbox(Limits(), os.cpu_count() or 1))
                executor = TestExecutor(sandbox)
                print(f"sandbox: {sandbox.backend}; {sandbox.limits}")
                checked = executor.self_check(benchmark)
                print(f"the test executor on {benchmark.name}: {checked}", flush=True)
            plan = SamplingPlan(
                max_new_tokens=longest, batch_size=watched.batch_size, on_overflow="left"
            )
            evaluators[_curve(benchmark)] = benchmark_evaluator(
                benchmark, executor, config.model, tokenizer, run_dir, plan, metrics
            )
        if watched.prompts:
            evaluators["samples"] = samples_evaluator(
                watched.prompts, config.model, tokenizer, longest
            )
        yield evaluators


def _curve(benchmark: Benchmark) -> str:
    """The name of a benchmark's evaluator, and of its curves.

    Raises:
      UserError: another evaluator or the training itself has it.
    """
    name = Path(benchmark.name).stem
    if name in ("samples", "validation", "train"):
        raise UserError(
            f"--eval_benchmark={benchmark.name}: its curves would be {name}/..., as others of the"
            " run are; rename the file"
        )
    return name


def _benchmark_of(watched: Watched) -> tuple[Benchmark, Sequence[str]]:
    """The problems, and what is measured on them."""
    assert watched.benchmark
    metrics = EvaluationConfig(metrics=tuple(watched.metrics)).metrics
    if PASS_AT_K in metrics and not watched.allow_code_execution:
        raise UserError(
            "--eval_benchmark runs model-written code: agree with --allow_code_execution, or"
            " measure --eval_metrics=solution_bits_per_byte alone"
        )
    if watched.benchmark in ("humaneval", "mbpp") and watched.problems is None:
        raise UserError(
            f"--eval_benchmark={watched.benchmark} needs --eval_problems=FILE, your copy"
        )
    return read_benchmark(watched.benchmark, watched.problems), metrics


def benchmark_evaluator(
    benchmark: Benchmark,
    executor: TestExecutor | None,
    model: ModelConfig,
    tokenizer: Tokenizer,
    run_dir: Path,
    plan: SamplingPlan,
    metrics: Sequence[str] = METRICS,
) -> Evaluator:
    """`solution_bits_per_byte`, `pass@1`, and `samples`: completions with verdicts, as Markdown.

    What `launch/evaluate.py` writes lies in RUN_DIR/evaluate/BENCHMARK/STEP, so that every point of
    a curve can be looked into.

    Args:
      executor: needed for pass_at_k.
    """

    def evaluate(step: int, params: Any) -> dict[str, float | str]:
        output = run_dir / "evaluate" / benchmark.name / str(step)
        shutil.rmtree(output, ignore_errors=True)  # of a run that was killed and came back
        points: dict[str, float | str] = {}
        if BITS_PER_BYTE in metrics:
            output.mkdir(parents=True)
            results = solution_bits(benchmark, model, params, tokenizer)
            write_results(output / "bits_per_byte.jsonl", results)
            points[BITS_PER_BYTE] = summarize(results)["value"]
        if PASS_AT_K not in metrics:
            return points
        assert executor is not None
        generator = Generator(model, params, tokenizer)
        summary = evaluate_model(generator, benchmark, executor, output, plan, model=f"step {step}")
        prompts = {task.task_id: task.prompt for task in benchmark.tasks}
        parts = []
        for row in islice(read_rows(output / "results.jsonl"), _SHOWN):
            code = _code(prompts[row["task_id"]] + row["completion"])
            parts.append(f"## {row['task_id']}: {row['verdict']}\n\n{code}")
        # Without a verdict on any problem there is no point on the curve.
        points |= {f"pass@{k}": found["value"] for k, found in summary["pass_at_k"].items()}
        if summary["n_infra"]:  # the sandbox failed; they are not in pass@k
            points["not_executed"] = float(summary["n_infra"])
        return points | {"samples": "\n".join(parts)}

    return evaluate


def samples_evaluator(
    prompts: Sequence[str], model: ModelConfig, tokenizer: Tokenizer, max_new_tokens: int
) -> Evaluator:
    """`completions`: the most likely continuation of each prompt, as Markdown.

    A prompt that leaves no room in the context is cut from the left.
    """

    def evaluate(step: int, params: Any) -> dict[str, float | str]:
        del step
        generator = Generator(model, params, tokenizer)
        found = generator.generate(prompts, max_new_tokens=max_new_tokens, on_overflow="left")
        texts = [prompt + each.text for prompt, (each,) in zip(prompts, found, strict=True)]
        return {"completions": "\n".join(map(_code, texts))}

    return evaluate


def _code(text: str) -> str:
    """Indented, since a model may write any fence itself."""
    return "\n".join(f"    {line}" for line in text.splitlines()) + "\n"
