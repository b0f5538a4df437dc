"""The first SIGTERM or Ctrl-C asks the loop to save and leave; the second leaves at once."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from absl import logging


@contextmanager
def stop_signal() -> Iterator[Callable[[], bool]]:
    """Turns the first SIGTERM or SIGINT into a request; the second ends the process.

    By the system's own action: a KeyboardInterrupt would wait for the threads of a save that hangs.
    """
    received: list[int] = []
    previous: dict[int, Any] = {}

    def on_signal(number: int, frame: Any) -> None:
        del frame
        received.append(number)
        signal.signal(number, signal.SIG_DFL)
        logging.warning("%s: saving, then leaving", signal.Signals(number).name)

    for number in (int(signal.SIGTERM), int(signal.SIGINT)):
        previous[number] = signal.signal(number, on_signal)
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
