"""A first SIGTERM, SIGHUP or Ctrl-C asks the loop to save and leave; a second leaves at once."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from absl import logging


@contextmanager
def stop_signal() -> Iterator[Callable[[], bool]]:
    """Turns the first SIGTERM, SIGINT or SIGHUP into a request; a second one, of either of the
    first two, ends the process.

    By the system's own action: a KeyboardInterrupt would wait for the threads of a save that hangs.
    A terminal that closes sends SIGHUP more than once: further ones are ignored. What the process
    was started to ignore stays ignored: SIGHUP under nohup, Ctrl-C in a background job.
    """
    received: list[int] = []
    previous: dict[int, Any] = {}

    def on_signal(number: int, frame: Any) -> None:
        received.append(number)
        for each in previous:
            signal.signal(each, signal.SIG_IGN if each == signal.SIGHUP else signal.SIG_DFL)
        logging.warning("%s: saving, then leaving", signal.Signals(number).name)

    for number in (int(signal.SIGTERM), int(signal.SIGINT), int(signal.SIGHUP)):
        if number == signal.SIGTERM or signal.getsignal(number) != signal.SIG_IGN:
            previous[number] = signal.signal(number, on_signal)
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
