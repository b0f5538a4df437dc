"""Loss and bits per byte of each source, on rows of it that are never trained on."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from phi1_jax.model.sharding import batch_sharding
from phi1_jax.tokens.loader import Loader
from phi1_jax.train.step import Trainer, place


def validation_evaluator(
    trainer: Trainer, loader: Loader, rows_at_once: int
) -> Callable[[int, Any], dict[str, float]]:
    """An evaluator for the loop: `loss` in nats a token, also by source, `bits_per_byte/SOURCE`.

    Bits per byte do not depend on the tokenizer: the same tokens' loss, over the bytes of UTF-8
    that they stand for. They are left out if the config names no tokenizer.

    Args:
      rows_at_once: rows that the devices compute together.
    Raises:
      UserError: validation rows of a source hold no whole document.
    """
    read = {}
    for name, rows in zip(loader.names, loader.sources, strict=True):
        tokens, counts = rows.read_validation()
        n_bytes = 0
        if loader.tokenizer is not None:
            text = loader.tokenizer.decode(tokens[:, 1:][counts].tolist(), special=True)
            n_bytes = len(text.encode())
        read[name] = tokens, counts, n_bytes
    sharding = batch_sharding(trainer.shardings.step.mesh)

    def evaluate(step: int, params: Any) -> dict[str, float]:
        values = {}
        total_nats, total_tokens = 0.0, 0
        for name, (tokens, counts, n_bytes) in read.items():
            nats = 0.0
            for at in range(0, len(tokens), rows_at_once):
                rows = slice(at, at + rows_at_once)
                empty = ((0, rows_at_once - len(tokens[rows])), (0, 0))
                parts = (np.pad(array[rows], empty) for array in (tokens, counts))
                nats += float(trainer.nll(params, *(place(part, sharding) for part in parts)))
            n_tokens = int(counts.sum())
            total_nats, total_tokens = total_nats + nats, total_tokens + n_tokens
            values[f"loss/{name}"] = nats / n_tokens
            if n_bytes:
                values[f"bits_per_byte/{name}"] = nats / math.log(2) / n_bytes
        return {"loss": total_nats / total_tokens, **values}

    return evaluate
