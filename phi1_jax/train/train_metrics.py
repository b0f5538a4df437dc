"""What a run measures of itself: loss, rates, tokens by source, MFU, and where the time goes."""

import math
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from phi1_jax.config import RunConfig
from phi1_jax.config_dict import flatten, to_dict
from phi1_jax.model.phi import compute_dtype
from phi1_jax.run.metrics import MetricsWriter
from phi1_jax.train.flops import flops_per_token, peak_flops
from phi1_jax.train.optimizer import schedule
from phi1_jax.train.step import Hook, StepDone

# What a log line has of the training itself; the step with the best point can be kept.
TRAIN_CURVES = ("train/loss", "train/gradient_norm", "train/learning_rate", "train/skipped_steps")


class TrainMetrics(Hook):
    """Collects metrics on the device and reads them only when a line is due.

    The host keeps one step ahead of the devices and no more: they never wait for it, and a signal
    is heard, a line dated and a wait for data charged at the step that runs.

    Rates leave out the first step, which compiles, and the time that checkpoints and evaluation
    take; these have curves of their own.
    """

    def __init__(
        self,
        config: RunConfig,
        writer: MetricsWriter,
        sources: Sequence[str],
        position: Mapping[str, Any],
        start: int,
        n_devices: int,
    ) -> None:
        """Args:
        position: what was saved with step `start`; {} for a new run.
        """
        # A source that the mixture has no more is remembered: it may come back.
        self.rows = {**dict.fromkeys(sources, 0), **position.get("rows", {})}
        self.shards = dict(position.get("shards", {}))  # name -> of what text the rows are
        self.tokens = {**dict.fromkeys(sources, 0), **position.get("tokens", {})}
        self._sources = sources
        skip = position.get("skip_step", {"skipped": 0, "skipped_rows": [0] * len(sources)})
        self._skipped = int(skip["skipped"]), dict(zip(sources, skip["skipped_rows"], strict=False))
        self._config, self._writer, self._start = config, writer, start
        self._rate = schedule(config.optimizer, config.steps)
        palm, causal = flops_per_token(config.model, config.data.seq_len)
        kind, dtype = jax.devices()[0].device_kind, compute_dtype(config.model).name
        peak = config.peak_tflops * 1e12 or peak_flops(kind, dtype)
        self._peak = (peak or 1.0) * n_devices
        self._mfu = {"mfu_palm": palm, "mfu_causal": causal} if peak else {}
        self._pending: list[dict[str, jax.Array]] = []
        self._loss: float | None = None
        self._spent_s: defaultdict[str, float] = defaultdict(float)
        self._untimed = 0  # steps since the last line that no rate counts
        self._compile_s: float | None = None
        self._begin = self._last = time.perf_counter()

    def after_step(self, done: StepDone) -> None:
        """Counts what the step read, and waits for the step before it."""
        self._pending.append(done.metrics)
        if len(self._pending) > 1:
            jax.block_until_ready(self._pending[-2]["loss"])
        counts = np.bincount(done.examples["source"], minlength=len(self._sources))
        for name, count in zip(self._sources, counts, strict=True):
            self.rows[name] += int(count)
            self.tokens[name] += int(count) * self._config.data.seq_len
        if self._compile_s is None:
            jax.block_until_ready(done.metrics)
            self._compile_s, self._untimed = time.perf_counter() - self._last - self._paused_s(), 1
            self._spent_s.clear()
            self._last = time.perf_counter()

    @contextmanager
    def timed(self, what: Literal["data_wait", "checkpoint", "evaluation"]) -> Iterator[None]:
        """Charges the time within to one curve: the host's, for which the loop stands still.

        While it waits for data the devices still have a step to do: such a wait costs time only as
        far as it is longer than a step.
        """
        if what != "data_wait":
            jax.block_until_ready(self._pending[-1:])  # or the running step would be charged to it
        begin = time.perf_counter()
        yield
        self._spent_s[what] += time.perf_counter() - begin

    def _paused_s(self) -> float:
        return sum(v for k, v in self._spent_s.items() if k != "data_wait")

    @property
    def has_news(self) -> bool:
        """Whether steps were taken since the last line."""
        return bool(self._pending)

    def log(self, step: int) -> tuple[dict[str, str], list[dict[str, Any]]]:
        """Writes the means since the last line, over all steps with a target and a finite loss.

        Returns:
          What the progress bar shows, and each step's metrics since the last line.
        """
        values = jax.device_get(self._pending)
        now = time.perf_counter()
        seconds, n_steps = now - self._last - self._paused_s(), len(values) - self._untimed
        data = self._config.data
        rate = float(self._rate(max(0, int(values[-1]["updates"]) - 1)))
        skipped, rows = int(values[-1]["skipped_steps"]), values[-1]["skipped_rows"].tolist()
        self._skipped = skipped, dict(zip(self._sources, rows, strict=True))
        curves: dict[str, float] = {
            "train/learning_rate": rate,
            "train/skipped_steps": skipped,
            "data/tokens_seen": sum(self.tokens.values()),
        }
        curves |= {f"data/tokens/{name}": n for name, n in self.tokens.items()}
        shown = {"lr": f"{rate:.1e}"}
        if learned := [value for value in values if not value["empty"]]:
            self._loss = _mean(learned, "loss")
            curves["train/loss"] = self._loss
            curves["train/gradient_norm"] = norm = _mean(learned, "gradient_norm")
            shown = {"loss": f"{self._loss:.3f}", "norm": f"{norm:.2f}", **shown}
        if skipped:
            curves |= {f"data/skipped_rows/{name}": n for name, n in self._skipped[1].items()}
        if spikes := [value for value in values if value["skipped"]]:
            curves["train/skipped_loss"] = _mean(spikes, "loss")
        if self._untimed:
            curves["speed/first_step_s"] = self._compile_s or 0.0
        if n_steps:
            tokens_per_s = n_steps * data.global_batch_size * data.seq_len / seconds
            curves["speed/tokens_per_s"] = tokens_per_s
            curves["speed/step_ms"] = seconds / n_steps * 1e3
            curves["speed/data_wait_ms"] = self._spent_s["data_wait"] / n_steps * 1e3
            mfu = {name: flops * tokens_per_s / self._peak for name, flops in self._mfu.items()}
            curves |= {f"speed/{name}": value for name, value in mfu.items()}
            shown["tok/s"] = f"{tokens_per_s:,.0f}"
            shown |= {"mfu": f"{mfu['mfu_palm']:.1%}"} if mfu else {}
        for what in ("checkpoint", "evaluation"):
            if what in self._spent_s:
                curves[f"speed/{what}_s"] = self._spent_s[what]
        shown |= {"skipped": str(skipped)} if skipped else {}
        self._writer.scalars(step, curves | _memory())
        self._pending, self._untimed = [], 0
        self._spent_s.clear()
        self._last = now
        return shown, values

    def summary(self, step: int) -> dict[str, Any]:
        """What result.json says of the run up to `step`."""
        return {
            "start_step": self._start,
            "step": step,
            "steps": self._config.steps,
            "finished": step >= self._config.steps,
            # JSON knows no NaN, which is what steps without a finite loss have.
            "loss": self._loss if math.isfinite(self._loss or 0.0) else None,
            "skipped_steps": self._skipped[0],
            "skipped_rows": self._skipped[1],
            "tokens": sum(self.tokens.values()),
            "seconds": round(time.perf_counter() - self._begin, 2),
        }


def _mean(steps: Sequence[Mapping[str, Any]], name: str) -> float:
    """Of the finite values; NaN if there is none."""
    values = [float(step[name]) for step in steps]
    return float(np.mean([v for v in values if math.isfinite(v)] or [math.nan]))


def _memory() -> dict[str, float]:
    """Of the first device, if it says: GPUs and TPUs do, the CPU does not."""
    stats = jax.local_devices()[0].memory_stats() or {}
    names = {"bytes_in_use": "memory/in_use_gib", "peak_bytes_in_use": "memory/peak_gib"}
    return {curve: stats[name] / 2**30 for name, curve in names.items() if name in stats}


def hyperparameters(config: RunConfig, n_parameters: int) -> dict[str, Any]:
    """Every field of a config, for TensorBoard's page that compares runs.

    The page opens with five columns: what differs between its runs, then others, both by name. So
    the main ones have titles in capitals, which sort before the other fields.
    """
    fields = flatten(to_dict(config))
    sources = fields.pop("data.sources")
    return {
        "Batch size": fields.pop("data.global_batch_size"),
        "Data": " ".join(_as_flag(source, alone=len(sources) == 1) for source in sources),
        "Learning rate": fields.pop("optimizer.peak_learning_rate"),
        "Parameters": n_parameters,
        "Seed": fields.pop("seed"),
        "Steps": fields.pop("steps"),
        **fields,
    }


def _as_flag(source: Mapping[str, Any], alone: bool) -> str:
    """As launch/train.py's --source takes it, without the folders above: code=shards_code:3."""
    share = f"{source['epochs']:g}x" if source["epochs"] else f"{source['weight']:g}"
    return f"{source['name']}={Path(source['path']).name}" + ("" if alone else f":{share}")
