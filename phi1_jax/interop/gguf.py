"""GGUF files for llama.cpp and what is built on it, such as Ollama: architecture `phi2`."""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from absl import logging

from phi1_jax.config import ModelConfig
from phi1_jax.errors import UserError
from phi1_jax.interop.huggingface import places, take
from phi1_jax.model.phi import count_params
from phi1_jax.run import folder as run_folder
from phi1_jax.run.checkpoint import load_params
from phi1_jax.tokens.byte_pair import BytePairTokenizer
from phi1_jax.tokens.load import load_byte_pair
from phi1_jax.tokens.tokenizer import check_vocabulary

GgufType = Literal["f32", "f16", "q8_0"]

_MODULES = {
    "token_embd": "embed",
    "blk.#.attn_norm": "blocks/norm",
    "blk.#.attn_q": "blocks/q",
    "blk.#.attn_k": "blocks/k",
    "blk.#.attn_v": "blocks/v",
    "blk.#.attn_output": "blocks/out",
    "blk.#.ffn_up": "blocks/fc1",
    "blk.#.ffn_down": "blocks/fc2",
    "output_norm": "final_norm",
    "output": "head",
}
_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}


def export_gguf(
    run_dir: Path,
    path: Path,
    step: int | None = None,
    tokenizer_dir: Path | None = None,
    kind: GgufType = "f16",
) -> int:
    """Writes a run's weights and tokenizer into one file.

    Args:
      step: the newest by default.
      tokenizer_dir: the run's own by default.
      kind: see `write_gguf`.
    Returns:
      The number of parameters.
    Raises:
      UserError: no such checkpoint, a tokenizer with more pieces than the model; see `write_gguf`.
    """
    config = run_folder.read_model_config(run_dir)
    tokenizer = load_byte_pair(tokenizer_dir or run_dir)
    check_vocabulary(tokenizer, config.vocab_size)
    write_gguf(path, config, load_params(run_dir, step), tokenizer, kind)
    return count_params(config)


def write_gguf(
    path: Path,
    config: ModelConfig,
    params: Mapping[str, Any],
    tokenizer: BytePairTokenizer,
    kind: GgufType = "f16",
) -> None:
    """Writes model and tokenizer into one file; memory holds a tensor beside the parameters.

    Args:
      params: nested dict as in a checkpoint.
      tokenizer: as Hugging Face's library has it (`load_byte_pair` gives one).
      kind: of the matrices; vectors are float32. q8_0 needs rows of a multiple of 32, so a matrix
        that has others is float16.
    Raises:
      UserError: the library is not installed, or llama.cpp lacks the tokenizer's rules.
    """
    try:
        import gguf
    except ImportError as error:
        raise UserError("GGUF files need: pip install 'phi1_jax[gguf]'") from error
    types = gguf.GGMLQuantizationType
    writer = gguf.GGUFWriter(path, "phi2")
    writer.add_name(path.stem)
    share = "ALL" if kind == "f32" else "MOSTLY"
    writer.add_file_type(gguf.LlamaFileType[f"{share}_{kind.upper()}"])
    writer.add_context_length(config.max_seq_len)
    writer.add_embedding_length(config.d_model)
    writer.add_feed_forward_length(config.d_mlp)
    writer.add_block_count(config.n_layers)
    writer.add_head_count(config.n_heads)
    writer.add_head_count_kv(config.n_heads)
    writer.add_layer_norm_eps(config.layer_norm_eps)
    writer.add_rope_dimension_count(config.rotary_dim)
    writer.add_rope_freq_base(config.rope_theta)
    _add_tokenizer(writer, config, tokenizer)

    tensors = []
    for name, place in places(config, _MODULES):
        stored = types.F32
        if kind != "f32" and len(place.shape) > 1:
            stored = types.Q8_0 if kind == "q8_0" and place.shape[-1] % 32 == 0 else types.F16
        tensors.append((name, place, stored))
        block, block_bytes = gguf.GGML_QUANT_SIZES[stored]
        n_bytes = math.prod(place.shape) // block * block_bytes
        writer.add_tensor_info(name, place.shape, np.dtype(np.float32), n_bytes, stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    unused = sorted(set(range(config.vocab_size)) - set(tokenizer.ids.values()))
    for name, place, stored in tensors:
        values = np.array(take(params, place), np.float32, order="C")
        if stored == types.F16 and np.abs(values).max() > np.finfo(np.float16).max:
            raise UserError(f"{place.paths[0]} has values beyond float16; write --type=f32")
        if name == "output.bias":
            # Rows of the embedding without a token, as the released phi-1 has: never chosen here.
            values[unused] = -1e9
        writer.write_tensor_data(gguf.quantize(values, stored))
    writer.close()


def _add_tokenizer(writer: Any, config: ModelConfig, tokenizer: BytePairTokenizer) -> None:
    from gguf import TokenType

    values = json.loads(tokenizer.tokenizer_json)
    decoder, rules = values.get("decoder"), values.get("pre_tokenizer") or {}
    byte_level = bool(decoder) and decoder["type"] == "ByteLevel"
    is_known = decoder and byte_level == (_BYTE_LEVEL.items() <= rules.items())
    if not is_known or values.get("normalizer"):
        raise UserError(
            "the tokenizer has a pre_tokenizer or normalizer that is not written to GGUF, or no"
            " decoder; only GPT-2's rules (as CodeGen has them) and the tokenizers that are trained"
            " here are"
        )
    tokens = [f"[UNUSED{i}]" for i in range(config.vocab_size)]
    kinds = [TokenType.UNUSED] * len(tokens)
    for token, index in tokenizer.ids.items():
        tokens[index] = token if byte_level else token.replace(" ", "\u2581")
        is_byte = not byte_level and re.fullmatch("<0x[0-9A-F]{2}>", token)
        kinds[index] = TokenType.BYTE if is_byte else TokenType.NORMAL
    for added in values.get("added_tokens", []):
        kinds[added["id"]] = TokenType.CONTROL if added["special"] else TokenType.USER_DEFINED
    writer.add_tokenizer_model("gpt2" if byte_level else "llama")
    writer.add_tokenizer_pre("gpt-2" if byte_level else "default")
    writer.add_token_list(tokens)
    if byte_level:
        merges = values["model"]["merges"]
        writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges])
    else:
        unknown = tokenizer.ids[values["model"]["unk_token"]]
        kinds[unknown] = TokenType.UNKNOWN
        writer.add_unk_token_id(unknown)
        # Neighbours are joined into the piece of the highest score: here that of the lowest id.
        writer.add_token_scores([-float(i) for i in range(len(tokens))])
        writer.add_add_space_prefix(False)
        writer.add_remove_extra_whitespaces(False)
    writer.add_token_types(kinds)
    writer.add_bos_token_id(tokenizer.eot_id)
    writer.add_pad_token_id(tokenizer.eot_id)
    stops = sorted(tokenizer.stop_ids, key=lambda i: (i == tokenizer.eot_id, i))
    add_stops = (writer.add_eos_token_id, writer.add_eot_token_id, writer.add_eom_token_id)
    for add, index in zip(add_stops, stops, strict=False):
        add(index)
    if len(stops) > 3:
        logging.warning("GGUF has room for three tokens that end a text, so %s do not", stops[3:])
    writer.add_add_bos_token(False)
    their_config = tokenizer.files.get("tokenizer_config.json", {})
    if template := tokenizer.files.get("chat_template.jinja") or their_config.get("chat_template"):
        writer.add_chat_template(template)
