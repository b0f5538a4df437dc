"""config.json of Hugging Face's phi folders, and the model that it describes."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import logging

from phi1_jax.config import ModelConfig
from phi1_jax.config_dict import from_dict
from phi1_jax.errors import UserError

# What a file may say of fields that have one value here, if it says anything.
_CURRENT = {
    "model_type": ("phi",),
    "hidden_act": ("gelu_new",),
    "qk_layernorm": (False,),
    "tie_word_embeddings": (False,),
    "rope_scaling": (None,),
    "rope_type": ("default",),
    "quantization_config": (None,),
}
_OLDER = {
    "model_type": ("phi-msft", "phi"),
    "activation_function": ("gelu_new",),
    "tie_word_embeddings": (False,),
    "quantization_config": (None,),
}


def read_config(folder: Path) -> ModelConfig:
    """The model of a folder's config.json, in the current or the older layout.

    Raises:
      UserError: no such file, or a model that is not phi-1's kind.
    """
    path = folder / "config.json"
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such folder; download the model first (hf download microsoft/phi-1"
            " --local-dir=DIR) and name DIR"
        )
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{folder} is no Hugging Face folder: it has no config.json") from error
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}") from error
    if isinstance(values, dict) and isinstance(values.get("model"), dict):
        raise UserError(
            f"{folder} is a run of this project, not a Hugging Face folder; to make one of it:"
            f" python launch/convert.py --from={folder} --to_hf=DIR"
        )
    try:
        fields = _older_fields(values) if "n_embd" in values else _current_fields(values)
    except KeyError as error:
        raise UserError(f"{path} has no field {error}; is it a Phi model?") from error
    except UserError:
        raise
    except (TypeError, ValueError, ArithmeticError) as error:
        raise UserError(f"{path} has a field of the wrong type or size: {error}") from error
    return from_dict(ModelConfig, fields, "model.")


def _current_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    # transformers 5 writes the nested form, earlier ones the plain fields.
    rope = {
        "partial_rotary_factor": 0.5,
        "rope_theta": 10_000.0,
        **values,
        **(values.get("rope_parameters") or {}),
    }
    heads = values["num_attention_heads"]
    _check(rope, {**_CURRENT, "num_key_value_heads": (heads, None)})
    _warn_of_embedding_dropout(values)
    return {
        "vocab_size": values["vocab_size"],
        "n_layers": values["num_hidden_layers"],
        "d_model": values["hidden_size"],
        "d_mlp": values["intermediate_size"],
        "n_heads": heads,
        "rotary_dim": int(rope["partial_rotary_factor"] * (values["hidden_size"] // heads)),
        "max_seq_len": values["max_position_embeddings"],
        "attention_dropout": values.get("attention_dropout") or 0.0,
        "residual_dropout": values.get("resid_pdrop") or 0.0,
        "rope_theta": rope["rope_theta"],
        "layer_norm_eps": values.get("layer_norm_eps", 1e-5),
        "init_std": values.get("initializer_range", 0.02),
    }


def _older_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    _check(values, {**_OLDER, "n_head_kv": (values["n_head"], None)})
    _warn_of_embedding_dropout(values)
    return {
        "vocab_size": values["vocab_size"],
        "n_layers": values["n_layer"],
        "d_model": values["n_embd"],
        "d_mlp": values.get("n_inner") or 4 * values["n_embd"],
        "n_heads": values["n_head"],
        "rotary_dim": values["rotary_dim"],
        "max_seq_len": values["n_positions"],
        "attention_dropout": values.get("attn_pdrop") or 0.0,
        "residual_dropout": values.get("resid_pdrop") or 0.0,
        "layer_norm_eps": values["layer_norm_epsilon"],
        "init_std": values.get("initializer_range", 0.02),
    }


def _check(values: Mapping[str, Any], allowed: Mapping[str, tuple[Any, ...]]) -> None:
    for name, choices in allowed.items():
        if name in values and values[name] not in choices:
            raise UserError(f"config.json: {name}={values[name]!r} is not phi-1's {choices[0]!r}")


def _warn_of_embedding_dropout(values: Mapping[str, Any]) -> None:
    """Matters to training only, so the model is read all the same."""
    if values.get("embd_pdrop"):
        logging.warning(
            "config.json: embd_pdrop=%s is not kept: this model has no dropout on its embedding",
            values["embd_pdrop"],
        )


def config_values(config: ModelConfig) -> dict[str, Any]:
    """The fields that describe a model to transformers."""
    factor = config.rotary_dim / config.d_head
    if int(config.d_head * factor) < config.rotary_dim:  # readers round down
        factor = math.nextafter(factor, 2)
    rope = {"rope_theta": config.rope_theta, "partial_rotary_factor": factor}
    return {
        "architectures": ["PhiForCausalLM"],
        "model_type": "phi",
        "vocab_size": config.vocab_size,
        "hidden_size": config.d_model,
        "intermediate_size": config.d_mlp,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "num_key_value_heads": config.n_heads,
        "hidden_act": "gelu_new",
        "max_position_embeddings": config.max_seq_len,
        "initializer_range": config.init_std,
        "layer_norm_eps": config.layer_norm_eps,
        "qk_layernorm": False,
        "tie_word_embeddings": False,
        "resid_pdrop": config.residual_dropout,
        "attention_dropout": config.attention_dropout,
        "embd_pdrop": 0.0,
        "use_cache": True,
        # transformers 5 reads the nested form, earlier ones the plain fields.
        "rope_parameters": {"rope_type": "default", **rope},
        **rope,
    }
