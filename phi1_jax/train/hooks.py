"""What happens beside the training steps: console, log, profiler, evaluation and saving."""

import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from absl import logging
from tqdm import tqdm

from phi1_jax.config import RunConfig
from phi1_jax.run.checkpoint import Checkpointer
from phi1_jax.run.distributed import gather
from phi1_jax.run.folder import read_metrics, scores
from phi1_jax.run.metrics import MetricsWriter
from phi1_jax.tokens.loader import Loader
from phi1_jax.train.resume import position_of
from phi1_jax.train.skip_step import report_skipped
from phi1_jax.train.step import Hook, State, StepDone
from phi1_jax.train.train_metrics import TrainMetrics

# Called with the step and the parameters; returns names with points of curves, or Markdown.
Evaluator = Callable[[int, Any], Mapping[str, float | str]]


class Console(Hook):
    """What a run shows of itself: a bar of 80 columns on a terminal, plain lines in a log file.

    On stderr; in a notebook, whose stderr is red and grows, the bar is on stdout.
    """

    def __init__(self, name: str, step: int, steps: int, *, enabled: bool) -> None:
        in_notebook = "ipykernel" in sys.modules
        has_bar = in_notebook or sys.stderr.isatty()
        self._name, self._steps = name, steps
        self._plain = enabled and not has_bar
        self._bar = tqdm(
            total=steps,
            initial=step,
            desc=name[:16],
            disable=not (enabled and has_bar),
            mininterval=1,
            file=sys.stdout if in_notebook else sys.stderr,
            ncols=min(80, shutil.get_terminal_size().columns),
            bar_format="{desc} {bar} {n_fmt}/{total_fmt}{postfix}, {remaining} left",
        )

    def after_step(self, done: StepDone) -> None:
        """Counts the step."""
        self._bar.update()

    def show(self, step: int, values: Mapping[str, str]) -> None:
        """Shows what a log line says of the steps up to `step`."""
        brief = {name: values[name] for name in ("loss", "tok/s", "skipped") if name in values}
        self._bar.set_postfix(brief)
        if self._plain:
            words = " ".join(f"{name}={value}" for name, value in values.items())
            print(f"{self._name}: step {step}/{self._steps} {words}", file=sys.stderr)

    def close(self) -> None:
        self._bar.close()


@dataclass
class Log(Hook):
    """Every `log_every_steps` steps and at the end: curves, the console, and what was skipped."""

    config: RunConfig
    metrics: TrainMetrics
    console: Console
    loader: Loader
    run_dir: Path

    def after_step(self, done: StepDone) -> None:
        if done.step % self.config.log_every_steps == 0 or done.step == self.config.steps:
            self._log(done.step, self.config.max_skipped_steps)

    def end(self, step: int, state: State) -> None:
        """Logs the steps since the last line, after a signal; these stop no run that saves."""
        if self.metrics.has_news:
            self._log(step, sys.maxsize)

    def _log(self, step: int, most_skipped: int) -> None:
        shown, steps = self.metrics.log(step)
        self.console.show(step, shown)
        report_skipped(steps, step, most_skipped, self.loader, self.run_dir)


class Profile(Hook):
    """Records a window of steps with JAX's profiler, below RUN/plugins, for TensorBoard."""

    def __init__(self, run_dir: Path, config: RunConfig, n_steps: int, first: int = 0) -> None:
        """Args:
        first: the first step recorded. Where it is not ahead, the tenth from now on, or earlier if
          the run ends before the window does: the first one from now on compiles.
        """
        self._folder, self._steps = run_dir, config.steps
        self._n_steps, self._first = n_steps, first
        self._running = False

    def begin(self, step: int, state: State) -> None:
        if self._first <= step:
            self._first = max(step + 1, min(step + 10, self._steps - self._n_steps + 1))
        self._before(step + 1, state)

    def after_step(self, done: StepDone) -> None:
        self._before(done.step + 1, done.state)

    def end(self, step: int, state: State) -> None:
        """Writes what was recorded, if it is not written yet."""
        if not self._running:
            return
        self._running = False
        jax.block_until_ready(state)
        try:
            jax.profiler.stop_trace()
        except Exception as error:
            logging.warning("the profile is not written, training goes on: %s", error)

    def _before(self, step: int, state: State) -> None:
        if step == self._first:
            jax.block_until_ready(state)
            try:
                jax.profiler.start_trace(self._folder)
                self._running = True
            except Exception as error:  # a profile that fails must not cost the run
                logging.warning("no profile is recorded, training goes on: %s", error)
        elif step == self._first + self._n_steps:
            self.end(step, state)


@dataclass
class Evaluation(Hook):
    """Every `eval_every_steps` steps and after the last one.

    A signal leaves out what is left, and the run makes up for it when it is started again.
    """

    config: RunConfig
    evaluators: Mapping[str, Evaluator]
    writer: MetricsWriter
    metrics: TrainMetrics
    stopping: Callable[[], bool]
    run_dir: Path

    def begin(self, step: int, state: State) -> None:
        """Evaluates what has no point yet at the step that the run goes on from."""
        if not (step and evaluation_due(self.config, step)):
            return
        curves: list[str] = []
        with suppress(OSError):
            rows = read_metrics(self.run_dir)
            curves = [curve for row in rows if row.get("step") == step for curve in row]
        known = gather(curves)[0]  # the first process writes them
        left = [n for n in self.evaluators if not any(c.startswith(f"{n}/") for c in known)]
        self._evaluate_all(left, step, state.params)

    def after_step(self, done: StepDone) -> None:
        if evaluation_due(self.config, done.step):
            self._evaluate_all(self.evaluators, done.step, done.state.params)

    def _evaluate_all(self, names: Iterable[str], step: int, params: Any) -> None:
        with self.metrics.timed("evaluation"):
            for name in names:
                if self.stopping():
                    logging.warning(
                        "evaluation %s left out at step %d; it comes when the run is started again",
                        name,
                        step,
                    )
                    continue
                self._evaluate(name, self.evaluators[name], step, params)

    def _evaluate(self, name: str, evaluate: Evaluator, step: int, params: Any) -> None:
        try:
            self.writer.results(step, name, evaluate(step, params))
        except Exception:  # days of training must not end with a benchmark's trouble
            if jax.process_count() > 1:
                raise  # the others wait for this one's part: all leave, and can go on
            logging.exception("evaluation %s failed at step %d, training goes on", name, step)


@dataclass
class Saving(Hook):
    """Every `checkpoint.every_steps` steps, before the first one and after the last."""

    config: RunConfig
    checkpointer: Checkpointer
    metrics: TrainMetrics
    loader: Loader
    identity: dict[str, Any]
    last: int = 0  # step that was saved

    def begin(self, step: int, state: State) -> None:
        self.last = step
        if step == 0:  # any other was restored
            self._save(step, state)

    def after_step(self, done: StepDone) -> None:
        if self.checkpointer.due(done.step):
            self._save(done.step, done.state)

    def end(self, step: int, state: State) -> None:
        if step != self.last:
            self._save(step, state)

    def _save(self, step: int, state: State) -> None:
        self.last = step
        self._warn_of_missing_point(step)
        with self.metrics.timed("checkpoint"):
            position = position_of(step, state, self.metrics, self.loader, self.identity)
            self.checkpointer.save(step, state.params, (state.step, state.optimizer), position)

    def _warn_of_missing_point(self, step: int) -> None:
        """Of the curve `best_metric`: without a point a step is never among the best."""
        metric = self.config.checkpoint.best_metric
        due = evaluation_due(self.config, step) or metric.startswith("train/")
        saves = step > 0 and step % self.config.checkpoint.every_steps == 0
        if not (metric and due and saves) or jax.process_index() > 0:
            return
        try:
            if step not in scores(self.checkpointer.run_dir, metric):
                logging.warning("step %d has no point on checkpoint.best_metric=%s", step, metric)
        except OSError as error:  # then nothing is pruned either
            logging.warning("checkpoint.best_metric=%s is not known: %s", metric, error)


def evaluation_due(config: RunConfig, step: int) -> bool:
    every = config.eval_every_steps
    return every > 0 and (step % every == 0 or step == config.steps)
