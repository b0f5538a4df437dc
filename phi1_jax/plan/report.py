"""Tables of what a run needs: memory, the best micro-batch, time, cost, collectives."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jax.sharding import Mesh

from phi1_jax.config import USABLE_MEMORY, MeshConfig, ModelConfig, RunConfig
from phi1_jax.plan.memory import REMAT, Memory, Remat, memory
from phi1_jax.plan.program import Collective, Program
from phi1_jax.train.flops import flops_per_token, matmul_params

# What the paper says of 1.3B parameters on 8 A100: GPU-hours by tokens in 1e9 (section 2.3).
PAPER_GPU_HOURS = {50: 770.0, 3: 56.0}
# A recommendation leaves room for temporary arrays that shapes do not show.
RECOMMENDED = 0.8


@dataclass(frozen=True)
class Machine:
    """What is rented; rates are those of one device."""

    devices: int
    hbm_gb: float
    peak_tflops: float  # dense, in the compute dtype
    mfu: float  # assumed fraction of the peak, PaLM's count
    link_gb_per_s: float  # to the other devices, one direction
    usd_per_gpu_hour: float = 0.0

    def tokens_per_s(self, config: RunConfig) -> float:
        """At the assumed rate of use, collectives hidden."""
        palm, _ = flops_per_token(config.model, config.data.seq_len)
        return self.devices * self.peak_tflops * 1e12 * self.mfu / palm


# One device each: vendors' peaks and NVLink rates; MFU as published for models of this size on them
# (PaLM's count): 0.5 to 0.6 on A100, 0.4 on H100.
MACHINES = {"A100": Machine(1, 80, 312, 0.5, 300), "H100": Machine(1, 80, 989, 0.4, 450)}


@dataclass(frozen=True)
class Stage:
    """Steps of one batch size, and what they take."""

    name: str
    steps: int
    tokens: int
    days: float
    gpu_hours: float
    usd: float
    paper_gpu_hours: float | None


def stages(config: RunConfig, finetune: RunConfig, machine: Machine) -> list[Stage]:
    """The run's kept steps, all of it, and the paper's finetuning after pretraining."""
    rows = [
        (f"to the kept step {step:,}", step, config)
        for step in sorted(config.checkpoint.keep_steps)
        if 0 < step < config.steps
    ]
    rows.append((f"all {config.steps:,} steps", config.steps, config))
    if not config.init_from and config.data.seq_len == finetune.data.seq_len:
        rows.append((f"finetune, {finetune.steps:,} steps", finetune.steps, finetune))
    found = []
    for name, steps, of in rows:
        tokens = steps * of.data.global_batch_size * of.data.seq_len
        seconds = tokens / machine.tokens_per_s(replace(config, data=of.data))
        hours = seconds / 3600 * machine.devices
        found.append(
            Stage(
                name,
                steps,
                tokens,
                seconds / 86_400,
                hours,
                hours * machine.usd_per_gpu_hour,
                paper_gpu_hours(config.model, tokens),
            )
        )
    return found


def paper_gpu_hours(model: ModelConfig, tokens: int) -> float | None:
    """What the paper says of so many tokens, if the model is its own."""
    if matmul_params(model) != matmul_params(ModelConfig()):
        return None
    return PAPER_GPU_HOURS.get(round(tokens / 1e9))


@dataclass(frozen=True)
class Choice:
    """A micro-batch size and remat policy, and the memory that they need."""

    micro_batch_size: int
    remat: Remat
    memory: Memory


def choices(config: RunConfig, mesh: Mesh) -> list[Choice]:
    """Every remat policy with micro-batches of 1, 2, 4, ... rows that divide the global batch."""
    shards = mesh.shape["data"] * mesh.shape["fsdp"]
    share = config.data.global_batch_size // shards
    sizes = [2**i for i in range(7) if 2**i <= share and share % 2**i == 0]
    found = []
    for remat in REMAT:
        model = replace(config.model, remat=remat)
        for size in sizes:
            changed = replace(config, model=model, micro_batch_size=size)
            found.append(Choice(size, remat, memory(changed, mesh)))
    return found


def best(found: Iterable[Choice], hbm_gb: float) -> Choice | None:
    """The least recomputation that fits with at least two rows, then the most rows; None: none.

    With one row of 2048 tokens the matmuls are too small to use a large GPU well.
    """
    fitting = [c for c in found if c.memory.total <= RECOMMENDED * hbm_gb * 1e9]
    return min(
        fitting,
        key=lambda c: (c.micro_batch_size < 2, REMAT.index(c.remat), -c.micro_batch_size),
        default=None,
    )


def fits(needed: Memory, program: Program | None, hbm_gb: float) -> str:
    """In words, by the two counts: shapes from below, the CPU's program from above."""
    usable = USABLE_MEMORY * hbm_gb * 1e9
    if needed.total > usable:
        return "no"
    if program is None:
        return "yes, by shapes"
    if program.argument_bytes + program.scratch_bytes <= usable:
        return "yes"
    return "yes by shapes, no as compiled for the CPU"


@dataclass(frozen=True)
class StepTime:
    """Seconds of one step, from operations and bytes alone."""

    compute: float
    hidden: float  # collectives that computation can hide
    exposed: float  # collectives that the next operation waits for

    @property
    def best(self) -> float:
        return max(self.compute, self.hidden) + self.exposed

    @property
    def worst(self) -> float:
        """Nothing is hidden."""
        return self.compute + self.hidden + self.exposed


def step_time(config: RunConfig, machine: Machine, found: Sequence[Collective]) -> StepTime:
    """Projects one step on a machine."""
    tokens = config.data.global_batch_size * config.data.seq_len
    rate = machine.link_gb_per_s * 1e9
    hidden = sum(gpu_bytes(c, config) for c in found if c.hidden) / rate
    exposed = sum(gpu_bytes(c, config) for c in found if not c.hidden) / rate
    return StepTime(tokens / machine.tokens_per_s(config), hidden, exposed)


def gpu_bytes(collective: Collective, config: RunConfig) -> float:
    """Bytes that a device of a GPU machine sends for it in a step; see `program.py`."""
    itemsize = 4 if config.model.compute_dtype == "float32" else 2
    largest = max(collective.shapes, key=math.prod)
    # Whole along the axis that fsdp cuts: each device goes on with its own part of it.
    scattered = (
        collective.carries == "gradients"
        and config.mesh.fsdp > 1
        and config.model.d_model in largest
    )
    return collective.link_bytes(itemsize) / (2 if scattered else 1)


def summary(found: Sequence[Collective], config: RunConfig) -> list[dict[str, Any]]:
    """One row for each kind and what it carries: operations, bytes and overlap of a step."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for c in found:
        if c.group < 2:
            continue
        row = rows.setdefault(
            (c.carries, c.kind),
            {"carries": c.carries, "kind": c.kind, "in_program": 0, "per_step": 0, "gb": 0.0},
        )
        row["in_program"] += 1
        row["per_step"] += c.times
        row["gb"] += gpu_bytes(c, config) / 1e9
        row["can_be_hidden"] = c.hidden
        row["asynchronous_on_cpu"] = c.asynchronous
    return sorted(rows.values(), key=lambda row: -row["gb"])


def meshes(devices: int) -> dict[str, MeshConfig]:
    """Pure data parallel, FSDP, tensor parallel, and mixes, as far as the devices allow."""
    found = {
        "data": MeshConfig(devices, 1, 1),
        "fsdp": MeshConfig(1, devices, 1),
        "tensor": MeshConfig(1, 1, devices),
    }
    if devices % 4 == 0 and devices > 4:
        found["data x fsdp"] = MeshConfig(devices // 4, 4, 1)
        found["fsdp x tensor"] = MeshConfig(1, devices // 2, 2)
        found["data x fsdp x tensor"] = MeshConfig(devices // 4, 2, 2)
    return found


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Markdown, the first column to the left and the others to the right."""
    lines = ["| " + " | ".join(header) + " |", "|---" + "|---:" * (len(header) - 1) + "|"]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def short(value: float) -> str:
    """Three digits, and the thousands of a large number."""
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"
