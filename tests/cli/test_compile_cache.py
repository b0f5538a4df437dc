"""Programs that were compiled before are used only if no bit of them has changed."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys, warnings
from pathlib import Path
import jax, jax.numpy as jnp
from phi1_jax.cli.compile_cache import use_compile_cache
folder = Path(sys.argv[1])
use_compile_cache(folder)
use_compile_cache(folder)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
from jax._src import compilation_cache, monitoring
events = []
monitoring.register_event_listener(lambda name, **_: events.append(name.rpartition("/")[2]))

def run():
    jax.clear_caches()
    compilation_cache.reset_cache()
    events.clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        values = jax.jit(lambda x: jnp.tanh(x @ x).sum(0) * 3)(x).tolist()
    return values, "cache_hits" in events, [str(w.message) for w in caught]

x = jnp.arange(64.0).reshape(8, 8)
expected, hit, _ = run()
assert not hit
assert run() == (expected, True, [])
(entry,) = (folder / "checked").glob("jit__lambda*-cache")
whole = entry.read_bytes()
import random
rng = random.Random(0)
for number in range(60):
    damaged = bytearray(whole)
    damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    entry.write_bytes(damaged[: len(damaged) // 2] if number == 0 else damaged)
    values, hit, (warning,) = run()
    assert values == expected and not hit and "SHA-256 differs" in warning
entry.write_bytes(whole)
assert run() == (expected, True, [])
print("done")
"""


@pytest.mark.slow
def test_damaged_programs_are_compiled_again(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "done\n", done.stderr
