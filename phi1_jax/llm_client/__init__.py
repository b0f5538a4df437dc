"""A language model behind an OpenAI-compatible endpoint: cached, budgeted, resumable.

`LanguageModel` is all there is to use; teachers, annotators and graders share it.
"""

from phi1_jax.llm_client.client import LanguageModel
from phi1_jax.llm_client.records import Estimate, LanguageModelConfig, Reply, Request, Usage

__all__ = ["Estimate", "LanguageModel", "LanguageModelConfig", "Reply", "Request", "Usage"]
