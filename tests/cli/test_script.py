"""What every script sets before JAX starts, and how it ends."""

import os
import subprocess
import sys

import pytest
from absl import flags
from absl.testing import flagsaver
from jaxlib.xla_client import generate_pjrt_gpu_plugin_options

from phi1_jax.cli import script
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
        script.start_jax()
    assert generate_pjrt_gpu_plugin_options()["memory_fraction"] == expected


@pytest.mark.parametrize(("lines", "code"), [(1, 0), (1_000_000, 141)])
def test_a_reader_that_has_enough_is_no_error(lines, code):
    work = f"[print('line', flush=True) for _ in range({lines})]"
    text = f"from phi1_jax.cli import script; script.run(lambda: {work} and None)"
    with subprocess.Popen(
        [sys.executable, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as script:
        assert script.stdout.readline() == b"line\n"
        script.stdout.close()
        assert script.stderr.read() == b""
    assert script.returncode == code


@pytest.mark.parametrize("platform", ["rocm", "gpux"])
def test_a_platform_that_jax_lacks_is_told_in_one_line(platform):
    code = "from phi1_jax.cli import script; import jax; script.run(lambda: jax.devices() and None)"
    script = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, env={**os.environ, "JAX_PLATFORMS": platform},
    )  # fmt: skip
    assert script.returncode == 2
    (line,) = script.stderr.splitlines()
    assert f"JAX cannot use JAX_PLATFORMS={platform}: " in line and "unset the variable" in line


def test_another_broken_pipe_is_a_fault():
    work = "(_ for _ in ()).throw(BrokenPipeError)"
    text = f"from phi1_jax.cli import script; script.run(lambda: {work})"
    script = subprocess.run([sys.executable, "-c", text], capture_output=True, check=False)
    assert script.returncode == 1 and b"BrokenPipeError" in script.stderr


def test_help_that_nobody_reads_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    text = "from phi1_jax.cli import script; script.run(lambda: None)"
    script = subprocess.run(
        [sys.executable, "-c", text, "--help"], stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)
    assert (script.returncode, script.stderr) == (141, b"")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("OSError(28, 'No space left on device')", "a file cannot be written: the disk is full"),
        ("OSError(28, 'x', 'runs/a')", "runs/a cannot be written: the disk is full"),
        ("OSError('12800 requested and 5072 written')", "the disk is full"),
        ("OperationalError('database or disk is full')", "the disk is full"),
        ("OperationalError('disk I/O error')", "disk I/O error, or over a quota"),
        ("OSError(27, 'x')", "a file cannot be read or written: File too large"),
        ("OSError(30, 'x', 'a')", "a cannot be read or written: Read-only file system"),
        ("OSError(13, 'x', 'a')", "a cannot be read or written: Permission denied"),
        ("OSError(116, 'x', 'a')", "a cannot be read or written: Stale file handle"),
        ("OSError(36, 'x', 'a')", "a cannot be read or written: File name too long"),
        ("OSError(24, 'x')", "a file cannot be read or written: Too many open files (`ulimit"),
    ],
)
def test_what_the_system_refuses_is_no_traceback(error, said):
    imports = "from sqlite3 import OperationalError\nfrom phi1_jax.cli import script"
    text = f"{imports}\ndef main(): raise {error}\nscript.run(main)"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ") and said in done.stderr
    assert "run the same command again" in done.stderr


def test_a_device_without_memory_is_no_traceback():
    text = """
from phi1_jax.cli import script
def main():
    import jax.numpy as jnp
    jnp.zeros(1 << 50).block_until_ready()
script.run(main)
"""
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "memory is full: Out of memory allocating 4503599627370496 bytes; " in done.stderr


def test_another_error_of_the_system_keeps_its_traceback():
    text = "from phi1_jax.cli import script\nscript.run(lambda: open('/nowhere/x'))"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" in done.stderr


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        (
            "rapidfuzz.distance",
            2,
            "error: rapidfuzz is not installed: pip install 'phi1_jax[data]'",
        ),
        ("a_package_of_ours", 1, "Traceback"),
    ],
)
def test_a_package_of_an_extra_that_is_not_installed_is_no_traceback(name, status, said):
    text = (
        "import sys; from phi1_jax.cli import script\n"
        f"sys.modules[{name!r}] = None\n"
        f"script.run(lambda: __import__({name!r}))"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
    assert done.returncode == status and done.stderr.startswith(said)
