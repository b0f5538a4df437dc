"""What lies in a run's folder, and which steps of it can be trusted. No JAX: files only.

  config.json               the resolved `RunConfig` (for converted weights: the model part)
  tokenizer/                what the weights were trained with
  metrics.jsonl             every curve, a line for each point
  trackers.json             ids of the run elsewhere: Weights & Biases, MLflow
  checkpoints/N/            Orbax: params, optimizer, position
  checkpoints/quarantine/   damaged or uncommitted steps, moved aside and never deleted
  checkpoints/discarded/    steps on their way out; what a kill leaves there is deleted
  commits/N.json            SHA-256 of every file of step N, shapes and dtypes; written last
  lock                      held by the run that writes here (train/run_lock.py)

A step counts once it is committed. One that goes is first renamed away, then its commit file is
deleted, then its files: wherever a kill strikes, a step is whole or not there. `checkpoints/` may
be a link to, or the mount of, another file system, and a step in it a link.
"""

import errno
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from absl import logging

from phi1_jax.config import CheckpointConfig, ModelConfig
from phi1_jax.config_dict import from_dict
from phi1_jax.errors import UserError, launch_command
from phi1_jax.files import NOT_THERE, is_hugging_face, parse_json, read_json, write_json
from phi1_jax.run.hashes import hashes, names, retry_io, sync

CONFIG = "config.json"
TOKENIZER = "tokenizer"
METRICS = "metrics.jsonl"
CHECKPOINTS = "checkpoints"
COMMITS = "commits"
QUARANTINE = "checkpoints/quarantine"
DISCARDED = "checkpoints/discarded"
# In the name of a folder that Orbax has not finished.
UNFINISHED = ".orbax-checkpoint-tmp"


def refuse_unusable(run_dir: Path) -> None:
    """Refuses, before anything is written, a folder whose checkpoints could not be used later.

    Raises:
      UserError: TensorStore takes a backslash for a slash and cannot name bytes that are not UTF-8;
        a step, or a folder that holds them, is a link to a disk that is not there; or a step is a
        mount of its own, which cannot be renamed.
    """
    text, folder = str(run_dir), run_dir / CHECKPOINTS
    if "\\" in text or text != text.encode(errors="replace").decode():
        raise UserError(
            f"{text!r}: a run's folder cannot have a backslash, or bytes that are not UTF-8, in its"
            " path; name another one"
        )
    steps = [step_folder(run_dir, step) for step in steps_in(run_dir)]
    for path in (*(run_dir / name for name in (CHECKPOINTS, COMMITS, QUARANTINE)), *steps):
        if path.is_symlink() and not path.exists():
            raise UserError(
                f"{path} is a link to {path.readlink()}, which is not there; mount it, or remove"
                " the link"
            )
    for step in steps:
        if step.is_mount():
            raise UserError(
                f"{step} is a mount point, so it can be neither moved nor deleted; mount that file"
                f" system at {folder} instead"
            )


def read_config(run_dir: Path) -> dict[str, Any]:
    """config.json as plain values.

    Raises:
      UserError: there is none, or it is damaged.
    """
    if not (run_dir / CONFIG).is_file():
        found = [*run_dir.glob(f"*/{CONFIG}"), *run_dir.glob(f"snapshots/*/{CONFIG}")]  # of the Hub
        held = sorted(str(file.parent.relative_to(run_dir)) for file in found)
        hint = f"; it holds {', '.join(held)}: name {run_dir / held[0]}, say" if held else ""
        folder, step = split_step(str(run_dir))  # as evaluate.py and init_from take it
        if step is not None and (folder / CONFIG).is_file():
            hint = f"; for step {step} of {folder} give --step={step}"
        elif run_dir.absolute().parent.name == CHECKPOINTS and run_dir.name.isdecimal():
            hint = f"; a step is named as {run_dir.parent.parent}@{run_dir.name}"
        raise UserError(f"{run_dir} is not a run's folder: it has no {CONFIG}{hint}")
    values = read_json(run_dir / CONFIG)
    if is_hugging_face(run_dir):
        raise UserError(
            f"{run_dir} is a Hugging Face folder, not a run's; first make one of it:"
            f" {launch_command('convert.py', f'--from_hf={run_dir}')} --to=DIR"
        )
    return values


def read_model_config(run_dir: Path) -> ModelConfig:
    """The model part of a run's config.json, as it is used after training.

    A GPU's attention is a choice for the devices of the training run; `auto` fits those at hand.
    """
    values = read_config(run_dir)
    if "model" not in values:
        raise UserError(f"{run_dir / CONFIG} is not a run's config: it has no field model")
    config = from_dict(ModelConfig, values["model"], "model.")
    on_gpu = config.attention in ("cudnn", "flash")
    return replace(config, attention="auto") if on_gpu else config


def step_folder(run_dir: Path, step: int) -> Path:
    """Where Orbax writes a step."""
    return run_dir / CHECKPOINTS / str(step)


def split_step(text: str) -> tuple[Path, int | None]:
    """A run's folder and a step from DIR or DIR@STEP; a folder that exists is not split."""
    folder, at, step = text.rpartition("@")
    if at and step.isdecimal() and not Path(text).is_dir():
        return Path(folder), int(step)
    return Path(text), None


def steps_in(run_dir: Path) -> list[int]:
    """Every step that has a folder, committed or not, in order."""
    return _steps(names(run_dir / CHECKPOINTS))


def known_steps(run_dir: Path) -> list[int]:
    """Every step that has a folder or a commit file, in order; without damage all have both."""
    files = (name[:-5] for name in names(run_dir / COMMITS) if name.endswith(".json"))
    return sorted({*_steps(files), *steps_in(run_dir)})


def _steps(found: Iterable[str]) -> list[int]:
    """Not `060`, a copy made by hand, nor digits of other scripts, which isdecimal takes."""
    return sorted(int(name) for name in found if re.fullmatch("0|[1-9][0-9]*", name))


def committed_steps(run_dir: Path) -> list[int]:
    """The steps whose save finished, in order."""
    return [step for step in steps_in(run_dir) if _commit_file(run_dir, step).exists()]


def committed_step(run_dir: Path, step: int | None) -> int:
    """A step whose save finished; None is the newest.

    Raises:
      UserError: no such step.
    """
    steps = committed_steps(run_dir)  # a run that is saving has a newer folder, not yet whole
    if not steps and (known := known_steps(run_dir)):
        raise UserError(
            f"{run_dir} has no whole checkpoint; launch/checkpoint.py verify says what is wrong"
            f" with {known}"
        )
    if not steps or step not in (*steps, None):
        which = "" if step is None else f" {step}"
        raise UserError(f"{run_dir} has no checkpoint{which}; its steps are {steps}")
    return steps[-1] if step is None else step


def commit(run_dir: Path, step: int, contents: Mapping[str, Any] | None = None) -> None:
    """Writes the SHA-256 of every file of a finished step, once all of them are on the disk.

    Args:
      contents: what a restore must find, as `read_back.describe` says it.
    """
    folder = step_folder(run_dir, step)
    for path in [*folder.rglob("*"), folder, folder.parent]:
        sync(path)
    file = _commit_file(run_dir, step)
    file.parent.mkdir(exist_ok=True)
    write_json(file, {"files": hashes(folder), **(contents or {})})
    sync(file)
    sync(file.parent)


def read_commit(run_dir: Path, step: int) -> dict[str, Any]:
    """What `commit` wrote.

    Raises:
      UserError: it is not what `commit` writes.
    """
    file = _commit_file(run_dir, step)
    values = read_json(file)
    if not isinstance(values.get("files"), dict) or not values["files"]:
        raise UserError(f"{COMMITS}/{file.name} lists no files")
    return values


def damage(run_dir: Path, step: int) -> str:
    """What is wrong with a step's files, in words; empty if nothing is.

    Reads everything, at about 1.8 GB/s a core; a bar shows it if it takes more than a second.

    Raises:
      UserError: a file is there and cannot be read, also when tried again: its content is unknown.
    """
    folder, file = step_folder(run_dir, step), _commit_file(run_dir, step)
    try:
        if str(step) not in names(folder.parent) or not folder.is_dir():
            return "its folder is missing"
        if not retry_io(file.exists):
            return "its save did not finish"
        committed = retry_io(lambda: read_commit(run_dir, step))["files"]
        found = hashes(folder, f"verifying step {step}")
    except UserError as error:  # of the commit file
        return str(error)
    except NOT_THERE as error:  # a broken link, or it goes while we read
        return f"a file is missing: {error}"
    except OSError as error:
        raise UserError(
            f"checkpoint {step} of {run_dir} cannot be read, so it was left where it is: {error};"
            " try again once it can, or move it away"
        ) from error
    for name in sorted(committed.keys() | found.keys()):
        if committed.get(name) != found.get(name):
            state = (
                "missing" if name not in found else "new" if name not in committed else "altered"
            )
            return f"{name} is {state}"
    return ""


def newest_undamaged(run_dir: Path) -> int | None:
    """Verifies from the newest step back, and moves what is damaged to `quarantine/`.

    Returns:
      None if the run has no step yet.
    Raises:
      UserError: it has had steps and none is left; starting over must be the user's decision. Or
        one cannot be read.
    """
    for step in reversed(known_steps(run_dir)):
        if not (problem := damage(run_dir, step)):
            return step
        target = quarantine(run_dir, step)
        logging.warning("checkpoint %d is damaged (%s); moved to %s", step, problem, target)
    if lost := [name for name in quarantined(run_dir) if not name.startswith("0")]:
        raise UserError(
            f"{run_dir}: no undamaged checkpoint is left; {QUARANTINE}/ holds {', '.join(lost)}."
            f" Give a new --output, or move {QUARANTINE}/ away to start this run from step 0"
        )
    return None


def quarantine(run_dir: Path, step: int) -> Path:
    """Moves a step and its commit file aside under a name that is free; returns the new folder."""
    target = run_dir / QUARANTINE / str(step)
    number = 0
    while target.exists() or _beside(target).exists():
        number += 1
        target = target.with_name(f"{step}.{number}")
    target.parent.mkdir(exist_ok=True)
    # Perhaps to another file system. To overlayfs, a container's image is one too.
    if step_folder(run_dir, step).exists():
        shutil.move(step_folder(run_dir, step), target)
    if _commit_file(run_dir, step).exists():
        shutil.move(_commit_file(run_dir, step), _beside(target))
    return target


def quarantined(run_dir: Path) -> list[str]:
    """What was moved aside: N, or N.1 if step N was before."""
    return sorted(name for name in names(run_dir / QUARANTINE) if re.fullmatch(r"[\d.]+", name))


def discard(run_dir: Path, step: int) -> None:
    """Deletes a step, so that a kill never leaves one that looks whole."""
    target = run_dir / DISCARDED / str(step)
    _delete(target)
    target.parent.mkdir(exist_ok=True)
    try:
        step_folder(run_dir, step).rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        target = step_folder(run_dir, step)  # deleted where it is: a kill leaves no commit file
    _commit_file(run_dir, step).unlink()
    _delete(target)
    _remove_if_empty(target.parent)


def abandon(run_dir: Path, step: int) -> None:
    """Deletes what a failed save left, to give the disk its space back."""
    for folder in (run_dir / CHECKPOINTS).glob(f"{step}{UNFINISHED}*"):
        shutil.rmtree(folder, ignore_errors=True)
    if not _commit_file(run_dir, step).exists():
        shutil.rmtree(step_folder(run_dir, step), ignore_errors=True)


def clean(run_dir: Path) -> None:
    """Deletes what a killed process left half-written or half-deleted; call it before any save."""
    for folder in (run_dir / CHECKPOINTS).glob(f"*{UNFINISHED}*"):
        _delete(folder)
    for step in _steps(names(run_dir / DISCARDED)):
        # Its commit file may still stand, unless the step has been saved again since.
        if not step_folder(run_dir, step).exists():
            _commit_file(run_dir, step).unlink(missing_ok=True)
        _delete(run_dir / DISCARDED / str(step))
    _remove_if_empty(run_dir / DISCARDED)
    for file in (run_dir / COMMITS).glob("*.tmp"):
        file.unlink()


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def _delete(path: Path) -> None:
    """What cannot go, such as a file that another client of NFS has open, is tried again later."""
    try:
        if path.is_symlink():
            logging.warning("%s was a link: the files of it stay at %s", path, path.readlink())
            path.unlink()
        elif path.exists():
            shutil.rmtree(path)
    except OSError as error:
        logging.warning("not deleted: %s", error)


def read_metrics(run_dir: Path) -> Iterator[dict[str, Any]]:
    """The lines of metrics.jsonl, without one that a kill tore.

    Raises:
      OSError: the file cannot be read.
    """
    try:
        lines = retry_io((run_dir / METRICS).read_bytes).split(b"\n")
    except NOT_THERE:
        return
    for line in lines:
        with suppress(ValueError):
            if isinstance(record := parse_json(line), dict):
                yield record


def scores(run_dir: Path, curve: str) -> dict[int, float]:
    """The points of a curve in metrics.jsonl; of a step that was taken twice, the last.

    Raises:
      OSError: the file cannot be read: without it the best steps would count as any others.
    """
    points = {}
    for record in read_metrics(run_dir):
        with suppress(ValueError, KeyError, TypeError):  # another curve's line
            points[int(record["step"])] = float(record[curve])
    return points


def reasons_to_keep(
    run_dir: Path, config: CheckpointConfig, but: Sequence[int] = ()
) -> dict[int, list[str]]:
    """Why each committed step but those of `but` is kept; one without a reason may go."""
    steps = [step for step in committed_steps(run_dir) if step not in but]
    reasons: dict[int, list[str]] = {step: [] for step in steps}
    for step in steps[-config.keep_last :]:
        reasons[step].append(f"last {config.keep_last}")
    for step in steps:
        if config.keep_every_steps and step % config.keep_every_steps == 0:
            reasons[step].append(f"every {config.keep_every_steps:,}")
        if step in config.keep_steps:
            reasons[step].append("by name")
    for step in best_steps(run_dir, config, steps):
        reasons[step].append(f"best {config.best_metric}")
    return reasons


def prunable_steps(
    run_dir: Path, config: CheckpointConfig, is_whole: Callable[[int], bool]
) -> list[int]:
    """The committed steps that may go: nothing keeps them, and what keeps the others is whole.

    Args:
      is_whole: asked once about each step to keep. A damaged one stays, and another is kept in its
        place.
    """
    whole: dict[int, bool] = {}
    while True:
        damaged = [step for step in whole if not whole[step]]
        reasons = reasons_to_keep(run_dir, config, but=damaged)
        unread = [step for step, why in reasons.items() if why and step not in whole]
        if not unread:
            return [step for step, why in reasons.items() if not why]
        whole |= {step: is_whole(step) for step in unread}


def prune(run_dir: Path, config: CheckpointConfig) -> list[int]:
    """Deletes the committed steps that nothing keeps; returns them."""
    gone = prunable_steps(run_dir, config, lambda step: True)
    for step in gone:
        discard(run_dir, step)
    return gone


def best_steps(run_dir: Path, config: CheckpointConfig, steps: list[int]) -> list[int]:
    """Those of `steps` with the best points on the curve `best_metric`, the best first."""
    if not config.best_metric:
        return []
    sign = -1 if config.best_mode == "max" else 1
    points = {
        step: sign * value
        for step, value in scores(run_dir, config.best_metric).items()
        if step in steps and value == value  # not NaN
    }
    return sorted(points, key=lambda step: (points[step], step))[: config.keep_best]


def find_step(run_dir: Path, step: str | None, config: CheckpointConfig) -> int:
    """The step that a flag --step names: a number, "best", or None, the newest committed one.

    Raises:
      UserError: no such step.
    """
    if step is None:
        return committed_step(run_dir, None)
    if step == "best":
        if not config.best_metric:
            raise UserError("--step=best needs --best_metric: this run's config names none")
        best = best_steps(run_dir, config, committed_steps(run_dir))
        if not best:
            raise UserError(f"{run_dir}: no checkpoint has a point on {config.best_metric}")
        return best[0]
    known = known_steps(run_dir)
    if not step.isdecimal() or int(step) not in known:
        raise UserError(f"--step={step}: {run_dir} has the steps {known}")
    return int(step)


def _commit_file(run_dir: Path, step: int) -> Path:
    return run_dir / COMMITS / f"{step}.json"


def _beside(folder: Path) -> Path:
    """The quarantined commit file: `12.json` beside `12`, `12.1.json` beside `12.1`."""
    return folder.with_name(folder.name + ".json")
