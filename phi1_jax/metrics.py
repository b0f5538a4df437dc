"""One writer for what a run measures: TensorBoard, a JSONL file and warnings that stop nothing."""

import json
import math
import os
import socket
import struct
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from absl import logging
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.plugins.hparams import summary_v2 as hparams
from tensorboard.summary.writer.record_writer import RecordWriter

from phi1_jax.config_dict import flatten


class MetricsWriter:
    """Writes below `run`: `tensorboard/` and `metrics.jsonl`.

    A file that cannot be written costs its curves, never the training: the first failure is logged
    and that file is left alone from there on; the other goes on.
    """

    def __init__(self, run: Path, enabled: bool = True) -> None:
        self._events, self._lines = _File("TensorBoard"), _File("metrics.jsonl")
        if not enabled:
            return
        # TensorBoard's own writer would write from a thread, whose errors come late and loud.
        name = f"events.out.tfevents.{time.time():020.9f}.{socket.gethostname()}.{os.getpid()}"
        self._events.open(run / "tensorboard" / name)
        self._lines.open(run / "metrics.jsonl")
        self._event(Event(wall_time=time.time(), file_version="brain.Event:2"))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One point on each curve."""
        self._write(step, [Summary.Value(tag=k, simple_value=v) for k, v in values.items()])
        # JSON knows no NaN; an empty point is null.
        points = {k: v if math.isfinite(v) else None for k, v in values.items()}
        self._line({"step": step, "time": round(time.time(), 3), **points})

    def text(self, step: int, tag: str, markdown: str) -> None:
        """A page of Markdown."""
        metadata = SummaryMetadata(
            plugin_data=SummaryMetadata.PluginData(plugin_name="text"),
        )
        tensor = TensorProto(
            dtype=7,  # DT_STRING
            string_val=[markdown.encode()],
            tensor_shape=TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)]),
        )
        self._write(step, [Summary.Value(tag=tag, metadata=metadata, tensor=tensor)])

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

    def settings(self, config: Mapping[str, Any]) -> None:
        """The run's settings on TensorBoard's HParams page."""
        flat = {k: v if isinstance(v, int | float) else str(v) for k, v in flatten(config).items()}
        self._write(0, hparams.hparams_pb(flat).value)

    def close(self) -> None:
        """Closes the files."""
        self._events.close()
        self._lines.close()

    def _write(self, step: int, values: Any) -> None:
        self._event(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))

    def _event(self, event: Event) -> None:
        data = event.SerializeToString()
        self._events.write(lambda file: RecordWriter(file).write(data))

    def _line(self, record: Mapping[str, Any]) -> None:
        line = json.dumps(record).encode() + b"\n"
        self._lines.write(lambda file: file.write(line))


class _File:
    """A file that goes quiet when it fails; until it is opened, nothing is written."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._file: IO[bytes] | None = None

    def open(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab")
        except OSError as error:
            self._give_up(error)

    def write(self, write: Callable[[IO[bytes]], Any]) -> None:
        if self._file is None:
            return
        try:
            write(self._file)
            self._file.flush()
        except OSError as error:
            self._give_up(error)

    def close(self) -> None:
        file, self._file = self._file, None
        try:
            if file:
                file.close()
        except OSError as error:  # what the last failed write left in the buffer
            logging.debug("%s: %s", self._name, error)

    def _give_up(self, error: OSError) -> None:
        logging.warning("%s is not written from here on, training goes on: %s", self._name, error)
        self.close()
