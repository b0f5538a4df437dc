"""The log that the fault tests judge by."""

import hashlib
from dataclasses import replace

import jax
import numpy as np
import pytest
from run_trace import read_trace, state_hash, traced

from phi1_jax.tokens.loader import Loader


@pytest.mark.slow
def test_a_trace_says_what_each_step_saw_and_did(run_config, tmp_path):
    config = replace(run_config, steps=3, log_every_steps=1)
    run = tmp_path / "traced"
    result = traced(config, run)
    with (run / "trace.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')  # as a kill leaves it
    first, *steps, last = read_trace(run)
    assert set(first) == set(last) == {"step", "state"} and first["state"] != last["state"]
    assert [row["step"] for row in (first, *steps, last)] == [0, 1, 2, 3, 3]
    loss = np.uint32(int(steps[-1]["loss"], 16)).view(np.float32)
    assert float(loss) == result["loss"]
    batches = Loader(config.data, config.seed).batches(0)
    for row, batch in zip(steps, batches, strict=False):
        whole = batch["tokens"].tobytes() + batch["loss_mask"].tobytes()
        assert row["batch"] == hashlib.sha256(whole).hexdigest()
        assert row["examples"] == [
            [int(s), int(r)] for s, r in zip(batch["source"], batch["row"], strict=True)
        ]
    # A resume drops the torn line, and starts from the state that the run before ended with.
    traced(config, run)
    assert read_trace(run)[-2:] == [last, last]


def test_a_state_hash_sees_every_bit():
    params = {"a": np.arange(4, dtype=np.float32), "b": np.zeros(())}
    same = {"a": jax.numpy.arange(4, dtype=np.float32), "b": np.zeros(())}
    assert state_hash(params) == state_hash(same)
    flipped = params["a"].copy()
    flipped.view(np.uint32)[2] ^= 1
    others = [{**params, "a": flipped}, {**params, "b": -np.zeros(())}, {"a": params["a"]}]
    others += [{**params, "a": params["a"].reshape(2, 2)}, {"c": params["a"], "b": params["b"]}]
    assert len({state_hash(tree) for tree in [params, *others]}) == 6
