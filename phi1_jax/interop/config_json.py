"""config.json of Hugging Face's phi folders, and the model that it describes."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import logging

from phi1_jax.config import ModelConfig
from phi1_jax.config_dict import from_dict
from phi1_jax.errors import UserError
from phi1_jax.files import read_json

# The names that the first releases gave to the fields.
_OLDER = {
    "n_layer": "num_hidden_layers",
    "n_embd": "hidden_size",
    "n_inner": "intermediate_size",
    "n_head": "num_attention_heads",
    "n_head_kv": "num_key_value_heads",
    "n_positions": "max_position_embeddings",
    "layer_norm_epsilon": "layer_norm_eps",
    "activation_function": "hidden_act",
    "attn_pdrop": "attention_dropout",
}
# Fields that would change the model, with the one value that is implemented; null is as good.
_FIXED = {
    "model_type": "phi",
    "hidden_act": "gelu_new",
    "qk_layernorm": False,
    "tie_word_embeddings": False,
    "quantization_config": None,
    "rope_type": "default",
    "type": "default",  # as rope_scaling has it
}
_ROPE = {"rope_parameters", "rope_scaling", "rope_type", "type", "rope_theta",
         "partial_rotary_factor"}  # fmt: skip


def read_config(folder: Path) -> ModelConfig:
    """The model of a folder's config.json, in the current or the older layout.

    Raises:
      UserError: no such file, or a model that is not phi-1's kind; names the field.
    """
    path = folder / "config.json"
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such folder; download the model first (hf download microsoft/phi-1"
            " --local-dir=DIR) and name DIR"
        )
    if (folder / "adapter_config.json").exists():
        raise UserError(f"{folder} holds an adapter (LoRA); merge it into its model and save that")
    if not path.exists():
        raise UserError(f"{folder} is not a Hugging Face folder: it has no config.json")
    values = read_json(path, fix="fetch it again")
    if isinstance(values.get("model"), dict):
        raise UserError(
            f"{folder} is a run of this project, not a Hugging Face folder; to make one of it:"
            f" python launch/convert.py --from={folder} --to_hf=DIR"
        )
    try:
        return from_dict(ModelConfig, _fields(values), "model.")
    except UserError:
        raise
    except KeyError as error:
        raise UserError(f"{path} has no field {error}; is it a Phi model?") from error
    except (TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise UserError(f"{path} has a field of the wrong type or size: {error}") from error


def _fields(values: Mapping[str, Any]) -> dict[str, Any]:
    # transformers 5 writes rope_parameters, earlier ones the plain fields and rope_scaling.
    rope = {**(values.get("rope_parameters") or {}), **(values.get("rope_scaling") or {})}
    rope |= {k: v for k, v in values.items() if re.search("rope|rotary", k) and k not in rope}
    older = "n_embd" in values
    for name in rope.keys() - _ROPE - ({"rotary_dim", "flash_rotary"} if older else set()):
        if rope[name] is not None:
            raise UserError(f"config.json: {name}={rope[name]!r} is not implemented")
    spelled = {now: then for then, now in _OLDER.items() if older}
    values = {_OLDER.get(name, name): value for name, value in {**values, **rope}.items()}
    if older and values.get("model_type") == "phi-msft":
        values["model_type"] = "phi"
    heads, width = values["num_attention_heads"], values["hidden_size"]
    fixed = {**_FIXED, "num_key_value_heads": heads, "head_dim": width // heads}
    for name, only in fixed.items():
        if (value := values.get(name)) not in (only, None):
            told = spelled.get(name, name)
            raise UserError(f"config.json: {told}={value!r} is not phi-1's {only!r}")
    if values.get("embd_pdrop"):  # matters to training only, so the model is read all the same
        logging.warning(
            "config.json: embd_pdrop=%s is not kept: this model has no dropout on its embedding",
            values["embd_pdrop"],
        )
    factor = values.get("partial_rotary_factor", 0.5)
    return {
        "vocab_size": values["vocab_size"],
        "n_layers": values["num_hidden_layers"],
        "d_model": width,
        "d_mlp": values.get("intermediate_size") or 4 * width,
        "n_heads": heads,
        "rotary_dim": values["rotary_dim"] if older else int(factor * (width // heads)),
        "max_seq_len": values["max_position_embeddings"],
        "attention_dropout": values.get("attention_dropout") or 0.0,
        "residual_dropout": values.get("resid_pdrop") or 0.0,
        "rope_theta": values.get("rope_theta", 10_000.0),
        "layer_norm_eps": values.get("layer_norm_eps", 1e-5),
        "init_std": values.get("initializer_range", 0.02),
    }


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
