"""phi-1 ("Textbooks Are All You Need", arXiv 2306.11644) in JAX, from raw code to pass@1.

The names below are the Python API (docs/python_api.md). Each is imported when it is first used, so
that `import phi1_jax` starts neither JAX nor the sandbox.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from phi1_jax.config import RunConfig as RunConfig
    from phi1_jax.config_dict import load_config as load_config
    from phi1_jax.corpus.documents import Document as Document
    from phi1_jax.corpus.documents import read_documents as read_documents
    from phi1_jax.errors import UserError as UserError
    from phi1_jax.evaluate.benchmarks import read_benchmark as read_benchmark
    from phi1_jax.evaluate.bits_per_byte import solution_bits as solution_bits
    from phi1_jax.evaluate.executor import TestExecutor as TestExecutor
    from phi1_jax.evaluate.samples import SamplingPlan as SamplingPlan
    from phi1_jax.evaluate.scoring import evaluate_model as evaluate_model
    from phi1_jax.generate.generator import Generator as Generator
    from phi1_jax.generate.score import token_logprobs as token_logprobs
    from phi1_jax.interop.opened import load_model as load_model
    from phi1_jax.quality.embedder import Embedder as Embedder
    from phi1_jax.sandbox import open_sandbox as open_sandbox
    from phi1_jax.tokens.load import load_tokenizer as load_tokenizer
    from phi1_jax.tokens.sentencepiece_bpe import train_tokenizer as train_tokenizer
    from phi1_jax.tokens.shards import write_shards as write_shards
    from phi1_jax.train.loop import train as train_model  # noqa: F401

__version__ = "0.1.0"

_MODULES = {
    "RunConfig": "config",
    "load_config": "config_dict",
    "Document": "corpus.documents",
    "read_documents": "corpus.documents",
    "UserError": "errors",
    "read_benchmark": "evaluate.benchmarks",
    "solution_bits": "evaluate.bits_per_byte",
    "TestExecutor": "evaluate.executor",
    "SamplingPlan": "evaluate.samples",
    "evaluate_model": "evaluate.scoring",
    "Generator": "generate.generator",
    "token_logprobs": "generate.score",
    "load_model": "interop.opened",
    "Embedder": "quality.embedder",
    "open_sandbox": "sandbox",
    "load_tokenizer": "tokens.load",
    "train_tokenizer": "tokens.sentencepiece_bpe",
    "write_shards": "tokens.shards",
    "train_model": "train.loop:train",  # phi1_jax.train is a package
}
__all__ = ["__version__", *_MODULES]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, own_name = _MODULES[name].partition(":")
    return getattr(importlib.import_module(f"{__name__}.{module}"), own_name or name)


def __dir__() -> list[str]:
    return __all__
