"""The plan of a run: memory, the best micro-batch, time, cost, and the compiled program."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any

import jax
from jax.sharding import Mesh

from phi1_jax.config import USABLE_MEMORY, ModelConfig, RunConfig
from phi1_jax.errors import UserError
from phi1_jax.markdown import table
from phi1_jax.model.phi import count_params
from phi1_jax.plan.machines import Gpu, gpu_devices
from phi1_jax.plan.memory import REMAT, Memory, Remat, memory, micro_rows
from phi1_jax.plan.program import Collective, Program, compile_step
from phi1_jax.train.flops import flops_per_token, matmul_params, peak_flops
from phi1_jax.train.step import training_mesh

# What the paper says of 1.3B parameters on 8 A100: GPU-hours by tokens in 1e9 (section 2.3).
PAPER_GPU_HOURS = {50: 770.0, 3: 56.0}
# A recommendation leaves room for temporary arrays that shapes do not show.
RECOMMENDED = 0.8
Choice = tuple[Remat, int]  # a remat policy and a micro-batch size


@dataclass(frozen=True)
class Machine:
    """What is rented."""

    gpu: Gpu
    devices: int
    usd_per_gpu_hour: float = 0.0

    def tokens_per_s(self, config: RunConfig) -> float:
        """At the assumed rate of use, collectives hidden."""
        palm, _ = flops_per_token(config.model, config.data.seq_len)
        peak = peak_flops(self.gpu.name, config.model.compute_dtype)
        assert peak is not None, self.gpu.name
        return self.devices * peak * self.gpu.mfu / palm


def plan(
    config: RunConfig, finetune: RunConfig, machine: Machine, *, compiling: bool
) -> dict[str, Any]:
    """Everything about a config on a machine, ready for JSON.

    Args:
      finetune: the paper's second stage, for its steps and batch.
      compiling: compile the step for the GPU; else by shapes alone, and CPU devices stand in.
    Raises:
      UserError: the mesh does not fit the devices, or the compiler for GPUs is not installed.
    """
    sizes, gpu = astuple(config.mesh), machine.gpu
    if -1 not in sizes and math.prod(sizes) != machine.devices:
        raise UserError(
            f"config field mesh={'x'.join(map(str, sizes))} is not for --devices={machine.devices};"
            f" give --devices={math.prod(sizes)}, or another mesh"
        )
    if config.model.compute_dtype == "auto":
        config = replace(config, model=replace(config.model, compute_dtype=gpu.compute_dtype))
    n = machine.devices
    mesh = training_mesh(config, gpu_devices(gpu, n) if compiling else jax.devices()[:n])
    machine = replace(machine, devices=mesh.size)  # a small batch does not use all
    program = compile_step(config, mesh) if compiling else None
    needed = memory(config, mesh)
    usable_gb = USABLE_MEMORY * gpu.hbm_gb
    peak_gb = (program.peak_bytes if program else needed.total) / 1e9
    found = choices(config, mesh)
    chosen = best(found, gpu.hbm_gb)
    result: dict[str, Any] = {
        "gpu": gpu.name,
        "devices": machine.devices,
        "mesh": dict(mesh.shape),
        "parameters": count_params(config.model),
        "micro_batch_size": micro_rows(config, mesh),
        "remat": config.model.remat,
        "gb_by_shapes": {k: v / 1e9 for k, v in vars(needed).items()}
        | {"total": needed.total / 1e9},
        "peak_gb": peak_gb,
        "usable_gb": usable_gb,
        "fits": peak_gb <= usable_gb,
        "gb_by_choice": {f"{remat} {n}": m.total / 1e9 for (remat, n), m in found.items()},
        "best": chosen and {"micro_batch_size": chosen[1], "remat": chosen[0]},
        "gflop_per_token": flops_per_token(config.model, config.data.seq_len)[0] / 1e9,
        "mfu": gpu.mfu,
        "tokens_per_s": machine.tokens_per_s(config),
        "stages": stages(config, finetune, machine),
    }
    if program is not None:
        result["program"] = _of_program(program, config, machine)
    return result


def _of_program(program: Program, config: RunConfig, machine: Machine) -> dict[str, Any]:
    tokens = config.data.global_batch_size * config.data.seq_len
    needed_flops = 6.0 * matmul_params(config.model) * tokens / machine.devices
    sent = sum(collective.link_bytes for collective in program.collectives)
    return {
        "attention": program.attention,
        "kernels": program.kernels,
        "matmul_flops": program.matmul_flops,
        "matmul_flops_by_needed": sum(program.matmul_flops.values()) / needed_flops,
        "collectives": collective_rows(program.collectives),
        "link_s": sent / (machine.gpu.link_gb_per_s * 1e9),
        "compute_s": tokens / machine.tokens_per_s(config),
        "warnings": list(program.warnings),
    }


def stages(config: RunConfig, finetune: RunConfig, machine: Machine) -> list[dict[str, Any]]:
    """What the run takes to its kept steps and in all, and the paper's finetuning after it."""
    rows = [
        (f"to the kept step {step:,}", step, config)
        for step in sorted(config.checkpoint.keep_steps)
        if 0 < step < config.steps
    ]
    rows.append((f"all {config.steps:,} steps", config.steps, config))
    if not config.init_from and config.data.seq_len == finetune.data.seq_len:
        rows.append((f"finetune, {finetune.steps:,} steps", finetune.steps, finetune))
    is_papers = matmul_params(config.model) == matmul_params(ModelConfig())
    found = []
    for name, steps, of in rows:
        tokens = steps * of.data.global_batch_size * of.data.seq_len
        hours = tokens / machine.tokens_per_s(replace(config, data=of.data)) / 3600
        gpu_hours = hours * machine.devices
        found.append(
            {
                "name": name,
                "tokens": tokens,
                "days": hours / 24,
                "gpu_hours": gpu_hours,
                "usd": gpu_hours * machine.usd_per_gpu_hour,
                "paper_gpu_hours": PAPER_GPU_HOURS.get(round(tokens / 1e9)) if is_papers else None,
            }
        )
    return found


def choices(config: RunConfig, mesh: Mesh) -> dict[Choice, Memory]:
    """Every remat policy with micro-batches of 1, 2, 4, ... rows that divide the global batch."""
    shards = mesh.shape["data"] * mesh.shape["fsdp"]
    share = config.data.global_batch_size // shards
    sizes = [2**i for i in range(7) if 2**i <= share and share % 2**i == 0]
    found = {}
    for remat in REMAT:
        model = replace(config.model, remat=remat)
        for size in sizes:
            found[remat, size] = memory(replace(config, model=model, micro_batch_size=size), mesh)
    return found


def best(found: Mapping[Choice, Memory], hbm_gb: float) -> Choice | None:
    """The least recomputation that fits with at least two rows, then the most rows; None: none.

    With one row of 2048 tokens the matmuls are too small to use a large GPU well.
    """
    fitting = [choice for choice, m in found.items() if m.total <= RECOMMENDED * hbm_gb * 1e9]
    return min(fitting, key=lambda c: (c[1] < 2, REMAT.index(c[0]), -c[1]), default=None)


def collective_rows(found: Sequence[Collective]) -> list[dict[str, Any]]:
    """One row for each kind and what it carries, the largest first."""
    groups: dict[tuple[str, str, bool], list[Collective]] = defaultdict(list)
    for c in found:
        if c.group > 1:
            groups[c.carries, c.kind, c.asynchronous].append(c)
    rows = [
        {
            "carries": carries,
            "kind": kind,
            "asynchronous": asynchronous,
            "per_step": sum(c.times for c in group),
            "gb": sum(c.link_bytes for c in group) / 1e9,
        }
        for (carries, kind, asynchronous), group in groups.items()
    ]
    return sorted(rows, key=lambda row: -row["gb"])


def plan_text(result: dict[str, Any]) -> str:
    """The plan as Markdown."""
    mesh = " x ".join(f"{size} {axis}" for axis, size in result["mesh"].items())
    shapes = [(name, short(gb)) for name, gb in result["gb_by_shapes"].items()]
    by_choice = result["gb_by_choice"]
    sizes = sorted({int(name.split()[1]) for name in by_choice})
    by_remat = [(f"remat {r}", *(short(by_choice[f"{r} {n}"]) for n in sizes)) for r in REMAT]
    parts = [
        f"{result['parameters']:,} parameters on {result['devices']} x {result['gpu']} ({mesh});"
        f" micro-batch {result['micro_batch_size']}, remat {result['remat']}",
        table(("GB on each device, by shapes", ""), shapes),
        _verdict(result),
        table(("GB by shapes, micro-batch", *map(str, sizes)), by_remat),
        *(_program_parts(result["program"]) if "program" in result else []),
        f"{result['tokens_per_s']:,.0f} tokens/s at an assumed MFU of {result['mfu']:g}"
        f" ({result['gflop_per_token']:.3f} GFLOP a token)",
        _stage_table(result["stages"]),
    ]
    return "\n\n".join(parts)


def _verdict(result: dict[str, Any]) -> str:
    source = "compiled for this GPU" if "program" in result else "by shapes"
    found = (
        f"{short(result['peak_gb'])} GB at the peak ({source}), {short(result['usable_gb'])} GB"
        f" usable: {'fits' if result['fits'] else 'does not fit'}"
    )
    chosen = result["best"]
    if chosen is None:
        return f"{found}; no micro-batch fits: more devices, --config.mesh.fsdp or mesh.tensor"
    return (
        f"{found}; recommended: --config.micro_batch_size={chosen['micro_batch_size']}"
        f" --config.model.remat={chosen['remat']}"
    )


def _program_parts(program: dict[str, Any]) -> list[str]:
    flops = sum(program["matmul_flops"].values())
    shares = ", ".join(
        f"{dtype} {share / flops:.1%}" for dtype, share in program["matmul_flops"].items()
    )
    parts = [
        f"attention: {program['attention']}; matmuls: {shares};"
        f" {program['matmul_flops_by_needed']:.2f} times the operations that the weights need",
    ]
    if program["collectives"]:
        header = ("collective", "carries", "a step", "GB sent", "asynchronous")
        rows = []
        for row in program["collectives"]:
            times, how = f"{row['per_step']:,}", "yes" if row["asynchronous"] else "no"
            rows.append((row["kind"], row["carries"], times, short(row["gb"]), how))
        parts += [
            table(header, rows),
            f"a step: {short(program['compute_s'])} s of computation at that MFU,"
            f" {short(program['link_s'])} s on the links",
        ]
    return [*parts, *(f"the compiler warns: {line}" for line in program["warnings"])]


def _stage_table(found: list[dict[str, Any]]) -> str:
    cost = any(stage["usd"] for stage in found)
    paper = any(stage["paper_gpu_hours"] for stage in found)
    header = ["stage", "tokens", "time", "GPU-hours"]
    header += ["USD"] * cost + ["paper's GPU-hours"] * paper
    rows = []
    for stage in found:
        row = [
            stage["name"],
            f"{short(tokens / 1e9)}e9" if (tokens := stage["tokens"]) >= 1e9 else f"{tokens:,}",
            _time(stage["days"]),
            short(hours) if (hours := stage["gpu_hours"]) >= 0.01 else "< 0.01",
        ]
        row += [f"{stage['usd']:,.0f}"] * cost
        row += [f"{stage['paper_gpu_hours'] or '':}"] * paper
        rows.append(row)
    return table(header, rows)


def _time(days: float) -> str:
    for unit, seconds in (("days", 86400), ("h", 3600), ("min", 60)):
        if (value := days * 86400 / seconds) >= 1:
            return f"{short(value)} {unit}"
    return f"{short(days * 86400)} s"


def short(value: float) -> str:
    """Three digits, and the thousands of a large number."""
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"
