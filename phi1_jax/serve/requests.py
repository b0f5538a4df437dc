"""What a client may ask of `/v1/completions`, and what it is told where it asks for more."""

import itertools
import secrets
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from phi1_jax.errors import UserError, did_you_mean
from phi1_jax.generate.batch import N_TOP, Row
from phi1_jax.generate.generator import Generator
from phi1_jax.generate.sampling import stream_key
from phi1_jax.generate.settings import Sampling

_PROMPT_IDS = itertools.count()  # rows of one number share a prompt, among all requests
_PROMPT = "must be a text, a list of texts, a list of token ids, or a list of lists of token ids"


class RequestError(Exception):
    """What a client is told in place of a reply, in the form of OpenAI's errors."""

    def __init__(
        self, status: int, message: str, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.param, self.code = status, param, code

    def body(self) -> dict[str, Any]:
        """The JSON object."""
        kinds = {401: "authentication_error", 429: "rate_limit_error"}
        kind = kinds.get(
            self.status, "server_error" if self.status >= 500 else "invalid_request_error"
        )
        error = {"message": str(self), "type": kind, "param": self.param, "code": self.code}
        return {"error": error}


class StreamOptions(BaseModel):
    """Of a stream."""

    model_config = ConfigDict(extra="forbid", strict=True)

    include_usage: bool = False


class CompletionRequest(BaseModel):
    """The fields of OpenAI's completions, and `top_k` and `repetition_penalty` as in vLLM.

    null is as good as a field that is missing, and a `top_k` of -1 as 0: both mean all tokens.
    """

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    prompt: str | list[str] | list[int] | list[list[int]]
    model: str | None = None
    max_tokens: int = Field(16, ge=0)
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    n: int = Field(1, ge=1, le=128)
    best_of: int | None = None
    seed: int | None = None
    stop: str | list[str] = []
    logprobs: int | None = Field(None, ge=0, le=N_TOP)
    echo: bool = False
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    suffix: str = ""
    logit_bias: dict[str, float] = {}
    user: str = ""

    @property
    def sampling(self) -> Sampling:
        """Raises:
        RequestError: a number out of range.
        """
        names = Sampling.__dataclass_fields__.keys() & type(self).model_fields.keys()
        values = {name: getattr(self, name) for name in names}
        if values["top_k"] == -1:
            values["top_k"] = 0
        try:
            return Sampling(**values)
        except UserError as error:
            raise RequestError(400, str(error), str(error).partition("=")[0]) from error

    @property
    def stops(self) -> list[str]:
        """The stop strings."""
        return [self.stop] if isinstance(self.stop, str) else self.stop

    @property
    def prompts(self) -> list[str] | list[list[int]]:
        """Always as a list of prompts."""
        prompt: Any = self.prompt
        return [prompt] if isinstance(prompt, str) or type(prompt[0]) is int else prompt


def parse(body: bytes) -> CompletionRequest:
    """Reads a request.

    Raises:
      RequestError: 400, names the field at fault.
    """
    try:
        fields = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise RequestError(400, f"the body is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise RequestError(400, "the body must be a JSON object")
    try:
        asked = CompletionRequest(**{k: v for k, v in fields.items() if v is not None})
    except ValidationError as error:
        raise _field_error(error.errors(include_url=False)[0]) from None
    if asked.prompt == [] or [] in asked.prompts:
        raise RequestError(400, f"prompt {_PROMPT}; none of these lists may be empty", "prompt")
    stops = asked.stops
    if len(stops) > 16 or not all(0 < len(stop) <= 256 for stop in stops):
        raise RequestError(400, "stop: at most 16 texts of 1 to 256 characters", "stop")
    for name, refused, why in (
        ("best_of", asked.best_of not in (None, asked.n), "give n alone; the choice is yours"),
        ("suffix", asked.suffix, "the model completes from left to right"),
        ("logit_bias", asked.logit_bias, "it is not implemented"),
    ):
        if refused:
            raise RequestError(400, f"{name} is not served: {why}", name, "unsupported_parameter")
    return asked


def _field_error(error: Any) -> RequestError:
    name = str(error["loc"][0])
    if error["type"] == "extra_forbidden" and len(error["loc"]) == 1:
        hint = did_you_mean(name, CompletionRequest.model_fields)
        return RequestError(400, f"unknown field {name!r}{hint}", name, "unknown_parameter")
    if name == "prompt":
        return RequestError(400, f"prompt {_PROMPT}", name)
    place = ".".join(map(str, error["loc"]))
    return RequestError(400, f"{place}: {error['msg']}", name)


def make_rows(asked: CompletionRequest, generator: Generator) -> list[Row]:
    """The completions to decode: `n` of the first prompt, `n` of the second, ...

    With a seed they are those of `Generator.generate`; without one each prompt has its own.

    Raises:
      RequestError: 400, a prompt that does not fit the model.
    """
    sampling, context = asked.sampling, generator.config.max_seq_len
    rows = []
    for index, ids in enumerate(_encode(asked.prompts, generator)):
        ids = ids or [generator.tokenizer.eot_id]  # as documents begin
        if len(ids) + asked.max_tokens > context:
            raise RequestError(
                400,
                f"prompt {index} has {len(ids)} tokens, and max_tokens={asked.max_tokens} more"
                f" exceed the model's context of {context} tokens",
                "prompt" if len(ids) > context else "max_tokens",
                "context_length_exceeded",
            )
        seed = secrets.randbits(63) if asked.seed is None else asked.seed
        prompt = next(_PROMPT_IDS)
        for sample in range(asked.n):
            rows.append(
                Row(
                    prompt,
                    sample,
                    ids,
                    asked.max_tokens,
                    stream_key(seed, ids, sample),
                    sampling,
                    asked.stops,
                    names_top=bool(asked.logprobs),
                    scores_prompt=asked.echo and asked.logprobs is not None,
                )
            )
    return rows


def _encode(prompts: list[Any], generator: Generator) -> list[list[int]]:
    if isinstance(prompts[0], str):
        return generator.tokenizer.encode_batch(prompts)
    n_ids = generator.tokenizer.vocab_size
    for ids in prompts:
        if bad := [i for i in ids if not 0 <= i < n_ids]:
            raise RequestError(400, f"token id {bad[0]} is not from 0 to {n_ids - 1}", "prompt")
    return prompts
