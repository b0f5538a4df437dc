"""The HTTP server: OpenAI's completions, models, health and metrics."""

import asyncio
import hmac
import json
import socket
import sys
import time
import uuid
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import uvicorn
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from phi1_jax.bounds import bounded, check_bounds
from phi1_jax.errors import UserError
from phi1_jax.generate.generator import Generator
from phi1_jax.serve.engine import Engine, Job, Update
from phi1_jax.serve.replies import ChoiceWriter
from phi1_jax.serve.requests import CompletionRequest, RequestError, make_rows, parse

# Bounds on what one client may hold: a request's bytes, how long it takes to send them, and how
# long it may leave a reply unread before the connection is closed.
MAX_BODY_BYTES = 16 << 20
BODY_TIMEOUT_S = 60
SEND_TIMEOUT_S = 60
MAX_CONNECTIONS = 4096
RETRY_AFTER_S = 1
T = TypeVar("T")


@dataclass(frozen=True)
class ServeConfig:
    """How a model is served.

    Attributes:
      host: address to listen on; 0.0.0.0 is every address of this machine.
      port: 0 takes any that is free.
      model_name: what clients call the model; launch/serve.py takes the folder's name by default.
      batch_size: completions that decode together.
      max_waiting: completions that may wait for them; further requests get status 429.
      shutdown_timeout_s: seconds that running requests get to end after SIGTERM.
    """

    model_name: str
    host: str = "127.0.0.1"
    port: int = bounded(8000, ge=0, lt=1 << 16)
    batch_size: int = bounded(32, ge=1)
    max_waiting: int = bounded(1024, ge=1)
    shutdown_timeout_s: float = bounded(30.0, ge=0)

    def __post_init__(self) -> None:
        check_bounds(self)


class Metrics:
    """What `/metrics` shows, beside the engine's gauges."""

    def __init__(self, engine: Engine) -> None:
        self.registry = registry = CollectorRegistry()
        counter = partial(Counter, registry=registry)
        buckets = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)
        histogram = partial(Histogram, buckets=buckets, registry=registry)
        self.requests = counter("phi1_requests", "Completion requests", ["status"])
        self.prompt = counter("phi1_prompt_tokens", "Tokens of prompts")
        self.generated = counter("phi1_completion_tokens", "Tokens generated")
        self.first_s = histogram("phi1_first_part_seconds", "To a reply's first part")
        self.whole_s = histogram("phi1_request_seconds", "To a reply's end")
        running = Gauge("phi1_completions_running", "In the batch", registry=registry)
        running.set_function(lambda: engine.n_running)
        waiting = Gauge("phi1_completions_waiting", "In the queue", registry=registry)
        waiting.set_function(lambda: engine.n_waiting)


class Reply:
    """One request on its way: its job in the engine, and what has come of it."""

    def __init__(
        self, asked: CompletionRequest, generator: Generator, model_name: str, metrics: Metrics
    ) -> None:
        self.asked, self._metrics, self._start = asked, metrics, time.perf_counter()
        self._head = {
            "id": f"cmpl-{uuid.uuid4().hex}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": model_name,
        }
        rows = make_rows(asked, generator)
        self._writers = {
            row: ChoiceWriter(index, row, asked, generator.tokenizer)
            for index, row in enumerate(rows)
        }
        self._updates: asyncio.Queue[Update | RequestError] = asyncio.Queue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.job = Job(rows, self.report, asked.stream)
        self._n_generated = 0

    def report(self, what: Update | RequestError) -> None:
        """Takes a part, or the reason why no more will come; from any thread."""
        assert self._loop
        self._loop.call_soon_threadsafe(self._updates.put_nowait, what)

    async def parts(self) -> AsyncIterator[dict[str, Any]]:
        """Parts of choices as they come, until all have ended.

        Raises:
          RequestError: the engine gave up.
        """
        n_open, is_first = len(self._writers), True
        while n_open:
            update = await self._updates.get()
            if isinstance(update, RequestError):
                raise update
            if is_first:
                self._metrics.first_s.observe(time.perf_counter() - self._start)
            is_first = False
            row, progress = update
            if progress.completion:
                n_open -= 1
                self._n_generated += progress.n_tokens
            yield self._writers[row].part(progress)
        counts = self._usage()
        self._metrics.prompt.inc(counts["prompt_tokens"])
        self._metrics.generated.inc(counts["completion_tokens"])
        self._metrics.whole_s.observe(time.perf_counter() - self._start)

    async def whole(self) -> dict[str, Any]:
        """The reply of a request that is not streamed."""
        choices = [part async for part in self.parts()]
        choices.sort(key=lambda choice: choice["index"])
        return {**self._head, "choices": choices, "usage": self._usage()}

    async def events(self) -> AsyncIterator[str]:
        """The server-sent events of a stream; the last is [DONE], or an error."""
        with_usage = self.asked.stream_options.include_usage
        head = {**self._head, "usage": None} if with_usage else self._head
        try:
            async for part in self.parts():
                if part["text"] or part["finish_reason"] or part["logprobs"]:
                    yield _event({**head, "choices": [part]})
        except RequestError as error:
            yield _event(error.body())
            return
        if with_usage:
            yield _event({**head, "choices": [], "usage": self._usage()})
        yield "data: [DONE]\n\n"

    def start(self, engine: Engine) -> None:
        """Raises:
        RequestError: the engine does not take it.
        """
        self._loop = asyncio.get_running_loop()
        engine.submit(self.job)

    def _usage(self) -> dict[str, int]:
        """Token counts; a prompt counts once for all its completions."""
        n_prompt = sum(len(row.prompt_ids) for row in self.job.rows[:: self.asked.n])
        return {
            "prompt_tokens": n_prompt,
            "completion_tokens": self._n_generated,
            "total_tokens": n_prompt + self._n_generated,
        }


class EventStream(StreamingResponse):
    """A stream whose job ends when its client has gone, or no longer reads."""

    def __init__(self, reply: Reply) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(reply.events(), headers=headers, media_type="text/event-stream")
        self._job = reply.job

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await send(message)

        try:
            await unless_gone(receive, self.stream_response(send_in_time))
        except (TimeoutError, OSError):
            pass
        finally:
            self._job.is_cancelled = True


async def unless_gone(receive: Receive, work: Awaitable[T]) -> T | None:
    """The result of the work, which ends when the client has gone; then None."""

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    tasks = working, _ = asyncio.ensure_future(work), asyncio.ensure_future(gone())
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for task in tasks:
            task.cancel()


class CompletionServer(uvicorn.Server):
    """A model behind HTTP. `run` serves until SIGTERM or SIGINT, or `should_exit` is set.

    Then no new connection is accepted; requests that run or wait get `shutdown_timeout_s` to end,
    and those that have not are told so.
    """

    def __init__(
        self, generator: Generator, config: ServeConfig, api_key: str | None = None
    ) -> None:
        """Args:
        api_key: what clients must send as a bearer token to all paths under /v1.
        """
        self.engine = Engine(generator, config.batch_size, config.max_waiting)
        self._generator, self._serving, self._api_key = generator, config, api_key
        self._metrics, self._created = Metrics(self.engine), int(time.time())
        self._replies: weakref.WeakSet[Reply] = weakref.WeakSet()  # those on their way
        routes = [
            Route("/v1/completions", self._completions, methods=["POST"]),
            Route("/v1/models", self._models),
            Route("/v1/models/{name:path}", self._models),
            Route("/v1/chat/completions", self._chat, methods=["POST"]),
            Route("/health", self._health),
            Route("/metrics", self._show_metrics),
        ]
        handlers: dict[Any, Callable[..., Any]] = {
            RequestError: _answer_error,
            HTTPException: _answer_http_error,
            ClientDisconnect: lambda http, error: Response(status_code=499),
            Exception: lambda http, error: _answer_error(
                http, RequestError(500, "internal error; the server's log has more")
            ),
        }
        settings = uvicorn.Config(
            Starlette(routes=routes, exception_handlers=handlers),
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            log_level="warning",
            access_log=False,
            server_header=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_graceful_shutdown=int(config.shutdown_timeout_s) + 5,
        )
        super().__init__(settings)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        at = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        name = self._serving.model_name
        print(f"serving {name} at http://{at}/v1", file=sys.stderr, flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        ending = asyncio.create_task(self._end_replies())
        await super().shutdown(sockets)  # from Python 3.12 on only once all are answered
        if not self.force_exit:  # none is left
            ending.cancel()
        await asyncio.gather(ending, return_exceptions=True)
        await asyncio.to_thread(self.engine.close)

    async def _end_replies(self) -> None:
        """Tells all that are on their way, in time or after a second Ctrl-C."""
        end_at = time.monotonic() + self._serving.shutdown_timeout_s
        while time.monotonic() < end_at and not self.force_exit:
            await asyncio.sleep(0.1)
        why = "the server is shutting down"
        self.engine.end_jobs(why)
        for reply in self._replies:  # not by the engine, which may compile for minutes
            reply.report(RequestError(503, why))

    async def _completions(self, http: Request) -> Response:
        try:
            response = await self._complete(http)
        except RequestError as error:
            response = _answer_error(http, error)
        self._metrics.requests.labels(response.status_code).inc()
        return response

    async def _complete(self, http: Request) -> Response:
        self._authorize(http)
        asked = parse(await _read_body(http))
        self._check_model(asked.model)
        # Encoding a long prompt takes a while, in which others are served.
        name, metrics = self._serving.model_name, self._metrics
        reply = await asyncio.to_thread(Reply, asked, self._generator, name, metrics)
        reply.start(self.engine)
        self._replies.add(reply)
        if asked.stream:
            return EventStream(reply)
        try:
            whole = await unless_gone(http.receive, reply.whole())
        finally:
            reply.job.is_cancelled = True
        return JSONResponse(whole) if whole else Response(status_code=499)

    async def _models(self, http: Request) -> Response:
        self._authorize(http)
        model = {
            "id": self._serving.model_name,
            "object": "model",
            "created": self._created,
            "owned_by": "phi1_jax",
            "max_model_len": self._generator.config.max_seq_len,
        }
        if "name" in http.path_params:
            self._check_model(http.path_params["name"])
            return JSONResponse(model)
        return JSONResponse({"object": "list", "data": [model]})

    async def _chat(self, http: Request) -> Response:
        raise RequestError(404, "the model completes text and has no chat: POST /v1/completions")

    async def _health(self, http: Request) -> Response:
        alive = self.engine.is_alive and not self.should_exit
        return JSONResponse({"status": "ok" if alive else "ending"}, 200 if alive else 503)

    async def _show_metrics(self, http: Request) -> Response:
        text = generate_latest(self._metrics.registry)
        return Response(text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    def _authorize(self, http: Request) -> None:
        given = http.headers.get("authorization", "").encode()
        if self._api_key and not hmac.compare_digest(given, f"Bearer {self._api_key}".encode()):
            raise RequestError(
                401, "wrong API key, or none: Authorization: Bearer KEY", code="invalid_api_key"
            )

    def _check_model(self, name: str | None) -> None:
        if name not in (None, self._serving.model_name):
            raise RequestError(
                404,
                f"no model {name!r} here; the one that is served is {self._serving.model_name!r}",
                "model",
                "model_not_found",
            )


def listen(config: ServeConfig) -> socket.socket:
    """Takes the port, so that a model is loaded only if it can be served.

    Raises:
      UserError: the address is not of this machine, or the port is taken.
    """
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        return socket.create_server((config.host, config.port), family=family, backlog=1024)
    except OSError as error:
        raise UserError(
            f"--host={config.host} --port={config.port}: cannot listen there: {error.strerror}"
        ) from error


async def _read_body(http: Request) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for chunk in http.stream():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise RequestError(413, f"the body has more than {MAX_BODY_BYTES} bytes")
    except TimeoutError:
        raise RequestError(408, f"the body took more than {BODY_TIMEOUT_S} s to come") from None
    return bytes(body)


def _answer_error(http: Request, error: RequestError) -> Response:
    headers = {429: {"Retry-After": str(RETRY_AFTER_S)}, 401: {"WWW-Authenticate": "Bearer"}}
    return JSONResponse(error.body(), error.status, headers.get(error.status))


def _answer_http_error(http: Request, error: HTTPException) -> Response:
    message = f"{error.detail}: {http.method} {http.url.path}"
    return JSONResponse(
        RequestError(error.status_code, message).body(), error.status_code, error.headers
    )


def _event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data, allow_nan=False)}\n\n"
