"""The paper's Table 3: scores on problems with and without a similar document in the corpus."""

import json
from dataclasses import dataclass
from pathlib import Path

from phi1_jax.errors import UserError
from phi1_jax.evaluate.benchmarks import Benchmark


@dataclass(frozen=True)
class Split:
    """A benchmark's task ids, divided at one match rate of syntax trees."""

    tau: float
    similar: frozenset[str]
    non_similar: frozenset[str]


def read_splits(path: Path, benchmark: Benchmark) -> list[Split]:
    """The splits that `launch/decontaminate.py` wrote.

    Raises:
      UserError: another format, or a task of the benchmark that is not in exactly one part.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["splits"]
        splits = [
            Split(float(r["tau"]), frozenset(r["similar"]), frozenset(r["non_similar"]))
            for r in rows
        ]
    except OSError as error:
        raise UserError(f"--split={path}: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"--split={path}: not the splits.json of launch/decontaminate.py ({error!r})"
        ) from None
    for split in splits:
        for task in benchmark.tasks:
            if (task.task_id in split.similar) == (task.task_id in split.non_similar):
                raise UserError(
                    f"--split={path}: {task.task_id} of {benchmark.name} is not in one of the two "
                    f"parts at tau {split.tau}; the split is of other problems"
                )
    return splits
