"""The flags that every launch script with a language model shares; import it to define them."""

from pathlib import Path

from absl import flags

from phi1_jax.cli.dataclass_flags import DataclassFlags
from phi1_jax.llm_client.client import LanguageModel
from phi1_jax.llm_client.records import LanguageModelConfig

ENDPOINT = DataclassFlags(LanguageModelConfig, names={"timeout_s": "request_timeout_s"})
MODEL = ENDPOINT.holders["model"]
REPLY_CACHE = flags.DEFINE_string(
    "reply_cache", None, "SQLite file of replies (default: OUTPUT.replies.sqlite)."
)
DRY_RUN = flags.DEFINE_bool("dry_run", False, "Print requests, tokens and cost; send nothing.")


def open_language_model(output: Path) -> LanguageModel:
    """The language model that the flags describe; its cache lies beside the output folder.

    Beside and not inside: a stage whose inputs change empties its folder, and replies are paid for.

    Raises:
      UserError: a flag out of range, or a cache that cannot be opened.
    """
    cache = Path(REPLY_CACHE.value or output.with_name(output.name + ".replies.sqlite"))
    if DRY_RUN.value and not cache.exists():
        cache = Path(":memory:")  # a dry run leaves nothing behind
    return LanguageModel(ENDPOINT.build(), cache)
