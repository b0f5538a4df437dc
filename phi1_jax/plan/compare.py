"""Meshes beside each other: what travels in a step, and how long the step would take."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from tqdm import tqdm

from phi1_jax.config import RunConfig
from phi1_jax.plan import report
from phi1_jax.plan.memory import memory
from phi1_jax.plan.program import compile_step
from phi1_jax.sharding import make_mesh

# Vendors' peaks and NVLink rates (one direction); MFU as published for models of this size on them
# (PaLM's count): 0.5 to 0.6 on A100, 0.4 on H100.
MACHINES = {
    "8 x A100": report.Machine(8, 80, 312, 0.5, 300),
    "8 x H100": report.Machine(8, 80, 989, 0.4, 450),
}


def compare(config: RunConfig, devices: int) -> dict[str, Any]:
    """For each mesh: memory, collectives, and step time on each of `MACHINES`."""
    result: dict[str, Any] = {"meshes": {}, "machines": {}, "steps": _steps(config)}
    for name, sizes in tqdm(report.meshes(devices).items(), unit="mesh", disable=None):
        shards = sizes.data * sizes.fsdp
        share = config.data.global_batch_size // shards
        on_mesh = replace(config, mesh=sizes)
        if config.micro_batch_size > share:
            on_mesh = replace(on_mesh, micro_batch_size=share)
        mesh = make_mesh(sizes)
        program = compile_step(on_mesh, mesh)
        times = {
            machine: report.step_time(on_mesh, rented, program.collectives)
            for machine, rented in MACHINES.items()
        }
        result["meshes"][name] = {
            "mesh": asdict(sizes),
            "gb_by_shapes": memory(on_mesh, mesh).total / 1e9,
            "gb_as_compiled": (program.argument_bytes + program.scratch_bytes) / 1e9,
            "collectives": report.summary(program.collectives, on_mesh),
            "step_s": {
                machine: asdict(time) | {"best": time.best, "worst": time.worst}
                for machine, time in times.items()
            },
        }
    result["machines"] = {name: asdict(machine) for name, machine in MACHINES.items()}
    return result


def comparison_text(result: Mapping[str, Any]) -> str:
    """The comparison as Markdown."""
    travels, times = [], []
    for name, found in result["meshes"].items():
        sizes = "x".join(str(size) for size in found["mesh"].values())
        label = f"{name} ({sizes})"
        for row in found["collectives"]:
            if row["gb"] < 0.005:
                continue
            travels.append(
                (
                    label,
                    row["kind"],
                    row["carries"],
                    row["in_program"],
                    f"{row['per_step']:,}",
                    f"{row['gb']:,.1f}",
                    "can be hidden" if row["can_be_hidden"] else "exposed",
                )
            )
        memory = (f"{found['gb_by_shapes']:.1f}", f"{found['gb_as_compiled']:.1f}")
        for machine, time in found["step_s"].items():
            days = time["best"] * result["steps"] / 86_400
            times.append(
                (
                    label,
                    machine,
                    *memory,
                    *(f"{time[k]:.1f}" for k in ("compute", "hidden", "exposed")),
                    f"{time['best']:.1f} - {time['worst']:.1f}",
                    f"{days:.1f}",
                )
            )
    header = ("mesh", "collective", "carries", "in the program", "a step", "GB sent", "overlap")
    return "\n".join(
        [
            report.table(header, travels),
            "",
            report.table(
                (
                    "mesh",
                    "machine",
                    "GB by shapes",
                    "GB as compiled",
                    "compute s",
                    "hidden s",
                    "exposed s",
                    "step s",
                    f"days for {result['steps']:,} steps",
                ),
                times,
            ),
        ]
    )


def _steps(config: RunConfig) -> int:
    """Up to the checkpoint that the paper calls phi-1-base, or all."""
    kept = [step for step in config.checkpoint.keep_steps if 0 < step < config.steps]
    return max(kept, default=config.steps)
