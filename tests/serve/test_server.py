"""The HTTP server, asked by OpenAI's own client, by many at once, and by what is no client."""

import asyncio
import http.client
import json
import math
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import jax
import jax.numpy as jnp
import numpy as np
import openai
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from phi1_jax.corpus.problems import Problem
from phi1_jax.errors import UserError
from phi1_jax.evaluate.benchmarks import humaneval
from phi1_jax.evaluate.bits_per_byte import encode_solution, solution_bits
from phi1_jax.generate.batch import Row
from phi1_jax.generate.generator import Generator, Progress
from phi1_jax.generate.score import TokenScores
from phi1_jax.generate.settings import Sampling
from phi1_jax.model.phi import Phi
from phi1_jax.serve.replies import ChoiceWriter
from phi1_jax.serve.requests import CompletionRequest, RequestError
from phi1_jax.serve.server import CompletionServer, ServeConfig, listen

KEY = "secret-of-the-test"
PROMPTS = ["def f(x):", "x", "import os\nimport sys\n", "é" * 10]
DRAWN = {"temperature": 1.0, "top_p": 0.9}
GREEDY = {"temperature": 0.0}
# Few rules, because each is compiled; tests/generate has the others.
SAMPLINGS = [GREEDY, DRAWN, {"temperature": 0.8, "extra_body": {"top_k": 7}}]


@pytest.fixture(scope="module")
def params(tiny_model):
    """Initial values times five, that writes ASCII."""
    state = nnx.state(Phi(tiny_model, nnx.Rngs(1)), nnx.Param)
    state = jax.tree.map(lambda x: x * 5 if x.ndim > 1 else x, state)
    bias = jnp.where(jnp.arange(tiny_model.vocab_size) < 128, 0.0, -100.0)
    state["head"]["bias"] = state["head"]["bias"].replace(bias)
    return nnx.to_pure_dict(state)


@pytest.fixture(scope="module")
def generator(tiny_model, params, byte_tokenizer):
    return Generator(tiny_model, params, byte_tokenizer, chunk_tokens=8)


def test_a_top_k_of_minus_one_is_all_tokens():
    """As vLLM's clients say it."""
    assert CompletionRequest(prompt="x", top_k=-1).sampling.top_k == 0
    with pytest.raises(RequestError, match="top_k=-2"):
        _ = CompletionRequest(prompt="x", top_k=-2).sampling


def test_offsets_count_what_the_text_shows(byte_tokenizer):
    """A chat model's special tokens stand in a prompt, and not in a completion."""

    class Chat(type(byte_tokenizer)):
        def decode(self, ids, special=False):
            shown = (b"<s>" * special if i == 1 else bytes([i]) for i in ids)
            return b"".join(shown).decode(errors="replace")

    row = Row(
        0, 0, prompt_ids=[1, 97], limit=3, key=np.zeros(2), sampling=Sampling(), stop=(),
        ids=[98, 1, 99], logprobs=[-1.0] * 3, top=[[]] * 3,
        prompt_scores=TokenScores(np.zeros(1), np.zeros((1, 1), int), np.zeros((1, 1))),
    )  # fmt: skip
    asked = CompletionRequest(prompt="<s>a", echo=True, logprobs=0)
    part = ChoiceWriter(0, row, asked, Chat()).part(Progress(0, 0, "bc", 3, None))
    assert part["text"] == "<s>abc"
    assert part["logprobs"]["text_offset"] == [0, 3, 4, 5, 5]


@contextmanager
def serving(generator, **config):
    """A server in a thread of this process: (server, port)."""
    config = ServeConfig("tiny", port=0, batch_size=4, **config)
    sock = listen(config)
    server = CompletionServer(generator, config, KEY)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
    thread.start()
    try:
        yield server, sock.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()
        sock.close()


@pytest.fixture(scope="module")
def running(generator):
    with serving(generator, max_waiting=64) as found:
        yield found


@pytest.fixture(scope="module")
def client(running):
    with openai.OpenAI(base_url=f"http://127.0.0.1:{running[1]}/v1", api_key=KEY) as client:
        yield client


@pytest.fixture(scope="module")
def complete(client):
    def complete(prompt, **options):
        return client.completions.create(**{"model": "tiny", "prompt": prompt, **options})

    return complete


def post(port, body, path="/v1/completions", key=KEY):
    """(status, headers, decoded JSON) of a raw body."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, json.loads(answer.read())


def get(port, path, key=KEY):
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("GET", path, headers={"Authorization": f"Bearer {key}"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def is_idle(server):
    return server.engine.n_running == server.engine.n_waiting == 0


def joined(parts):
    """The choices of a stream, put together."""
    choices = {}
    for choice in (choice for part in parts for choice in part.choices):
        whole = choices.setdefault(
            choice.index, {"text": "", "logprobs": [], "finish_reason": None}
        )
        assert whole["finish_reason"] is None
        whole["text"] += choice.text
        whole["finish_reason"] = choice.finish_reason
        if choice.logprobs:
            p = choice.logprobs
            rows = (p.tokens, p.token_logprobs, p.top_logprobs, p.text_offset)
            whole["logprobs"] += zip(*rows, strict=True)
    return [choices[index] for index in sorted(choices)]


@pytest.mark.slow
def test_completions_are_those_of_the_generator(complete, generator):
    want = [c.text for (c,) in generator.generate(PROMPTS, max_new_tokens=20)]
    found = complete(PROMPTS, max_tokens=20, **GREEDY)
    assert [c.text for c in found.choices] == want
    assert [c.index for c in found.choices] == [0, 1, 2, 3]
    assert {c.finish_reason for c in found.choices} == {"length"}
    n = sum(map(len, generator.tokenizer.encode_batch(PROMPTS)))
    counts = found.usage
    assert (counts.prompt_tokens, counts.completion_tokens, counts.total_tokens) == (n, 80, n + 80)
    ids = generator.tokenizer.encode_batch(PROMPTS)
    assert [c.text for c in complete(ids, max_tokens=20, **GREEDY).choices] == want
    assert complete(ids[0], max_tokens=20, **GREEDY).choices[0].text == want[0]


@pytest.mark.slow
def test_a_seed_gives_the_samples_of_the_generator(complete, generator):
    [want] = generator.generate(PROMPTS[:1], max_new_tokens=20, n_samples=3, seed=5, **DRAWN)
    found = complete(PROMPTS[0], max_tokens=20, n=3, seed=5, **DRAWN)
    assert [c.text for c in found.choices] == [c.text for c in want]
    assert found.usage.prompt_tokens == len(PROMPTS[0])
    # Without one, every prompt and every request has its own.
    free = complete([PROMPTS[0]] * 2, max_tokens=20, **DRAWN).choices
    assert len({c.text for c in [*free, *found.choices]}) == 5


@pytest.mark.slow
def test_64_clients_at_once_get_what_each_gets_alone(complete, running):
    requests = [
        {
            "prompt": PROMPTS[i % 4],
            "max_tokens": 5 + i % 3 * 8,
            "seed": i % 2,
            **SAMPLINGS[i % 3],
        }
        for i in range(64)
    ]
    alone = {}
    for request in requests:
        if json.dumps(request) not in alone:
            alone[json.dumps(request)] = complete(**request).choices[0].text

    async def all_at_once():
        url = f"http://127.0.0.1:{running[1]}/v1"
        async with openai.AsyncOpenAI(base_url=url, api_key=KEY) as client:

            async def one(i, request):
                if i % 2:
                    return (
                        (await client.completions.create(model="tiny", **request)).choices[0].text
                    )
                stream = await client.completions.create(model="tiny", stream=True, **request)
                return "".join([part.choices[0].text async for part in stream])

            return await asyncio.gather(*(one(i, request) for i, request in enumerate(requests)))

    found = asyncio.run(all_at_once())
    assert found == [alone[json.dumps(request)] for request in requests]
    assert is_idle(running[0])


@pytest.mark.slow
def test_a_stream_has_the_parts_of_the_whole(complete):
    options = {"max_tokens": 20, **GREEDY, "echo": True, "logprobs": 3}
    whole = complete(PROMPTS, **options)
    parts = list(complete(PROMPTS, stream=True, stream_options={"include_usage": True}, **options))
    assert len(parts) > 8 and parts[-1].usage == whole.usage and not parts[-1].choices
    want = joined([whole])
    assert joined(parts) == want
    for choice, prompt in zip(want, PROMPTS, strict=True):
        assert choice["text"].startswith(prompt)
        names, logprobs, top, offsets = zip(*choice["logprobs"], strict=True)
        assert logprobs[0] is top[0] is None and max(logprobs[1:]) <= 0
        for name, logprob, others, offset in list(zip(names, logprobs, top, offsets, strict=True))[
            1:
        ]:
            assert others[name] == logprob and 3 <= len(others) <= 4
            if not name.startswith("token_id:"):
                assert choice["text"][offset : offset + len(name)] == name
    assert want[3]["logprobs"][0][0] == "token_id:195"  # half an é


def test_stop_strings_end_a_completion(complete):
    whole = complete("def f(x):", max_tokens=20, **GREEDY).choices[0].text
    for stop in (whole[9:11], ["never", whole[9:11]]):
        choice = complete("def f(x):", max_tokens=20, **GREEDY, stop=stop).choices[0]
        assert choice.text == whole[: whole.index(whole[9:11])] and choice.finish_reason == "stop"
        parts = complete("def f(x):", max_tokens=20, **GREEDY, stop=stop, stream=True)
        assert joined(parts)[0]["text"] == choice.text


@pytest.mark.slow
def test_echo_alone_scores_the_prompt(complete, generator, params):
    from phi1_jax.generate.score import token_logprobs

    ids = [list(b"def f(x): return x"), list(b"y" * 64)]  # the second fills the context
    want = token_logprobs(generator.config, params, ids)
    found = complete(ids, max_tokens=0, echo=True, logprobs=0)
    for choice, row, logprobs in zip(found.choices, ids, want, strict=True):
        assert choice.text == bytes(row).decode() and choice.finish_reason == "length"
        np.testing.assert_allclose(choice.logprobs.token_logprobs[1:], logprobs, rtol=0, atol=1e-4)
        assert choice.logprobs.top_logprobs == [None] * len(row)
    assert found.usage.completion_tokens == 0
    empty = complete("", max_tokens=0, echo=True, logprobs=1).choices[0]
    assert empty.text == "" and empty.logprobs.tokens == ["<|endoftext|>"]


@pytest.mark.slow
def test_lm_eval_gets_the_bits_of_our_bits_per_byte(complete, generator, params):
    """As its local-completions asks and reads: ids, echo, one token more, one log-probability."""
    pairs = [("def f(x):\n", "    return 1\n"), ("def g():\n", "    return 'é'\n")]
    problems = [
        Problem(f"own/{i}", prompt, "f", solution, "def check(f): pass\n")
        for i, (prompt, solution) in enumerate(pairs)
    ]
    tokenizer = generator.tokenizer
    want = solution_bits(humaneval(problems, "own"), generator.config, params, tokenizer)
    rows = [encode_solution(tokenizer, *pair) for pair in pairs]
    options = {**GREEDY, "logprobs": 1, "echo": True, "seed": 1234}
    found = complete([ids for ids, _ in rows], max_tokens=1, **options)
    for choice, (ids, first), bits, (_, solution) in zip(
        found.choices, rows, want, pairs, strict=True
    ):
        scored = choice.logprobs.token_logprobs[first:-1]
        assert len(scored) == len(ids) - first == bits.n_tokens
        per_byte = -sum(scored) / math.log(2) / len(solution.encode())
        assert per_byte == pytest.approx(bits.bits / bits.n_bytes, abs=1e-4)
        for logprob, top in zip(scored, choice.logprobs.top_logprobs[first:-1], strict=True):
            assert max(top.values()) >= logprob  # equal, where the token is the greedy one
    # What it scores as greedy is what the model says.
    said = complete("def f(x):\n", max_tokens=6, **GREEDY).choices[0].text
    ids = tokenizer.encode("def f(x):\n" + said)
    scores = complete([ids], max_tokens=1, **options).choices[0].logprobs
    for logprob, top in list(zip(scores.token_logprobs, scores.top_logprobs, strict=True))[-7:-1]:
        assert logprob == max(top.values())


REFUSED = [
    (b"", "not JSON"),
    (b"\xff\xfe", "not JSON"),
    (b"[" * 100_000, "not JSON"),
    (b'"text"', "must be a JSON object"),
    ({}, "prompt must be a text"),
    ({"prompt": 5}, "prompt must be a text"),
    ({"prompt": []}, "none of these lists may be empty"),
    ({"prompt": [[]]}, "none of these lists may be empty"),
    ({"prompt": ["a", 1]}, "prompt must be a text"),
    ({"prompt": [True]}, "prompt must be a text"),
    ({"prompt": [257]}, "token id 257 is not from 0 to 256"),
    ({"prompt": [-1]}, "token id -1"),
    (b'{"prompt": "\\ud800"}', "not JSON"),
    (b'{"prompt": "x", "temperature": NaN}', "not JSON"),
    ({"prompt": "x" * 64}, "prompt 0 has 64 tokens, and max_tokens=16 more exceed .* 64 tokens"),
    ({"prompt": ["x", "y" * 65], "max_tokens": 0}, "prompt 1 has 65 tokens"),
    ({"prompt": "x", "max_tokens": 64}, "max_tokens=64"),
    ({"prompt": "x", "max_tokens": -1}, "max_tokens: .*greater than or equal to 0"),
    ({"prompt": "x", "max_tokens": "5"}, "max_tokens: .*integer"),
    ({"prompt": "x", "max_token": 5}, "unknown field 'max_token'; did you mean max_tokens"),
    ({"prompt": "x", "n": 0}, "n: "),
    ({"prompt": "x", "n": 129}, "n: "),
    ({"prompt": ["x"] * 65}, "65 completions in one request: at most 64"),
    ({"prompt": "x", "best_of": 3}, "best_of is not served"),
    ({"prompt": "x", "suffix": "y"}, "suffix is not served"),
    ({"prompt": "x", "logit_bias": {"50256": -100}}, "logit_bias is not served"),
    ({"prompt": "x", "logprobs": 6}, "logprobs: "),
    ({"prompt": "x", "logprobs": True}, "logprobs: "),
    ({"prompt": "x", "temperature": -1}, "temperature=-1.0 must be"),
    ({"prompt": "x", "top_p": 0}, "top_p=0.0 must be"),
    ({"prompt": "x", "stop": [""]}, "stop: "),
    ({"prompt": "x", "stop": ["a"] * 17}, "stop: "),
    ({"prompt": "x", "stream": "yes"}, "stream: .*boolean"),
    ({"prompt": "x", "stream_options": {"usage": True}}, "stream_options.usage"),
]


@pytest.mark.parametrize(("body", "words"), REFUSED)
def test_what_cannot_be_served_is_refused_with_the_field(running, body, words):
    status, _, answer = post(running[1], body if isinstance(body, bytes) else json.dumps(body))
    error = answer["error"]
    assert status == 400 and error["type"] == "invalid_request_error"
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(error["message"])
    if isinstance(body, dict):
        assert error["param"] in {"prompt", "n", "max_tokens", *body}


def test_null_is_a_missing_field_and_best_of_may_equal_n(complete):
    nulls = dict.fromkeys(("seed", "stop", "logprobs", "suffix", "max_tokens", "echo"))
    found = complete("x", best_of=2, extra_body={**nulls, "n": 2, "user": "me"}, **GREEDY)
    assert len(found.choices) == 2 and found.usage.completion_tokens == 32


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 300) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
FIELDS = ["max_tokens", "n", "stop", "logprobs", "echo", "seed", "stream_options", "model"]
BODIES = (
    st.binary(max_size=50)
    | VALUES.map(json.dumps)
    | st.tuples(VALUES, st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=3)).map(
        lambda pair: json.dumps({"prompt": pair[0], "max_tokens": 1, **GREEDY, **pair[1]})
    )
)


@pytest.mark.slow
@given(BODIES)
@settings(max_examples=150, deadline=None)
def test_nonsense_gets_an_answer_and_harms_nothing(running, body):
    body = body.encode() if isinstance(body, str) else body
    status, _, answer = post(running[1], body)
    if status == 200:
        assert answer["choices"]
    else:
        assert 400 <= status < 500 and answer["error"]["message"]
    assert running[0].engine.is_alive


def test_bodies_have_a_limit_of_size_and_time(running, monkeypatch):
    monkeypatch.setattr("phi1_jax.serve.server.MAX_BODY_BYTES", 1000)
    status, _, answer = post(running[1], json.dumps({"prompt": "x" * 1000}))
    assert status == 413 and "1000 bytes" in answer["error"]["message"]
    monkeypatch.setattr("phi1_jax.serve.server.BODY_TIMEOUT_S", 0.2)
    with socket.create_connection(("127.0.0.1", running[1]), timeout=60) as slow:
        slow.sendall(
            b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n"
            + f"Authorization: Bearer {KEY}\r\n\r\n{{".encode()
        )
        assert slow.recv(100).startswith(b"HTTP/1.1 408")


def test_models_health_and_paths(client, running):
    assert [model.id for model in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").max_model_len == 64
    with pytest.raises(openai.NotFoundError, match="no model 'gpt-4'"):
        client.completions.create(model="gpt-4", prompt="x")
    with pytest.raises(openai.NotFoundError, match="POST /v1/completions"):
        client.chat.completions.create(model="tiny", messages=[])
    assert get(running[1], "/health", key="") == (200, '{"status":"ok"}')
    assert get(running[1], "/nowhere")[0] == 404
    status, text = get(running[1], "/v1/completions")
    assert status == 405 and "GET" in json.loads(text)["error"]["message"]


def test_a_wrong_key_is_refused(running):
    for key in (None, "", "wrong", KEY + "x", "é"):
        status, headers, answer = post(running[1], b'{"prompt": "x"}', key=key)
        assert status == 401 and answer["error"]["code"] == "invalid_api_key"
        assert headers["WWW-Authenticate"] == "Bearer" and KEY not in json.dumps(answer)
    assert get(running[1], "/v1/models", key="wrong")[0] == 401


def test_metrics_count_what_was_served(complete, running):
    def read():
        families = text_string_to_metric_families(get(running[1], "/metrics")[1])
        samples = [sample for family in families for sample in family.samples]
        return {(s.name, s.labels.get("status") or s.labels.get("le")): s.value for s in samples}

    before = read()
    complete("abc", max_tokens=5, n=2, **GREEDY)
    after = read()

    def gained(name, label=None):
        return after[name, label] - before[name, label]

    assert gained("phi1_requests_total", "200") == 1
    assert gained("phi1_prompt_tokens_total") == 3
    assert gained("phi1_completion_tokens_total") == 10
    assert gained("phi1_request_seconds_count") == gained("phi1_first_part_seconds_count") == 1
    assert after["phi1_completions_running", None] == after["phi1_completions_waiting", None] == 0


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_vanishes_frees_its_rows(running, stream):
    server, port = running
    body = json.dumps({"prompt": "x", "max_tokens": 60, "n": 60, "stream": stream, **GREEDY})
    head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
    served = server._metrics.generated._value.get()
    with socket.create_connection(("127.0.0.1", port), timeout=60) as gone:
        gone.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        until(lambda: server.engine.n_running)
    until(lambda: is_idle(server))
    assert server._metrics.generated._value.get() == served  # it did not run to its end


@pytest.mark.slow
def test_a_slow_reader_holds_nothing_up(complete, running, monkeypatch):
    monkeypatch.setattr("phi1_jax.serve.server.SEND_TIMEOUT_S", 0.5)
    server, port = running
    body = {"prompt": "x", "max_tokens": 63, "n": 60, "stream": True, "logprobs": 5, **GREEDY}
    body = json.dumps(body)
    head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        slow.connect(("127.0.0.1", port))
        slow.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        until(lambda: server.engine.n_running)
        assert complete("x", max_tokens=1, **GREEDY).choices
        until(lambda: is_idle(server))  # nothing waits for the reader
        until(lambda: not server.server_state.tasks)  # who reads nothing is cut off


def test_more_than_may_wait_gets_429(complete, client, running):
    options = {"model": "tiny", "prompt": "x", "max_tokens": 60, **GREEDY}
    stream = client.completions.create(n=64, stream=True, **options)
    next(stream)
    with pytest.raises(openai.RateLimitError, match="try again later") as refused:
        client.with_options(max_retries=0).completions.create(n=64, **options)
    assert refused.value.response.headers["Retry-After"] == "1"
    stream.close()
    until(lambda: is_idle(running[0]))
    assert complete("x", max_tokens=1, **GREEDY).choices


def test_a_failure_of_the_device_is_told_and_the_next_request_served(
    complete, client, generator, monkeypatch, capfd
):
    advance = generator.advance

    def fail_once(batch):
        monkeypatch.setattr(generator, "advance", advance)
        batch.refill()
        raise RuntimeError("RESOURCE_EXHAUSTED")

    monkeypatch.setattr(generator, "advance", fail_once)
    with pytest.raises(openai.InternalServerError, match="decoding failed"):
        client.with_options(max_retries=0).completions.create(model="tiny", prompt="x", **GREEDY)
    assert "RESOURCE_EXHAUSTED" in capfd.readouterr().err
    assert complete("x", max_tokens=1, **GREEDY).choices


@pytest.mark.slow
@pytest.mark.parametrize("timeout_s", [60, 0])
def test_at_the_end_running_requests_end_or_are_told(generator, timeout_s):
    with serving(generator, shutdown_timeout_s=timeout_s) as (server, port):
        url = f"http://127.0.0.1:{port}/v1"
        with openai.OpenAI(base_url=url, api_key=KEY, max_retries=0) as client:
            options = {"model": "tiny", "prompt": "x", "max_tokens": 60, "n": 60, **GREEDY}
            stream = client.completions.create(stream=True, **options)
            next(stream)
            server.should_exit = True
            if timeout_s:
                ended = [c for part in stream for c in part.choices if c.finish_reason]
                assert len(ended) == 60
            else:
                with pytest.raises(openai.APIError, match="shutting down"):
                    list(stream)
            until(lambda: not server.started or not server.engine.is_alive)


@pytest.mark.slow
@pytest.mark.parametrize("timeout_s", [0, 60])
def test_at_the_end_a_request_that_waits_for_the_compiler_is_told(
    timeout_s, generator, monkeypatch
):
    begun, go_on, advance = threading.Event(), threading.Event(), generator.advance

    def compile_first(batch):
        begun.set()
        go_on.wait(60)
        return advance(batch)

    monkeypatch.setattr(generator, "advance", compile_first)
    served = serving(generator, shutdown_timeout_s=timeout_s)
    with served as (server, port), ThreadPoolExecutor() as pool:
        answer = pool.submit(post, port, json.dumps({"prompt": "x"}))
        assert begun.wait(60)
        server.force_exit = timeout_s > 0  # as a second Ctrl-C does
        server.should_exit = True
        status, _, body = answer.result(60)
        go_on.set()
    assert (status, body["error"]["message"]) == (503, "the server is shutting down")


def test_a_port_that_is_taken_is_named(running):
    with pytest.raises(UserError, match=f"--port={running[1]}: cannot listen there"):
        listen(ServeConfig("tiny", port=running[1]))
