"""Which steps the profiler records."""

import jax
import pytest

from phi1_jax.train.profile import Profile


@pytest.mark.parametrize(
    ("asked", "taken", "first"), [(None, 0, 10), (None, 40, 50), (None, 95, 98), (7, 0, 7)]
)
def test_a_profile_begins_after_where_the_run_does(tmp_path, monkeypatch, asked, taken, first):
    calls = []
    monkeypatch.setattr(jax.profiler, "start_trace", lambda folder: calls.append("start"))
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: calls.append("stop"))
    profile = Profile(tmp_path, asked, 3, taken, 100)
    for step in range(taken + 1, 101):
        calls.append(step)
        profile.before(step, None)
    profile.close()
    at = calls.index("start")
    assert calls[at - 1] == first and calls[at + 1 : at + 3] == [first + 1, first + 2]
    assert calls[-1] == "stop" or calls[at + 3 : at + 5] == [first + 3, "stop"]


def test_a_profile_that_will_not_be_is_a_warning(tmp_path, caplog):
    Profile(tmp_path, 10, 3, 40, 100)
    assert "--profile_start=10 is not ahead of step 40" in caplog.text
