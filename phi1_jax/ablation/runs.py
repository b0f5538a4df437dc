"""The runs of a question as stages of one pipeline: shared, resumed, split between machines."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import phi1_jax
from phi1_jax.ablation.question import Corpus, Question
from phi1_jax.cli.pipeline import Pipeline, Stage
from phi1_jax.cli.recipe import GUESSED_TOKENS_PER_S
from phi1_jax.errors import REPOSITORY, UserError

SCRIPTS = REPOSITORY / "launch"
OWN = "own"
# What a stage without training takes, until one of its kind was measured.
STAGE_S = 30.0


@dataclass(frozen=True)
class Run:
    """One variant with one seed.

    Attributes:
      folder: of its last phase.
      shards: corpus -> token shards, of all its phases.
      scores: benchmark -> folder of launch/evaluate.py.
      samples: the same, of the benchmarks from which samples are drawn for pass@k.
    """

    variant: str
    seed: int
    folder: Path
    shards: Mapping[str, Path]
    scores: Mapping[str, Path]
    samples: Mapping[str, Path]

    @property
    def last_stages(self) -> list[str]:
        """The names of the stages without which it is not done."""
        return [folder.name for folder in (*self.scores.values(), *self.samples.values())]


class Ablation:
    """A question's runs. A seed sets initial weights and data order, and the draws of its data.

    Args:
      stages: folder of all stages; questions that share it share the stages in which they agree.
      execute: benchmarks whose completions are executed, in the sandbox, for pass@1.
      scripts: folder of the launch scripts.
      tokens_per_s: of training, until it was measured.
    """

    def __init__(
        self,
        question: Question,
        stages: Path,
        seeds: Sequence[int] = (0, 1, 2),
        *,
        execute: Sequence[str] = (),
        scripts: Path | None = None,
        tokens_per_s: float = GUESSED_TOKENS_PER_S,
    ) -> None:
        self.question, self.execute = question, execute
        self._tokens_per_s = tokens_per_s
        self.pipeline = Pipeline(stages.absolute(), scripts or SCRIPTS, shared=True)
        self.data = question.recipe.add_data(self.pipeline)
        self.splits: Path | None = None
        self.files: dict[str, list[Path]] = {}  # of each corpus, by the last seed
        # All variants of the first seed come first, so that an early look compares all.
        self.runs = [self._add_run(name, seed) for seed in seeds for name in question.variants]

    def part(self, index: int, of: int) -> list[Run]:
        """The runs of one of several shards; each run is in one."""
        return self.runs[index::of]

    def missing(self, runs: Sequence[Run] | None = None) -> list[Run]:
        """The runs that are not finished and scored."""
        pipeline = self.pipeline
        return [
            run
            for run in (self.runs if runs is None else runs)
            if not all(pipeline.is_finished(pipeline.stages[name]) for name in run.last_stages)
        ]

    def run(self, runs: Sequence[Run] | None = None, workers: int = 1, quiet: bool = False) -> None:
        """Does what is missing; see `Pipeline.run`. A stage that fails stops only its own runs."""
        names = [stage.name for stage in self.needed(runs)]
        self.pipeline.run(names, workers, quiet=quiet, keep_going=True)

    def needed(self, runs: Sequence[Run] | None = None) -> list[Stage]:
        """The stages that runs stand on, in order."""
        runs = self.runs if runs is None else runs
        return self.pipeline.closure(name for run in runs for name in run.last_stages)

    def plan(self, runs: Sequence[Run] | None = None, workers: int = 1) -> str:
        """What `run` would do, reuse, and about how long it would take; a line a kind of stage."""
        stages = self.needed(runs)
        lines = [f"{'stage':<28}{'to run':>7}{'reused':>8}{'seconds each':>14}"]
        total, measured, done = 0.0, True, self.pipeline.finished()
        for kind in dict.fromkeys(stage.kind for stage in stages):
            mine = [stage for stage in stages if stage.kind == kind]
            left = [stage for stage in mine if not self.pipeline.is_finished(stage)]
            expected = [self._expected(stage, done) for stage in left]
            total += sum(seconds for seconds, _ in expected)
            guessed = any(not known for _, known in expected)
            measured = measured and not guessed
            each = f"{sum(s for s, _ in expected) / len(left):.0f}" if left else "-"
            each += " (guess)" * guessed
            lines.append(f"{kind:<28}{len(left):>7}{len(mine) - len(left):>8}{each:>14}")
        lines.append(f"in all about {total / 60 / workers:.0f} min with {workers} at a time")
        if not measured:
            lines.append(
                f"(guess): not measured here yet: {STAGE_S:g} s a stage, and training at"
                f" {self._tokens_per_s:,.0f} tokens/s"
            )
        return "\n".join(lines)

    def _expected(self, stage: Stage, done: Sequence[Mapping[str, Any]]) -> tuple[float, bool]:
        """Seconds that a stage will take, and whether finished ones of its script say so."""
        alike = [each for each in done if each["script"] == stage.script]
        if stage.tokens:
            rates = [each["seconds"] / each["tokens"] for each in alike]
            return stage.tokens * (median(rates) if rates else 1 / self._tokens_per_s), bool(rates)
        seconds = [each["seconds"] for each in alike]
        return median(seconds) if seconds else STAGE_S, bool(seconds)

    def _add_run(self, variant: str, seed: int) -> Run:
        recipe, model, shards = self.question.recipe, None, {}
        for phase in self.question.variants[variant]:
            for name in phase.mixture:
                shards[name] = self._add_corpus(name, self.question.corpora[name], seed)
            settings = {
                "seed": seed,
                "data.validation_rows": recipe.validation_rows,
                "eval_every_steps": phase.steps,
                "checkpoint.keep_last": 1,
            }
            mixture = {name: (shards[name], share) for name, share in phase.mixture.items()}
            model = recipe.add_training(
                self.data, f"train_{next(iter(mixture))}", mixture, phase.steps,
                model, {**settings, **phase.config},
            )  # fmt: skip
        assert model is not None
        models = {"model": str(model)}

        def add_scores(kind: str, benchmark: str, execute: bool) -> Path:
            return recipe.add_scores(
                self.data, f"{kind}_{benchmark}", benchmark, models, execute,
                samples=kind == "samples",
            )  # fmt: skip

        scores = {b: add_scores("scores", b, b in self.execute) for b in (OWN, *recipe.public)}
        sampled = [b for b in recipe.public if recipe.n_samples and b in self.execute]
        samples = {b: add_scores("samples", b, True) for b in sampled}
        return Run(variant, seed, model, shards, scores, samples)

    def _add_corpus(self, name: str, corpus: Corpus, seed: int) -> Path:
        files = [self.data.corpora[made] for made in corpus.of]
        for change in corpus.changes:
            script = self.pipeline.scripts / change.script
            if not script.is_file():
                raise UserError(
                    f"question: corpus {name!r}: a change names script {change.script!r}, which is"
                    f" not in {self.pipeline.scripts}; give its full path if it lies elsewhere"
                )
            given = dict(change.flags)
            if change.benchmarks:
                given["benchmark"] = [self.data.own, *self.question.recipe.public.values()]
            if change.seeded:
                given["seed"] = seed
            flags = [f"--corpus={path}" for path in files]
            for flag, value in given.items():
                values = value if isinstance(value, list | tuple) else [value]
                flags += [f"--{flag}={each}" for each in values]
            own = script.parent != self.pipeline.scripts  # it may change from day to day
            folder = self.pipeline.add(
                script.stem, change.script, *flags, content={"script": script} if own else None
            )
            if name == self.question.similar:
                self.splits = folder / "splits.json"
            files = [folder / change.part / path.name for path in files]
        self.files[name] = files
        return self.question.recipe.add_shards(self.data, name, files, corpus.max_tokens)


def slurm_script(command: Sequence[str], n_tasks: int, logs: Path) -> str:
    """A Slurm array job of `n_tasks` shards of a command; sbatch reads it from its input.

    Raises:
      UserError: fewer than one task.
    """
    if n_tasks < 1:
        raise UserError(f"--slurm={n_tasks}: must be a number of tasks above 0")
    package = Path(phi1_jax.__file__).resolve().parents[1]
    return f"""#!/usr/bin/env bash
#SBATCH --job-name=ablate
#SBATCH --array=0-{n_tasks - 1}
#SBATCH --signal=B:TERM@300
#SBATCH --output={shlex.quote(f"{logs}/slurm-%A-%a.log")}
# Shards on one file system do a shared stage once; the last to end writes the results.
set -euo pipefail
cd {shlex.quote(str(Path.cwd()))}
export PYTHONPATH={shlex.quote(str(package))}${{PYTHONPATH:+:$PYTHONPATH}}
exec {shlex.join([sys.executable, *command])} --shard="$SLURM_ARRAY_TASK_ID/{n_tasks}"
"""
