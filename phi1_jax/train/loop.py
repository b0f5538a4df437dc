"""The training loop, read from top to bottom: open, restore, step, report, save."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import jax
from absl import logging

from phi1_jax.config import RunConfig
from phi1_jax.config_dict import to_dict
from phi1_jax.errors import UserError
from phi1_jax.model.sharding import make_mesh
from phi1_jax.run import distributed
from phi1_jax.run.checkpoint import Checkpointer
from phi1_jax.run.folder import scores
from phi1_jax.run.metrics import MetricsWriter
from phi1_jax.tokens.loader import Loader
from phi1_jax.train.console import Console
from phi1_jax.train.feed import on_device
from phi1_jax.train.guard import report_skipped
from phi1_jax.train.profile import Profile
from phi1_jax.train.resume import identity_of, record_start, refuse_changes, split, start
from phi1_jax.train.run_lock import refuse_differences
from phi1_jax.train.signals import stop_signal
from phi1_jax.train.state_size import require_memory
from phi1_jax.train.step import count_micro_batches, make_trainer
from phi1_jax.train.trace import Trace
from phi1_jax.train.train_metrics import TRAIN_CURVES, TrainMetrics
from phi1_jax.train.validation import validation_evaluator

# Called with the step and the parameters; returns names with points of curves, or Markdown.
Evaluator = Callable[[int, Any], Mapping[str, float | str]]


def train(
    config: RunConfig,
    run: Path,
    evaluators: Mapping[str, Evaluator] | None = None,
    *,
    allow_change: Sequence[str] = (),
    profile: tuple[int | None, int] = (None, 0),
    trace: bool = False,
) -> dict[str, Any]:
    """Trains to `config.steps`, or goes on from the newest undamaged checkpoint in `run`.

    SIGTERM and Ctrl-C end the current step, save, and return; a second one leaves at once.

    Args:
      allow_change: fields in which a resumed run may differ from what it was; see `resume.py`.
      profile: first step, and number of steps, that the profiler records; see `profile.py`.
      trace: write a log of loss bits, batch hashes, example ids and state hashes; see `trace.py`.
    Returns:
      start_step (above 0 after a resume), step, steps, tokens (read up to `step`), loss (last
      logged, None without a step), seconds, and `finished`, False after a signal.
    Raises:
      UserError: a setting that does not fit data, devices or the checkpoint in `run`.
        Also if `max_skipped_steps` steps in a row were dropped; names their documents.
    """
    mesh = make_mesh(config.mesh)
    micro_batches = count_micro_batches(config, mesh)
    loader = Loader(config.data, config.seed, config.steps)
    if loader.vocab_size > config.model.vocab_size:
        raise UserError(
            f"config field model.vocab_size={config.model.vocab_size} is smaller than the"
            f" tokenizer's {loader.vocab_size} pieces"
        )
    identity = identity_of(config, loader)
    changed = refuse_changes(run, identity, allow_change)
    refuse_differences(config, identity, changed, trace)
    trainer = make_trainer(config, mesh)
    require_memory(trainer)
    evaluators = dict(evaluators or {})
    if config.data.validation_rows:
        rows_at_once = config.data.global_batch_size // micro_batches
        evaluators["validation"] = validation_evaluator(trainer, loader, rows_at_once)
    _refuse_unknown_curve(config, evaluators, loader)
    with (
        stop_signal() as stopped,  # outermost: a second signal must also end a save that hangs
        closing(Checkpointer(run, config.checkpoint)) as checkpointer,
        closing(MetricsWriter(run, enabled=jax.process_index() == 0)) as writer,
        closing(Trace(run, enabled=trace)) as tracer,
        distributed.abort_all_on_failure(),
    ):
        writer.settings(to_dict(config))
        step, state, saved_with = start(config, trainer, checkpointer, identity["data.tokenizer"])
        record_start(config, run, step, identity, changed)
        tracer.state(step, state)
        tokens = saved_with.get("tokens", {})
        meter = TrainMetrics(
            config, writer, {name: tokens.get(name, 0) for name in loader.names}, step
        )

        def save() -> None:
            position = {"step": step, "tokens": dict(meter.tokens), "identity": identity}
            _warn_of_missing_point(config, step, run)
            with meter.timed("checkpoint"):
                checkpointer.save(step, *split(state), position)

        if step == 0:
            save()
        saved = step
        batches = on_device(loader.batches(step), mesh, micro_batches)
        anywhere = distributed.any_process()
        first = jax.process_index() == 0
        with (
            closing(Console(run.name, step, config.steps, enabled=first)) as console,
            closing(Profile(run, *profile, step, config.steps)) as profiler,
        ):
            while step < config.steps and not anywhere(stopped()):
                profiler.before(step + 1, state)
                with meter.timed("data_wait"):
                    batch, examples = next(batches)
                state, metrics = trainer.step(state, batch)
                step += 1
                meter.add(metrics, examples["source"])
                tracer.step(step, metrics, examples)
                console.step()
                if step % config.log_every_steps == 0 or step == config.steps:
                    shown, steps = meter.log(step)
                    console.show(step, shown)
                    report_skipped(steps, step, config.max_skipped_steps, loader, run)
                if _evaluation_due(config, step):
                    with meter.timed("evaluation"):
                        for name, evaluate in evaluators.items():
                            if anywhere(stopped()):
                                logging.warning("evaluation %s left out at step %d", name, step)
                                continue
                            _evaluate(name, evaluate, step, state.params, writer)
                if checkpointer.due(step):
                    save()
                    saved = step
            if saved != step:
                save()
            tracer.state(step, state)
        return meter.summary(step)


def _evaluation_due(config: RunConfig, step: int) -> bool:
    every = config.eval_every_steps
    return every > 0 and (step % every == 0 or step == config.steps)


def _evaluate(
    name: str, evaluate: Evaluator, step: int, params: Any, writer: MetricsWriter
) -> None:
    try:
        writer.results(step, name, evaluate(step, params))
    except Exception:  # days of training must not end with a benchmark's trouble
        if jax.process_count() > 1:
            raise  # the others wait for this one's part: all leave, and can go on
        logging.exception("evaluation %s failed at step %d, training goes on", name, step)


def _refuse_unknown_curve(
    config: RunConfig, evaluators: Mapping[str, Evaluator], loader: Loader
) -> None:
    """Raises if `best_metric` names a curve of which this run will have no point."""
    metric = config.checkpoint.best_metric
    parts = [f"loss/{name}" for name in loader.names]
    if loader.tokenizer is not None:
        parts += [f"bits_per_byte/{name}" for name in loader.names]
    validation = [f"validation/{part}" for part in ("loss", *parts)] * ("validation" in evaluators)
    others = [name for name in evaluators if name != "validation"]
    known = metric in (*TRAIN_CURVES, *validation) or metric.partition("/")[0] in others
    if metric and not known:
        curves = ", ".join([*TRAIN_CURVES, *validation, *(f"{name}/..." for name in others)])
        raise UserError(
            f"config field checkpoint.best_metric={metric} is no curve of this run, which has"
            f" {curves}; name one, or ask for what makes yours (--eval_benchmark,"
            " --config.data.validation_rows)"
        )


def _warn_of_missing_point(config: RunConfig, step: int, run: Path) -> None:
    """Of the curve `best_metric`: without a point a step is never among the best."""
    metric = config.checkpoint.best_metric
    due = _evaluation_due(config, step) or metric.startswith("train/")
    saves = step > 0 and step % config.checkpoint.every_steps == 0
    if not (metric and due and saves) or jax.process_index() > 0:
        return
    if step not in scores(run, metric):
        logging.warning("step %d has no point on checkpoint.best_metric=%s", step, metric)
