"""Floating-point operations per token, and the devices' peaks, for MFU."""

import re

from phi1_jax.config import ModelConfig

# Dense peak of one device in FLOP/s, by words of the name that JAX reports: in bfloat16, and of
# a T4, which has none, in float32.
PEAK_FLOPS = {
    "A100": 312e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "H200 NVL": 836e12,
    "H200": 989e12,
    "L4": 121e12,
    "L40": 181e12,
    "L40S": 362e12,
    "RTX 4090": 165e12,
    "T4": 8.1e12,
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
}


def matmul_params(model: ModelConfig) -> int:
    """Weights that multiply each token: with the head, without the embedding and the biases."""
    per_layer = 4 * model.d_model**2 + 2 * model.d_model * model.d_mlp
    return model.n_layers * per_layer + model.d_model * model.vocab_size


def flops_per_token(model: ModelConfig, seq_len: int) -> tuple[float, float]:
    """Forward and backward, in two conventions.

    Returns:
      PaLM's count, whose attention term covers the whole square (12 L d T), and the causal count,
      which covers the half that is needed (6 L d T).
    """
    attention = 6.0 * model.n_layers * model.d_model * seq_len
    matmuls = 6.0 * matmul_params(model)
    return matmuls + 2 * attention, matmuls + attention


def peak_flops(device_kind: str, dtype: str) -> float | None:
    """The peak of a device in float32 or bfloat16; None if it is not in the table or a lesser one.

    JAX multiplies float32 in TF32 where a GPU has it, at half the rate, and in bfloat16 on a TPU.
    """
    words = set(re.findall(r"\w+", device_kind))
    found = (peak for name, peak in PEAK_FLOPS.items() if words >= set(name.split()))
    peak = None if words & {"MIG", "Laptop", "D"} else next(found, None)
    is_half = dtype == "float32" and not words & {"T4", "TPU"}
    return peak / 2 if peak and is_half else peak
