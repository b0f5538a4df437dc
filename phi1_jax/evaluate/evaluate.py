"""Evaluates checkpoints, or samples that exist already, on one benchmark."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from phi1_jax.errors import UserError, did_you_mean
from phi1_jax.evaluate import bits_per_byte, saved
from phi1_jax.evaluate.benchmarks import Benchmark, humaneval
from phi1_jax.evaluate.executor import TestExecutor
from phi1_jax.evaluate.robustness import TRANSFORMATIONS, evaluate_robustness, transform
from phi1_jax.evaluate.samples import SamplingPlan, shown_prompt
from phi1_jax.evaluate.scoring import DEFAULT_KS, Splits, evaluate_model, versions
from phi1_jax.files import read_json_if_whole, write_json
from phi1_jax.interop.opened import OpenModel

PASS_AT_K, BITS_PER_BYTE = "pass_at_k", "solution_bits_per_byte"
METRICS = (PASS_AT_K, BITS_PER_BYTE)


@dataclass(frozen=True)
class EvaluationConfig:
    """What is measured.

    Raises:
      UserError: an unknown metric, or a k below 1.
    """

    # Of pass_at_k, which executes completions, and solution_bits_per_byte, which executes
    # nothing, and needs neither a sandbox nor --allow_code_execution.
    metrics: tuple[str, ...] = METRICS
    # pass@k to report; by default 1, 10 and 100, as far as there are samples.
    k: tuple[int, ...] = ()
    robustness: bool = False  # also ask each problem in other words and report the drop of pass@1
    report_sensitivity: bool = False  # also score the same samples under the other truncations

    def __post_init__(self) -> None:
        for name in self.metrics:
            if name not in METRICS:
                near = did_you_mean(name, METRICS) or f"; give {' or '.join(METRICS)}"
                raise UserError(f"metrics={name}: unknown metric{near}")
        if bad := [k for k in self.k if k < 1]:
            raise UserError(f"k={bad[0]}: must be a whole number above 0")
        if PASS_AT_K not in self.metrics and (self.robustness or self.report_sensitivity):
            raise UserError("--robustness and --report_sensitivity need --metrics=pass_at_k")

    @property
    def ks(self) -> tuple[int, ...]:
        return self.k or DEFAULT_KS


class Checkpoint(OpenModel):
    """A model that loads its weights when first asked, so that a finished run need not.

    Args:
      text: DIR, NAME=DIR or NAME=DIR@STEP; the name of a folder may itself hold = and @.
    Raises:
      UserError: no such folder.
    """

    def __init__(self, text: str) -> None:
        self.name = ""
        super().__init__(text)
        if not self.path.is_dir() and "=" in text:
            self.name, _, place = text.partition("=")
            super().__init__(place)
        if not self.path.is_dir():
            raise UserError(f"--checkpoint={text}: {self.path} is not a folder")
        taken = (".", "..", *saved.DRAWN, *saved.SCORED, *saved.MEASURED)
        if not re.fullmatch(r"[\w.+ -]*", self.name) or self.name in taken:
            raise UserError(
                f"--checkpoint={text}: {self.name!r} names a folder of the output: use letters,"
                " digits and _ . + -, and no name of the files there"
            )

    def refuse_long_prompts(self, benchmark: Benchmark, plan: SamplingPlan) -> None:
        """Raises UserError where the context has no room for prompt and completion."""
        context = self.config.max_seq_len
        if plan.on_overflow == "left":
            if plan.max_new_tokens >= context:
                raise UserError(
                    f"--max_new_tokens={plan.max_new_tokens}: must be below {context}, the context"
                    f" of {self.path}, which holds a prompt, too"
                )
            return
        rows = self.tokenizer.encode_batch([shown_prompt(task, plan) for task in benchmark.tasks])
        for task, ids in zip(benchmark.tasks, rows, strict=True):
            if len(ids) >= context:
                raise UserError(
                    f"{self.path}: the prompt of {task.task_id} in {benchmark.name} has {len(ids)}"
                    f" tokens, which leaves no room in the model's context of {context}: cut it"
                    f" with --on_overflow=left, and --max_new_tokens below {context}"
                )

    @cached_property
    def weights(self) -> Any:
        """The parameters, on all devices."""
        from phi1_jax.run.checkpoint import on_all_devices

        return self.params(on_all_devices())

    @cached_property
    def generator(self) -> Any:
        """A `Generator`, which has its own copy of the weights."""
        from phi1_jax.generate.generator import Generator

        made = Generator(self.config, self.weights, self.tokenizer)
        del self.weights
        return made

    def generate(self, prompts: Sequence[str], **options: Any) -> Any:
        """As `Generator.generate`."""
        return self.generator.generate(prompts, **options)

    def unload(self) -> None:
        """Frees the weights."""
        for name in ("weights", "generator"):
            vars(self).pop(name, None)


def open_checkpoints(
    texts: Sequence[str], benchmark: Benchmark, config: EvaluationConfig, plan: SamplingPlan
) -> list[Checkpoint]:
    """The models to evaluate; what would fail later is refused here.

    Raises:
      UserError: see `Checkpoint`; two of the same name; a prompt that does not fit; or robustness
        of a benchmark in another format than HumanEval's.
    """
    checkpoints = [Checkpoint(text) for text in texts]
    names = [checkpoint.name for checkpoint in checkpoints]
    if len(set(names)) < len(names) or (len(names) > 1 and "" in names):
        raise UserError("several checkpoints need different names: --checkpoint=NAME=DIR")
    drawn = [benchmark] if PASS_AT_K in config.metrics else []
    if config.robustness:
        asked = benchmark.require_problems()
        drawn += [humaneval(transform(asked, name, plan.seed)[0], name) for name in TRANSFORMATIONS]
    for checkpoint in checkpoints:
        assert checkpoint.config and checkpoint.step >= 0  # refuses a folder without a model
        for each in drawn:
            checkpoint.refuse_long_prompts(each, plan)
    return checkpoints


def evaluate_checkpoints(
    checkpoints: Sequence[Checkpoint],
    benchmark: Benchmark,
    output: Path,
    config: EvaluationConfig,
    plan: SamplingPlan,
    *,
    executor: TestExecutor | None = None,
    splits: Splits | None = None,
) -> int:
    """Measures each model, prints its scores and writes them, each model in a folder of its name.

    Of models with names `output/summary.json` gathers the summaries, and `output/differences.json`
    has the paired differences in bits per byte; those of earlier calls stay.

    Args:
      executor: needed for pass_at_k.
    Returns:
      How many samples the sandbox failed on; they are in no score.
    Raises:
      UserError: a folder is that of another evaluation.
    """
    if all(checkpoint.name for checkpoint in checkpoints) and (output / saved.EVALUATED).exists():
        raise UserError(f"--output={output} holds an evaluation itself: name another folder")
    for checkpoint in checkpoints:
        # Its files may be edited in a Hugging Face folder, between two calls.
        tokenizer = checkpoint.tokenizer
        what = {
            "model": checkpoint.identity,
            "tokenizer": saved.sha256(f"{tokenizer.fingerprint} {sorted(tokenizer.stop_ids)}"),
            "benchmark": benchmark.fingerprint,
        }
        saved.claim(output / checkpoint.name, what)
    summaries: dict[str, Any] = {}
    n_infra = 0
    for checkpoint in checkpoints:
        folder, name = output / checkpoint.name, checkpoint.name
        title = name or checkpoint.path.name
        bits = folder / saved.BITS
        if BITS_PER_BYTE in config.metrics and not bits.exists():
            results = bits_per_byte.solution_bits(
                benchmark, checkpoint.config, checkpoint.weights, checkpoint.tokenizer
            )
            bits_per_byte.write_results(bits, results)
        if PASS_AT_K in config.metrics:
            assert executor is not None
            summaries[name] = evaluate_model(
                checkpoint, benchmark, executor, folder, plan, model=checkpoint.identity,
                ks=config.ks, sensitivity=config.report_sensitivity, splits=splits,
            )  # fmt: skip
            n_infra += show(title, summaries[name], config)
        else:
            summaries[name] = read_json_if_whole(folder / saved.SUMMARY) or {
                "benchmark": benchmark.name,
                "n_tasks": len(benchmark.tasks),
                "choices": {
                    "model": checkpoint.identity,
                    "problems": benchmark.fingerprint,
                    "template": benchmark.template,
                },
                "versions": versions(),
            }
        if bits.exists():  # also if an earlier call asked for it
            found = bits_per_byte.summarize(bits_per_byte.read_results(bits))
            summaries[name][BITS_PER_BYTE] = found
            write_json(folder / saved.SUMMARY, summaries[name])
            print(f"{title}: {describe_bits(found)}")
        if config.robustness:
            assert executor is not None
            report = evaluate_robustness(
                checkpoint, benchmark.problems, executor, folder, plan, model=checkpoint.identity
            )
            n_infra += show_drops(report)
        checkpoint.unload()  # one model in memory at a time
    if "" not in summaries:
        _compare(output, summaries, benchmark)
    return n_infra


def _compare(output: Path, summaries: dict[str, Any], benchmark: Benchmark) -> None:
    """Writes and prints what `evaluate_checkpoints` says of models with names."""
    names = read_json_if_whole(output / saved.SUMMARY)
    found = {name: read_json_if_whole(output / name / saved.SUMMARY) for name in names}
    before = {name: summary for name, summary in found.items() if "choices" in summary}
    if before.keys() - summaries.keys():  # else the order of this call is that of the differences
        summaries = before | summaries
    write_json(output / saved.SUMMARY, summaries)
    bits = {
        name: bits_per_byte.read_results(output / name / saved.BITS)
        for name, summary in summaries.items()
        if BITS_PER_BYTE in summary and summary["choices"].get("problems") == benchmark.fingerprint
    }
    differences = bits_per_byte.paired_differences(bits)
    if bits:
        write_json(output / saved.DIFFERENCES, differences)
    for row in differences:
        print(
            f"{row['model']} - {row['baseline']}: {row['difference']:+.3f} bits per byte "
            f"[{row['low']:+.3f}, {row['high']:+.3f}] (paired)"
        )


def describe_bits(found: Mapping[str, Any]) -> str:
    """One line: the measure, its interval, and what did not fit the context."""
    line = f"{found['value']:.3f} bits per byte [{found['low']:.3f}, {found['high']:.3f}]"
    line += f" of {found['n_tasks']} reference solutions"
    if found["n_cut"]:
        line += f"; {found['n_cut']} problems were cut from the left to fit the context"
    if found["n_in_pieces"]:
        line += f", {found['n_in_pieces']} solutions read in pieces"
    return line


def show(name: str, summary: dict[str, Any], config: EvaluationConfig) -> int:
    """Prints the scores; returns the number of samples that are in none of them."""
    missing = summary["n_infra"]
    counts = f"of {summary['n_scored']} problems scored, {count_samples(missing)} not executed"
    for k, found in summary["pass_at_k"].items():
        bound = f" ({found['infra_as_failure']:.4f} if those failed)" if missing else ""
        interval = f"[{found['low']:.3f}, {found['high']:.3f}]"
        print(f"{name}: pass@{k} {found['value']:.4f} {interval} {counts}{bound}")
    for k, reason in summary["not_estimated"].items():
        if config.k or int(k) <= summary["choices"]["n_samples"]:
            print(f"{name}: no pass@{k}: {reason}")
    print(f"{name}: {summary['verdicts']}; executed in {summary['execution_s']} s")
    for task_id, reason in summary["left_out"].items():
        print(f"{name}: {task_id} is not scored: {reason}")
    if summary["not_scored"]:
        print(f"{name}: the sandbox failed on {summary['not_scored']}; they are not scored")
    for split in summary.get("splits", []):
        line = f"{name}: tau {split['tau']}"
        for part in ("similar", "non_similar"):
            found = split[part]["pass_at_k"].get("1", {}).get("value")
            score = "-" if found is None else f"{100 * found:.1f} %"
            line += f", {split[part]['n_tasks']} {part.replace('_', '-')}: {score}"
        print(line)
    if found := summary.get("sensitivity"):
        print(f"{name}: pass@1 by rule {found['pass_at_1']}, spread {found['spread']:.4f}")
        missing += found["n_infra"]
    return missing


def show_drops(report: Mapping[str, Any]) -> int:
    """Prints what other words cost; returns the number of samples that are in no score."""
    for name, row in report.items():
        line = f"{name}: does not apply to any problem"
        if row["n_tasks"]:
            line = f"{name}: pass@1 {100 * row['before']:.1f} -> {100 * row['after']:.1f} %"
            line += f", drop {100 * row['drop']:.1f} [{100 * row['low']:.1f}, "
            line += f"{100 * row['high']:.1f}] on {row['n_tasks']} problems"
        print(f"{line}; left out: {len(row['left_out'])}")
    return sum(row["n_infra"] for row in report.values())


def count_samples(n: int) -> str:
    return f"{n} sample{'' if n == 1 else 's'}"
