"""One writer for what a run measures: TensorBoard, a JSONL file, others that a run names.

Trouble with any of them is a warning and stops nothing.
"""

import json
import math
import os
import struct
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from absl import logging
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import summary_v2 as hparams
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.record_writer import RecordWriter

from phi1_jax.run.trackers import Tracker

EVENTS = "events.out.tfevents."  # as TensorBoard's own writer begins its files' names


def board_tag(curve: str) -> str:
    """A curve's name on TensorBoard, which sorts groups of curves by name.

    Loss, validation loss and pass@1 come first, then validation by source, speed, and what else the
    step measures; token counts come last: train/loss is loss/train there, and humaneval/pass@1 is
    pass@1/humaneval.
    """
    group, _, rest = curve.partition("/")
    name, _, of = rest.partition("/")
    if of and name in ("loss", "bits_per_byte"):
        parts = ["sources", name, of]
    elif name == "loss":
        parts = ["loss", group]
    elif name.startswith(("pass@", "solution_")):
        parts = [name, group]
    elif group == "data" and name.startswith("tokens"):
        parts = ["tokens", of or "seen"]
    elif group in ("train", "data"):
        parts = ["state", rest]
    else:
        parts = ["system" if group == "memory" else group, rest]
    return "/".join(part for part in parts if part)


class MetricsWriter:
    """Writes into a run's folder: TensorBoard's event files, one a start, and `metrics.jsonl`.

    A file that cannot be written costs its curves, never the training: the first failure is logged,
    each later write tries again, and the other file goes on. So it is with each of `trackers`.
    """

    def __init__(self, run_dir: Path, enabled: bool = True) -> None:
        self.trackers: list[Tracker] = []
        self._failing: set[Tracker] = set()
        # TensorBoard's own writer would write from a thread, whose errors come late and loud.
        events = run_dir / f"{EVENTS}{len(list(run_dir.glob(EVENTS + '*'))):04d}"
        self._events = _File("TensorBoard", events if enabled else None)
        lines = run_dir / "metrics.jsonl"
        self._lines = _File("metrics.jsonl", lines if enabled else None, lines=True)

    def resume(self, step: int) -> None:
        """Drops what TensorBoard shows of later steps: a killed run takes them again."""
        if step:
            log = SessionLog(status=SessionLog.START)
            self._event(Event(wall_time=time.time(), step=step + 1, session_log=log))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One point on each curve."""
        found = [Summary.Value(tag=board_tag(k), simple_value=v) for k, v in values.items()]
        self._write(step, found)
        # JSON knows no NaN; an empty point is null.
        points = {k: v if math.isfinite(v) else None for k, v in values.items()}
        self._line({"step": step, "time": round(time.time(), 3), **points})
        self._tell(lambda tracker: tracker.scalars(step, values))

    def text(self, step: int, tag: str, markdown: str) -> None:
        """A page of Markdown."""
        self._write(step, text_pb(tag, markdown).value)
        self._tell(lambda tracker: tracker.text(step, tag, markdown))

    def results(self, step: int, group: str, values: Mapping[str, float | str]) -> None:
        """An evaluation's: numbers become points of curves, strings pages of Markdown."""
        points = {f"{group}/{k}": v for k, v in values.items() if not isinstance(v, str)}
        if points:
            self.scalars(step, points)
        for name, value in values.items():
            if isinstance(value, str):
                self.text(step, f"{group}/{name}", value)

    def image(self, step: int, tag: str, png: bytes) -> None:
        """A PNG file's bytes."""
        width, height = struct.unpack(">II", png[16:24])
        image = Summary.Image(height=height, width=width, colorspace=4, encoded_image_string=png)
        self._write(step, [Summary.Value(tag=tag, image=image)])

    def hyperparameters(self, trial: str, values: Mapping[str, Any]) -> None:
        """A run on TensorBoard's HParams page.

        The page's columns are TensorBoard's own choice: hyperparameters that differ between the
        runs it shows before others, and the last points of the curves that come first by name.

        Args:
          trial: what the page calls the run.
          values: hyperparameter -> value; all of them, as it compares runs by those of both.
        """
        flat = {k: v if isinstance(v, int | float) else str(v) for k, v in values.items()}
        self._write(0, hparams.hparams_pb(flat, trial_id=trial).value)

    def close(self) -> None:
        """Closes the files and the trackers."""
        self._events.close()
        self._lines.close()
        failed = sys.exc_info()[0] is not None
        self._tell(lambda tracker: tracker.close(failed))

    def _tell(self, what: Callable[[Tracker], None]) -> None:
        for tracker in self.trackers:
            try:
                what(tracker)
                self._failing.discard(tracker)
            except Exception as error:  # a service out of reach, a full disk
                if tracker not in self._failing:
                    name = type(tracker).__name__.strip("_")
                    logging.warning("%s is not written, training goes on: %s", name, error)
                self._failing.add(tracker)

    def _write(self, step: int, values: Any) -> None:
        self._event(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))

    def _event(self, event: Event) -> None:
        version = Event(wall_time=event.wall_time, file_version="brain.Event:2")

        def write(file: IO[bytes]) -> None:
            for each in [event] if file.tell() else [version, event]:
                RecordWriter(file).write(each.SerializeToString())

        self._events.write(write)

    def _line(self, record: Mapping[str, Any]) -> None:
        line = json.dumps(record).encode() + b"\n"
        self._lines.write(lambda file: file.write(line))


class _File:
    """A file to append to, opened again after a write that failed; without a path for nothing.

    Args:
      lines: what follows the last line's end is dropped: a kill may have torn it.
    """

    def __init__(self, name: str, path: Path | None, lines: bool = False) -> None:
        self._name, self._path = name, path
        self._file: IO[bytes] | None = None
        self._whole: int | None = None  # bytes up to the last write that did not fail, if known
        self._failing = False
        if lines and path and path.is_file():
            self._whole = path.read_bytes().rfind(b"\n") + 1

    def write(self, write: Callable[[IO[bytes]], Any]) -> None:
        if self._path is None:
            return
        try:
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._path.open("ab")
                if self._whole is None:
                    self._whole = self._file.tell()
                self._file.truncate(self._whole)
                self._file.seek(0, os.SEEK_END)
            write(self._file)
            self._file.flush()
            self._whole, self._failing = self._file.tell(), False
        except OSError as error:
            if not self._failing:
                logging.warning("%s is not written, training goes on: %s", self._name, error)
            self._failing = True
            self.close()

    def close(self) -> None:
        file, self._file = self._file, None
        try:
            if file:
                file.close()
        except OSError as error:  # what the last failed write left in the buffer
            logging.debug("%s: %s", self._name, error)
