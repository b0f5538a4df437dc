"""One run, one folder: nobody else writes there, all processes see it, all were given the same."""

import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import jax

from phi1_jax.config import RunConfig
from phi1_jax.config_dict import flatten, to_dict
from phi1_jax.errors import AllProcessesError, UserError
from phi1_jax.files import lock_folder
from phi1_jax.run import distributed
from phi1_jax.run.folder import CHECKPOINTS, known_steps
from phi1_jax.run.hashes import LITTER, names
from phi1_jax.train.resume import IDENTITY, differences

LOCK = "lock"
# NFS may show a new file that much later: it remembers for up to a minute what a folder held.
SEEN_WITHIN_S = 60.0


@contextmanager
def lock_run_dir(run_dir: Path) -> Iterator[None]:
    """Holds a run's folder, made if it is not there, against other runs.

    A run that ends before its first checkpoint leaves no folder that was not there.

    The first process keeps a lock on RUN/lock, which the kernel takes back however it ends. Where
    the file system knows no locks, it says so and goes on.

    Raises:
      AllProcessesError: the folder cannot be written, holds other files, another run holds it, or
        some process does not see what the first one writes there.
    """
    with ExitStack() as stack:
        nonce = distributed.decide(lambda: stack.enter_context(_lock(run_dir)))
        # The first wrote it, and on SMB nobody can read a locked file, nor can who locked it.
        seen = jax.process_index() == 0 or _sees(run_dir, nonce)
        for number, sees in enumerate(distributed.gather(seen)):
            if not sees:
                raise AllProcessesError(
                    f"--output={run_dir} is not one folder for all processes: process {number} does"
                    " not see what process 0 writes there; give one that all hosts share"
                )
        yield


def refuse_differences(
    config: RunConfig, identity: Mapping[str, Any], changed: Mapping[str, Any]
) -> None:
    """Compares what the processes were given; paths may differ, what they lead to may not.

    Raises:
      AllProcessesError: a field differs; names it.
    """
    paths = ("data.sources", "data.tokenizer", "init_from")
    settings = {k: v for k, v in flatten(to_dict(config)).items() if not k.startswith(paths)}
    first, *others = distributed.gather({**settings, **identity, "changes": changed})
    for number, other in enumerate(others, 1):
        if found := differences(first, other):
            words = ", ".join(f"{name}={a} and {b}" for name, (a, b) in found.items())
            raise AllProcessesError(
                f"processes 0 and {number} differ in config fields: {words}; start all"
                " with the same command"
            )


@contextmanager
def _lock(run_dir: Path) -> Iterator[str]:
    """Refuses other files than a run's; a job's logs and hidden files may lie there before.

    Gives what its file holds beside the process, to know it by.
    """
    found = sorted(names(run_dir))
    logs = (".log", ".out", ".err")
    others = [name for name in found if not LITTER.fullmatch(name) and not name.endswith(logs)]
    if others and not {LOCK, IDENTITY, CHECKPOINTS} & set(others):
        shown = ", ".join(others[:3]) + (", ..." if others[3:] else "")
        raise UserError(
            f"--output={run_dir} holds other files ({shown}) and no run; give a new or an empty"
            " folder"
        )
    job, nonce = os.environ.get("SLURM_JOB_ID"), secrets.token_hex(8)
    with lock_folder(run_dir, LOCK, "output", nonce=nonce, **({"job": job} if job else {})):
        try:
            yield nonce
        finally:
            if not found and not known_steps(run_dir):
                shutil.rmtree(run_dir, ignore_errors=True)


def _sees(run_dir: Path, nonce: str) -> bool:
    deadline = time.monotonic() + SEEN_WITHIN_S
    while True:
        with suppress(OSError):
            if nonce in (run_dir / LOCK).read_text(encoding="utf-8"):
                return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
