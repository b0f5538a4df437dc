"""What a run shows of itself on stderr: a bar on a terminal, plain lines in a log file."""

import sys
from collections.abc import Mapping

from tqdm import tqdm


class Console:
    """Counts the steps and shows what log lines say."""

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
        self._bar.update()

    def show(self, step: int, values: Mapping[str, str]) -> None:
        """What a log line says of the steps up to `step`."""
        self._bar.set_postfix(values)
        if self._plain:
            words = " ".join(f"{name}={value}" for name, value in values.items())
            print(f"{self._name}: step {step}/{self._steps} {words}", file=sys.stderr)

    def close(self) -> None:
        self._bar.close()
