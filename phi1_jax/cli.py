"""How every launch script starts: flags in, one clear line out when the input is wrong."""

import logging
import sys
import warnings
from collections.abc import Callable, Sequence

from absl import app, flags

from phi1_jax.errors import UserError

flags.DEFINE_bool("traceback", False, "Show the Python traceback of an input error.")


def run(main: Callable[[Sequence[str]], None]) -> None:
    """Parses the flags, runs `main`, and turns a `UserError` into one line and exit status 2.

    Any other exception keeps its traceback: it is a fault of this project, not of the input.
    """
    flags.FLAGS.set_default("stderrthreshold", "warning")

    def guarded(argv: Sequence[str]) -> None:
        if len(argv) > 1:
            _fail(f"unexpected argument {argv[1]!r}: options are given as --name=value")
        try:
            main(argv)
        except UserError as error:
            if flags.FLAGS.traceback:
                raise
            _fail(str(error))
        except KeyboardInterrupt:
            print("interrupted; run the same command again to go on", file=sys.stderr)
            sys.exit(130)

    app.run(guarded, flags_parser=_parse)


def _parse(argv: Sequence[str]) -> list[str]:
    try:
        # The libraries below warn about themselves at import; users can do nothing about it.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        logging.getLogger("jax._src.xla_bridge").setLevel(logging.ERROR)
        return app.parse_flags_with_usage(list(argv)) if _asks_help(argv) else flags.FLAGS(argv)
    except (flags.Error, UserError, AttributeError, KeyError, TypeError, OSError) as error:
        text = str(error).strip().strip("'\"").splitlines()
        _fail(f"{text[0] if text else type(error).__name__} (see --help)")
        raise AssertionError("unreachable") from error


def _asks_help(argv: Sequence[str]) -> bool:
    return any(a.lstrip("-") in ("help", "helpfull", "helpshort", "?") for a in argv[1:])


def _fail(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
