"""What every script sets before JAX starts."""

import pytest
from absl import flags
from absl.testing import flagsaver
from jaxlib.xla_client import generate_pjrt_gpu_plugin_options

from phi1_jax import cli
from phi1_jax.config import USABLE_MEMORY

NAMES = ("XLA_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_MEM_FRACTION")


@pytest.mark.parametrize(
    ("own", "expected"), [(None, USABLE_MEMORY), (NAMES[0], 0.5), (NAMES[1], 0.5)]
)
def test_jax_takes_the_memory_that_plans_count_on(own, expected, monkeypatch):
    for name in NAMES:
        monkeypatch.setenv(name, "")  # so that what start_jax sets is taken back
        monkeypatch.delenv(name)
    if own:
        monkeypatch.setenv(own, "0.5")
    flags.FLAGS.mark_as_parsed()
    with flagsaver.flagsaver(compile_cache=""):
        cli.start_jax()
    assert generate_pjrt_gpu_plugin_options()["memory_fraction"] == expected
