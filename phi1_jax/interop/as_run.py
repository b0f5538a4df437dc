"""A Hugging Face folder in the place of a run's folder."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from phi1_jax import __version__
from phi1_jax.errors import REPOSITORY, UserError
from phi1_jax.files import cache_folder, make_cache_folder, read_json_if_whole
from phi1_jax.run.folder import CONFIG, TOKENIZER, is_hugging_face


def as_run(folder: Path | str, cache: Path | None = None) -> Path:
    """The run's folder that `launch/convert.py --from_hf` makes of a folder; any other unchanged.

    It is made once in `cache` (by default models in the user's cache), and again when a file of the
    folder or this package's version changes. Another process makes it, so that nothing is decided
    here about JAX's devices. `models/phi1_tiny`, which comes with the project, is found from any
    working directory.

    Raises:
      UserError: it cannot be converted; or the cache cannot be written.
    """
    folder = Path(folder)
    if folder.parts[:1] == ("models",) and not folder.exists():
        folder = REPOSITORY / folder
    if not is_hugging_face(read_json_if_whole(folder / CONFIG)):
        return folder
    folder = folder.resolve()
    # A link to nothing, as a cleared cache leaves, is missed only where the file is needed.
    stats = [(f.name, f.stat()) for f in sorted(folder.iterdir()) if f.exists()]
    files = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
    about = json.dumps([__version__, str(folder), files])
    key = hashlib.sha256(about.encode()).hexdigest()[:12]
    # In a folder of its own, so that the model keeps its name.
    place = (cache or cache_folder() / "models").expanduser() / key
    run = place / folder.name
    if run.is_dir():
        return run
    make_cache_folder(place.parent)
    part = place.with_name(f"{key}.{os.getpid()}")
    script = str(REPOSITORY / "launch" / "convert.py")
    convert = [script, f"--from_hf={folder}", f"--to={part / folder.name}"]
    try:
        done = subprocess.run([sys.executable, *convert], stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise UserError(f"{folder}: this Hugging Face folder cannot be converted; see above")
        try:
            part.rename(place)
        except OSError:
            if not run.is_dir():  # else another process was faster
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return run


def find_tokenizer(folder: str) -> str:
    """The folder of a tokenizer, which may be named by the model that has it.

    Args:
      folder: a tokenizer's, returned as it is; or a run's or a Hugging Face folder.
    Raises:
      UserError: as `as_run`.
    """
    inside = as_run(folder) / TOKENIZER
    return str(inside) if inside.is_dir() else folder
