"""Evaluators for the training loop: bits per byte and pass@1 as curves, completions as text."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from phi1_jax.config import ModelConfig, RunConfig
from phi1_jax.errors import UserError
from phi1_jax.evaluate import bits_per_byte
from phi1_jax.evaluate.benchmarks import Benchmark
from phi1_jax.evaluate.evaluate import BITS_PER_BYTE, METRICS, PASS_AT_K
from phi1_jax.evaluate.executor import TestExecutor
from phi1_jax.evaluate.samples import SamplingPlan
from phi1_jax.evaluate.saved import BITS, RESULTS, read_rows
from phi1_jax.evaluate.scoring import evaluate_model
from phi1_jax.generate.generator import Generator
from phi1_jax.sandbox import Limits, open_sandbox
from phi1_jax.tokens.load import load_tokenizer
from phi1_jax.tokens.tokenizer import Tokenizer, check_texts

# Called with the step and the parameters.
Evaluator = Callable[[int, Any], dict[str, float | str]]

_SHOWN = 5  # problems whose completions are shown


@contextmanager
def open_evaluators(
    config: RunConfig,
    run_dir: Path,
    benchmark: Benchmark | None = None,
    metrics: Sequence[str] = METRICS,
    prompts: Sequence[str] = (),
    max_new_tokens: int | None = None,
    batch_size: int = SamplingPlan.batch_size,
) -> Iterator[dict[str, Evaluator]]:
    """What is looked at every `eval_every_steps` of a run: its evaluators, by name.

    Enter it before JAX starts its threads: the sandbox forks.

    Args:
      metrics: of the benchmark, as in `EvaluationConfig`; pass_at_k runs code of the model.
      prompts: whose completions are shown.
      max_new_tokens: of completions; None takes evaluate.py's, or half the context if that is less.
      batch_size: completions drawn at once.
    Raises:
      UserError: something is missing, too long, or has the name of other curves.
    """
    if not benchmark and not prompts:
        yield {}
        return
    check_texts(prompts, "prompt")
    if not config.eval_every_steps:
        raise UserError("config field eval_every_steps=0: say how often, --config.eval_every_steps")
    if not config.data.tokenizer:
        raise UserError("--tokenizer is missing: completions are drawn with it")
    tokenizer = load_tokenizer(Path(config.data.tokenizer))
    context = config.model.max_seq_len
    # Longer ones would take the context from the prompts, which are cut from the left.
    longest = max_new_tokens or min(SamplingPlan.max_new_tokens, max(1, context // 2))
    if longest >= context:
        raise UserError(
            f"--eval_max_new_tokens={longest}: the model's context of {context} must hold a"
            " prompt, too"
        )
    evaluators: dict[str, Evaluator] = {}
    with ExitStack() as stack:
        if benchmark:
            name = Path(benchmark.name).stem  # of its curves
            if name in ("samples", "validation", "train"):
                raise UserError(
                    f"--eval_benchmark={benchmark.name}: its curves would be {name}/..., as others"
                    " of the run are; rename the file"
                )
            if BITS_PER_BYTE in metrics:
                bits_per_byte.check_solutions(benchmark)
            executor = None
            if PASS_AT_K in metrics:
                sandbox = stack.enter_context(open_sandbox(Limits(), os.cpu_count() or 1))
                executor = TestExecutor(sandbox)
                print(f"sandbox: {sandbox.backend}; {sandbox.limits}")
                checked = executor.self_check(benchmark)
                print(f"the test executor on {benchmark.name}: {checked}", flush=True)
            plan = SamplingPlan(max_new_tokens=longest, batch_size=batch_size, on_overflow="left")
            evaluators[name] = benchmark_evaluator(
                benchmark, executor, config.model, tokenizer, run_dir, plan, metrics
            )
        if prompts:
            evaluators["samples"] = samples_evaluator(prompts, config.model, tokenizer, longest)
        yield evaluators


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
      executor: for pass_at_k; without it there are no completions either.
    """

    def evaluate(step: int, params: Any) -> dict[str, float | str]:
        output = run_dir / "evaluate" / benchmark.name / str(step)
        shutil.rmtree(output, ignore_errors=True)  # of a run that was killed and came back
        points: dict[str, float | str] = {}
        if BITS_PER_BYTE in metrics:
            output.mkdir(parents=True)
            results = bits_per_byte.solution_bits(benchmark, model, params, tokenizer)
            bits_per_byte.write_results(output / BITS, results)
            points[BITS_PER_BYTE] = bits_per_byte.summarize(results)["value"]
        if executor is None:
            return points
        generator = Generator(model, params, tokenizer)
        summary = evaluate_model(generator, benchmark, executor, output, plan, model=f"step {step}")
        prompts = {task.task_id: task.prompt for task in benchmark.tasks}
        parts = []
        for row in islice(read_rows(output / RESULTS), _SHOWN):
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
