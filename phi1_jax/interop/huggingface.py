"""Weights and config of `PhiForCausalLM` folders, to and from this project's checkpoints.

Nothing but the folder's files is needed: neither torch nor transformers. Memory holds the model
once in float32 and a tensor beside it.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from flax import nnx
from flax.traverse_util import unflatten_dict

from phi1_jax.config import ModelConfig
from phi1_jax.errors import UserError
from phi1_jax.files import write_json
from phi1_jax.interop.config_json import config_values, read_config
from phi1_jax.interop.safetensors import DTYPES, Stored, find_tensors, write_tensors
from phi1_jax.model.phi import Phi, count_params
from phi1_jax.run import checkpoint
from phi1_jax.run import folder as run_folder
from phi1_jax.tokens.huggingface import read_tokenizer, special_ids, write_tokenizer
from phi1_jax.tokens.load import load_byte_pair
from phi1_jax.tokens.tokenizer import check_vocabulary

# Tensor -> parameters. PyTorch has its matrices (out, in): a kernel is the transpose. "#" is the
# layer, whose parameters are stacked here.
_BLOCK = {
    "input_layernorm.weight": ("norm/scale",),
    "input_layernorm.bias": ("norm/bias",),
    **{
        f"{theirs}.{kind}": (f"{ours}/{'kernel' if kind == 'weight' else 'bias'}",)
        for theirs, ours in {
            "self_attn.q_proj": "q",
            "self_attn.k_proj": "k",
            "self_attn.v_proj": "v",
            "self_attn.dense": "out",
            "mlp.fc1": "fc1",
            "mlp.fc2": "fc2",
        }.items()
        for kind in ("weight", "bias")
    },
}
_CURRENT = {
    "model.embed_tokens.weight": ("embed/table",),
    **{f"model.layers.#.{k}": tuple(f"blocks/{p}" for p in v) for k, v in _BLOCK.items()},
    "model.final_layernorm.weight": ("final_norm/scale",),
    "model.final_layernorm.bias": ("final_norm/bias",),
    "lm_head.weight": ("head/kernel",),
    "lm_head.bias": ("head/bias",),
}
# The first releases: one tensor for queries, keys and values, in this order.
_OLDER = {
    "transformer.embd.wte.weight": ("embed/table",),
    "transformer.h.#.ln.weight": ("blocks/norm/scale",),
    "transformer.h.#.ln.bias": ("blocks/norm/bias",),
    "transformer.h.#.mixer.Wqkv.weight": tuple(f"blocks/{x}/kernel" for x in "qkv"),
    "transformer.h.#.mixer.Wqkv.bias": tuple(f"blocks/{x}/bias" for x in "qkv"),
    "transformer.h.#.mixer.out_proj.weight": ("blocks/out/kernel",),
    "transformer.h.#.mixer.out_proj.bias": ("blocks/out/bias",),
    **{
        f"transformer.h.#.mlp.{fc}.{kind}": (f"blocks/{fc}/{ours}",)
        for fc in ("fc1", "fc2")
        for kind, ours in (("weight", "kernel"), ("bias", "bias"))
    },
    "lm_head.ln.weight": ("final_norm/scale",),
    "lm_head.ln.bias": ("final_norm/bias",),
    "lm_head.linear.weight": ("head/kernel",),
    "lm_head.linear.bias": ("head/bias",),
}
# Tables that follow from the config, which some releases stored too.
_DERIVED = re.compile(r"\.rotary_emb\.(inv_freq|cos_cached|sin_cached)$")
_NAMES_SHOWN = 12


class Place(NamedTuple):
    """The parameters that a tensor holds, below each other on its first axis."""

    paths: tuple[str, ...]
    layer: int | None
    shape: tuple[int, ...]  # of the tensor


def read_folder(folder: Path) -> tuple[ModelConfig, dict[str, Any]]:
    """Config and float32 parameters of a Hugging Face folder.

    Raises:
      UserError: another architecture; or unknown, missing or misshapen tensors, or values that are
        not finite, all in one message.
    """
    config = read_config(folder)
    tensors = {k: v for k, v in find_tensors(folder).items() if not _DERIVED.search(k)}
    # The layout that more of the names are of: the problems are then told in its names.
    layouts = [dict(places(config, table)) for table in (_CURRENT, _OLDER)]
    found = max(layouts, key=lambda layout: len(layout.keys() & tensors.keys()))
    _check(folder, tensors, found)
    shapes = _param_shapes(config)
    params = {path: np.empty(shape, np.float32) for path, shape in shapes.items()}
    not_finite = []
    for name, place in found.items():
        values = np.split(tensors[name].read(), len(place.paths))
        for path, part in zip(place.paths, values, strict=True):
            target = params[path] if place.layer is None else params[path][place.layer]
            target[...] = part.T if path.endswith("kernel") else part
            # Both are NaN if any value is; faster than isfinite, and without its array.
            if target.size and not np.isfinite([target.min(), target.max()]).all():
                not_finite.append(name)
    if not_finite:
        raise UserError(
            f"{folder} has values that are not finite (NaN or inf) in {_list(not_finite)}"
        )
    return config, unflatten_dict(params, sep="/")


def stored_dtype(folder: Path) -> str:
    """The type that all weights of a folder have; float32, which holds any, if they differ."""
    found = {t.dtype.name for k, t in find_tensors(folder).items() if not _DERIVED.search(k)}
    return found.pop() if len(found) == 1 else "float32"


def write_folder(
    folder: Path,
    config: ModelConfig,
    params: Mapping[str, Any],
    special_ids: Mapping[str, Any],
    dtype: str = "float32",
    max_file_bytes: int = 5_000_000_000,
) -> None:
    """Writes config.json and the weights for `AutoModelForCausalLM`.

    Args:
      params: nested dict as in a checkpoint.
      special_ids: `eos_token_id` and the like, for config.json.
      dtype: float32, float16 or bfloat16, of the stored weights.
      max_file_bytes: of one file; more go into several with an index.
    Raises:
      UserError: weights beyond the range of float16.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stored = {d.name: d for d in DTYPES.values()}[dtype]

    found = dict(places(config, _CURRENT))

    def make(name: str) -> np.ndarray:
        with np.errstate(over="ignore"):
            cast = take(params, found[name]).astype(stored)
        if not np.isfinite(cast).all():
            path = found[name].paths[0]
            raise UserError(f"{path} has values beyond {dtype}; write --dtype=bfloat16")
        return cast

    sizes = {name: stored.itemsize * math.prod(place.shape) for name, place in found.items()}
    write_tensors(folder, sizes, make, max_file_bytes)
    write_json(folder / "config.json", {**config_values(config), **special_ids, "dtype": dtype})


def import_run(folder: Path, run_dir: Path, tokenizer_dir: Path | None = None) -> int:
    """Makes a new run's folder of a Hugging Face folder; `export_run` is the way back.

    Args:
      tokenizer_dir: where the tokenizer's files are, if not in `folder`.
    Returns:
      The number of parameters.
    Raises:
      UserError: see `read_config`, `read_tokenizer`, `check_vocabulary` and `read_folder`.
    """
    config = read_config(folder)
    tokenizer = read_tokenizer(tokenizer_dir or folder, folder)
    check_vocabulary(tokenizer, config.vocab_size)
    config, params = read_folder(folder)
    tokenizer.save(run_dir / run_folder.TOKENIZER)
    checkpoint.write_model(run_dir, config, params, None, stored_dtype(folder))
    return count_params(config)


def export_run(
    run_dir: Path,
    folder: Path,
    step: int | None = None,
    tokenizer_dir: Path | None = None,
    dtype: str | None = None,
    max_file_bytes: int = 2_000_000_000,
) -> int:
    """Writes a run's weights and tokenizer for `AutoModelForCausalLM` and `AutoTokenizer`.

    Args:
      step: the newest by default.
      tokenizer_dir: the run's own by default.
      dtype: of the stored weights; by default what they were converted from, else float32.
    Returns:
      The number of parameters.
    Raises:
      UserError: no such checkpoint, or a tokenizer with more pieces than the model.
    """
    config = run_folder.read_model_config(run_dir)
    tokenizer = load_byte_pair(tokenizer_dir or run_dir)
    check_vocabulary(tokenizer, config.vocab_size)
    write_tokenizer(tokenizer, folder, config.max_seq_len)
    params = checkpoint.load_params(run_dir, step)
    dtype = dtype or run_folder.read_config(run_dir).get("source_dtype", "float32")
    write_folder(folder, config, params, special_ids(tokenizer), dtype, max_file_bytes)
    return count_params(config)


def take(params: Mapping[str, Any], place: Place) -> np.ndarray:
    """The tensor of the first parameter of a place, the other way round for a kernel."""
    leaf: Any = params
    for key in place.paths[0].split("/"):
        leaf = leaf[key]
    values = np.asarray(leaf if place.layer is None else leaf[place.layer])
    return values.T if place.paths[0].endswith("kernel") else values


def places(
    config: ModelConfig, table: Mapping[str, tuple[str, ...]]
) -> Iterator[tuple[str, Place]]:
    """The name and the place of every tensor of a model, in a table's names."""
    shapes = _param_shapes(config)
    for name, paths in table.items():
        for layer in range(config.n_layers) if "#" in name else [None]:
            shape = shapes[paths[0]][0 if layer is None else 1 :]
            if paths[0].endswith("kernel"):
                shape = shape[::-1]
            shape = (shape[0] * len(paths), *shape[1:])
            yield name.replace("#", str(layer)), Place(paths, layer, shape)


def _check(folder: Path, found: Mapping[str, Stored], expected: Mapping[str, Place]) -> None:
    problems = {
        "missing": sorted(expected.keys() - found.keys()),
        "unknown": sorted(found.keys() - expected.keys()),
        "of another shape": [
            f"{name} {found[name].shape} instead of {place.shape}"
            for name, place in expected.items()
            if name in found and found[name].shape != place.shape
        ],
    }
    parts = []
    for kind, names in problems.items():
        if names:
            parts.append(f"{len(names)} {kind}: {_list(names)}")
    if parts:
        raise UserError(f"{folder}: its tensors do not fit its config.json: {'; '.join(parts)}")


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more


def _param_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    flat = nnx.to_flat_state(Phi.skeleton(config)[1])
    return {"/".join(map(str, path)): leaf.shape for path, leaf in flat}
