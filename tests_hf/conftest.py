"""Tests against torch and transformers, which have an environment of their own: `make test-hf`."""

import json
from pathlib import Path

import pytest
import torch
from transformers import PhiConfig, PhiForCausalLM

SHAPES = {
    "small": {},
    "wide head": {"hidden_size": 96, "num_attention_heads": 2, "partial_rotary_factor": 0.25},
    "all rotary": {"partial_rotary_factor": 1.0, "num_hidden_layers": 3, "rope_theta": 500.0},
    "phi-1's head": {"hidden_size": 128, "num_attention_heads": 2, "intermediate_size": 512},
}


def random_model(vocab_size: int = 300, seed: int = 0, **changes) -> PhiForCausalLM:
    """Every parameter random, biases and norms too: zeros and ones would hide mistakes."""
    rope_theta = changes.pop("rope_theta", 10_000.0)
    rotary = changes.pop("partial_rotary_factor", 0.5)
    values = {
        "vocab_size": vocab_size,
        "hidden_size": 64,
        "intermediate_size": 160,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 128,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": rope_theta,
            "partial_rotary_factor": rotary,
        },
        **changes,
    }
    model = PhiForCausalLM(PhiConfig(**values)).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(0, 0.1, generator=generator)
            if "norm" in name and name.endswith("weight"):
                parameter.add_(1)
    return model


@pytest.fixture(params=SHAPES.values(), ids=SHAPES.keys(), scope="module")
def model(request) -> PhiForCausalLM:
    return random_model(**request.param)


def save_older(model: PhiForCausalLM, folder: Path) -> None:
    """The layout of the first releases, with one tensor for queries, keys and values."""
    from safetensors.torch import save_file

    theirs = model.state_dict()
    older = {
        "transformer.embd.wte.weight": theirs["model.embed_tokens.weight"],
        "lm_head.ln.weight": theirs["model.final_layernorm.weight"],
        "lm_head.ln.bias": theirs["model.final_layernorm.bias"],
        "lm_head.linear.weight": theirs["lm_head.weight"],
        "lm_head.linear.bias": theirs["lm_head.bias"],
    }
    config = model.config
    for layer in range(config.num_hidden_layers):
        old, new = f"transformer.h.{layer}", f"model.layers.{layer}"
        for kind in ("weight", "bias"):
            parts = [theirs[f"{new}.self_attn.{x}_proj.{kind}"] for x in "qkv"]
            older[f"{old}.mixer.Wqkv.{kind}"] = torch.cat(parts)
            older[f"{old}.mixer.out_proj.{kind}"] = theirs[f"{new}.self_attn.dense.{kind}"]
            older[f"{old}.ln.{kind}"] = theirs[f"{new}.input_layernorm.{kind}"]
            for fc in ("fc1", "fc2"):
                older[f"{old}.mlp.{fc}.{kind}"] = theirs[f"{new}.mlp.{fc}.{kind}"]
        older[f"{old}.mixer.rotary_emb.inv_freq"] = torch.zeros(4)
    folder.mkdir()
    save_file({k: v.contiguous() for k, v in older.items()}, folder / "model.safetensors")
    values = {
        "model_type": "phi-msft",
        "vocab_size": config.vocab_size,
        "n_layer": config.num_hidden_layers,
        "n_embd": config.hidden_size,
        "n_inner": config.intermediate_size,
        "n_head": config.num_attention_heads,
        "n_head_kv": None,
        "rotary_dim": int(
            config.rope_parameters["partial_rotary_factor"]
            * config.hidden_size
            // config.num_attention_heads
        ),
        "n_positions": config.max_position_embeddings,
        "layer_norm_epsilon": config.layer_norm_eps,
        "resid_pdrop": 0.0,
    }
    (folder / "config.json").write_text(json.dumps(values))
