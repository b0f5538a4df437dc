"""What a run measures of itself: loss, rates, tokens by source, and MFU."""

import time
from typing import Any

import jax
import numpy as np

from phi1_jax.config import RunConfig
from phi1_jax.metrics import MetricsWriter
from phi1_jax.train.flops import flops_per_token, peak_flops
from phi1_jax.train.optimizer import schedule


class Meter:
    """Collects metrics on the device and reads them only when a line is due."""

    def __init__(
        self,
        config: RunConfig,
        writer: MetricsWriter,
        rows: dict[str, int],
        start: int,
    ) -> None:
        self._config = config
        self._writer = writer
        self._rate = schedule(config.optimizer, config.optimizer.peak_learning_rate, config.steps)
        palm, causal = flops_per_token(config.model, config.data.seq_len)
        peak = peak_flops(jax.devices()[0].device_kind)
        self._mfu = {} if peak is None else {"mfu_palm": palm, "mfu_causal": causal}
        self._peak = (peak or 1.0) * jax.device_count()
        self._pending: list[dict[str, jax.Array]] = []
        self.rows = rows  # read from each source since step 0
        self._start = start
        self._loss: float | None = None
        self._skipped = self._skipped_in_a_row = 0
        self._begin = self._last = time.perf_counter()

    def add(self, metrics: dict[str, jax.Array], sources: np.ndarray) -> None:
        self._pending.append(metrics)
        for name, count in zip(
            self.rows, np.bincount(sources, minlength=len(self.rows)), strict=True
        ):
            self.rows[name] += int(count)

    def log(self, step: int) -> dict[str, str]:
        """Writes the mean since the last line; returns what the progress bar shows."""
        values = jax.device_get(self._pending)
        now = time.perf_counter()
        seconds, n_steps = now - self._last, len(values)
        self._pending, self._last = [], now
        for value in values:
            self._skipped += int(value["skipped"])
            self._skipped_in_a_row = (self._skipped_in_a_row + 1) * int(value["skipped"])
        self._loss = float(np.mean([value["loss"] for value in values]))
        data = self._config.data
        rate = n_steps * data.global_batch_size * data.seq_len / seconds
        self._writer.scalars(
            step,
            {
                "train/loss": self._loss,
                "train/gradient_norm": float(np.mean([v["gradient_norm"] for v in values])),
                "train/learning_rate": float(self._rate(step - 1)),
                "train/skipped_steps": self._skipped,
                "speed/tokens_per_s": rate,
                "speed/step_ms": seconds / n_steps * 1e3,
                **{f"speed/{k}": v * rate / self._peak for k, v in self._mfu.items()},
                "data/tokens_seen": step * data.global_batch_size * data.seq_len,
                **{f"data/tokens/{name}": rows * data.seq_len for name, rows in self.rows.items()},
            },
        )
        if self._skipped_in_a_row >= self._config.max_skipped_steps:
            raise FloatingPointError(
                f"{self._skipped_in_a_row} steps in a row up to step {step} had no finite gradient;"
                " none of them changed the weights. Lower optimizer.peak_learning_rate or look at"
                " the data"
            )
        return {"loss": f"{self._loss:.3f}", "tok/s": f"{rate:,.0f}"}

    def summary(self, step: int) -> dict[str, Any]:
        return {
            "start_step": self._start,
            "step": step,
            "steps": self._config.steps,
            "finished": step == self._config.steps,
            "loss": self._loss,
            "tokens": step * self._config.data.global_batch_size * self._config.data.seq_len,
            "seconds": round(time.perf_counter() - self._begin, 2),
        }
