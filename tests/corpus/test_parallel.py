import os
import signal

import pytest

from phi1_jax.corpus.parallel import ordered_map
from phi1_jax.errors import UserError


def die_at(number, item):
    """As the kernel ends a process when memory is short."""
    if item == number:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def test_a_killed_worker_is_an_error_that_says_what_to_do():
    with pytest.raises(UserError, match=r"a worker was killed.* fewer --workers"):
        list(ordered_map(die_at, 7, range(20), workers=2))
