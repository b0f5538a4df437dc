"""Between llama.cpp's tokens and ours only near ties may differ."""

import numpy as np
import pytest

from benchmarks import decode
from phi1_jax.config import ModelConfig


@pytest.mark.parametrize(("gap", "is_tie"), [(0.0005, True), (-0.2, True), (0.002, False)])
def test_only_near_ties_may_differ(monkeypatch, gap, is_tie):
    prompts, ours = np.array([[7, 8], [5, 6]]), np.array([[1, 2, 3], [4, 5, 6]])
    theirs = np.array([[1, 2, 3], [4, 9, 0]])

    def scores(config, params, rows):
        assert rows == [[5, 6, 4, 5], [5, 6, 4, 9]]  # up to the first that differs
        return [np.array([0, 0, -1.0]), np.array([0, 0, -1.0 - gap])]

    monkeypatch.setattr(decode, "token_logprobs", scores)
    arguments = (ModelConfig(), None, prompts, ours, theirs)
    if is_tie:
        assert decode.same_but_for_ties(*arguments) == {"same_tokens": 4 / 6}
    else:
        with pytest.raises(AssertionError, match=r"row 1, token 1: ours is likelier by 0\.0020"):
            decode.same_but_for_ties(*arguments)
