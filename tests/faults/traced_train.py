"""launch/train.py, with a trace in the run's folder: see run_trace.py."""

import runpy
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / "launch"), str(REPOSITORY / "tests")]

import run_trace  # noqa: E402

from phi1_jax.train import loop  # noqa: E402

loop.train = run_trace.traced  # the script imports it from there
runpy.run_path(str(REPOSITORY / "launch" / "train.py"), run_name="__main__")
