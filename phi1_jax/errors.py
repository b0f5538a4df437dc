"""The one exception that means: the input is at fault, and here is what to do."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Bad input that the user can mend.

    The message is one line: it names the field, flag or file, gives the value at fault, and
    says what to do. Launch scripts print it without a traceback (see `phi1_jax.cli.script`).
    """


class AllProcessesError(UserError):
    """Raised by every process of a run at the same step: none of them waits for another."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: `; did you mean X?`, or nothing."""
    near = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {near[0]}?" if near else ""
