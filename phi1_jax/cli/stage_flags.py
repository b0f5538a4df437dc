"""The flags of every script that is a stage, --output and --force; import it to define them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from absl import flags

from phi1_jax.cli.stage import LEFT_OUT, run_stage
from phi1_jax.corpus.records import SkipLog

OUTPUT = flags.DEFINE_string("output", None, "Folder for the result.")
FORCE = flags.DEFINE_bool("force", False, "Start over, also where a result of other flags lies.")


def run(
    name: str,
    inputs: Mapping[str, Any],
    work: Callable[[Path, SkipLog], dict[str, Any]],
    output: Path | None = None,
    **options: Any,
) -> None:
    """Runs a stage, in the folder that --output names.

    Args:
      work: gets the folder to write into, and the log to tell what it leaves out, which the report
        counts; see `run_stage`.
      output: the folder, where another flag names it.
      options: those of `run_stage`.
    """

    def logged(folder: Path) -> dict[str, Any]:
        skip = SkipLog(folder / LEFT_OUT)
        return {**work(folder, skip), **skip.report()}

    folder = output or Path(OUTPUT.value)  # type: ignore[arg-type] # the script requires it
    run_stage(name, folder, inputs, logged, force=FORCE.value, **options)
