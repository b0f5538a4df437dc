"""One writer for what a run measures: TensorBoard, a JSONL file and warnings that stop nothing."""

import json
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import logging
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.plugins.hparams import summary_v2 as hparams
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from phi1_jax.config import flatten


class MetricsWriter:
    """Writes below `run`: `tensorboard/` and `metrics.jsonl`.

    A folder that is full or not writable costs the curves, never the training: the first failure
    is logged and the writer goes quiet.
    """

    def __init__(self, run: Path, enabled: bool = True) -> None:
        self._events: EventFileWriter | None = None
        self._lines = None
        if not enabled:
            return
        try:
            self._events = EventFileWriter(str(run / "tensorboard"))
            self._lines = (run / "metrics.jsonl").open("a", encoding="utf-8")
        except OSError as error:
            self._give_up(error)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One point on each curve."""
        self._write(step, [Summary.Value(tag=k, simple_value=v) for k, v in values.items()])
        self._line({"step": step, "time": round(time.time(), 3), **values})

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
        """Flushes and closes the files."""
        try:
            if self._events:
                self._events.close()
            if self._lines:
                self._lines.close()
        except OSError as error:
            self._give_up(error)

    def _write(self, step: int, values: Any) -> None:
        if self._events is None:
            return
        try:
            event = Event(wall_time=time.time(), step=step, summary=Summary(value=values))
            self._events.add_event(event)
            self._events.flush()
        except OSError as error:
            self._give_up(error)

    def _line(self, record: Mapping[str, Any]) -> None:
        if self._lines is None:
            return
        try:
            self._lines.write(json.dumps(record) + "\n")
            self._lines.flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        logging.warning("metrics are not written from here on, training goes on: %s", error)
        if self._lines:
            self._lines.close()
        self._events = self._lines = None
