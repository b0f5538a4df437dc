"""The training step: forward, backward, clipping, AdamW, on random tokens."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import jax
import numpy as np
from jax.sharding import NamedSharding

from benchmarks import baseline
from benchmarks.report import OURS, Options, Row, compare, roofline_rows
from benchmarks.timing import rooflines, take_turns
from phi1_jax.config import RunConfig
from phi1_jax.errors import UserError
from phi1_jax.model.phi import compute_dtype
from phi1_jax.model.sharding import make_mesh
from phi1_jax.plan import memory as plan_memory
from phi1_jax.train.flops import flops_per_token, peak_flops
from phi1_jax.train.step import MICRO_BATCHES, Batch, count_micro_batches, make_trainer

_N_BATCHES = 4


def measure(config: RunConfig, options: Options) -> Iterator[Row]:
    """Ours, the fastest eager and the fastest compiled baseline in turns; the others on their own.

    A step has `config.data.global_batch_size` rows, accumulated as `micro_batch_size` says; the
    baseline takes them at once. Without ours, the baseline has all of a GPU's memory, and weights
    of its own, as random as ours.
    """
    if options.baseline and config.optimizer.name != "adamw":
        raise UserError(
            f"config field optimizer.name={config.optimizer.name} is not what the baseline has; add"
            " --config.optimizer.name=adamw"
        )
    model, rows, seq_len = config.model, config.data.global_batch_size, config.data.seq_len
    shape = (_N_BATCHES, rows, seq_len + 1)
    batches = np.random.default_rng(0).integers(0, model.vocab_size, shape, np.int32)
    rates = dict.fromkeys((model.attention_dropout, model.residual_dropout))
    case = f"{rows} x {seq_len}, dropout {' and '.join(f'{rate:g}' for rate in rates)}"
    case += f", attention {model.attention}" if model.attention != "auto" else ""
    case += f", remat {model.remat}" if model.remat != "none" else ""
    variants: dict[str, Callable[[], float]] = {}
    about: dict[str, float] = {}
    loss, params, first_s = None, None, 0.0
    if options.ours:
        step, params = our_step(config, batches, keep=options.baseline)
        variants[OURS] = step
        began = time.perf_counter()
        loss = step()
        first_s = time.perf_counter() - began
        about = {"first_loss": loss}
        if stats := jax.devices()[0].memory_stats():  # not on a CPU
            planned = plan_memory.memory(config, make_mesh(config.mesh)).total
            about |= {"peak_bytes": stats["peak_bytes_in_use"], "planned_bytes": planned}
    if options.baseline:
        ways = baseline.training_steps(model, config.optimizer, params, batches, options.attentions)
        for mode in options.modes:
            check = partial(_check_loss, config, loss)
            variants |= (yield from baseline.select_fastest(case, ways(mode), check, calls=2))[0]
    timings = take_turns(variants, options.calls, block=2)
    roofline = rooflines(compute_dtype(model))
    flops = roofline["matmul_flops"]
    palm, causal = flops_per_token(model, seq_len)
    values = {}
    for name, timing in timings.items():
        rate = rows * seq_len / timing.median_s
        values[name] = {
            "tokens_per_s": rate,
            "palm_flops": rate * palm,
            "of_matmul_ceiling_palm": rate * palm / flops,
            "of_matmul_ceiling_causal": rate * causal / flops,
        }
        if peak := peak_flops(jax.devices()[0].device_kind, compute_dtype(model).name):
            values[name]["mfu_palm"] = rate * palm / (peak * jax.device_count())
    if options.ours:
        values[OURS] |= about
        timings[OURS] = replace(timings[OURS], first_s=first_s)
    yield from compare(case, timings, values)
    yield from roofline_rows(roofline)
    if options.baseline:  # where the two differ, no step can be as fast as its own matmuls allow
        found = {"flops": baseline.matmul_flops(model)}
        yield Row("roofline", "square matmul, torch", None, values=found)


def our_step(
    config: RunConfig,
    batches: np.ndarray,
    devices: list[jax.Device] | None = None,
    keep: bool = False,
) -> tuple[Callable[[], float], dict]:
    """A function that makes a step and returns its loss.

    Args:
      devices: all of JAX's if None.
      keep: whether to return the parameters before the first step, too.
    """
    mesh = make_mesh(config.mesh, devices)
    trainer = make_trainer(config, mesh)
    state = trainer.init()
    params = jax.device_get(state.params) if keep else {}
    n, _, width = batches.shape
    n_micro = count_micro_batches(config, mesh)
    tokens = batches.reshape(n, n_micro, -1, width)
    placed = jax.device_put(
        [
            Batch(rows, np.ones_like(rows[..., 1:], bool), np.zeros_like(rows[..., 0]))
            for rows in tokens
        ],
        NamedSharding(mesh, MICRO_BATCHES),
    )
    turn = 0

    def step() -> float:
        nonlocal state, turn
        state, metrics = trainer.step(state, placed[turn % n])
        turn += 1
        return float(metrics["loss"])  # waits for the step

    return step, params


def _check_loss(config: RunConfig, ours: float | None, name: str, loss: float) -> dict[str, float]:
    """With the same weights and tokens, both first losses must agree."""
    if ours is None:
        return {"first_loss": loss}
    tolerance = 1e-4 if compute_dtype(config.model) == np.float32 else 1e-2
    if not config.model.has_dropout and abs(loss - ours) > tolerance * ours:
        raise AssertionError(f"{name}: its first loss is {loss}, ours {ours}")
    return {"first_loss": loss}
