"""A language model behind an OpenAI-compatible endpoint: cached, budgeted, resumable.

`LanguageModel` is all there is to use; teachers, annotators and LLM judges share it.
"""

from phi1_jax.llm_client.client import LanguageModel, UnusableReplies
from phi1_jax.llm_client.records import ChatReply, ChatRequest, LanguageModelConfig, Usage

__all__ = [
    "ChatReply",
    "ChatRequest",
    "LanguageModel",
    "LanguageModelConfig",
    "UnusableReplies",
    "Usage",
]
