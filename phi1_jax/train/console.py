"""What a run shows of itself on stderr: a bar on a terminal, plain lines in a log file."""

import sys
from collections.abc import Mapping
from contextlib import suppress

from tqdm import tqdm


class Console:
    """A full disk under the log, or a terminal that has gone, costs the line and not the run."""

    def __init__(self, name: str, step: int, steps: int, *, enabled: bool) -> None:
        on_terminal = sys.stderr.isatty()
        self._name, self._steps = name, steps
        self._plain = enabled and not on_terminal
        self._bar = tqdm(
            total=steps,
            initial=step,
            desc=name,
            unit="step",
            disable=not (enabled and on_terminal),
            mininterval=1,
        )

    def step(self) -> None:
        """One more step is under way."""
        with suppress(OSError):
            self._bar.update()

    def show(self, step: int, values: Mapping[str, str]) -> None:
        """What a log line says of the steps up to `step`."""
        with suppress(OSError):
            self._bar.set_postfix(values)
            if self._plain:
                words = " ".join(f"{name}={value}" for name, value in values.items())
                print(f"{self._name}: step {step}/{self._steps} {words}", file=sys.stderr)

    def close(self) -> None:
        with suppress(OSError):
            self._bar.close()
