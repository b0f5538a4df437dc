"""How likely a model finds a given text: log-probabilities token by token, without sampling."""

from collections.abc import Sequence
from contextlib import nullcontext
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from phi1_jax.config import ModelConfig
from phi1_jax.model.phi import Phi
from phi1_jax.model.sharding import activations_on, mesh_of


class TokenScores(NamedTuple):
    """Natural-log probabilities of the tokens of texts, each given those before it."""

    logprobs_bt: Any  # float32[b, t - 1]: entry i is that of token i + 1
    top_ids_btk: Any  # int32[b, t - 1, k], the likeliest tokens in its place, best first
    top_logprobs_btk: Any  # float32[b, t - 1, k]


# Rows are padded to a multiple of this, so that few shapes are compiled.
_LENGTH_STEP = 128


def token_logprobs(
    config: ModelConfig, params: Any, rows: Sequence[Sequence[int]], batch_size: int = 32
) -> list[np.ndarray]:
    """Natural-log probability of each token of each row, given the tokens before it in the row.

    Args:
      params: nested dict as in a checkpoint; on a mesh or on one device.
      rows: token ids, from 1 to `config.max_seq_len` in a row.
      batch_size: rows scored at once.
    Returns:
      float32[len(row) - 1] for each row: entry i is that of token i + 1.
    Raises:
      ValueError: a row is not a list of ids, is empty or longer than the model's context, or has
        an id that the vocabulary lacks.
    """
    context, ids = config.max_seq_len, [np.asarray(row) for row in rows]
    if any(row.ndim != 1 or (row.size and row.dtype.kind not in "iu") for row in ids):
        raise ValueError("each row must be a list of token ids: tokenizer.encode(text) gives one")
    if bad := [len(row) for row in ids if not 1 <= len(row) <= context]:
        raise ValueError(f"a row of {bad[0]} tokens: must be from 1 to {context}")
    # JAX would take another id in place of one that there is not.
    if any(row.min() < 0 or row.max() >= config.vocab_size for row in ids):
        raise ValueError(f"token ids must be from 0 to {config.vocab_size - 1}")
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size} must be at least 1")
    mesh = mesh_of(params)
    score, found = _compiled(config, mesh), [np.zeros(0, np.float32)] * len(ids)
    devices = mesh.size if mesh else 1
    batch_size = -(-min(batch_size, len(ids)) // devices) * devices
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))  # little padding
    for at in range(0, len(order), batch_size or 1):
        some = order[at : at + batch_size]
        longest = len(ids[some[-1]])
        length = min(context, -(-longest // _LENGTH_STEP) * _LENGTH_STEP)
        tokens_bt = np.zeros((batch_size, length), np.int32)
        for row, i in enumerate(some):
            tokens_bt[row, : len(ids[i])] = ids[i]
        logprobs_bt = np.asarray(score(params, tokens_bt))
        for row, i in enumerate(some):
            found[i] = logprobs_bt[row, : len(ids[i]) - 1]
    return found


@lru_cache(maxsize=8)
def _compiled(config: ModelConfig, mesh: Any) -> Any:
    """(params, int32[b, t]) -> float32[b, t - 1]; attention is causal, so padding is not seen."""
    graph, _ = Phi.skeleton(config)

    @jax.jit
    def score(params: Any, tokens_bt: jax.Array) -> jax.Array:
        model = nnx.merge(graph, params)
        with activations_on(mesh) if mesh else nullcontext():
            return score_hidden(model, model.hidden(tokens_bt), tokens_bt).logprobs_bt

    return score


def score_hidden(
    model: Phi, x_btd: jax.Array, tokens_bt: jax.Array, n_top: int = 0, n_ids: int | None = None
) -> TokenScores:
    """Scores texts from the model's hidden states; call it in compiled code.

    Args:
      n_top: how many of the likeliest tokens to name.
      n_ids: ids from here on are not named.
    """

    def one_row(row: tuple[jax.Array, jax.Array]) -> TokenScores:
        x_td, next_t = row
        logits_tv = model.logits(x_td[None])[0]
        picked_t = jnp.take_along_axis(logits_tv, next_t[:, None], axis=-1)[:, 0]
        total_t = jax.nn.logsumexp(logits_tv, axis=-1)
        top_tk, ids_tk = jax.lax.top_k(logits_tv[:, :n_ids], n_top)
        return TokenScores(picked_t - total_t, ids_tk, top_tk - total_t[:, None])

    # Row by row: the logits of a whole batch may not fit the memory.
    return jax.lax.map(one_row, (x_btd[:, :-1], tokens_bt[:, 1:]))
