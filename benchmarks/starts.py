"""The same comparison in several fresh processes: what one start says of a ratio is not enough."""

import json
import tempfile
from collections.abc import Iterator, Sequence

import numpy as np
from scipy import stats

from benchmarks.report import OURS, Row
from benchmarks.timing import launch, run_process


def measure(subject: str, arguments: Sequence[str], starts: int) -> Iterator[Row]:
    """For each case the ratio's geometric mean over the starts, with its 95 % interval.

    Args:
      arguments: flags of launch/benchmark.py, without --starts and --output.
      starts: at least 2.
    """
    found: dict[str, list[dict]] = {}
    for _ in range(starts):
        with tempfile.NamedTemporaryFile("r", suffix=".jsonl", encoding="utf-8") as lines:
            run_process([launch("benchmark.py"), subject, *arguments, f"--output={lines.name}"])
            for row in map(json.loads, lines):
                if row["variant"] == OURS and row["ratio"] is not None:
                    found.setdefault(row["case"], []).append(row)
    for case, rows in found.items():
        ratios = [row["ratio"] for row in rows]
        low, high = interval(ratios)
        seconds = [row["seconds"] for row in rows]
        yield Row(
            case,
            OURS,
            float(np.median(seconds)),
            (min(seconds), max(seconds)),
            calls=sum(row["calls"] for row in rows),
            ratio=float(stats.gmean(ratios)),
            values={"ratio_low": low, "ratio_high": high, "starts": len(rows)},
        )


def interval(ratios: Sequence[float]) -> tuple[float, float]:
    """95 % of the geometric mean, by Student's t on the logarithms."""
    logs = np.log(ratios)
    low, high = stats.t.interval(0.95, len(logs) - 1, np.mean(logs), stats.sem(logs))
    return float(np.exp(low)), float(np.exp(high))
