"""Meshes beside each other: what travels in a step, and how long the step would take."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from tqdm import tqdm

from phi1_jax.config import MeshConfig, RunConfig
from phi1_jax.errors import UserError
from phi1_jax.model.sharding import make_mesh
from phi1_jax.plan import report
from phi1_jax.plan.memory import memory
from phi1_jax.plan.program import compile_step

_HEADER = ("mesh", "collective", "carries", "in the program", "a step", "GB sent", "overlap")
# A collective that sends a smaller share of what its mesh sends is left out of the table.
_SHOWN = 1e-3


def compare(config: RunConfig, machines: Mapping[str, report.Machine]) -> dict[str, Any]:
    """For each mesh: memory, collectives, and step time on each machine; or why it does not work.

    Args:
      machines: all with as many devices as JAX has here.
    """
    (devices,) = {machine.devices for machine in machines.values()}
    steps = _steps(config)
    tokens = steps * config.data.global_batch_size * config.data.seq_len
    result: dict[str, Any] = {
        "meshes": {},
        "machines": {name: asdict(machine) for name, machine in machines.items()},
        "steps": steps,
        "paper_gpu_hours": report.paper_gpu_hours(config.model, tokens),
    }
    for name, sizes in tqdm(report.meshes(devices).items(), unit="mesh", disable=None):
        try:
            found = _on_mesh(config, sizes, machines)
        except UserError as error:
            found = {"why": str(error)}
        result["meshes"][name] = {"mesh": asdict(sizes), **found}
    return result


def _on_mesh(
    config: RunConfig, sizes: MeshConfig, machines: Mapping[str, report.Machine]
) -> dict[str, Any]:
    share = config.data.global_batch_size // (sizes.data * sizes.fsdp)
    on_mesh = replace(config, mesh=sizes)
    if config.micro_batch_size > share:
        on_mesh = replace(on_mesh, micro_batch_size=share)
    mesh = make_mesh(sizes)
    program = compile_step(on_mesh, mesh)
    times = {
        name: report.step_time(on_mesh, machine, program.collectives)
        for name, machine in machines.items()
    }
    return {
        "gb_by_shapes": memory(on_mesh, mesh).total / 1e9,
        "gb_as_compiled": (program.argument_bytes + program.scratch_bytes) / 1e9,
        "collectives": report.summary(program.collectives, on_mesh),
        "step_s": {
            name: asdict(time) | {"best": time.best, "worst": time.worst}
            for name, time in times.items()
        },
    }


def comparison_text(result: Mapping[str, Any]) -> str:
    """The comparison as Markdown."""
    short = report.short
    travels, times, skipped = [], [], []
    for name, found in result["meshes"].items():
        label = f"{name} ({'x'.join(str(size) for size in found['mesh'].values())})"
        if "why" in found:
            skipped.append(f"{label} does not work: {found['why']}")
            continue
        sent = sum(row["gb"] for row in found["collectives"])
        for row in found["collectives"]:
            if row["gb"] >= _SHOWN * sent:
                travels.append(
                    (
                        label,
                        row["kind"],
                        row["carries"],
                        row["in_program"],
                        f"{row['per_step']:,}",
                        short(row["gb"]),
                        "can be hidden" if row["can_be_hidden"] else "exposed",
                    )
                )
        for machine, time in found["step_s"].items():
            times.append(
                (
                    label,
                    machine,
                    *(short(found[k]) for k in ("gb_by_shapes", "gb_as_compiled")),
                    *(short(time[k]) for k in ("compute", "hidden", "exposed")),
                    f"{short(time['best'])} - {short(time['worst'])}",
                    short(time["best"] * result["steps"] / 86_400),
                )
            )
    if hours := result["paper_gpu_hours"]:
        days = short(hours / 24 / 8)
        times.append(("the paper", "8 x A100", *[""] * 6, days))
    header = (
        "mesh",
        "machine",
        "GB by shapes",
        "GB as compiled",
        "compute s",
        "hidden s",
        "exposed s",
        "step s",
        f"days for {result['steps']:,} steps",
    )
    parts = [report.table(_HEADER, travels), report.table(header, times), *skipped]
    return "\n\n".join(parts)


def _steps(config: RunConfig) -> int:
    """Up to the checkpoint that the paper calls phi-1-base, or all."""
    kept = [step for step in config.checkpoint.keep_steps if 0 < step < config.steps]
    return max(kept, default=config.steps)
