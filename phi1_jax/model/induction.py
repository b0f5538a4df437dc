"""Two attention layers that copy from the start: induction heads as initial values.

To complete "... def f(words, c): ... for" a model must find what stood behind the last "f(" and say
it again. Transformers learn this with two layers (Olsson et al. 2022, "In-context Learning and
Induction Heads"): in one, a head writes into each position which token stands before it; in a later
one, a head looks where the token before was the one at hand, and copies what stands there. This
takes millions of tokens to appear, more than a small run has. Here the circuit is placed into the
initial values, and training does with it what it likes. [ours; the paper's models learn it.]
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from phi1_jax.config import ModelConfig

# Strengths, found by trial on phi1_tiny.
_POSITION = 8.0  # of the bias towards the position before
_NOTE = 3.0  # of what is noted about the token before, beside an embedding
_MATCH = 2.5  # of queries and keys in the second layer
_COPY = 8.0  # of what is copied, beside an embedding
_OTHERS = 0.1  # of what all other heads and the MLPs add, which would drown the notes


def place_induction_heads(config: ModelConfig, params: Any, key: jax.Array) -> Any:
    """The initial values with `config.n_induction_heads` such pairs in the first two layers.

    With random orthonormal directions, each pair has d_head of its own in which tokens are told
    apart, and as many for its notes. The head begins as the embedding transposed, so that what is
    copied is what is predicted; they are two parameters still.

    Args:
      params: of `Phi`, as a nested dict; layers are stacked on the leading axis.
      key: draws the directions.
    Returns:
      New params. Other heads and the MLPs write a tenth of what they would, and are the same
      otherwise.
    """
    d, k, r = config.d_model, config.d_head, config.rotary_dim // 2
    n_heads, std = config.n_induction_heads, config.init_std
    directions, _ = jnp.linalg.qr(jax.random.normal(key, (d, d), jnp.float32))
    tokens_ndk, notes_ndk = (
        half_dm.reshape(d, n_heads, k).transpose(1, 0, 2)
        for half_dm in jnp.split(directions[:, : 2 * n_heads * k], 2, axis=1)
    )
    block = params["blocks"]
    to_q, to_k, to_v = (dict(block[name]) for name in ("q", "k", "v"))
    out, fc2 = (
        {**block[name], "kernel": _OTHERS * block[name]["kernel"]} for name in ("out", "fc2")
    )
    angles_r = config.rope_theta ** (-np.arange(r) / r)  # by which one position rotates
    for head, (tokens_dk, notes_dk) in enumerate(zip(tokens_ndk, notes_ndk, strict=True)):
        start = head * k
        whole = slice(start, start + k)
        first, second = slice(start, start + r), slice(start + r, start + 2 * r)
        still = slice(start + 2 * r, start + k)  # what no position rotates
        # Layer 0: biases alone choose the position before; its token goes into the notes.
        to_k["bias"] = to_k["bias"].at[0, first].set(_POSITION)
        to_q["bias"] = to_q["bias"].at[0, first].set(_POSITION * np.cos(angles_r))
        to_q["bias"] = to_q["bias"].at[0, second].set(-_POSITION * np.sin(angles_r))
        to_v["kernel"] = to_v["kernel"].at[0, :, whole].set(tokens_dk)
        out["kernel"] = out["kernel"].at[0, whole].set(_NOTE * std * notes_dk.T)
        # Layer 1: the token at hand asks whose note it is, and what stands there is copied.
        n = k - 2 * r
        to_q["kernel"] = to_q["kernel"].at[1, :, still].set(_MATCH * tokens_dk[:, :n])
        to_k["kernel"] = to_k["kernel"].at[1, :, still].set(_MATCH * notes_dk[:, :n])
        to_v["kernel"] = to_v["kernel"].at[1, :, whole].set(tokens_dk)
        out["kernel"] = out["kernel"].at[1, whole].set(_COPY * std * tokens_dk.T)
    return {
        **params,
        "blocks": {**block, "q": to_q, "k": to_k, "v": to_v, "out": out, "fc2": fc2},
        "head": {**params["head"], "kernel": params["embed"]["table"].T},
    }
