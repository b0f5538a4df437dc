"""The training loop: refuse what cannot work, restore, then step, report, evaluate and save."""

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from phi1_jax.config import RunConfig
from phi1_jax.errors import UserError
from phi1_jax.run import distributed
from phi1_jax.run.checkpoint import Checkpointer
from phi1_jax.run.folder import known_steps
from phi1_jax.run.metrics import MetricsWriter
from phi1_jax.run.trackers import open_trackers, refuse_unusable
from phi1_jax.tokens.loader import Loader
from phi1_jax.train.hooks import Console, Evaluation, Evaluator, Log, Profile, Saving, StepDone
from phi1_jax.train.resume import (
    Identity,
    go_on_reading,
    identity_of,
    record_result,
    record_start,
    refuse_changes,
    refuse_fewer_steps,
    start,
    warn_of_new_rate,
)
from phi1_jax.train.run_lock import lock_run_dir, refuse_differences
from phi1_jax.train.signals import stop_signal
from phi1_jax.train.state_size import require_memory
from phi1_jax.train.step import (
    Trainer,
    count_micro_batches,
    make_trainer,
    on_device,
    training_mesh,
)
from phi1_jax.train.trace import Trace
from phi1_jax.train.train_metrics import TRAIN_CURVES, TrainMetrics, hyperparameters
from phi1_jax.train.validation import validation_evaluator


def train(
    config: RunConfig,
    run_dir: Path | str,
    evaluators: Mapping[str, Evaluator] | None = None,
    *,
    allow_change: Sequence[str] = (),
    profile: tuple[int | None, int] = (None, 0),
    trace: bool = False,
    metrics_writers: Sequence[str] = (),
) -> dict[str, Any]:
    """Trains to `config.steps`, or goes on from the newest undamaged checkpoint in `run_dir`.

    SIGTERM and Ctrl-C end the current step, save, and return; a second one leaves at once.

    Args:
      allow_change: fields in which a resumed run may differ from what it was; see `resume.py`.
      profile: first step, and number of steps, that the profiler records; see `hooks.Profile`.
      trace: write a log of loss bits, batch hashes, example ids and state hashes; see `trace.py`.
      metrics_writers: where else the metrics go, wandb or mlflow; see `run/trackers.py`.
    Returns:
      What RUN/result.json then holds too: start_step (above 0 after a resume), step, steps, tokens
      (read up to `step`), loss (last logged, None without a step), skipped_steps, skipped_rows (by
      source), seconds, total_seconds and `finished`, False after a signal. A finished run that is
      started again keeps its own.
    Raises:
      UserError: a setting that does not fit data, devices or the checkpoint in `run_dir`; another
        run holds `run_dir`.
        Also if `max_skipped_steps` steps in a row were skipped; names their documents.
    """
    refuse_unusable(metrics_writers)
    with distributed.abort_all_on_failure(), lock_run_dir(Path(run_dir)):
        return _train(
            config, Path(run_dir), evaluators or {}, allow_change, profile, trace, metrics_writers
        )


def _train(
    config: RunConfig,
    run_dir: Path,
    evaluators: Mapping[str, Evaluator],
    allow_change: Sequence[str],
    profile: tuple[int | None, int],
    trace: bool,
    metrics_writers: Sequence[str],
) -> dict[str, Any]:
    """`train`, in a folder that is locked."""
    begin = time.perf_counter()
    setup = _prepare(config, run_dir, evaluators, allow_change, trace)
    first = jax.process_index() == 0
    with (
        stop_signal() as stopped,  # outermost: a second signal must also end a save that hangs
        closing(Checkpointer(run_dir, config.checkpoint)) as checkpointer,
        closing(MetricsWriter(run_dir, enabled=first)) as writer,
        closing(Trace(run_dir, enabled=trace)) as tracer,
        distributed.abort_all_on_failure(),  # innermost: closing may wait for a lost process
    ):
        step, state, position = start(config, setup.trainer, checkpointer, setup.identity)
        refuse_fewer_steps(config, run_dir, step)
        warn_of_new_rate(config, position)
        if first:
            writer.trackers += open_trackers(metrics_writers, run_dir, config)
        writer.resume(step)
        rows = go_on_reading(setup.loader, config, step, position, setup.identity)
        n_parameters = sum(x.size for x in jax.tree.leaves(state.params))
        writer.hyperparameters(run_dir.name, hyperparameters(config, n_parameters))
        record_start(config, run_dir, step, setup.identity, setup.changed)
        tracer.state(step, state)
        metrics = TrainMetrics(
            config, writer, setup.loader.names, {**position, "rows": rows}, step, setup.mesh.size
        )
        saving = Saving(config, checkpointer, metrics, setup.loader, setup.identity, step)
        if step == 0:
            saving.save(step, state)
        any_process = distributed.any_process()
        stopping = lambda: any_process(stopped())  # noqa: E731
        batches = on_device(setup.loader.batches(step), setup.mesh, setup.micro_batches)
        with (
            closing(Console(run_dir.name, step, config.steps, enabled=first)) as console,
            closing(Profile(run_dir, *profile, step, config.steps)) as profiler,
        ):
            log = Log(config, metrics, console, setup.loader, run_dir)
            evaluation = Evaluation(config, setup.evaluators, writer, metrics, stopping)
            hooks = (metrics, tracer, console, log, evaluation, saving)
            while step < config.steps and not stopping():
                profiler.before_step(step + 1, state)
                with metrics.timed("data_wait"):
                    batch, examples = next(batches)
                state, measured = setup.trainer.step(state, batch)
                step += 1
                for hook in hooks:
                    hook.after_step(StepDone(step, state, measured, examples))
        saving.save(step, state)
        tracer.state(step, state)
        result = metrics.summary(step)
        result["total_seconds"] = round(time.perf_counter() - begin, 2)
        return record_result(run_dir, result)


class _Setup(NamedTuple):
    mesh: Mesh
    micro_batches: int
    loader: Loader
    trainer: Trainer
    evaluators: Mapping[str, Evaluator]
    identity: Identity
    changed: Mapping[str, tuple[Any, Any]]


def _prepare(
    config: RunConfig,
    run_dir: Path,
    evaluators: Mapping[str, Evaluator],
    allow_change: Sequence[str],
    trace: bool,
) -> _Setup:
    """Opens the data and builds the step, and refuses what cannot work before a file is written."""
    if evaluators and jax.process_count() > 1:
        raise UserError(
            "--eval_benchmark and --sample_prompt work in one process; evaluate the checkpoints of"
            " a run on several with launch/evaluate.py"
        )
    mesh = training_mesh(config)
    micro_batches = count_micro_batches(config, mesh)
    loader = Loader(config.data, config.seed)
    if loader.vocab_size > config.model.vocab_size:
        raise UserError(
            f"config field model.vocab_size={config.model.vocab_size} is smaller than the"
            f" tokenizer's {loader.vocab_size} pieces"
        )
    identity = identity_of(config, loader)
    changed = refuse_changes(run_dir, identity, allow_change)
    if not known_steps(run_dir):
        loader.go_on(0, {}, config.steps)
    refuse_differences(config, identity, changed, trace)
    trainer = make_trainer(config, mesh)
    require_memory(trainer)
    if config.data.validation_rows:
        rows_at_once = config.data.global_batch_size // micro_batches
        validation = validation_evaluator(trainer, loader, rows_at_once)
        evaluators = {**evaluators, "validation": validation}
    _refuse_unknown_curve(config, evaluators, loader)
    return _Setup(mesh, micro_batches, loader, trainer, evaluators, identity, changed)


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
