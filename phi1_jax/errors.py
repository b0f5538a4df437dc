"""The one exception that means: the input is at fault, and here is what to do."""


class UserError(ValueError):
    """Bad input that the user can mend.

    The message is one line: it names the field, flag or file, gives the value at fault, and
    says what to do. Launch scripts print it without a traceback (see `phi1_jax.cli.script`).
    """


class AllProcessesError(UserError):
    """Raised by every process of a run at the same step: none of them waits for another."""
