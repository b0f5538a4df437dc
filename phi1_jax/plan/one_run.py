"""The plan of one config on one machine."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from phi1_jax.config import USABLE_MEMORY, RunConfig
from phi1_jax.model.sharding import make_mesh
from phi1_jax.plan import report
from phi1_jax.plan.memory import memory, micro_rows, uses_flash
from phi1_jax.plan.program import compile_step
from phi1_jax.train.flops import flops_per_token

_PARTS = ("params", "optimizer", "gradients", "activations", "working")


def plan(
    config: RunConfig, finetune: RunConfig, machine: report.Machine, *, compiling: bool
) -> dict[str, Any]:
    """Everything about a config on a machine, ready for JSON.

    Args:
      finetune: the paper's second stage, for its steps and batch.
      compiling: compile the step too, for its own count of memory and its collectives.
    """
    mesh = make_mesh(config.mesh)
    program = compile_step(config, mesh) if compiling else None
    needed = memory(config, mesh)
    found = report.choices(config, mesh)
    chosen = report.best(found, machine.hbm_gb)
    result: dict[str, Any] = {
        "machine": asdict(machine),
        "mesh": dict(mesh.shape),
        "micro_batch_size": micro_rows(config, mesh),
        "remat": config.model.remat,
        "attention": "cudnn" if uses_flash(config) else "xla",
        "memory": asdict(needed) | {"total": needed.total},
        "fits": report.fits(needed, program, machine.hbm_gb),
        "choices": [asdict(c) | {"total": c.memory.total} for c in found],
        "best": None
        if chosen is None
        else {"micro_batch_size": chosen.micro_batch_size, "remat": chosen.remat},
        "gflop_per_token": flops_per_token(config.model, config.data.seq_len)[0] / 1e9,
        "tokens_per_s": machine.tokens_per_s(config),
        "stages": [asdict(stage) for stage in report.stages(config, finetune, machine)],
    }
    if program is not None:
        on_mesh = replace(config, mesh=type(config.mesh)(*mesh.shape.values()))
        time = report.step_time(on_mesh, machine, program.collectives)
        result |= {
            "compiled_bytes": program.argument_bytes + program.scratch_bytes,
            "collectives": report.summary(program.collectives, on_mesh),
            "step_s": asdict(time) | {"best": time.best, "worst": time.worst},
        }
    return result


def plan_text(result: Mapping[str, Any]) -> str:
    """The plan as Markdown."""
    machine, needed = result["machine"], result["memory"]
    mesh = " x ".join(f"{size} {axis}" for axis, size in result["mesh"].items())
    parts = [
        f"{machine['devices']} devices ({mesh}), {machine['hbm_gb']:g} GB and"
        f" {machine['peak_tflops']:g} TFLOP/s each; micro-batch {result['micro_batch_size']},"
        f" remat {result['remat']}, attention {result['attention']}",
        "",
        report.table(
            ("GB on each device", ""),
            [
                *((name, report.short(needed[name] / 1e9)) for name in _PARTS),
                ("in all, by shapes", report.short(needed["total"] / 1e9)),
                *(
                    [("as compiled for the CPU", report.short(result["compiled_bytes"] / 1e9))]
                    if "compiled_bytes" in result
                    else []
                ),
            ],
        ),
        "",
        f"fits {machine['hbm_gb']:g} GB ({USABLE_MEMORY:.0%} of it usable): {result['fits']}",
    ]
    if chosen := result["best"]:
        parts.append(
            f"best: micro_batch_size={chosen['micro_batch_size']} with"
            f" model.remat={chosen['remat']}"
        )
    else:
        parts.append("no micro-batch fits: more devices, fsdp or tensor")
    sizes = sorted({choice["micro_batch_size"] for choice in result["choices"]})
    totals = {(c["remat"], c["micro_batch_size"]): c["total"] for c in result["choices"]}
    parts += [
        "",
        report.table(
            ("GB in all, by micro-batch", *map(str, sizes)),
            [
                (f"remat {remat}", *(report.short(totals[remat, size] / 1e9) for size in sizes))
                for remat in report.REMAT
            ],
        ),
        "",
    ]
    parts.append(
        f"{result['tokens_per_s']:,.0f} tokens/s at MFU {machine['mfu']:g}"
        f" ({result['gflop_per_token']:.3f} GFLOP a token)"
    )
    if "step_s" in result:
        time = result["step_s"]
        sent = sum(row["gb"] for row in result["collectives"])
        parts.append(
            f"each step: {report.short(time['compute'])} s of computation; each device sends"
            f" {report.short(sent)} GB, {report.short(time['hidden'])} s that"
            f" computation can hide and {report.short(time['exposed'])} s that it waits for:"
            f" {report.short(time['best'])} to {report.short(time['worst'])} s"
        )
    parts += ["", _stage_table(result["stages"])]
    return "\n".join(parts)


def _stage_table(stages: list[dict[str, Any]]) -> str:
    cost = any(stage["usd"] for stage in stages)
    paper = any(stage["paper_gpu_hours"] for stage in stages)
    header = ["stage", "tokens", "days", "GPU-hours"]
    header += ["USD"] * cost + ["paper's GPU-hours"] * paper
    rows = []
    for stage in stages:
        row = [
            stage["name"],
            f"{report.short(stage['tokens'] / 1e9)}e9",
            report.short(stage["days"]),
            report.short(stage["gpu_hours"]),
        ]
        row += [f"{stage['usd']:,.0f}"] * cost
        row += [f"{stage['paper_gpu_hours'] or '':}"] * paper
        rows.append(row)
    return report.table(header, rows)
