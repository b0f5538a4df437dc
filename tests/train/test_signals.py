"""Signals as a system sends them, to a process that waits for a line."""

import signal
import subprocess
import sys

import pytest
from conftest import REPOSITORY

# It looks for its input ten times a second: a handler in Python runs between two steps of Python,
# so a signal that comes just before a read that blocks would wait until there is something to read.
PROGRAM = """
import select, signal, sys
for name in sys.argv[1:]:
    signal.signal(signal.Signals[name], signal.SIG_IGN)
from phi1_jax.train.signals import stop_signal
with stop_signal() as stopped:
    print("on", flush=True)
    while not select.select([sys.stdin], [], [], 0.1)[0]:
        pass
    print(stopped(), flush=True)
"""


def received(*numbers: int, ignored: signal.Signals | None = None) -> tuple[str, int]:
    """Whether the process was asked to stop, '' if it is dead; and its exit status.

    Args:
      ignored: a signal that the process was started to ignore.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *([ignored.name] if ignored else [])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    assert process.stdout.readline() == "on\n"
    for count, number in enumerate(numbers):
        process.send_signal(number)
        if count == 0 and number != ignored:
            assert "saving, then leaving" in process.stderr.readline()
    out, _ = process.communicate("\n", timeout=30)
    return out.strip(), process.returncode


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_first_is_a_request(number):
    assert received(number) == ("True", 0)


@pytest.mark.slow
@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_the_second_ends_the_process_whatever_the_first_was(first, second):
    assert received(first, second) == ("", -second)


def test_a_closing_terminal_sends_its_signal_twice():
    assert received(signal.SIGHUP, signal.SIGHUP) == ("True", 0)


@pytest.mark.parametrize("ignored", [signal.SIGHUP, signal.SIGINT])
def test_what_nohup_or_a_background_job_ignores_is_nothing(ignored):
    assert received(ignored, ignored=ignored) == ("False", 0)
