"""The client against a scripted endpoint: each request once, within budget, whatever comes back."""

import email.utils
import itertools
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import closing
from dataclasses import replace

import pytest
from conftest import REPOSITORY
from llm_server import Answer, Server, completion, failure

from phi1_jax.errors import UserError
from phi1_jax.llm_client import (
    ChatReply,
    ChatRequest,
    LanguageModel,
    LanguageModelConfig,
    Usage,
    sender,
)
from phi1_jax.llm_client.cache import Cache


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch):
    monkeypatch.setattr(sender, "FIRST_DELAY_S", 0.01)
    monkeypatch.setenv("TEST_KEY", "sk-very-secret")


def ask(server, cache, requests, **settings):
    settings = {"api_key_env": "TEST_KEY", "timeout_s": 20.0} | settings
    with LanguageModel(LanguageModelConfig("m", server.url, **settings), cache) as model:
        return list(model.complete((r, r) for r in requests))


def numbered(n, **parameters):
    return [ChatRequest.of("Add.", f"{i} + 1", **parameters) for i in range(n)]


def successor(body):
    return str(int(body["messages"][1]["content"].split()[0]) + 1)


def test_each_request_gets_its_own_reply_and_is_sent_once(tmp_path):
    requests = numbered(30, temperature=0.5, max_tokens=7, seed=3)
    with Server(successor) as server:
        done = ask(server, tmp_path / "c", requests + requests[:5])
        assert Counter(r for r, _ in done) == Counter(requests + requests[:5])
        assert all(reply.text == successor({"messages": r.messages}) for r, reply in done)
        assert len(server.bodies) == 30
        sent = server.bodies[0]
        assert (sent["temperature"], sent["max_tokens"], sent["seed"]) == (0.5, 7, 3)
        refused = {"send_temperature": False, "send_seed": False}
        ask(server, tmp_path / "d", requests[:1], **refused)
        assert not {"temperature", "seed"} & server.bodies.pop().keys()
        again = ask(server, tmp_path / "c", requests, api_key_env="NOT_SET")  # nor is a key needed
        assert len(server.bodies) == 30
    assert all(reply.usage.input_tokens == 10 for _, reply in again)


def test_the_cache_tells_apart_model_and_every_parameter():
    request = ChatRequest.of("s", "u")
    others = [
        ChatRequest.of("s", "v"),
        replace(request, temperature=None),
        replace(request, max_tokens=2),
        replace(request, seed=1),
    ]
    keys = {r.key("m") for r in [request, *others]} | {request.key("n")}
    assert len(keys) == 6 and request.key("m") == ChatRequest.of("s", "u").key("m")


@pytest.mark.slow
def test_no_more_in_flight_than_asked_for(tmp_path):
    with Server(lambda body: completion("x", delay_s=0.1)) as server:
        ask(server, tmp_path / "c", numbered(24), concurrency=4)
        assert server.most_at_once == 4


def scripted(*answers):
    """One after the other, then the last for ever."""
    left = iter(answers)
    last = answers[-1]
    lock = threading.Lock()

    def answer(body):
        with lock:
            return next(left, last)

    return answer


@pytest.mark.slow
@pytest.mark.parametrize("trouble", [
    failure(429), failure(500), failure(503), failure(408),
    completion("late", delay_s=2.0),
    replace(completion("torn"), cut=True),
])  # fmt: skip
def test_tries_again_after(trouble, tmp_path):
    with Server(scripted(trouble, trouble, completion("at last"))) as server:
        ((_, reply),) = ask(
            server, tmp_path / "c", numbered(1), timeout_s=trouble.delay_s / 2 or 20.0
        )  # fmt: skip
        assert reply.text == "at last" and len(server.bodies) == 3
        assert len(set(server.keys)) == 1  # an endpoint that knows Idempotency-Key bills one


@pytest.mark.slow
def test_retry_after_holds_all_requests_back(tmp_path):
    busy = failure(429, headers={"Retry-After": "1"})
    with Server(scripted(busy, completion("x"))) as server:
        ask(server, tmp_path / "c", numbered(4), concurrency=1)
        gaps = [b - a for a, b in itertools.pairwise(server.times)]
    assert 0.95 <= gaps[0] < 3 and min(gaps[1:]) < 0.9


@pytest.mark.slow
def test_a_rate_limit_costs_no_reply(tmp_path, monkeypatch):
    """Two replies in a quarter of a second, for eight requests at once."""
    monkeypatch.setattr(sender, "FIRST_DELAY_S", 0.2)
    lock, window = threading.Lock(), [0.0, 0]

    def answer(body):
        with lock:
            if time.monotonic() - window[0] >= 0.25:
                window[:] = time.monotonic(), 0
            window[1] += 1
            full = window[1] > 2
        time.sleep(0.1)  # meanwhile the others are on their way
        return failure(429, headers={"Retry-After": "0.15"}) if full else "fine"

    with Server(answer) as server:
        done = ask(server, tmp_path / "c", numbered(24), concurrency=8, max_retries=6)
    assert {reply.text for _, reply in done} == {"fine"}


def test_delays():
    soon = email.utils.formatdate(time.time() + 30, usegmt=True)
    assert 28 < sender.retry_after_s(soon) <= 30
    assert sender.retry_after_s("2.5") == 2.5 and sender.retry_after_s("soon") is None
    delays = [sender.back_off_s(n, 1.0) for n in range(2000)]
    assert delays[1] == 2 * delays[0] and max(delays) == sender.MAX_DELAY_S
    assert sender.back_off_s(3, 0.0) == delays[3] / 2


def test_gives_up_on_one_request_and_goes_on_with_the_others(tmp_path):
    def answer(body):
        return failure(500, "broken") if body["messages"][1]["content"] == "1 + 1" else "fine"

    with Server(answer) as server:
        done = dict(ask(server, tmp_path / "c", numbered(3), max_retries=2, concurrency=1))
        bad = done[numbered(3)[1]]
        assert bad.problem == "error" and "500" in bad.text and "3 tries" in bad.text
        assert [r.text for r in done.values()].count("fine") == 2
        ask(server, tmp_path / "c", numbered(3), max_retries=0)
        assert len(server.bodies) == 6  # only the failed one was asked again


def error_in_body(**fields):
    return Answer(json.dumps(fields).encode())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (completion("\ud800"), "not_utf8"),
        (completion(None, refusal="\ud800"), "not_utf8"),
        (completion("text", "\ud800"), "not_utf8"),
        *[
            (completion("def f(", word), "truncated")
            for word in ("length", "max_tokens", "MAX_TOKENS", "model_length")
        ],
        (completion("text", "tool_calls"), "tool_calls"),
        (completion("text", "SAFETY"), "refused"),
        (completion("text", "FinishReason.MAX_TOKENS"), "truncated"),
        (completion("text", "contentFilter"), "refused"),
        (completion([{"type": "refusal", "refusal": "I cannot."}]), "refused"),
        (error_in_body(choices=[{"finish_reason": "content_filter"}]), "refused"),
        (completion(""), "empty"),
        (completion(None), "empty"),
        (completion(None, refusal="I cannot."), "refused"),
        (completion("", "content_filter"), "refused"),
    ],
)
def test_what_cannot_be_used_says_so_and_is_not_paid_for_twice(answer, problem, tmp_path):
    with Server(lambda body: answer) as server:
        ((_, reply),) = ask(server, tmp_path / "c", numbered(1))
        assert reply.problem == problem
        ((_, again),) = ask(server, tmp_path / "c", numbered(1))
        assert again == reply
        assert len(server.bodies) == 1
    if problem == "not_utf8":
        assert reply.text == answer.body.decode(errors="backslashreplace")


@pytest.mark.slow
@pytest.mark.parametrize(
    "word",
    ["stop", None, "eos", "eos_token", "end_turn", "STOP", "COMPLETE", "stop_sequence",
     "FINISH_REASON_STOP", "FinishReason.STOP", "endTurn", "stopped", "null", "stop_token",
     "<|im_end|>", "</s>", "EndOfSequence",
     {"type": "stop", "matched": 2}],
)  # fmt: skip
def test_every_endpoints_word_for_a_whole_reply_is_understood(word, tmp_path):
    with Server(lambda body: completion("x", word)) as server:
        ((_, reply),) = ask(server, tmp_path / "c", numbered(1))
    assert (reply.text, reply.problem) == ("x", "")


def test_the_text_parts_of_a_reply_are_its_text(tmp_path):
    thought = {"type": "reasoning", "text": "hm"}
    image = {"type": "image"}
    for parts in (
        [{"type": "text", "text": "a"}, image, {"type": "text", "text": "b"}],
        [thought, "a", {"type": "output_text", "text": {"value": "b", "annotations": []}}],
        {"type": "text", "text": "ab"},
    ):
        with Server(lambda body: completion(parts)) as server:  # noqa: B023 (used within the loop)
            ((_, reply),) = ask(server, tmp_path / f"{len(parts)}", numbered(1))
        assert (reply.text, reply.problem) == ("ab", "")


# Each with status 200.
FAILURES = {
    "an error": error_in_body(error={"message": "Provider returned error", "code": 429}),
    "an error beside null": error_in_body(
        id=None, choices=None, usage=None, error={"message": "Upstream overloaded", "code": 502}
    ),
    "a wrong path": error_in_body(error="Unexpected endpoint or method. (POST /completions)"),
    "no choices": error_in_body(choices=[]),
    "a list": Answer(b"[1]"),
    "a login page": Answer(b"<html><body>Please log in</body></html>"),
    "a torn body": Answer(b'{"choices": [{"mess'),
    "a deep body": Answer(b"[" * 100_000),
    "not UTF-8": Answer(completion("caf\xe9").body.replace(b"\\u00e9", b"\xe9")),
    "nothing, counted as nothing": completion("", usage=(0, 0)),
    "nothing, said to be too long": completion("", "length", usage=(9, 0)),
    "nothing, not counted": completion(None, usage=None),
    "finish_reason error": completion("half a text", "error", usage=None),
    "an interrupted reply": completion("half a te", "insufficient_system_resource", usage=None),
    "a list with an error": Answer(b'[{"error": {"code": 503, "message": "full"}}]'),
    "errors": error_in_body(success=False, errors=[{"code": 7000, "message": "No route"}]),
    "no message": error_in_body(choices=[{"message": None, "finish_reason": "stop"}]),
    "a stream": Answer(b'data: {"choices": [{"delta": {"content": "x"}}]}\n\ndata: [DONE]\n\n'),
    "no content": Answer(b"", 204),
    "no archive": Answer(b"garbage", headers={"Content-Encoding": "gzip"}),
    "content of another type": completion({"a": 1}),
}
# What its endpoint says that it counted is paid for.
COUNTED = {"nothing, said to be too long": (9, 0), "content of another type": (10, 5)}


@pytest.mark.slow
@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_that_comes_as_an_answer_is_tried_again_and_never_cached(name, tmp_path):
    failed = FAILURES[name]
    with Server(scripted(failed, failed, completion("at last"))) as server:
        ((_, reply),) = ask(server, tmp_path / "c", numbered(1))
        assert reply.text == "at last" and len(server.bodies) == 3

    def answer(body):
        return failed if body["messages"][1]["content"] == "1 + 1" else "fine"

    with Server(answer) as server:
        settings = LanguageModelConfig("m", server.url, "", max_retries=1, **PRICES)
        with LanguageModel(settings, tmp_path / "d") as model:
            done = dict(model.complete((r, r) for r in numbered(3)))
            bad = done[numbered(3)[1]]
            assert bad.problem == "error" and "2 tries" in bad.text
            billed = settings.usd(Usage(10, 5)) + settings.usd(Usage(*COUNTED.get(name, (0, 0))))
            # Not the most that it can cost.
            assert model.cache.spent_usd == pytest.approx(2 * billed)
    with Server(successor) as better:  # the right address
        done = dict(ask(better, tmp_path / "d", numbered(3)))
        assert done[numbered(3)[1]].text == "2" and len(better.bodies) == 1


@pytest.mark.slow
@pytest.mark.parametrize("failed", FAILURES.values(), ids=FAILURES.keys())
def test_ten_failures_in_a_row_of_any_kind_end_the_run(failed, tmp_path):
    with Server(lambda body: failed) as server:
        with pytest.raises(UserError, match="10 requests in a row failed; the last: "):
            ask(server, tmp_path / "c", numbered(100), concurrency=2, max_retries=0)
        assert len(server.bodies) <= 12
        with pytest.raises(UserError, match="every request failed; the last: "):
            ask(server, tmp_path / "c", numbered(3), max_retries=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "reason"),
    [(completion("text", "odd_word"), "odd_word"), (completion("t", "length"), "truncated"),
     (completion(" "), "empty"), (completion("", "content_filter"), "refused")],
)  # fmt: skip
def test_replies_that_are_all_unusable_for_one_reason_end_the_run(answer, reason, tmp_path):
    with Server(lambda body: answer) as server:
        for _ in range(2):  # also from the cache
            with pytest.raises(UserError, match=f"first 10 replies .* as .{reason}.*--reply_cache"):
                ask(server, tmp_path / "c", numbered(100), concurrency=2)
        assert len(server.bodies) <= 12
    with Server(scripted("x", answer)) as server:  # some are of use
        assert len(ask(server, tmp_path / "d", numbered(15), concurrency=1)) == 15


def test_a_model_that_thinks_first_has_room_for_it(tmp_path):
    """Endpoints count what a model thinks towards the longest reply."""
    requests = numbered(12, max_tokens=50)

    def answer(body):
        enough = body["max_tokens"] >= 450
        return completion("x" if enough else "<think>", "stop" if enough else "length")

    with Server(answer) as server:
        with pytest.raises(UserError, match=r"'truncated'.* needs --thinking_tokens="):
            ask(server, tmp_path / "c", requests)
        server.bodies.clear()
        settings = LanguageModelConfig(
            "m", server.url, "", thinking_tokens=400, usd_per_million_output=1e6
        )
        with LanguageModel(settings, tmp_path / "c") as model:
            assert model.estimate(requests).max_usd == 12 * 450
            done = list(model.complete((r, r) for r in requests))
            assert model.estimate(requests).answered.total() == 12
        assert Counter(r for r, _ in done) == Counter(requests)
        assert {body["max_tokens"] for body in server.bodies} == {450}
        assert {reply.text for _, reply in done} == {"x"}


def test_a_status_in_the_body_counts_like_the_real_one(tmp_path):
    denied = error_in_body(error={"message": "no such model", "code": "404"})
    with Server(lambda body: denied) as server:
        with pytest.raises(UserError, match="HTTP 404: no such model"):
            ask(server, tmp_path / "c", numbered(50), concurrency=2)
        assert len(server.bodies) <= 2


@pytest.mark.slow
@pytest.mark.parametrize("nonsense", [
    "Infinity", "-Infinity", "NaN", "1e400", "-1000000", "1e300", "9" * 40, '"many"', "null", "[]",
    "true", "0", None,
])  # fmt: skip
def test_a_count_that_counts_nothing_is_charged_as_the_most_it_can_be(nonsense, tmp_path):
    """The reply is kept, so that a run that goes on does not pay again; the books never shrink."""
    (request,) = numbered(1, max_tokens=50)
    body = completion("x", usage=(777, 888)).body
    usage = None if nonsense else b'"usage": -5'
    for count in (b"777", b"888"):
        body = body.replace(count, (nonsense or "0").encode())
    if usage:
        body = body[: body.index(b'"usage"')] + usage + b"}"
    with Server(lambda _: Answer(body)) as server:
        settings = LanguageModelConfig("m", server.url, "", **PRICES)
        with LanguageModel(settings, tmp_path / "c") as model:
            ((_, reply),) = model.complete([(0, request)])
            assert reply.text == "x" and not reply.problem
            assert reply.usage == Usage(request.max_input_tokens, 50)
            assert model.cache.spent_usd == pytest.approx(settings.max_usd(request))
        ask(server, tmp_path / "c", [request])
        assert len(server.bodies) == 1


PRICES = {"usd_per_million_input": 10.0, "usd_per_million_output": 100.0}


def test_counts_under_other_names_and_as_text_are_counts(tmp_path):
    for count in ({"input_tokens": 9, "output_tokens": 4}, {"prompt_tokens": "9",
                                                            "completion_tokens": "4"}):  # fmt: skip
        body = json.loads(completion("x").body) | {"usage": count}
        with Server(lambda _: error_in_body(**body)) as server:  # noqa: B023 (used within the loop)
            ((_, reply),) = ask(server, tmp_path / min(count), numbered(1))
        assert reply.usage == Usage(9, 4)


def test_what_a_model_thought_is_paid_for_where_only_the_total_counts_it(tmp_path):
    counts = {"prompt_tokens": 10, "completion_tokens": 5}
    for total, n_received in ((15, 5), (1015, 1005), (3, 5), (None, 5), ("2015", 2005)):
        body = json.loads(completion("x").body) | {"usage": counts | {"total_tokens": total}}
        with Server(lambda _: error_in_body(**body)) as server:  # noqa: B023 (used within the loop)
            settings = LanguageModelConfig("m", server.url, "", **PRICES)
            with LanguageModel(settings, tmp_path / str(total)) as model:
                ((_, reply),) = model.complete(enumerate(numbered(1)))
                assert reply.usage == Usage(10, n_received)
                assert model.cache.spent_usd == pytest.approx(settings.usd(Usage(10, n_received)))


@pytest.mark.parametrize("host", ["127.0.0.1:1", "nowhere.invalid"])
def test_what_was_never_sent_is_not_paid_for(host, tmp_path):
    settings = LanguageModelConfig("m", f"http://{host}/v1", "", max_retries=1, **PRICES)
    with LanguageModel(settings, tmp_path / "c") as model:
        with pytest.raises(UserError, match="every request failed; the last: no reply: Connect"):
            list(model.complete(enumerate(numbered(2))))
        assert model.cache.spent_usd == 0


def test_two_programs_at_once_share_one_budget(tmp_path):
    with (
        closing(Cache(tmp_path / "c")) as ours,
        closing(Cache(tmp_path / "c")) as other,
    ):
        assert ours.begin("a", 3.0, 10.0) and other.begin("b", 3.0, 10.0)
        assert ours.begin("c", 5.0, 10.0) is None and ours.spent_usd == 6
        paid = other.begin("d", 4.0, 10.0)
        other.end(paid, 1.0)
        number = ours.begin("e", 3.0, 10.0)
        with pytest.raises(UnicodeEncodeError):
            ours.end(number, 2.0, "e", "m", ChatReply("\ud800", "stop"))
        ours.end(number, 2.0, "e", "m", ChatReply("text", "stop"))  # the books are still open
        with closing(Cache(tmp_path / "c")) as third:
            assert ours.spent_usd == 9 == third.spent_usd
        assert other.find("e").text == "text"


@pytest.mark.slow
def test_budget_is_a_hard_stop_that_counts_what_is_in_flight(tmp_path):
    requests = numbered(200, max_tokens=50)
    price = LanguageModelConfig("m", **PRICES)
    worst = max(map(price.max_usd, requests))
    billed = 10 * 10e-6 + 5 * 100e-6
    budget = 40 * billed
    done = []
    with Server(lambda body: completion("x", delay_s=0.002)) as server:
        settings = LanguageModelConfig("m", server.url, "", **PRICES, budget_usd=budget)
        with LanguageModel(settings, tmp_path / "c") as model:
            with pytest.raises(UserError, match=r"--budget_usd=.*raise the budget"):
                for pair in model.complete(enumerate(requests)):
                    done.append(pair)
            assert model.cache.spent_usd == pytest.approx(billed * len(server.bodies))
        n = len(server.bodies)
        assert len(done) == n and budget - worst - billed < billed * n <= budget
        # Another run on the same cache has no budget of its own.
        with pytest.raises(UserError, match="--budget_usd"):
            ask(server, tmp_path / "c", requests[n:], **PRICES, budget_usd=budget)
        assert len(server.bodies) == n


@pytest.mark.slow
def test_a_try_without_an_answer_stays_in_the_books_at_its_maximum(tmp_path, capsys):
    (request,) = numbered(1)
    with Server(lambda body: completion("late", delay_s=3.0)) as server:
        worst = LanguageModelConfig("m", **PRICES).max_usd(request)
        with pytest.raises(UserError, match="--budget_usd"):
            ask(server, tmp_path / "c", [request], timeout_s=0.5, **PRICES, budget_usd=2.5 * worst)
        assert len(server.bodies) == 2
        told = "warning: no reply within --request_timeout_s=0.5; each such try may be billed"
        assert capsys.readouterr().err.count(told) == 1
        with pytest.raises(UserError, match=r"the last: no reply within --request_timeout_s=0\.5"):
            ask(server, tmp_path / "d", [request], timeout_s=0.5, max_retries=0)


def test_estimate_sends_nothing_and_knows_what_is_cached(tmp_path):
    requests = numbered(10, max_tokens=100)
    with Server(successor) as server:
        settings = LanguageModelConfig("m", server.url, "NOT_SET", **PRICES)
        with LanguageModel(settings, tmp_path / "c") as model:
            before = model.estimate(requests + requests)
            assert (before.n_requests, before.answered.total()) == (10, 0)
            assert before.usage.output_tokens == 1000 and not server.bodies
            assert settings.usd(before.usage) < before.max_usd
        ask(server, tmp_path / "c", requests[:4], **PRICES)
        with LanguageModel(settings, tmp_path / "c") as model:
            after = model.estimate(requests)
    assert (after.n_requests, after.answered) == (10, {server.url: 4})
    assert after.usage.output_tokens == 30
    assert after.spent_usd == pytest.approx(4 * (10 * 10e-6 + 5 * 100e-6))
    assert "10 requests, 4 of them answered already" in str(after)


def test_replies_follow_a_model_that_moves_and_say_which_endpoint_gave_them(tmp_path):
    requests = numbered(10)
    with Server(successor) as first, Server(successor) as second:
        ask(first, tmp_path / "c", requests[:4])
        settings = LanguageModelConfig("m", second.url, "")
        with LanguageModel(settings, tmp_path / "c") as model:
            said = str(model.estimate(requests))
            assert f"4 of them answered already (4 of these by {first.url})" in said
            replies = dict(model.complete((r, r) for r in requests))
            assert model.report() == {
                "spent_usd": None, "replies_by_endpoint": {second.url: 6, first.url: 4}
            }  # fmt: skip
            assert "10 of them answered already (4 of these" in str(model.estimate(requests))
        assert (len(first.bodies), len(second.bodies)) == (4, 6)
    assert [replies[r].base_url for r in requests] == [first.url] * 4 + [second.url] * 6


def test_a_cache_of_another_form_is_refused(tmp_path):
    other = sqlite3.connect(tmp_path / "c")
    other.execute("CREATE TABLE replies (key TEXT PRIMARY KEY, text TEXT)")
    other.close()
    with pytest.raises(UserError, match=r"c: not usable as a cache of replies: .*base_url"):
        LanguageModel(LanguageModelConfig("m"), tmp_path / "c")


def test_without_prices_the_cost_is_unknown_and_not_nothing(tmp_path):
    with LanguageModel(LanguageModelConfig("m"), tmp_path / "c") as model:
        said = str(model.estimate(numbered(3)))
    assert "cost unknown (give --usd_per_million_input" in said and " USD" not in said


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refused_key_or_model_stops_at_once_and_shows_no_key(status, tmp_path):
    said = f"key sk-very-secret is wrong {'x' * 460} sk-very-secret"  # it is cut within the second
    with Server(lambda body: failure(status, said)) as server:
        with pytest.raises(UserError, match=rf"HTTP {status}.*\*\*\*") as error:
            ask(server, tmp_path / "c", numbered(50), concurrency=2)
        assert "sk-" not in str(error.value) and len(server.bodies) <= 2


def test_a_key_that_cannot_be_sent_is_not_shown(tmp_path, monkeypatch):
    monkeypatch.setenv("TEST_KEY", " sk-very-secret\n")  # as from a file
    with Server(successor) as server:
        ((_, reply),) = ask(server, tmp_path / "c", numbered(1))
        assert reply.text == "1"
        for key in ("\u201csk-very-secret\u201d", "sk-very\nsecret"):
            monkeypatch.setenv("TEST_KEY", key)
            with pytest.raises(UserError, match=r"TEST_KEY: .* no key has") as error:
                ask(server, tmp_path / "d", numbered(1))
            assert "secret" not in str(error.value)


def test_half_surrogates_in_a_request_are_sent_as_escapes(tmp_path):
    with Server(lambda body: body["messages"][1]["content"]) as server:
        ((_, reply),) = ask(server, tmp_path / "c", [ChatRequest.of("s", "a\ud800")])
    assert reply.text == "a\\ud800"


def test_an_error_status_says_what_its_body_says(tmp_path):
    for body in (b'{"error": "too long"}', b'{"detail": [{"msg": "too long"}]}', b"too long"):
        with (
            Server(lambda _: Answer(body, 400)) as server,  # noqa: B023 (used within the loop)
            pytest.raises(UserError, match=r"HTTP 400: too long$"),
        ):
            ask(server, tmp_path / "c", numbered(1))


def test_stops_when_nothing_succeeds(tmp_path):
    with Server(lambda body: failure(400, "no such parameter")) as server:
        with pytest.raises(UserError, match=r"10 requests in a row failed.*no such parameter"):
            ask(server, tmp_path / "c", numbered(100), concurrency=2)
        assert len(server.bodies) <= 12


def test_wrong_settings_name_their_flag(tmp_path, monkeypatch):
    for settings, flag in [
        ({"model": ""}, "--model"),
        ({"base_url": "localhost:8000"}, "--base_url"),
        ({"base_url": "http://localhost:80000/v1"}, "--base_url"),
        ({"base_url": "http://[::1/v1"}, "--base_url"),
        ({"base_url": "http://local host/v1"}, "--base_url"),
        ({"budget_usd": 1.0}, "--usd_per_million_input"),
        ({"concurrency": 0}, "--concurrency"),
        ({"thinking_tokens": -1}, "--thinking_tokens"),
        ({"timeout_s": 0}, "--request_timeout_s"),
        ({"timeout_s": float("nan")}, "--request_timeout_s"),
        ({"usd_per_million_input": float("nan")}, "--usd_per_million_input"),
    ]:
        with pytest.raises(UserError, match=flag):
            LanguageModelConfig(**{"model": "m"} | settings)
    (tmp_path / "text").write_text("This is no database, though it is long enough for one." * 20)
    with pytest.raises(UserError, match="text"):
        LanguageModel(LanguageModelConfig("m"), tmp_path / "text")
    unset = LanguageModel(LanguageModelConfig("m", api_key_env="NOT_SET"), tmp_path / "c")
    with unset, pytest.raises(UserError, match="NOT_SET"):
        list(unset.complete(enumerate(numbered(1))))
    monkeypatch.setitem(sys.modules, "openai", None)
    with (
        LanguageModel(LanguageModelConfig("m", api_key_env=""), tmp_path / "c") as model,
        pytest.raises(UserError, match=r"phi1_jax\[api\]"),
    ):
        list(model.complete(enumerate(numbered(1))))


def test_a_caller_that_stops_early_leaves_nothing_running(tmp_path):
    with Server(lambda body: completion("x", delay_s=0.05)) as server:
        settings = LanguageModelConfig("m", server.url, "")
        with LanguageModel(settings, tmp_path / "c") as model:
            replies = model.complete(enumerate(numbered(50)))
            next(replies)
            replies.close()
    assert not [t for t in threading.enumerate() if "run_forever" in t.name]


CLIENT = """
import sys
from pathlib import Path
from phi1_jax.llm_client import LanguageModel, LanguageModelConfig, ChatRequest
requests = [ChatRequest.of("Add.", f"{i} + 1") for i in range(150)]
model = LanguageModel(LanguageModelConfig("m", sys.argv[1], "", concurrency=8), Path(sys.argv[2]))
for _, reply in model.complete(enumerate(requests)):
    print(reply.text, flush=True)
"""


@pytest.mark.slow
def test_killed_and_run_again_every_request_is_done_once(tmp_path):
    """Three SIGKILLs. Only what was in flight may reach the endpoint twice, under the same key."""
    cache = tmp_path / "c"
    command = [sys.executable, "-c", CLIENT]
    kills = 0
    with Server(lambda body: completion(successor(body), delay_s=0.01)) as server:
        while True:
            process = subprocess.Popen(
                [*command, server.url, str(cache)],
                stdout=subprocess.PIPE, text=True, cwd=REPOSITORY,
                env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            )  # fmt: skip
            if kills == 3:
                out, _ = process.communicate(timeout=60)
                break
            already = len(server.bodies)
            while len(server.bodies) < already + 30:
                assert process.stdout.readline() or process.poll() is None
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += 1
        assert process.returncode == 0
        assert sorted(map(int, out.split())) == list(range(1, 151))
        sent = Counter(server.keys)
        assert len(sent) == 150
        assert sum(sent.values()) - 150 <= 3 * 8
        kept = sqlite3.connect(cache)
        rows = kept.execute("SELECT COUNT(*), COUNT(DISTINCT key) FROM replies").fetchone()
        (tries,) = kept.execute("SELECT COUNT(*) FROM tries").fetchone()
        kept.close()
    assert rows == (150, 150) and tries >= sum(sent.values())
