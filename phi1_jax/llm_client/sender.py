"""Sends requests from a thread of its own; every try is in the books before it goes out."""

import asyncio
import email.utils
import json
import os
import queue
import random
import sys
import threading
import time
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from phi1_jax.errors import UserError
from phi1_jax.llm_client.cache import Cache
from phi1_jax.llm_client.records import (
    ChatReply,
    ChatRequest,
    LanguageModelConfig,
    Usage,
    problem_of,
)

FIRST_DELAY_S, MAX_DELAY_S = 0.5, 60.0
# An endpoint that asks for a longer wait has no quota left: the request fails instead.
MAX_RETRY_AFTER_S = 900.0
# No request has so many; the books could not hold every number that JSON can.
_TOO_MANY_TOKENS = 1 << 40
_COUNTS = (("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens"))
# Nothing was sent, or the answer is no text at all. By name: openai has changed its HTTP library.
_NOT_BILLED = {"ConnectError", "ConnectTimeout", "UnsupportedProtocol", "DecodingError"}
_RETRIED = {408, 409, 425, 429}
_HOPELESS = {401, 403, 404}


class FailedReply(Exception):
    """A body with status 200 that holds no completion.

    Attributes:
      status: the HTTP status that it names itself, 200 if none.
      usage: what the endpoint says that it counted; it is billed.
    """

    def __init__(self, message: str, status: int = 200, usage: Usage = Usage(0, 0)):  # noqa: B008
        super().__init__(message)
        self.status, self.usage = status, usage


class Sender:
    """A thread with an event loop: replies are taken in and kept while the caller is busy."""

    def __init__(self, settings: LanguageModelConfig, cache: Cache):
        try:
            import openai
        except ImportError as error:
            raise UserError("--base_url: needs openai: pip install 'phi1_jax[api]'") from error
        self._settings, self._cache, self._openai = settings, cache, openai
        self._secret = _read_key(settings.api_key_env)
        self._warned = False
        self._not_before = 0.0  # of time.monotonic: when a Retry-After ends, for all requests
        # Its own retries are off: each try must be in the books, and its Retry-After limits and
        # delays differ between releases.
        timeout_s = settings.timeout_s
        self._client = openai.AsyncOpenAI(
            api_key=self._secret, base_url=self._settings.base_url,
            timeout=openai.Timeout(timeout_s, connect=timeout_s / 2), max_retries=0,
        )  # fmt: skip
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.done: queue.Queue[tuple[str, Future[ChatReply]]] = queue.Queue()

    def send(self, key: str, request: ChatRequest) -> bool:
        """Sends a request; False if it might exceed the budget."""
        number = self._begin(key, request)
        if number is None:
            return False
        future = asyncio.run_coroutine_threadsafe(self._ask(key, request, number), self._loop)
        future.add_done_callback(lambda done: self.done.put((key, done)))
        return True

    def over_budget(self, request: ChatRequest) -> UserError:
        return UserError(
            f"--budget_usd={self._settings.budget_usd}: {self._cache.spent_usd:.4f} USD are spent "
            f"and the next request may cost {self._settings.max_usd(request):.4f}; what was "
            "answered is kept, so raise the budget and run again"
        )

    def close(self) -> None:
        async def end() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await self._client.close()

        asyncio.run_coroutine_threadsafe(end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _begin(self, key: str, request: ChatRequest) -> int | None:
        """Enters a try in the books; None if it might exceed the budget."""
        most = self._settings.max_usd(request)
        return self._cache.begin(key, most, self._settings.budget_usd)

    async def _ask(self, key: str, request: ChatRequest, number: int | None) -> ChatReply:
        """Tries until there is a reply; every try is in the books before it is sent."""
        settings, cache, openai = self._settings, self._cache, self._openai
        problem = ""
        for n_tries in range(settings.max_retries + 1):
            if number is None and (number := self._begin(key, request)) is None:
                raise self.over_budget(request)
            while (pause := self._not_before - time.monotonic()) > 0:
                await asyncio.sleep(pause * (1 + 0.1 * random.random()))
            wait_s, status = None, 200
            try:
                async with asyncio.timeout(settings.timeout_s):
                    body = await self._post(key, request)
                reply = replace(parse_body(body, request), base_url=settings.base_url)
                cache.end(number, settings.usd(reply.usage), key, settings.model, reply)
                return reply
            except openai.APIStatusError as error:
                cache.end(number, 0.0)  # an error status is not billed
                words = _words(error.body) or error.body or error
                status, problem = error.status_code, self._masked(words)
                wait_s = retry_after_s(error.response.headers.get("retry-after"))
            except FailedReply as error:
                cache.end(number, settings.usd(error.usage))
                status, problem = error.status, self._masked(error)
            except (openai.APIConnectionError, TimeoutError) as error:
                cause = error.__cause__ or error
                # Else it may have been answered, and billed: the try stays in the books.
                if type(cause).__name__ in _NOT_BILLED:
                    cache.end(number, 0.0)
                problem = f"no reply: {type(cause).__name__} {self._masked(cause)}".strip()
                if isinstance(error, TimeoutError) or type(cause).__name__ == "ReadTimeout":
                    problem = f"no reply within --request_timeout_s={settings.timeout_s:g}"
                    self._warn_once(problem)
            number = None
            if status != 200:
                problem = f"HTTP {status}: {problem}"
            if status in _HOPELESS:
                raise UserError(
                    f"--base_url={settings.base_url} --model={settings.model}: {problem}"
                )
            if not (status in _RETRIED or status >= 500 or status == 200):
                return ChatReply(problem, "error")
            if wait_s is not None and wait_s > MAX_RETRY_AFTER_S:
                return ChatReply(f"{problem} (Retry-After {wait_s:.0f} s)", "error")
            if n_tries < settings.max_retries:
                if wait_s is not None:
                    self._not_before = max(self._not_before, time.monotonic() + wait_s)
                # Beside a Retry-After too: else all would come at once again when it ends.
                await asyncio.sleep(back_off_s(n_tries, random.random()))
        return ChatReply(f"{problem} ({settings.max_retries + 1} tries)", "error")

    async def _post(self, key: str, request: ChatRequest) -> bytes:
        parameters: dict[str, Any] = {
            "messages": request.messages,
            self._settings.max_tokens_parameter: request.max_tokens,
        }
        if request.temperature is not None:
            parameters["temperature"] = request.temperature
        if request.seed is not None and self._settings.send_seed:
            parameters["seed"] = request.seed
        response = await self._client.chat.completions.with_raw_response.create(
            model=self._settings.model,
            extra_headers={"Idempotency-Key": key},
            **parameters,
        )
        return response.content

    def _warn_once(self, problem: str) -> None:
        """At the first timeout: the tries of one request may take half an hour before it fails."""
        if not self._warned:
            advice = "each such try may be billed: give a slow model more time"
            print(f"warning: {problem}; {advice}", file=sys.stderr)
        self._warned = True

    def _masked(self, error: object) -> str:
        text = " ".join(str(error).encode("utf-8", "replace").decode().split())
        text = text.replace(self._secret, "***") if self._settings.api_key_env else text
        return text[:500]  # then only: a key that is cut in two would stay


def _read_key(name: str) -> str:
    if not name:
        return "none"
    key = os.environ.get(name, "").strip()  # a file's last newline, say
    if not key:
        raise UserError(
            f"--api_key_env={name}: the environment variable is not set; put the key there, or "
            "give --api_key_env= for an endpoint without keys"
        )
    if not (key.isascii() and key.isprintable()):
        raise UserError(
            f"--api_key_env={name}: the key there holds characters that no key has, such as "
            "curly quotes or a line break; set it again"
        )
    return key


def back_off_s(n_tries: int, chance: float) -> float:
    """Doubles from FIRST_DELAY_S to MAX_DELAY_S; jittered so that requests do not come in step."""
    return min(FIRST_DELAY_S * 2.0 ** min(n_tries, 60), MAX_DELAY_S) * (0.5 + 0.5 * chance)


def retry_after_s(header: str | None) -> float | None:
    """Seconds to wait: the header holds a number or a date (RFC 9110); None if neither."""
    if header is None:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - time.time())
    except ValueError:
        return None


def parse_body(body: bytes, request: ChatRequest) -> ChatReply:
    """Reads a completion.

    Without a count from the endpoint, or with one that counts nothing (negative, infinite, zero for
    a text), usage is the most that it can have been.

    Raises:
      FailedReply: the body is an error or holds no completion, even with a status of success.
    """
    raw = body.decode("utf-8", "backslashreplace")
    try:
        answer = json.loads(body.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise FailedReply(f"the answer is not JSON: {raw}") from None
    if isinstance(answer, list) and len(answer) == 1:  # as some wrap an error
        (answer,) = answer
    if not isinstance(answer, dict):
        raise FailedReply(f"the answer is not a completion: {raw}")
    given = answer.get("usage")
    given = given if isinstance(given, dict) else {}
    billed = _usage(given, Usage(0, 0))
    error = answer.get("error") or answer.get("errors")
    try:
        choice = answer["choices"][0]
        error = error or choice.get("error")
        reason = choice.get("finish_reason") or "stop"
        reason = str(reason.get("type", reason) if isinstance(reason, dict) else reason)
        # A filter may leave no message at all.
        message = choice.get("message") or ({} if problem_of(reason) == "refused" else None)
        text, refusal = _read_message(message)
    except (LookupError, TypeError, AttributeError):
        words = _words(error or answer) or "no completion in it"
        raise FailedReply(f"{words}: {raw}", _status(error or answer), billed) from None
    if error or problem_of(reason) == "error":
        raise FailedReply(f"{_words(error or reason)}: {raw}", _status(error), billed)
    if refusal:
        text, reason = str(refusal), "refusal"
    if ChatReply(text, reason, billed).failed:
        raise FailedReply(f"an empty reply without a token: {raw}", usage=billed)
    most = Usage(request.max_input_tokens, request.max_tokens)
    usage = _usage(given, most, least=1 if text.strip() else 0)
    try:
        (text + reason).encode()
    except UnicodeEncodeError:  # lone surrogates are legal JSON and no legal text
        return ChatReply(raw, "not_utf8", usage)
    return ChatReply(text, reason, usage)


def _read_message(message: Any) -> tuple[str, Any]:
    """The text of a message, also where it comes in parts, and its refusal, if it is one.

    Raises:
      TypeError, AttributeError: it holds something else.
    """
    content, refusal = message.get("content"), message.get("refusal")
    parts = content if isinstance(content, list) else [] if content is None else [content]
    text = ""
    for part in parts:
        if not isinstance(part, str):
            refusal = refusal or part.get("refusal")
            if part.get("type", "text") not in ("text", "output_text"):
                continue  # an image, say, or what it thought
            part = part.get("text")
            part = part.get("value") if isinstance(part, dict) else part
        text += part
    return text, refusal


def _words(error: Any) -> str:
    """What an error says, wherever its endpoint puts that; "" if nowhere known."""
    error = _first(error)
    if isinstance(error, dict):
        found = (error.get(name) for name in ("error", "errors", "message", "msg", "detail"))
        return _words(next(filter(None, found), ""))
    return str(error)


def _status(error: Any) -> int:
    """The HTTP status that an error in a body names; 200, which is tried again, if it has none."""
    error = _first(error)
    for name in ("code", "status", "status_code", "http_code"):
        code = error.get(name) if isinstance(error, dict) else None
        code = int(code) if isinstance(code, str) and code.isdecimal() and len(code) == 3 else code
        if isinstance(code, int) and 400 <= code < 600:
            return code
    return 200


def _first(error: Any) -> Any:
    return error[0] if isinstance(error, list) and error else error


def _usage(given: dict[str, Any], most: Usage, least: int = 0) -> Usage:
    """The tokens counted; `most` of what is not, or is below `least`."""
    sent, received = (_count(given.get(a, given.get(b)), least) for a, b in _COUNTS)
    if sent is not None and received is not None:
        # What a model thought is billed like its reply; some count it in the total alone.
        received = max(received, (_count(given.get("total_tokens")) or 0) - sent)
    return Usage(
        most.input_tokens if sent is None else sent,
        most.output_tokens if received is None else received,
    )


def _count(given: Any, least: int = 0) -> int | None:
    if isinstance(given, str) and given.isdecimal() and len(given) < 12:
        given = int(given)
    return int(given) if type(given) in (int, float) and least <= given < _TOO_MANY_TOKENS else None
