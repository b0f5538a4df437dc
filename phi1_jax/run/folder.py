"""What lies in a run's folder, and which steps of it can be trusted. No JAX: files only.

  config.json       the resolved `RunConfig` (for converted weights: the model part)
  tokenizer/        what the weights were trained with
  metrics.jsonl     every curve, a line for each point
  checkpoints/N/    Orbax: params, optimizer, position
  sealed/N.json     SHA-256 of every file of step N, written last
  quarantine/       damaged or unsealed steps, moved aside and never deleted
  discarded/        steps on their way out; whatever a kill leaves there is deleted
  lock              held by the run that writes here (train/together.py)

A step counts once it is sealed. One that goes is first renamed away, then its seal is deleted, then
its files: wherever a kill strikes, a step is whole or not there.
"""

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import logging

from phi1_jax.config import CheckpointConfig
from phi1_jax.errors import UserError
from phi1_jax.files import write_json
from phi1_jax.run.hashes import NOT_THERE, hashes, names, retry_io, sync

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
    return sorted(int(name) for name in names(run / CHECKPOINTS) if name.isdigit())


def known_steps(run: Path) -> list[int]:
    """Every step that has a folder or a seal, in order: with nothing lost, all have both."""
    sealed = {int(name[:-5]) for name in names(run / SEALED) if re.fullmatch(r"\d+\.json", name)}
    return sorted(sealed.union(steps_in(run)))


def sealed_steps(run: Path) -> list[int]:
    """The steps whose save finished, in order."""
    return [step for step in steps_in(run) if _seal_file(run, step).exists()]


def seal(run: Path, step: int) -> None:
    """Writes the SHA-256 of every file of a finished step, once all of them are on the disk."""
    folder = step_folder(run, step)
    for path in [*folder.rglob("*"), folder, folder.parent]:
        sync(path)
    file = _seal_file(run, step)
    file.parent.mkdir(exist_ok=True)
    write_json(file, hashes(folder))
    sync(file)
    sync(file.parent)


def damage(run: Path, step: int, *, progress: bool = False) -> str:
    """What is wrong with a step's files, in words; empty if nothing is.

    Reads everything, at about 1.8 GB/s a core.

    Args:
      progress: show a bar if it takes more than a second.
    Raises:
      UserError: a file is there and cannot be read, also when tried again: who knows what it holds.
    """
    try:
        return _damage(run, step, progress)
    except OSError as error:
        raise UserError(
            f"checkpoint {step} of {run} cannot be read, so it was left where it is: {error};"
            " try again once it can, or move it away"
        ) from error


def _damage(run: Path, step: int, progress: bool) -> str:
    folder, file = step_folder(run, step), _seal_file(run, step)
    if str(step) not in names(folder.parent) or not folder.is_dir():
        return "its folder is missing"
    try:
        sealed = json.loads(retry_io(file.read_bytes))
    except FileNotFoundError:
        return "its save did not finish"
    except (ValueError, IsADirectoryError):
        return f"{SEALED}/{file.name} is not JSON"
    if not isinstance(sealed, dict) or not sealed:
        return f"{SEALED}/{file.name} lists no files"
    try:
        found = hashes(folder, f"verifying step {step}" if progress else "")
    except NOT_THERE as error:  # a broken link, or it goes while we read
        return f"a file is missing: {error}"
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
      UserError: it has had steps and none is left; starting over must be the user's decision. Or
        one cannot be read.
    """
    for step in reversed(known_steps(run)):
        if not (problem := damage(run, step, progress=True)):
            return step
        target = quarantine(run, step)
        logging.warning("checkpoint %d is damaged (%s); moved to %s", step, problem, target)
    if lost := [name for name in quarantined(run) if not name.startswith("0")]:
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


def quarantined(run: Path) -> list[str]:
    """What was moved aside: N, or N.1 if step N was before."""
    return sorted(name for name in names(run / QUARANTINE) if not name.endswith(".json"))


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


def reasons_to_keep(
    run: Path, config: CheckpointConfig, but: Sequence[int] = ()
) -> dict[int, list[str]]:
    """Why each sealed step is kept; one without a reason may go. As if those of `but` were not."""
    steps = [step for step in sealed_steps(run) if step not in but]
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


def prune(run: Path, config: CheckpointConfig) -> list[int]:
    """Deletes the sealed steps that nothing keeps; returns them."""
    gone = [step for step, reasons in reasons_to_keep(run, config).items() if not reasons]
    for step in gone:
        discard(run, step)
    return gone


def best_steps(run: Path, config: CheckpointConfig, steps: list[int]) -> list[int]:
    """Those of `steps` with the best points on the curve `best_metric`, the best first."""
    if not config.best_metric:
        return []
    sign = -1 if config.best_mode == "max" else 1
    points = {
        step: sign * value
        for step, value in scores(run, config.best_metric).items()
        if step in steps and value == value  # not NaN
    }
    return sorted(points, key=lambda step: (points[step], step))[: config.keep_best]


def _seal_file(run: Path, step: int) -> Path:
    return run / SEALED / f"{step}.json"


def _beside(folder: Path) -> Path:
    """The quarantined seal: `12.json` beside `12`, `12.1.json` beside `12.1`."""
    return folder.with_name(folder.name + ".json")
