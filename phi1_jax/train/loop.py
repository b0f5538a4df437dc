"""The training loop: refuse what cannot work, restore, then step, report, evaluate and save."""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import jax

from phi1_jax.config import RunConfig
from phi1_jax.errors import UserError
from phi1_jax.model.attention import causal
from phi1_jax.model.phi import count_params
from phi1_jax.model.sharding import platform_of
from phi1_jax.run import distributed
from phi1_jax.run.checkpoint import Checkpointer
from phi1_jax.run.folder import known_steps
from phi1_jax.run.metrics import MetricsWriter
from phi1_jax.run.trackers import open_trackers, refuse_unusable
from phi1_jax.tokens.loader import Loader
from phi1_jax.train.hooks import Console, Evaluation, Evaluator, Log, Saving
from phi1_jax.train.resume import (
    go_on_reading,
    identity_of,
    record_result,
    record_start,
    refuse_changes,
    start,
)
from phi1_jax.train.run_lock import lock_run_dir, refuse_differences
from phi1_jax.train.signals import stop_signal
from phi1_jax.train.state_size import require_memory
from phi1_jax.train.step import (
    Hook,
    StepDone,
    Trainer,
    count_micro_batches,
    make_trainer,
    on_device,
    training_mesh,
)
from phi1_jax.train.train_metrics import TRAIN_CURVES, TrainMetrics, hyperparameters
from phi1_jax.train.validation import validation_evaluator


def train(
    config: RunConfig,
    run_dir: Path | str,
    evaluators: Mapping[str, Evaluator] | None = None,
    *,
    allow_change: Sequence[str] | str = (),
    metrics_writers: Sequence[str] | str = (),
    hooks: Sequence[Hook] = (),
) -> dict[str, Any]:
    """Trains to `config.steps`, or goes on from the newest undamaged checkpoint in `run_dir`.

    SIGTERM and Ctrl-C end the current step, save, and return; a second one leaves at once.

    Args:
      allow_change: fields in which a resumed run may differ from what it was; see `resume.py`.
      metrics_writers: where else the metrics go, wandb or mlflow; see `run/trackers.py`.
      hooks: what else to do beside the steps, such as `hooks.Profile`; each is called before the
        step is logged, evaluated and saved.
    Returns:
      What RUN/result.json then holds too: start_step (above 0 after a resume), step, steps, tokens
      (read up to `step`), loss (last logged, None if there is no finite one), skipped_steps,
      skipped_rows (by source), seconds, total_seconds and `finished`, False after a signal. A
      finished run that is started again keeps its own.
    Raises:
      UserError: a setting that does not fit data, devices or the checkpoint in `run_dir`; another
        run holds `run_dir`.
        Also if `max_skipped_steps` steps in a row were skipped; names their documents.
    """
    began = time.perf_counter()
    run_dir = Path(run_dir)
    first = jax.process_index() == 0
    allow_change, metrics_writers = (
        [names] if isinstance(names, str) else names for names in (allow_change, metrics_writers)
    )
    with ExitStack() as stack:  # what is entered last is left first
        enter = stack.enter_context
        enter(distributed.abort_all_on_failure())
        refuse_unusable(metrics_writers)  # perhaps on one host alone
        enter(lock_run_dir(run_dir))

        # What cannot work is refused before a file is written.
        mesh = training_mesh(config)
        micro_batches = count_micro_batches(config, mesh)
        loader = _open_data(config, run_dir)
        identity = identity_of(config, loader)
        changed = refuse_changes(run_dir, identity, allow_change)
        refuse_differences(config, identity, changed)
        causal(config.model.attention, 0, platform_of(mesh), keep=False)  # refuses what needs a GPU
        trainer = make_trainer(config, mesh)
        require_memory(trainer)
        evaluators = _all_evaluators(config, evaluators or {}, trainer, loader, micro_batches)

        stopped = enter(stop_signal())  # before the rest: a second one must end a save that hangs
        checkpointer = enter(closing(Checkpointer(run_dir, config.checkpoint)))
        writer = enter(closing(MetricsWriter(run_dir, enabled=first)))
        enter(distributed.abort_all_on_failure())  # closing those may wait for a lost process

        step, state, position = start(config, trainer, checkpointer, identity)
        position = go_on_reading(loader, config, step, position, identity)
        if first:
            writer.trackers += open_trackers(metrics_writers, run_dir, config)
        writer.resume(step)
        writer.hyperparameters(run_dir.name, hyperparameters(config, count_params(config.model)))
        record_start(config, run_dir, step, identity, changed)

        stopping = distributed.any_process(stopped)
        batches = on_device(loader.batches(step), mesh, micro_batches)
        metrics = TrainMetrics(config, writer, loader.names, position, step, mesh.size)
        console = enter(closing(Console(run_dir.name, step, config.steps, enabled=first)))
        hooks = (
            metrics,
            *hooks,
            console,
            Log(config, metrics, console, loader, run_dir),
            Evaluation(config, evaluators, writer, metrics, stopping, run_dir),
            Saving(config, checkpointer, metrics, loader, identity),
        )
        for hook in hooks:
            hook.begin(step, state)
        while step < config.steps and not stopping():
            with metrics.timed("data_wait"):
                batch, examples = next(batches)
            state, measured = trainer.step(state, batch)
            step += 1
            for hook in hooks:
                hook.after_step(StepDone(step, state, measured, examples))
        for hook in hooks:
            hook.end(step, state)

        result = metrics.summary(step)
        result["total_seconds"] = round(time.perf_counter() - began, 2)
        return record_result(run_dir, result)


def _open_data(config: RunConfig, run_dir: Path) -> Loader:
    # Of a new run a mixture that the data cannot give is refused here.
    steps = None if known_steps(run_dir) else config.steps
    loader = Loader(config.data, config.seed, steps)
    if loader.vocab_size > config.model.vocab_size:
        raise UserError(
            f"config field model.vocab_size={config.model.vocab_size} is smaller than the"
            f" tokenizer's {loader.vocab_size} pieces"
        )
    return loader


def _all_evaluators(
    config: RunConfig,
    evaluators: Mapping[str, Evaluator],
    trainer: Trainer,
    loader: Loader,
    micro_batches: int,
) -> Mapping[str, Evaluator]:
    """Those that were given, and the loss on validation rows.

    Raises:
      UserError: some were given to several processes; or `best_metric` names a curve of which this
        run will have no point.
    """
    if evaluators and jax.process_count() > 1:
        raise UserError(
            "--eval_benchmark and --sample_prompt work in one process; evaluate the checkpoints of"
            " a run on several with launch/evaluate.py"
        )
    given, curves = [f"{name}/" for name in evaluators], list(TRAIN_CURVES)
    if config.data.validation_rows:
        rows_at_once = config.data.global_batch_size // micro_batches
        validation = validation_evaluator(trainer, loader, rows_at_once)
        evaluators = {**evaluators, "validation": validation}
        kinds = ("loss", "bits_per_byte") if loader.tokenizer else ("loss",)
        parts = [f"{kind}/{name}" for kind in kinds for name in loader.names]
        curves += [f"validation/{part}" for part in ("loss", *parts)]
    metric = config.checkpoint.best_metric
    if metric and metric not in curves and not metric.startswith(tuple(given)):
        shown = ", ".join([*curves, *(f"{name}..." for name in given)])
        raise UserError(
            f"config field checkpoint.best_metric={metric} is no curve of this run, which has"
            f" {shown}; name one, or ask for what makes yours (--eval_benchmark,"
            " --config.data.validation_rows)"
        )
    return evaluators
