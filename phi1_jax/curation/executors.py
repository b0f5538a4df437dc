"""Where the stages of the curation pipeline run: on this machine or on Slurm.

The steps are the same objects everywhere; all machines see the work folder (a shared file system),
which is also where each finished task leaves its mark, so that a rerun does only what is missing.
"""

import io
import math
import multiprocessing
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, redirect_stderr
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from datatrove.executor import LocalPipelineExecutor
from datatrove.executor.base import PipelineExecutor
from datatrove.executor.slurm import SlurmPipelineExecutor

import phi1_jax
from phi1_jax.corpus.parallel import KILLED, leave_with
from phi1_jax.curation.pipeline import Folder, Stage
from phi1_jax.errors import UserError


@dataclass(frozen=True)
class Execution:
    """How the tasks of a stage are run; it changes nothing about the result."""

    executor: Literal["local", "slurm"] = "local"
    # Tasks at once; None: one a core here, what the cluster has room for elsewhere.
    workers: int | None = None
    memory_gb: float = 4.0  # asked for a task of one core, on a cluster
    slurm_partition: str = ""
    slurm_time: str = "08:00:00"
    slurm_args: Mapping[str, str] = field(default_factory=dict)  # e.g. account, qos

    def __post_init__(self) -> None:
        if self.executor == "slurm" and not self.slurm_partition:
            raise UserError("--slurm_partition is missing: name one that sinfo lists")
        if self.executor == "slurm" and shutil.which("sbatch") is None:
            raise UserError("--executor=slurm: no sbatch on PATH; run it on a login node")


def run_stage(stage: Stage, execution: Execution, logs: Path) -> None:
    """Runs a stage to its end; tasks that are done are not run again.

    Raises:
      UserError: a task failed, with the folder of its log.
    """
    folder = logs / stage.name.replace(" ", "_")
    executor = _executor(execution, stage, folder)
    with _quiet():
        try:
            executor.run()
        except subprocess.CalledProcessError as error:
            # The job failed, or was refused; which tasks are missing is told below.
            if not executor.logging_dir.isfile("ranks_to_run.json"):
                raise UserError(f"sbatch failed with status {error.returncode}") from error
    if missing := executor.get_incomplete_ranks(skip_completed=True):
        raise UserError(
            f"curation stage {stage.name!r}: {len(missing)} of {stage.tasks} tasks did not "
            f"finish on {execution.executor}; see {folder}. Run the same command again to go on"
        )


def _executor(execution: Execution, stage: Stage, folder: Path) -> PipelineExecutor:
    common = {"tasks": stage.tasks, "logging_dir": Folder(folder)}
    if execution.executor == "slurm":
        return _Slurm(
            stage.steps,
            **common,
            time=execution.slurm_time,
            partition=execution.slurm_partition,
            mem_per_cpu_gb=execution.memory_gb,
            workers=execution.workers or -1,
            # With fewer workers than tasks, one job does several, and starts Python once for them.
            tasks_per_job=math.ceil(stage.tasks / (execution.workers or stage.tasks)),
            job_name=f"curate-{stage.name.replace(' ', '-')}",
            qos="",
            env_command=_environment(),
            # sbatch returns when the job has ended.
            sbatch_args={"wait": "", **execution.slurm_args},
            requeue=False,
            with_srun=False,
        )
    workers = 1 if stage.is_light else execution.workers or os.cpu_count() or 1
    return _Local(stage.steps, **common, workers=min(workers, stage.tasks))


class _Local(LocalPipelineExecutor):
    """datatrove's executor with workers that end when this process is killed.

    An orphan would go on writing to files that the next run opens anew; and a worker that is
    killed, for its memory say, is an error here, where datatrove's pool would wait for ever.
    """

    def run(self) -> None:
        ranks = self.get_incomplete_ranks()
        if self.workers == 1:
            for rank in ranks:
                deepcopy(self)._run_for_rank(rank)  # steps keep state
            return
        context = multiprocessing.get_context("forkserver")
        with ProcessPoolExecutor(self.workers, context, leave_with, (os.getpid(),)) as pool:
            tasks = [pool.submit(self._run_for_rank, rank) for rank in ranks]
            try:
                for task in as_completed(tasks):
                    task.result()
            except BrokenProcessPool as error:
                raise UserError(f"{KILLED} with fewer --workers or more --tasks") from error
            finally:
                pool.shutdown(cancel_futures=True)


class _Slurm(SlurmPipelineExecutor):
    """datatrove's executor without the second job, which only adds up statistics.

    The script of its jobs has the path of the logs as it is; to the shell and to sbatch it may be
    several words, or a pattern.
    """

    def get_launch_file_contents(self, sbatch_args: dict[str, Any], run_script: str) -> str:
        command, executor = run_script.split(" ", 1)
        logs = shlex.quote(self.slurm_logs_folder.replace("%", "%%") + "/%A_%a.out")
        return super().get_launch_file_contents(
            {**sbatch_args, "output": logs, "error": logs}, f"{command} {shlex.quote(executor)}"
        )

    def launch_merge_stats(self) -> None:
        pass


def _environment() -> str:
    """What a job's shell needs to find this Python and this package."""
    package = Path(phi1_jax.__file__).resolve().parent.parent
    return (
        f'export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH" TQDM_DISABLE=1\n'
        f'export PYTHONPATH={shlex.quote(str(package))}"${{PYTHONPATH:+:$PYTHONPATH}}"'
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """datatrove has a progress bar for each file it opens, here and in the workers."""
    before = os.environ.get("TQDM_DISABLE")
    os.environ["TQDM_DISABLE"] = "1"
    try:
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        os.environ.pop("TQDM_DISABLE")
        if before is not None:
            os.environ["TQDM_DISABLE"] = before
