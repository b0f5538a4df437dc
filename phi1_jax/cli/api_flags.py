"""The flags that every launch script with a language model shares; import it to define them."""

from pathlib import Path

from absl import flags

from phi1_jax.llm_client.client import LanguageModel
from phi1_jax.llm_client.records import LanguageModelConfig

MODEL = flags.DEFINE_string("model", None, "The endpoint's name of the language model.")
BASE_URL = flags.DEFINE_string(
    "base_url", LanguageModelConfig.base_url, "Any OpenAI-compatible endpoint."
)
API_KEY_ENV = flags.DEFINE_string(
    "api_key_env",
    LanguageModelConfig.api_key_env,
    "Environment variable with the key; empty for an endpoint without keys.",
)
INPUT_PRICE = flags.DEFINE_float("usd_per_million_input", 0.0, "Price of input tokens.", 0.0)
OUTPUT_PRICE = flags.DEFINE_float("usd_per_million_output", 0.0, "Price of output tokens.", 0.0)
BUDGET = flags.DEFINE_float("budget_usd", None, "Hard stop for all runs on one reply cache.", 0.0)
CONCURRENCY = flags.DEFINE_integer(
    "concurrency", LanguageModelConfig.concurrency, "Requests in flight at once.", 1
)
TIMEOUT = flags.DEFINE_float(
    "request_timeout_s", LanguageModelConfig.timeout_s, "For one try of a request."
)
MAX_RETRIES = flags.DEFINE_integer(
    "max_retries", LanguageModelConfig.max_retries, "Tries of a request after the first.", 0
)
MAX_TOKENS_PARAMETER = flags.DEFINE_enum(
    "max_tokens_parameter",
    LanguageModelConfig.max_tokens_parameter,
    ["max_tokens", "max_completion_tokens"],
    "What the endpoint calls the limit on a reply.",
)
SEND_SEED = flags.DEFINE_bool("send_seed", True, "Whether requests carry their seed.")
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
    settings = LanguageModelConfig(
        model=MODEL.value or "",
        base_url=BASE_URL.value,
        api_key_env=API_KEY_ENV.value,
        usd_per_million_input=INPUT_PRICE.value,
        usd_per_million_output=OUTPUT_PRICE.value,
        budget_usd=BUDGET.value,
        concurrency=CONCURRENCY.value,
        timeout_s=TIMEOUT.value,
        max_retries=MAX_RETRIES.value,
        max_tokens_parameter=MAX_TOKENS_PARAMETER.value,
        send_seed=SEND_SEED.value,
    )
    cache = Path(REPLY_CACHE.value or output.with_name(output.name + ".replies.sqlite"))
    if DRY_RUN.value and not cache.exists():
        cache = Path(":memory:")  # a dry run leaves nothing behind
    return LanguageModel(settings, cache)
