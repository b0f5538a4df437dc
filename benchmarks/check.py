"""Whether this device computes what the CPU does: the losses of a few steps, side by side."""

from collections.abc import Iterator
from dataclasses import replace
from typing import get_args, get_type_hints

import jax
import numpy as np

from benchmarks.report import OURS, Row
from benchmarks.train import our_step
from phi1_jax.config import ModelConfig, RunConfig
from phi1_jax.errors import UserError

STEPS = 3
# Of a loss, against float32 on the CPU. Matmuls of float32 take TF32 on a GPU.
TOLERANCE = {"float32": 2e-3, "bfloat16": 1e-2}


def measure(config: RunConfig) -> Iterator[Row]:
    """This device's attentions beside plain attention in float32 on the CPU.

    Plain attention takes float32 here too, the others bfloat16.

    The same weights and tokens, without dropout, whose bits differ between kinds of device.

    Raises:
      UserError: a loss is further from the CPU's than `TOLERANCE`; after the last row.
    """
    still = replace(config.model, attention_dropout=0.0, residual_dropout=0.0)
    rows, seq_len = config.data.global_batch_size, config.data.seq_len
    case = f"{STEPS} steps, {config.model.n_layers} layers, {rows} x {seq_len}"
    shape = (STEPS, rows, seq_len + 1)
    batches = np.random.default_rng(0).integers(0, config.model.vocab_size, shape, np.int32)

    def losses(attention: str, dtype: str, platform: str | None) -> list[float]:
        model = replace(still, attention=attention, compute_dtype=dtype)
        devices = jax.devices(platform)[:1]
        step, _ = our_step(replace(config, model=model), batches, devices)
        return [step() for _ in range(STEPS)]

    want = losses("xla", "float32", "cpu")
    yield Row(case, "cpu, xla, float32", None, values={"losses": _text(want)})
    wrong = []
    for attention in get_args(get_type_hints(ModelConfig)["attention"]):
        if attention == "auto":  # one of the others
            continue
        dtype = "float32" if attention == "xla" else "bfloat16"
        name = f"{jax.default_backend()}, {attention}, {dtype}"
        try:
            found = losses(attention, dtype, None)
        except (UserError, RuntimeError, ValueError) as error:
            yield Row(case, name, None, values={"why": str(error).splitlines()[0][:200]})
            continue
        off = float(np.max(np.abs(np.array(found) / want - 1)))
        yield Row(case, name, None, values={"losses": _text(found), "relative_error": off})
        if not off <= TOLERANCE[dtype]:
            wrong.append(f"{name}: off by {off:.2g}")
    if wrong:
        raise UserError(f"{OURS} is not what the CPU computes: {'; '.join(wrong)}")


def _text(losses: list[float]) -> str:
    return " ".join(f"{loss:.4f}" for loss in losses)
