"""Curates raw code: heuristics, exact and near duplicates, quality score, the best under a budget.

Example: python launch/curate.py --source=stdlib --source=prose --output=runs/curate --budget_mb=8

A source is `stdlib` (all code of the running interpreter's library), `prose` (its manual and
module docstrings), a folder of code, a file or folder of records (JSON lines, JSON or parquet,
plain or compressed), pip:NAME==VERSION, apt:NAME, or hub:DATASET, streamed from the Hugging Face
Hub. NAME=PATH names it; prose:PATH says that it is text for readers, not code. Of a folder with
both code and data, code:PATH takes the Python files and data:PATH the others. @NAME is a public
data set with its column map, @NAME:PATH a copy of it on disk; configs/sources/public.py lists them
and what each wants first.

On a cluster (the work folder must be visible to all machines; finished tasks are not run again):
  python launch/curate.py --source=@the_stack_dedup --output=/shared/curate --tasks=2000 \\
      --executor=slurm --slurm_partition=cpu --workers=200

Writes filtered.jsonl.zst, pool.jsonl.zst (the code as read, for the raw-code baseline),
excluded.jsonl.zst (each document left out, with step and reason) and report.json.
"""

from pathlib import Path
from typing import Any

import _environment
from absl import flags
from ml_collections import config_flags

from phi1_jax.cli import script
from phi1_jax.cli import stage_flags as stage
from phi1_jax.curation.sources import declared_sources, parse_source

PUBLIC = Path(__file__).resolve().parent.parent / "configs" / "sources" / "public.py"
SOURCE = flags.DEFINE_multi_string("source", [], "stdlib, prose, PATH, NAME=PATH or prose:PATH.")
COLUMNS = flags.DEFINE_list(
    "columns", [], "Column map of the files named, e.g. text=content,id=hexsha,licence=license."
)
SOURCES = config_flags.DEFINE_config_file(
    "sources", str(PUBLIC), "File that declares the sources named @NAME."
)
BUDGET_MB = flags.DEFINE_float("budget_mb", None, "MB of the best text to keep; default all.", 0)
POOL_MB = flags.DEFINE_float("pool_mb", None, "MB of the raw pool to sample; default all.", 0)
MIN_QUALITY = flags.DEFINE_float("min_quality", 0.0, "Drop scores below this.", 0, 1)
TASKS = flags.DEFINE_integer(
    "tasks", 4, "Parts that the sources are split into, by file; at most one a file.", 1
)
EXECUTOR = flags.DEFINE_enum("executor", "local", ["local", "slurm"], "Where tasks run.")
WORKERS = flags.DEFINE_integer(
    "workers", None, "Tasks at once; default one a core here, no limit on a cluster.", 1
)
MEMORY_GB = flags.DEFINE_float("memory_gb", 4, "Memory to ask for, for each task on a cluster.", 0)
PARTITION = flags.DEFINE_string("slurm_partition", "", "Slurm partition.")
TIME = flags.DEFINE_string("slurm_time", "08:00:00", "Limit of each Slurm job.")
SLURM_ARGS = flags.DEFINE_list("slurm_args", [], "More for sbatch, e.g. account=lab,qos=low.")


def main() -> None:
    script.require(SOURCE, stage.OUTPUT)
    if EXECUTOR.value != "slurm":
        slurm_only = [PARTITION, TIME, SLURM_ARGS, MEMORY_GB]
        script.refuse_unread(slurm_only, "is read with --executor=slurm only")
    columns = script.pairs(COLUMNS)
    declared = declared_sources(script.load_config(SOURCES))
    sources = [parse_source(text, columns or None, declared) for text in SOURCE.value]
    choice = {
        "budget_bytes": _bytes(BUDGET_MB.value),
        "pool_bytes": _bytes(POOL_MB.value),
        "min_quality": MIN_QUALITY.value,
    }
    settings = {**choice, "tasks": TASKS.value}

    def work(output: Path, _: Any) -> dict[str, Any]:
        # datatrove takes a while to import; --help need not wait for it.
        from phi1_jax.curation.curate import curate
        from phi1_jax.curation.executors import Execution

        execution = Execution(
            executor=EXECUTOR.value,
            workers=WORKERS.value,
            memory_gb=MEMORY_GB.value,
            slurm_partition=PARTITION.value,
            slurm_time=TIME.value,
            slurm_args=script.pairs(SLURM_ARGS),
        )
        return curate(sources, output.absolute(), execution=execution, **settings)

    inputs = {
        "source": [repr(source) for source in sources],
        "columns": COLUMNS.value,
        "files": [source.path for source in sources if source.path],
        **settings,
    }
    # Late is what is kept of the scored documents: another budget scores none anew.
    stage.run("curate", inputs, work, keep_partial=True, late=choice)


def _bytes(megabytes: float | None) -> int | None:
    return None if megabytes is None else round(megabytes * 1e6)


if __name__ == "__main__":
    script.run(main)
