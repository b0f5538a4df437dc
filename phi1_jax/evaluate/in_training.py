"""Evaluators for the training loop: bits per byte and pass@1 as curves, completions as text."""

import shutil
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from phi1_jax.config import ModelConfig
from phi1_jax.evaluate.benchmarks import Benchmark
from phi1_jax.evaluate.bits_per_byte import solution_bits, summarize, write_results
from phi1_jax.evaluate.evaluate import BITS_PER_BYTE, METRICS, PASS_AT_K
from phi1_jax.evaluate.executor import TestExecutor
from phi1_jax.evaluate.samples import SamplingPlan
from phi1_jax.evaluate.saved import read_rows
from phi1_jax.evaluate.scoring import evaluate_model
from phi1_jax.generate.generator import Generator
from phi1_jax.tokens.tokenizer import Tokenizer

# Called with the step and the parameters.
Evaluator = Callable[[int, Any], dict[str, float | str]]

_SHOWN = 5  # problems whose completions are shown


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
    """`completions`: the most likely continuation of each prompt, as Markdown."""

    def evaluate(step: int, params: Any) -> dict[str, float | str]:
        del step
        generator = Generator(model, params, tokenizer)
        found = generator.generate(prompts, max_new_tokens=max_new_tokens)
        texts = [prompt + each.text for prompt, (each,) in zip(prompts, found, strict=True)]
        return {"completions": "\n".join(map(_code, texts))}

    return evaluate


def _code(text: str) -> str:
    """Indented, since a model may write any fence itself."""
    return "\n".join(f"    {line}" for line in text.splitlines()) + "\n"
