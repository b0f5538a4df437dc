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

# A module of theirs -> ours, or several below each other. "#" is the layer, whose parameters are
# stacked here.
_CURRENT = {
    "model.embed_tokens": "embed",
    "model.layers.#.input_layernorm": "blocks/norm",
    "model.layers.#.self_attn.q_proj": "blocks/q",
    "model.layers.#.self_attn.k_proj": "blocks/k",
    "model.layers.#.self_attn.v_proj": "blocks/v",
    "model.layers.#.self_attn.dense": "blocks/out",
    "model.layers.#.mlp.fc1": "blocks/fc1",
    "model.layers.#.mlp.fc2": "blocks/fc2",
    "model.final_layernorm": "final_norm",
    "lm_head": "head",
}
_OLDER = {  # of the first releases
    "transformer.embd.wte": "embed",
    "transformer.h.#.ln": "blocks/norm",
    "transformer.h.#.mixer.Wqkv": "blocks/q blocks/k blocks/v",
    "transformer.h.#.mixer.out_proj": "blocks/out",
    "transformer.h.#.mlp.fc1": "blocks/fc1",
    "transformer.h.#.mlp.fc2": "blocks/fc2",
    "lm_head.ln": "final_norm",
    "lm_head.linear": "head",
}
# What our modules hold -> what theirs call it. PyTorch has its matrices (out, in): a kernel is the
# transpose.
_KINDS = {"table": "weight", "scale": "weight", "kernel": "weight", "bias": "bias"}
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


def places(config: ModelConfig, modules: Mapping[str, str]) -> Iterator[tuple[str, Place]]:
    """The name and the place of every tensor of a model, in the names of a table of modules."""
    shapes = _param_shapes(config)
    for theirs, ours in modules.items():
        for leaf, kind in _KINDS.items():
            paths = tuple(f"{module}/{leaf}" for module in ours.split())
            if paths[0] not in shapes:
                continue
            for layer in range(config.n_layers) if "#" in theirs else [None]:
                shape = shapes[paths[0]][0 if layer is None else 1 :]
                if leaf == "kernel":
                    shape = shape[::-1]
                shape = (shape[0] * len(paths), *shape[1:])
                yield f"{theirs}.{kind}".replace("#", str(layer)), Place(paths, layer, shape)


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
    parts = [f"{len(names)} {kind}: {_list(names)}" for kind, names in problems.items() if names]
    if parts:
        raise UserError(f"{folder}: its tensors do not fit its config.json: {'; '.join(parts)}")


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more


def _param_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    flat = nnx.to_flat_state(Phi.skeleton(config)[1])
    return {"/".join(map(str, path)): leaf.shape for path, leaf in flat}
