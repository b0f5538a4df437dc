"""Further writers of a run's metrics, extras each: Weights & Biases, and MLflow.

Both read their own environment variables: WANDB_MODE=offline, WANDB_PROJECT, MLFLOW_TRACKING_URI,
MLFLOW_EXPERIMENT_NAME and so on. A resumed run goes on in the tracker's run it began, whose id
RUN/trackers.json keeps; a copy of the folder, beside the original, begins one of its own.
"""

import html
import os
import re
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from absl import logging

from phi1_jax.config import RunConfig
from phi1_jax.config_dict import flatten, to_dict
from phi1_jax.errors import UserError, did_you_mean
from phi1_jax.files import read_json_if_whole, write_json

TRACKERS = "trackers.json"
_FOLDER = "folder"  # in trackers.json: where the ids were written
PROJECT = "phi1_jax"  # where the environment names none


class Tracker(Protocol):
    """What `MetricsWriter` asks of a further writer.

    An exception of one is logged and costs its own points, never the training.
    """

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """A point on each curve; a resumed run repeats the steps after its checkpoint."""

    def text(self, step: int, tag: str, markdown: str) -> None:
        """A page of Markdown."""

    def close(self, failed: bool) -> None:
        """The run ended; `failed` with an exception."""


def refuse_unusable(names: Sequence[str]) -> None:
    """Refuses a tracker that does not exist or is not installed, by name."""
    for name in names:
        if name not in _KINDS:
            known = f"there are {', '.join(_KINDS)}"
            raise UserError(f"--metrics_writers={name}: {known}{did_you_mean(name, _KINDS)}")
        if find_spec(name) is None:
            raise UserError(f"--metrics_writers={name} needs `pip install phi1_jax[{name}]`")


def open_trackers(names: Sequence[str], run_dir: Path, config: RunConfig) -> list[Tracker]:
    """Begins a run at each tracker, or goes on with the one that `run_dir` began.

    One of the latter that is out of reach costs its points up to the next start, and a warning: no
    job that comes back to the queue shall end for it.

    Raises:
      UserError: a tracker refuses a new run, without a login, say.
    """
    ids = read_json_if_whole(run_dir / TRACKERS)
    # A folder that was moved is no copy: where it was, nothing has these ids any more.
    original = Path(ids.pop(_FOLDER, run_dir))
    theirs = read_json_if_whole(original / TRACKERS)
    if ids.items() & theirs.items() and not original.samefile(run_dir):
        message = "%s is a copy of %s, so it begins new runs at the trackers"
        logging.warning(message, run_dir, original)
        ids = {}
    opened: list[Tracker] = []
    for name in dict.fromkeys(names):
        try:
            tracker = _KINDS[name](run_dir, config, ids.get(name))
        except Exception as error:  # each has a family of its own
            reason = " ".join(str(error).split()) or type(error).__name__
            if name in ids:
                message = "%s is not written until the next start, training goes on: %s"
                logging.warning(message, name, reason)
                continue
            raise UserError(f"--metrics_writers={name}: {reason}") from error
        ids[name] = tracker.id
        opened.append(tracker)
    if opened:
        write_json(run_dir / TRACKERS, {**ids, _FOLDER: str(run_dir.absolute())})
    return opened


class _Wandb:
    def __init__(self, run_dir: Path, config: RunConfig, id: str | None) -> None:
        import wandb

        self._html = wandb.Html
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=run_dir.name,
            id=id,
            # Offline there is no run to look for; `wandb sync` joins those of one id.
            resume=None if os.environ.get("WANDB_MODE") == "offline" else "allow",
            dir=str(run_dir),
            config=to_dict(config),
            settings=wandb.Settings(console="off"),
        )
        self.id = self._run.id
        # Its own count of steps only rises: after a resume it would drop the repeated ones.
        self._run.define_metric("*", step_metric="step")

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log({"step": step, **values})

    def text(self, step: int, tag: str, markdown: str) -> None:
        page = self._html(f"<pre>{html.escape(markdown)}</pre>", inject=False)
        self._run.log({"step": step, tag: page})

    def close(self, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))


class _MLflow:
    def __init__(self, run_dir: Path, config: RunConfig, id: str | None) -> None:
        from mlflow.entities import Metric, Param
        from mlflow.tracking import MlflowClient

        self._client, self._metric = MlflowClient(), Metric
        if id is None:
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
            found = self._client.get_experiment_by_name(name)
            experiment = found.experiment_id if found else self._client.create_experiment(name)
            id = self._client.create_run(experiment, run_name=run_dir.name).info.run_id
            fields = [Param(k, str(v)[:500]) for k, v in flatten(to_dict(config)).items()]
            for start in range(0, len(fields), 100):  # the most that it takes at once
                self._client.log_batch(id, params=fields[start : start + 100])
        else:
            self._client.update_run(id, status="RUNNING")
        self.id = id

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        points = [self._metric(_allowed(k), float(v), now, step) for k, v in values.items()]
        self._client.log_batch(self.id, metrics=points)

    def text(self, step: int, tag: str, markdown: str) -> None:
        self._client.log_text(self.id, markdown, f"{_allowed(tag)}/{step}.md")

    def close(self, failed: bool) -> None:
        self._client.set_terminated(self.id, "FAILED" if failed else "FINISHED")


def _allowed(name: str) -> str:
    """A name as MLflow takes it: humaneval/pass@1 becomes humaneval/pass_1."""
    return re.sub(r"[^\w\-. /]", "_", name)


_KINDS: dict[str, type[_Wandb] | type[_MLflow]] = {"wandb": _Wandb, "mlflow": _MLflow}
