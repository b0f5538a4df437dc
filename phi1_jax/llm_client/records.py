"""What is asked, what comes back, and what it costs."""

import hashlib
import json
import math
import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any, Literal
from urllib.parse import urlsplit

from phi1_jax.bounds import bounded, check_bounds
from phi1_jax.errors import UserError

# Roles and separators that the endpoint adds to a message; generous on purpose.
_TOKENS_PER_MESSAGE = 16


@dataclass(frozen=True)
class ChatRequest:
    """One chat completion.

    Attributes:
      messages: ({"role": ..., "content": ...}, ...).
      temperature: None leaves the choice to the endpoint.
      max_tokens: the longest reply; it also bounds what the request can cost.
      seed: tells apart requests that agree in all else; sent along when it is given.
    """

    messages: tuple[dict[str, str], ...]
    temperature: float | None = 0.0
    max_tokens: int = 1024
    seed: int | None = None

    @classmethod
    def of(cls, system: str, user: str, **parameters: Any) -> "ChatRequest":
        """The usual two messages; `parameters` are the other fields.

        Half surrogates in them, which cannot be sent, become escapes.
        """
        system, user = (t.encode("utf-8", "backslashreplace").decode() for t in (system, user))
        messages = ({"role": "system", "content": system}, {"role": "user", "content": user})
        return cls(messages, **parameters)

    def key(self, model: str) -> str:
        """Identity in the cache: SHA-256 of the model, the messages and every parameter."""
        fields = json.dumps([model, vars(self)], sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(fields.encode()).hexdigest()

    def __hash__(self) -> int:
        return hash(self.key(""))

    @property
    def max_input_tokens(self) -> int:
        """Never fewer than a byte-level tokenizer makes: no piece is shorter than a byte."""
        return sum(len(m["content"].encode()) + _TOKENS_PER_MESSAGE for m in self.messages)


@dataclass(frozen=True)
class Usage:
    """Tokens that the endpoint counted."""

    input_tokens: int
    output_tokens: int


# What is wrong with a reply, by the endpoint's word for its end: small letters and digits alone.
_PROBLEMS = {
    "": {
        "stop", "stopped", "eos", "eostoken", "eostokenid", "endturn", "stopsequence", "complete",
        "completed", "end", "ended", "done", "finish", "finished", "normal", "success", "s", "eot",
        "eotid", "imend", "eosfound", "endoftext", "endofsequence", "endofturn", "endofmessage",
        "stoptoken", "stopstr", "stopstring", "stopword", "stopid", "naturalstop", "null", "none",
    },
    "truncated": {
        "length", "maxtokens", "maxoutputtokens", "maxcompletiontokens", "maxnewtokens",
        "maxlength", "maxcontextlength", "maxseqlen", "modellength", "tokenlimit", "truncated",
        "contextlength", "contextlengthexceeded", "modelcontextwindowexceeded",
    },
    "refused": {
        "contentfilter", "contentfiltered", "refusal", "refused", "safety", "recitation", "blocked",
        "blocklist", "prohibitedcontent", "spii", "guardrailintervened",
    },
    "error": {
        "error", "servererror", "internalerror", "engineerror", "insufficientsystemresource",
        "overloaded", "timeout", "timedout", "abort", "aborted", "cancelled", "canceled", "failed",
    },
}  # fmt: skip


def problem_of(finish_reason: str) -> str:
    """A key of `_PROBLEMS`, which is "" for a whole reply; of an unknown word the word itself."""
    word = re.sub(r"[\W_]+", "", finish_reason.lower()).removeprefix("finishreason")
    return next((problem for problem, words in _PROBLEMS.items() if word in words), finish_reason)


@dataclass(frozen=True)
class ChatReply:
    """What came back.

    Attributes:
      text: the model's words, or what went wrong where there are none.
      finish_reason: in the endpoint's own word, of which `problem_of` knows the usual ones; or
        "error" (no completion after all tries; it is asked again in the next run), "refusal", or
        "not_utf8" (half a surrogate pair in the text).
      usage: tokens; zeros for errors.
      base_url: the endpoint that gave it; "" for errors.
    """

    text: str
    finish_reason: str
    usage: Usage = Usage(0, 0)
    base_url: str = ""

    @property
    def problem(self) -> str:
        """Why the text must be set aside, a short key to count by; "" if it may be used."""
        return problem_of(self.finish_reason) or ("" if self.text.strip() else "empty")

    @property
    def failed(self) -> bool:
        """Whether this is a failure of the endpoint and not a model's reply; it is never cached."""
        nothing = not self.text.strip() and not self.usage.output_tokens
        return self.problem == "error" or (nothing and self.problem != "refused")


@dataclass(frozen=True)
class LanguageModelConfig:
    """The endpoint and the limits on its use.

    Attributes:
      model: the endpoint's name for it.
      base_url: any OpenAI-compatible endpoint, e.g. http://localhost:8000/v1.
      api_key_env: the environment variable that holds the key; "" for an endpoint without keys.
      usd_per_million_input, usd_per_million_output: prices of tokens; 0 for a model of your own.
      budget_usd: what the requests of one cache file may cost, all runs together; None: no limit.
      concurrency: requests in flight at once.
      timeout_s: for one try, from sending to the last byte.
      max_retries: tries after the first, when the endpoint is busy, fails or does not answer.
      max_tokens_parameter: newer models of OpenAI want "max_completion_tokens".
      thinking_tokens: how much longer a reply may be, for a model that thinks before it answers.
      send_seed: some endpoints refuse the parameter; in the cache seeds count all the same.
      send_temperature: models that think may refuse the parameter, as those of OpenAI do.
    Raises:
      UserError: a field out of range; the message names its flag.
    """

    model: str
    base_url: str = "https://api.openai.com/v1"
    api_key_env: str = "OPENAI_API_KEY"
    usd_per_million_input: float = bounded(0.0, ge=0, lt=math.inf)
    usd_per_million_output: float = bounded(0.0, ge=0, lt=math.inf)
    budget_usd: float | None = None
    concurrency: int = bounded(16, ge=1)
    timeout_s: float = 120.0
    max_retries: int = bounded(8, ge=0)
    max_tokens_parameter: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    thinking_tokens: int = bounded(0, ge=0)
    send_seed: bool = True
    send_temperature: bool = True

    def __post_init__(self) -> None:
        if not self.model:
            raise UserError("--model is missing: the endpoint's name of the model")
        if not _is_url(self.base_url):
            raise UserError(
                f"--base_url={self.base_url!r}: give a URL, http://localhost:8000/v1 say"
            )
        check_bounds(self, "--")
        if not self.timeout_s > 0:
            raise UserError(f"--request_timeout_s={self.timeout_s}: must be above 0")
        if self.budget_usd is not None and not (self.budget_usd >= 0 and self.priced):
            raise UserError(
                f"--budget_usd={self.budget_usd}: needs the prices --usd_per_million_input and "
                "--usd_per_million_output, and must not be negative"
            )

    @property
    def identity(self) -> dict[str, Any]:
        """What of it a stage is told apart by: who is asked, and what for."""
        names = ("model", "base_url", "thinking_tokens", "send_temperature")
        return {name: getattr(self, name) for name in names}

    @property
    def priced(self) -> bool:
        return self.usd_per_million_input + self.usd_per_million_output > 0

    def usd(self, usage: Usage) -> float:
        return (
            usage.input_tokens * self.usd_per_million_input
            + usage.output_tokens * self.usd_per_million_output
        ) / 1e6

    def as_sent(self, request: ChatRequest) -> ChatRequest:
        """What is sent, paid for and looked up in the cache: with room to think, say."""
        temperature = request.temperature if self.send_temperature else None
        max_tokens = request.max_tokens + self.thinking_tokens
        return replace(request, temperature=temperature, max_tokens=max_tokens)

    def max_usd(self, request: ChatRequest) -> float:
        """What one try can cost at most."""
        return self.usd(Usage(request.max_input_tokens, request.max_tokens))


def _is_url(text: str) -> bool:
    try:
        url = urlsplit(text)
        valid = url.scheme in ("http", "https") and url.hostname and url.port != 0
    except ValueError:  # of a port or an IPv6 address
        return False
    return bool(valid) and text.isprintable() and " " not in text


@dataclass(frozen=True)
class Estimate:
    """What a list of requests would take.

    Attributes:
      settings: whose prices are counted.
      n_requests: all of them, repeats counted once.
      answered: how many already, by endpoint; a cache follows a model that moves.
      usage: of the rest; the input at 4 bytes a token, the output at the mean of this model's
        cached replies, at max_tokens if there are none.
      max_usd: if every reply were as long as allowed and every byte a token.
      spent_usd: what the cache file's runs have cost so far.
    """

    settings: LanguageModelConfig
    n_requests: int
    answered: Counter[str]
    usage: Usage
    max_usd: float
    spent_usd: float

    def __str__(self) -> str:
        elsewhere = ", ".join(
            f"{n:,} of these by {url}"
            for url, n in self.answered.items()
            if url != self.settings.base_url
        )
        cost = (
            f"{self.settings.usd(self.usage):,.2f} USD (at most {self.max_usd:,.2f}); spent so far "
            f"{self.spent_usd:,.2f} USD"
            if self.settings.priced
            else "cost unknown (give --usd_per_million_input and --usd_per_million_output)"
        )
        return (
            f"{self.n_requests:,} requests, {self.answered.total():,} of them answered already"
            f"{f' ({elsewhere})' if elsewhere else ''}; the rest: about "
            f"{self.usage.input_tokens:,} tokens in, {self.usage.output_tokens:,} out, {cost}"
        )
