"""A Hugging Face folder in the place of a run's folder."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from phi1_jax.errors import REPOSITORY, UserError

CACHE = Path("~/.cache/phi1_jax/models")


def is_hugging_face(folder: Path) -> bool:
    """Whether the folder's config.json is a model's as transformers saves it."""
    try:
        values = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(values, dict) and "architectures" in values and "model" not in values


def as_run(folder: Path | str, cache: Path = CACHE) -> Path:
    """The run's folder that `launch/convert.py --from_hf` makes of a folder; any other unchanged.

    It is made once in `cache`, and again when a file of the folder changes. Another process makes
    it, so that nothing is decided here about JAX's devices. `models/phi1_tiny`, which comes with
    the project, is found from any working directory.

    Raises:
      UserError: it cannot be converted; or the cache cannot be written.
    """
    folder = Path(folder)
    if folder.parts[:1] == ("models",) and not folder.exists():
        folder = REPOSITORY / folder
    if not is_hugging_face(folder):
        return folder
    folder = folder.resolve()
    files = [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in sorted(folder.iterdir())]
    key = hashlib.sha256(json.dumps([str(folder), files]).encode()).hexdigest()[:12]
    run = cache.expanduser() / f"{folder.name}-{key}"
    if run.is_dir():
        return run
    part = run.with_name(f"{run.name}.{os.getpid()}")
    convert = [str(REPOSITORY / "launch" / "convert.py"), f"--from_hf={folder}", f"--to={part}"]
    try:
        done = subprocess.run([sys.executable, *convert], stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise UserError(f"{folder}: this Hugging Face folder cannot be converted; see above")
        try:
            part.rename(run)
        except OSError:
            if not run.is_dir():  # else another process was faster
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return run
