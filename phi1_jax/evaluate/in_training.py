"""Evaluators for the training loop: pass@1 as a curve, completions as text."""

import shutil
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from phi1_jax.config import ModelConfig
from phi1_jax.evaluate.benchmarks import Benchmark
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
    executor: TestExecutor,
    model: ModelConfig,
    tokenizer: Tokenizer,
    run: Path,
    plan: SamplingPlan,
) -> Evaluator:
    """`pass@1`, and `samples`: the first problems with completions and verdicts, as Markdown.

    What `launch/evaluate.py` writes lies in RUN/evaluate/BENCHMARK/STEP, so that every point of the
    curve can be looked into.
    """

    def evaluate(step: int, params: Any) -> dict[str, float | str]:
        output = run / "evaluate" / benchmark.name / str(step)
        shutil.rmtree(output, ignore_errors=True)  # of a run that was killed and came back
        generator = Generator(model, params, tokenizer)
        summary = evaluate_model(generator, benchmark, executor, output, plan, model=f"step {step}")
        prompts = {task.task_id: task.prompt for task in benchmark.tasks}
        parts = []
        for row in islice(read_rows(output / "results.jsonl"), _SHOWN):
            code = _code(prompts[row["task_id"]] + row["completion"])
            parts.append(f"## {row['task_id']}: {row['verdict']}\n\n{code}")
        # Without a verdict on any problem there is no point on the curve.
        points = {f"pass@{k}": found["value"] for k, found in summary["pass_at_k"].items()}
        if summary["n_not_judged"]:  # the sandbox failed; they are not in pass@k
            points["not_judged"] = float(summary["n_not_judged"])
        return {**points, "samples": "\n".join(parts)}

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
