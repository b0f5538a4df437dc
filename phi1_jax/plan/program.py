"""The compiled step at full size, on devices that are not there: its memory and collectives.

XLA's CPU compiler cuts the program over fake CPU devices just as it does over GPUs; nothing is
allocated. What differs from a GPU:
  - matmuls, and so collectives, are in float32 where a GPU's are in the compute dtype;
  - a gradient that each device then cuts to its own part travels as an all-reduce, which a GPU's
    compiler turns into a reduce-scatter: half the bytes;
  - attention is XLA's, with [t, t] arrays, where a GPU may take cuDNN's without them;
  - nothing is asynchronous: what a GPU can hide behind computation is told by what is moved.
"""

import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from phi1_jax.config import RunConfig
from phi1_jax.plan.memory import micro_rows
from phi1_jax.train.step import Batch, count_micro_batches, make_trainer

KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
_OPERATION = re.compile(rf"= (.+?) ({'|'.join(KINDS)})(-start)?\((.*)")
_ARRAY = re.compile(r"([a-z]+\d*)\[([\d,]*)\]")


@dataclass(frozen=True)
class Collective:
    """One collective operation of the program."""

    kind: str  # one of KINDS
    carries: str  # weights, gradients, activations or scalars
    shapes: tuple[tuple[int, ...], ...]  # of what comes out on each device
    group: int  # devices that take part together
    times: int  # in one step: loops over layers and micro-batches counted
    asynchronous: bool  # as this compiler scheduled it

    @property
    def elements(self) -> int:
        """Of all that it gives to one device in a step."""
        return sum(math.prod(shape) for shape in self.shapes) * self.times

    @property
    def hidden(self) -> bool:
        """Whether computation that does not wait for it is there to hide it.

        Weights can be gathered a layer ahead, and nobody reads a gradient before the step's end;
        a layer's activations are what the next operation waits for.
        """
        return self.carries in ("weights", "gradients")

    def link_bytes(self, itemsize: int) -> float:
        """Bytes that each device sends in a step, by ring algorithms on a GPU."""
        share = (self.group - 1) / self.group
        twice = self.kind == "all-reduce"
        if self.kind == "collective-permute":
            share = 1.0
        return self.elements * itemsize * share * (2 if twice else 1)


@dataclass(frozen=True)
class Program:
    """What the compiler says of one training step."""

    argument_bytes: int  # the state and the batch, on each device
    scratch_bytes: int  # all else at the peak
    collectives: tuple[Collective, ...]


def compile_step(config: RunConfig, mesh: Mesh) -> Program:
    """Compiles the training step for the mesh from shapes alone."""
    trainer = make_trainer(config, mesh)
    rows, t = micro_rows(config, mesh), config.data.seq_len
    n_micro = count_micro_batches(config, mesh)
    shape = (n_micro, config.data.global_batch_size // n_micro)
    batch = Batch(
        jax.ShapeDtypeStruct((*shape, t + 1), jnp.int32), jax.ShapeDtypeStruct((*shape, t), bool)
    )
    step: Any = trainer.step
    compiled = step.lower(jax.eval_shape(trainer.init), batch).compile()
    stats = compiled.memory_analysis()
    return Program(
        stats.argument_size_in_bytes,
        stats.temp_size_in_bytes,
        collectives(compiled.as_text(), config, rows),
    )


def collectives(hlo: str, config: RunConfig, rows: int) -> tuple[Collective, ...]:
    """The collective operations in a compiled program's text.

    Args:
      rows: a device's rows in a micro-batch, to tell activations from weights.
    """
    bodies = _computations(hlo)
    times = _times(bodies)
    found = []
    for name, lines in bodies.items():
        for line in lines:
            if (match := _OPERATION.search(line)) and times[name]:
                result, kind, start, rest = match.groups()
                shapes = tuple(
                    tuple(int(size) for size in dims.split(",") if size)
                    for _, dims in _ARRAY.findall(result)
                )
                carries = _carries(kind, max(shapes, key=math.prod), config, rows)
                group = _group_size(rest)
                found.append(Collective(kind, carries, shapes, group, times[name], bool(start)))
    return tuple(found)


def _computations(hlo: str) -> dict[str, list[str]]:
    """Name -> lines of each computation; the program's entry is named ENTRY."""
    bodies: dict[str, list[str]] = {}
    name = ""
    for line in hlo.splitlines():
        if header := re.match(r"(ENTRY )?%?([\w.\-]+) \(.*\{$", line):
            name = "ENTRY" if header[1] else header[2]
            bodies[name] = []
        elif name:
            bodies[name].append(line)
    return bodies


def _times(bodies: dict[str, list[str]]) -> Counter[str]:
    """How often each computation runs in one step, by the loops' known counts."""
    times: Counter[str] = Counter()

    def visit(name: str, count: int) -> None:
        times[name] += count
        for line in bodies[name]:
            trips = re.search(r'known_trip_count":\{"n":"(\d+)"', line)
            for role, callee in re.findall(r"(body|calls|to_apply)=%?([\w.\-]+)", line):
                inner = int(trips[1]) if role == "body" and trips else 1
                visit(callee, count * inner)

    visit("ENTRY", 1)
    return times


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
