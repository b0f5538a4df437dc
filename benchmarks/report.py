"""Rows of results: a table on the terminal, JSON lines in a file."""

import datetime
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

from benchmarks.timing import Timing
from phi1_jax import __version__
from phi1_jax.errors import UserError
from phi1_jax.plan.report import short

OURS = "ours"


@dataclass(frozen=True)
class Row:
    """One variant in one case; `seconds` is None for one that does not run here."""

    case: str
    variant: str
    seconds: float | None
    spread_s: tuple[float, float] | None = None
    calls: int = 1
    first_s: float | None = None  # the first call, with compilation
    ratio: float | None = None  # ours by the fastest of the others; below 1 we are faster
    values: Mapping[str, Any] = field(default_factory=dict)  # rates, fractions, notes


@dataclass(frozen=True)
class Options:
    """What a subject needs besides the run's config."""

    baseline: bool = False
    calls: int = 20  # timed calls of each variant, at least
    modes: tuple[str, ...] = ("eager", "compiled")  # of the baseline
    attentions: tuple[str, ...] = ()  # of the baseline; none is all
    ours: bool = True  # train: ours, too
    llama_cpp: bool = True  # decode on a CPU: llama.cpp, too, if it is installed


def compare(
    case: str, timings: Mapping[str, Timing], values: Mapping[str, Mapping[str, Any]]
) -> list[Row]:
    """A row for each variant; ours carries the ratio."""
    others = [timing.median_s for name, timing in timings.items() if name != OURS]
    rows = []
    for name, timing in timings.items():
        ratio = timing.median_s / min(others) if name == OURS and others else None
        measured = (timing.median_s, timing.spread_s, len(timing.seconds), timing.first_s)
        rows.append(Row(case, name, *measured, ratio, values.get(name, {})))
    return rows


def roofline_rows(found: Mapping[str, float]) -> list[Row]:
    """What `timing.rooflines` measured."""
    return [
        Row("roofline", "square matmul", None, values={"flops": found["matmul_flops"]}),
        Row("roofline", "copy", None, values={"bytes_per_s": found["copy_bytes_per_s"]}),
    ]


def context(baseline: bool) -> dict[str, Any]:
    """What a result means nothing without: when, where, with what versions."""
    device = jax.devices()[0]
    libraries = ("jax", "jaxlib", "flax", *(("torch", "transformers") if baseline else ()))
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "device": f"{len(jax.devices())} x {device.device_kind}",
        "processor": f"{os.cpu_count()} x {_processor()}",
        "versions": {
            "python": platform.python_version(),
            "phi1_jax": __version__,
            **{name: metadata.version(name) for name in libraries},
        },
    }


def _processor() -> str:
    """Its name; of Linux, which platform does not tell, with family and model."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    pairs = [[part.strip() for part in line.split(":", 1)] for line in lines if ":" in line]
    fields = dict(reversed(pairs))  # the first processor's
    name = fields.get("model name", platform.machine())
    family = [f"{key} {fields[key]}" for key in ("cpu family", "model") if key in fields]
    return f"{name} ({', '.join(family)})" if family else name


def write_line(output: Path, subject: str, row: Row, about: Mapping[str, Any]) -> None:
    """Appends a JSON line."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with output.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"subject": subject, **vars(row), **about}) + "\n")
    except OSError as error:
        raise UserError(f"--output={output}: {error.strerror}; name a file to append to") from error


def print_table(subject: str, rows: Sequence[Row]) -> None:
    """Prints the rows in columns."""
    titles = ("case", "variant", "median", "10%..90%", "calls", "first", "ratio", "")
    lines = [titles, *map(_cells, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(titles))]
    print(f"\n{subject}")
    for line in lines:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        )


def _cells(row: Row) -> tuple[str, ...]:
    spread = "..".join(_duration(s) for s in row.spread_s) if row.spread_s else ""
    median = "does not run" if "why" in row.values else ""
    return (
        row.case,
        row.variant,
        median if row.seconds is None else _duration(row.seconds),
        spread,
        str(row.calls),
        "" if row.first_s is None else _duration(row.first_s),
        "" if row.ratio is None else f"{row.ratio:.2f}x",
        ", ".join(f"{name} {_number(value)}" for name, value in row.values.items()),
    )


def _duration(seconds: float) -> str:
    return f"{short(seconds)} s" if seconds >= 1 else f"{short(seconds * 1e3)} ms"


def _number(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    for size, name in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if abs(value) >= size:
            return f"{short(value / size)}{name}"
    return short(value)
