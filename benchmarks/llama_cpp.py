"""llama.cpp, its server as the wheel xllamacpp has it: what decoding on a CPU is compared with."""

import importlib.util
import json
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from phi1_jax.config import ModelConfig
from phi1_jax.interop.gguf import write_gguf
from phi1_jax.tokens.huggingface import WHITE_SPACE, codegen

NAME = "llama.cpp, f32"


class LlamaCpp:
    """llama.cpp's server on a file, asked over HTTP; it ends with this object.

    Args:
      rows: requests that it decodes together.
      context: tokens of a prompt and its completion.
    """

    def __init__(self, path: Path, rows: int = 1, context: int = 128, threads: int = 1) -> None:
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path, params.n_parallel = str(path), rows
        params.n_ctx = rows * (context + 1)  # it stops where one token more would not fit
        params.port, params.warmup, params.verbosity = 0, False, -1
        params.n_threads_http = rows + 1
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        # As exact as ours, so that the tokens can be compared.
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self._server = xllamacpp.Server(params)

    def ask(self, path: str, **values: Any) -> Any:
        """The server's reply to a POST of `values`."""
        request = urllib.request.Request(
            f"{self._server.listening_address}/{path}",
            json.dumps(values).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=600) as reply:
            return json.loads(reply.read())

    def generate(self, ids: Sequence[int], n_tokens: int, n_probs: int = 0, **values: Any) -> Any:
        """Greedily; the reply has `tokens` and, with `n_probs`, `completion_probabilities`."""
        greedy = {"temperature": 0.0, "top_k": 1, "cache_prompt": False, "return_tokens": True}
        values = {**greedy, "n_predict": n_tokens, "n_probs": n_probs, **values}
        return self.ask("completion", prompt=list(ids), **values)

    def generate_together(self, prompts: Sequence[Sequence[int]], n_tokens: int) -> np.ndarray:
        """int[b, n_tokens], all requests at once; no token ends a text."""
        with ThreadPoolExecutor(len(prompts)) as pool:
            found = pool.map(lambda ids: self.generate(ids, n_tokens, ignore_eos=True), prompts)
            return np.array([reply["tokens"] for reply in found])


def is_installed() -> bool:
    """Whether there is llama.cpp to compare with."""
    return all(importlib.util.find_spec(name) for name in ("gguf", "xllamacpp"))


def write_model(path: Path, config: ModelConfig, params: Any) -> None:
    """A GGUF file in float32, every id of which is a token that does not end a text.

    The token that does, and CodeGen's white space, come after them and are never the likeliest.
    """
    from tokenizers import pre_tokenizers

    n, more = config.vocab_size, 1 + len(WHITE_SPACE)
    # llama.cpp wants at least one merge.
    pieces = [*pre_tokenizers.ByteLevel.alphabet(), "ab"]
    pieces += [f"unused{i}" for i in range(len(pieces), n)]
    tokenizer = codegen({piece: i for i, piece in enumerate(pieces)}, [("a", "b")])
    head, table = params["head"], np.asarray(params["embed"]["table"])
    longer = {
        **params,
        "embed": {"table": np.pad(table, ((0, more), (0, 0)))},
        "head": {
            "kernel": np.pad(np.asarray(head["kernel"]), ((0, 0), (0, more))),
            "bias": np.pad(np.asarray(head["bias"]), (0, more), constant_values=-1e9),
        },
    }
    write_gguf(path, replace(config, vocab_size=n + more), longer, tokenizer, "f32")
