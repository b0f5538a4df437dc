"""What a compiled program holds: memory, attention, matmuls and collectives, read from its text.

The program is XLA's for the devices that it was lowered for: the GPU's own where `machines.py`
gives the devices, or the CPU's, whose cut over a mesh is the same.
"""

import math
import os
import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from phi1_jax.config import RunConfig
from phi1_jax.plan.memory import micro_rows
from phi1_jax.train.step import Batch, count_micro_batches, make_trainer

KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?([\w.\-]+) = (.+?) ([a-z][\w\-]*)\((.*)$")
_ARRAY = re.compile(r"\b(pred|[a-z]+\d+\w*)\[([\d,]*)\]")
_BYTES = {"pred": 1, "bf16": 2, "f16": 2, "f32": 4, "f64": 8, "s8": 1, "u8": 1, "s32": 4, "u32": 4}


class Instruction(NamedTuple):
    """One line of a computation."""

    name: str
    arrays: tuple[tuple[str, tuple[int, ...]], ...]  # dtype and shape of each result
    opcode: str
    text: str  # operands and attributes


@dataclass(frozen=True)
class Collective:
    """One collective operation of the program."""

    kind: str  # one of KINDS
    carries: str  # weights, gradients, activations or scalars
    shapes: tuple[tuple[int, ...], ...]  # of what comes out on each device
    result_bytes: int  # on each device, of one execution
    group: int  # devices that take part together
    times: int  # in one step: loops over layers and micro-batches counted
    asynchronous: bool  # as this compiler scheduled it

    @property
    def link_bytes(self) -> float:
        """Bytes that each device sends in a step, by ring algorithms."""
        share = (self.group - 1) / self.group
        factor = {"all-reduce": 2 * share, "collective-permute": 1.0}.get(self.kind, share)
        # What comes out of a reduce-scatter is one device's part of what is sent.
        whole = self.group if self.kind == "reduce-scatter" else 1
        return self.result_bytes * whole * factor * self.times


@dataclass(frozen=True)
class Program:
    """What the compiler says of one program, on each device.

    Attributes:
      peak_bytes: arguments, results and temporary arrays at the peak.
      kernels: custom calls by target, counted over one step: cuDNN's attention among them.
      matmul_flops: by the operands' dtype, counted from the dots of one step.
      warnings: what the compiler said, such as "Involuntary full rematerialization".
    """

    peak_bytes: int
    kernels: dict[str, int]
    matmul_flops: dict[str, float]
    collectives: tuple[Collective, ...]
    warnings: tuple[str, ...] = ()

    @property
    def attention(self) -> str:
        """`cudnn`, `flash` (our own kernels) or `xla`."""
        if any("cudnn$fmha" in name for name in self.kernels):
            return "cudnn"
        return "flash" if any("xla.gpu.triton" in name for name in self.kernels) else "xla"


def compile_step(config: RunConfig, mesh: Mesh) -> Program:
    """Compiles the training step for the mesh from shapes alone; nothing is allocated."""
    trainer = make_trainer(config, mesh)
    t, n_micro = config.data.seq_len, count_micro_batches(config, mesh)
    shape = (n_micro, config.data.global_batch_size // n_micro)
    batch = Batch(
        jax.ShapeDtypeStruct((*shape, t + 1), jnp.int32),
        jax.ShapeDtypeStruct((*shape, t), bool),
        jax.ShapeDtypeStruct(shape, jnp.int32),
    )
    step: Any = trainer.step
    lowered = step.lower(jax.eval_shape(trainer.init), batch)
    with _compiler_warnings() as warnings:
        compiled = lowered.compile()
    stats = compiled.memory_analysis()
    peak = (
        stats.argument_size_in_bytes
        + stats.temp_size_in_bytes
        + stats.output_size_in_bytes
        - stats.alias_size_in_bytes
    )
    found = read_text(compiled.as_text(), config, micro_rows(config, mesh))
    return replace(found, peak_bytes=peak, warnings=tuple(warnings))


def read_text(hlo: str, config: RunConfig, rows: int) -> Program:
    """Reads a program's text, all but its memory and the compiler's warnings.

    Args:
      rows: a device's rows in a micro-batch, to tell activations from weights.
    """
    bodies = read_computations(hlo)
    times = count_executions(bodies)
    kernels: Counter[str] = Counter()
    flops: defaultdict[str, float] = defaultdict(float)
    collectives = []
    for name, body in bodies.items():
        if not times[name]:
            continue
        known = {line.name: line.arrays for line in body}
        for line in body:
            if line.opcode == "custom-call":
                target = re.search(r'custom_call_target="([^"]+)"', line.text)
                kernels[target[1] if target else "?"] += times[name]
            if dot := _dot_flops(line, known):
                flops[dot[0]] += times[name] * dot[1]
            if found := _collective(line, times[name], config, rows):
                collectives.append(found)
    return Program(0, dict(kernels), dict(flops), tuple(collectives))


def read_computations(hlo: str) -> dict[str, list[Instruction]]:
    """Name -> instructions of each computation; the program's entry is named ENTRY."""
    bodies: dict[str, list[Instruction]] = {}
    name = ""
    for line in hlo.splitlines():
        if header := re.match(r"(ENTRY )?%?([\w.\-]+) \(.*\{$", line):
            name = "ENTRY" if header[1] else header[2]
            bodies[name] = []
        elif name and (found := _INSTRUCTION.match(line)):
            bodies[name].append(Instruction(found[1], _arrays(found[2]), found[3], found[4]))
    return bodies


def count_executions(bodies: dict[str, list[Instruction]]) -> Counter[str]:
    """How often each computation runs in one execution, by the loops' known counts."""
    times: Counter[str] = Counter()

    def visit(name: str, count: int) -> None:
        times[name] += count
        for line in bodies[name]:
            trips = re.search(r'known_trip_count":\{"n":"(\d+)"', line.text)
            for role, callee in re.findall(r"\b(body|calls|to_apply)=%?([\w.\-]+)", line.text):
                visit(callee, count * (int(trips[1]) if role == "body" and trips else 1))

    visit("ENTRY", 1)
    return times


def _arrays(text: str) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return tuple(
        (dtype, tuple(int(size) for size in dims.split(",") if size))
        for dtype, dims in _ARRAY.findall(text)
    )


def _dot_flops(line: Instruction, known: dict[str, Any]) -> tuple[str, float] | None:
    """Operand dtype and operations of a matmul; None for what is none."""
    cublas = line.opcode == "custom-call" and "__cublas" in line.text
    if line.opcode != "dot" and not cublas:
        return None
    operand = re.match(r"(?:[^%]*?)%?([\w.\-]+)", line.text)
    dims = re.search(r'lhs_contracting_dim(?:ension)?s"?[=:][{\[]([\d,"\s]*)[}\]]', line.text)
    if operand is None or dims is None or operand[1] not in known:
        raise ValueError(f"a matmul in an unknown notation: {line}")
    dtype, shape = known[operand[1]][0]
    contracted = math.prod(shape[int(at)] for at in re.findall(r"\d+", dims[1]))
    return dtype, 2.0 * math.prod(line.arrays[0][1]) * contracted


def _collective(line: Instruction, times: int, config: RunConfig, rows: int) -> Collective | None:
    kind, start = line.opcode.removesuffix("-start"), line.opcode.endswith("-start")
    if kind not in KINDS:
        return None
    arrays = line.arrays
    if start and kind in ("all-gather", "reduce-scatter", "collective-permute"):
        # Operands and results; of a permutation also two flags.
        arrays = tuple(a for a in arrays if a[1] or kind != "collective-permute")
        arrays = arrays[len(arrays) // 2 :]
    shapes = tuple(shape for _, shape in arrays)
    return Collective(
        kind,
        _carries(kind, max(shapes, key=math.prod), config, rows),
        shapes,
        sum(_BYTES.get(dtype, 4) * math.prod(shape) for dtype, shape in arrays),
        _group_size(line.text),
        times,
        start and '"is_sync":true' not in line.text,
    )


def _carries(kind: str, shape: tuple[int, ...], config: RunConfig, rows: int) -> str:
    if not shape:
        return "scalars"
    t, model = config.data.seq_len, config.model
    widths = {model.d_model, model.d_mlp, model.vocab_size}
    flat = rows * t in shape and rows * t not in widths
    if flat or (len(shape) >= 3 and shape[0] == rows and t in shape[1:]):
        return "activations"
    return "weights" if kind == "all-gather" else "gradients"


def _group_size(text: str) -> int:
    """Devices in one group, in each of the notations of `replica_groups`."""
    if mesh := re.search(r"replica_groups=mesh\[(.*?)\][^{]*\{(.*?)\}", text):
        sizes = {name: int(size) for name, size in re.findall(r"'(\w+)'=(\d+)", mesh[1])}
        # An axis, or a part of one: {'axis_0', 'axis_1':(1)2}.
        used = re.findall(r"'(\w+)'(?::\(\d+\)(\d+))?", mesh[2])
        return math.prod(int(part) if part else sizes[name] for name, part in used)
    if iota := re.search(r"replica_groups=\[\d+,(\d+)\]<=", text):
        return int(iota[1])
    if listed := re.search(r"replica_groups=\{\{([\d,]*)\}", text):
        return len(listed[1].split(","))
    if "source_target_pairs=" in text:
        return 2
    raise ValueError(f"replica groups in an unknown notation: {text[:300]}")


@contextmanager
def _compiler_warnings() -> Iterator[list[str]]:
    """Collects what XLA writes to stderr; it has no other way to be asked."""
    found: list[str] = []
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield found
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            text = file.read().decode(errors="replace")
            os.write(2, text.encode())
            found += [line for line in text.splitlines() if "rematerialization" in line]
