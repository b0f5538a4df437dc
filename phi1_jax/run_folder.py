"""What lies in a run's folder, and which steps of it can be trusted. No JAX: files only.

  config.json       the resolved `RunConfig` (for converted weights: the model part)
  tokenizer/        what the weights were trained with
  metrics.jsonl     every curve, a line for each point
  checkpoints/N/    Orbax: params, optimizer, position
  sealed/N.json     SHA-256 of every file of step N, written last
  quarantine/       damaged or unsealed steps, moved aside and never deleted
  discarded/        steps on their way out; whatever a kill leaves there is deleted

A step counts once it is sealed. One that goes is first renamed away, then its seal is deleted, then
its files: wherever a kill strikes, a step is whole or not there.
"""

import hashlib
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from absl import logging
from tqdm import tqdm

from phi1_jax.config import CheckpointConfig
from phi1_jax.errors import UserError
from phi1_jax.stage import write_json

CONFIG = "config.json"
TOKENIZER = "tokenizer"
METRICS = "metrics.jsonl"
CHECKPOINTS = "checkpoints"
SEALED = "sealed"
QUARANTINE = "quarantine"
DISCARDED = "discarded"
# In the name of a folder that Orbax has not finished.
UNFINISHED = ".orbax-checkpoint-tmp"


def read_config(run: Path) -> dict[str, Any]:
    """config.json as plain values.

    Raises:
      UserError: there is none, or it is damaged.
    """
    try:
        values = json.loads((run / CONFIG).read_text(encoding="utf-8"))
        values = dict(values)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(f"{run} is not a run's folder: it has no {CONFIG}") from error
    except (ValueError, TypeError) as error:
        raise UserError(f"{run / CONFIG} is not a run's config: {error}") from error
    if "architectures" in values or "n_embd" in values:
        raise UserError(
            f"{run} is a Hugging Face folder, not a run's; first make one of it: python"
            f" launch/convert.py --from_hf={run} --to=DIR"
        )
    return values


def step_folder(run: Path, step: int) -> Path:
    """Where Orbax writes a step."""
    return run / CHECKPOINTS / str(step)


def steps_in(run: Path) -> list[int]:
    """Every step that has a folder, sealed or not, in order."""
    return sorted(int(p.name) for p in (run / CHECKPOINTS).glob("[0-9]*") if p.name.isdigit())


def sealed_steps(run: Path) -> list[int]:
    """The steps whose save finished, in order."""
    return [step for step in steps_in(run) if _seal_file(run, step).exists()]


def seal(run: Path, step: int) -> None:
    """Writes the SHA-256 of every file of a finished step, once all of them are on the disk."""
    folder = step_folder(run, step)
    for path in [*folder.rglob("*"), folder, folder.parent]:
        _sync(path)
    file = _seal_file(run, step)
    file.parent.mkdir(exist_ok=True)
    write_json(file, _hashes(folder))
    _sync(file)
    _sync(file.parent)


def damage(run: Path, step: int, *, progress: bool = False) -> str:
    """What is wrong with a step's files, in words; empty if nothing is.

    Reads everything, at about 1.8 GB/s a core.

    Args:
      progress: show a bar if it takes more than a second.
    """
    folder = step_folder(run, step)
    if not folder.is_dir():
        return "its folder is missing"
    file = _seal_file(run, step)
    try:
        sealed = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return "its save did not finish"
    except ValueError:
        return f"{SEALED}/{file.name} is not JSON"
    if not isinstance(sealed, dict) or not sealed:
        return f"{SEALED}/{file.name} lists no files"
    try:
        found = _hashes(folder, f"verifying step {step}" if progress else "")
    except OSError as error:
        return f"it cannot be read: {error}"
    for name in sorted(sealed.keys() | found.keys()):
        if sealed.get(name) != found.get(name):
            state = "missing" if name not in found else "new" if name not in sealed else "altered"
            return f"{name} is {state}"
    return ""


def newest_undamaged(run: Path) -> int | None:
    """Verifies from the newest step back, and moves what is damaged to `quarantine/`.

    Returns:
      None if the run has no step yet.
    Raises:
      UserError: it has had steps and none is left; starting over must be the user's decision.
    """
    present = set(steps_in(run)) | {int(p.stem) for p in _seals(run)}
    for step in sorted(present, reverse=True):
        if not (problem := damage(run, step, progress=True)):
            return step
        target = quarantine(run, step)
        logging.warning("checkpoint %d is damaged (%s); moved to %s", step, problem, target)
    lost = sorted(p.name for p in (run / QUARANTINE).glob("[1-9]*"))
    if lost:
        raise UserError(
            f"{run}: no undamaged checkpoint is left; {QUARANTINE}/ holds {', '.join(lost)}. Give a"
            f" new --output, or move {QUARANTINE}/ away to start this run from step 0"
        )
    return None


def quarantine(run: Path, step: int) -> Path:
    """Moves a step and its seal aside under a name that is free; returns the new folder."""
    target = run / QUARANTINE / str(step)
    number = 0
    while target.exists() or _beside(target).exists():
        number += 1
        target = target.with_name(f"{step}.{number}")
    target.parent.mkdir(exist_ok=True)
    for source, to in ((step_folder(run, step), target), (_seal_file(run, step), _beside(target))):
        if source.exists():
            source.rename(to)
    return target


def discard(run: Path, step: int) -> None:
    """Deletes a step, so that a kill never leaves one that looks whole."""
    target = run / DISCARDED / str(step)
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(exist_ok=True)
    step_folder(run, step).rename(target)
    _seal_file(run, step).unlink()
    shutil.rmtree(target)


def abandon(run: Path, step: int) -> None:
    """Deletes what a failed save left, to give the disk its space back."""
    for folder in (run / CHECKPOINTS).glob(f"{step}{UNFINISHED}*"):
        shutil.rmtree(folder, ignore_errors=True)
    if not _seal_file(run, step).exists():
        shutil.rmtree(step_folder(run, step), ignore_errors=True)


def clean(run: Path) -> None:
    """Deletes what a killed process left half-written or half-deleted; call it before any save."""
    for folder in (run / CHECKPOINTS).glob(f"*{UNFINISHED}*"):
        shutil.rmtree(folder)
    for folder in (run / DISCARDED).glob("*"):
        # Its seal may still stand, unless the step has been saved again since.
        if not (run / CHECKPOINTS / folder.name).exists():
            (run / SEALED / f"{folder.name}.json").unlink(missing_ok=True)
        shutil.rmtree(folder)
    for file in (run / SEALED).glob("*.tmp"):
        file.unlink()


def scores(run: Path, curve: str) -> dict[int, float]:
    """The points of a curve in metrics.jsonl; of a step that was taken twice, the last."""
    points = {}
    try:
        lines = (run / METRICS).read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    for line in lines:
        try:
            record = json.loads(line)
            points[int(record["step"])] = float(record[curve])
        except (ValueError, KeyError, TypeError):  # another curve's line, or one that a kill tore
            continue
    return points


def reasons_to_keep(run: Path, config: CheckpointConfig) -> dict[int, list[str]]:
    """Why each sealed step is kept; one without a reason may go."""
    steps = sealed_steps(run)
    reasons: dict[int, list[str]] = {step: [] for step in steps}
    for step in steps[-config.keep_last :]:
        reasons[step].append(f"last {config.keep_last}")
    for step in steps:
        if config.keep_every_steps and step % config.keep_every_steps == 0:
            reasons[step].append(f"every {config.keep_every_steps:,}")
        if step in config.keep_steps:
            reasons[step].append("by name")
    for step in best_steps(run, config, steps):
        reasons[step].append(f"best {config.best_metric}")
    return reasons


def prune(run: Path, config: CheckpointConfig, *, dry_run: bool = False) -> list[int]:
    """Deletes the sealed steps that nothing keeps; returns them."""
    gone = [step for step, reasons in reasons_to_keep(run, config).items() if not reasons]
    for step in [] if dry_run else gone:
        discard(run, step)
    return gone


def best_steps(run: Path, config: CheckpointConfig, steps: list[int]) -> list[int]:
    """Those of `steps` with the best points on the curve `best_metric`, the best first."""
    if not config.best_metric:
        return []
    sign = 1 if config.best_mode == "min" else -1
    points = {
        step: sign * value
        for step, value in scores(run, config.best_metric).items()
        if step in steps and value == value  # not NaN
    }
    return sorted(points, key=lambda step: (points[step], step))[: config.keep_best]


def _hashes(folder: Path, progress: str = "") -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sizes = [path.stat().st_size for path in files]
    bar = tqdm(
        total=sum(sizes), unit="B", unit_scale=True, desc=progress, delay=1, disable=not progress
    )
    found = {}
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool, bar:
        for path, size, digest in zip(files, sizes, pool.map(_digest, files), strict=True):
            found[path.relative_to(folder).as_posix()] = digest
            bar.update(size)
    return found


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    """Waits until a file or a folder's entries are on the disk: a seal must not be there first."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _seals(run: Path) -> list[Path]:
    return [path for path in (run / SEALED).glob("[0-9]*.json") if path.stem.isdigit()]


def _seal_file(run: Path, step: int) -> Path:
    return run / SEALED / f"{step}.json"


def _beside(folder: Path) -> Path:
    """The quarantined seal: `12.json` beside `12`, `12.1.json` beside `12.1`."""
    return folder.with_name(folder.name + ".json")
