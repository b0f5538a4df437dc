"""Asks an OpenAI-compatible endpoint for many completions at once, each paid for once."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sized
from pathlib import Path
from typing import Any, TypeVar

from phi1_jax.errors import UserError
from phi1_jax.llm_client.cache import Cache
from phi1_jax.llm_client.records import ChatReply, ChatRequest, Estimate, LanguageModelConfig, Usage
from phi1_jax.llm_client.sender import Sender

# So many failures in a row, or first replies that are all unusable for one reason: the settings
# are wrong or the endpoint is down, and going on would only cost money.
MAX_FAILURES_IN_A_ROW = 10
T = TypeVar("T")


class UnusableReplies:
    """Ends a run of which the first replies are all set aside for the same reason."""

    def __init__(self) -> None:
        self._n_replies = 0
        self._reason = ""  # of all until now; "" once they differ, or one was of use

    def note(self, reason: str, text: str) -> None:
        """Counts one reply; `reason` is "" if it was of use.

        Raises:
          UserError: the first `MAX_FAILURES_IN_A_ROW` replies were all set aside for this reason.
        """
        self._reason = reason if reason == self._reason or not self._n_replies else ""
        self._n_replies += 1
        if self._reason and self._n_replies == MAX_FAILURES_IN_A_ROW:
            start = " ".join(text.split())[:200]
            thinks = "; a model that thinks first needs --thinking_tokens=8192, say"
            raise UserError(
                f"stopped: the first {MAX_FAILURES_IN_A_ROW} replies were all set aside as "
                f"{reason!r}; the last begins: {start!r}. They stay in the reply cache; another "
                f"--reply_cache asks anew{thinks if reason == 'truncated' else ''}"
            )


class LanguageModel:
    """Sends requests, each paid for once: replies are cached, expenses bounded by the budget.

    A process that dies loses at most the replies in flight; they are asked again, with the same
    `Idempotency-Key` (the cache's key), and their first try stays in the books at its maximum cost.
    `openai` and the key are needed only when something has to be sent.
    """

    def __init__(self, settings: LanguageModelConfig, cache: Path):
        self.settings = settings
        self.cache = Cache(Path(cache))
        self._answered: Counter[str] = Counter()

    def __enter__(self) -> "LanguageModel":
        return self

    def __exit__(self, *_: object) -> None:
        self.cache.close()

    def estimate(self, requests: Iterable[ChatRequest]) -> Estimate:
        """What `complete` would take for these requests; sends nothing."""
        mean = self.cache.mean_output_tokens(self.settings.model)
        seen: set[str] = set()
        answered: Counter[str] = Counter()
        input_tokens = 0
        output_tokens = max_usd = 0.0
        for request in map(self.settings.as_sent, requests):
            if (key := request.key(self.settings.model)) in seen:
                continue
            seen.add(key)
            if reply := self.cache.find(key):
                answered[reply.base_url] += 1
                continue
            # English prose and code have about 4 bytes a token.
            input_tokens += request.max_input_tokens // 4
            output_tokens += request.max_tokens if mean is None else mean
            max_usd += self.settings.max_usd(request)
        usage = Usage(input_tokens, round(output_tokens))
        return Estimate(self.settings, len(seen), answered, usage, max_usd, self.cache.spent_usd)

    def complete(
        self, requests: Iterable[tuple[T, ChatRequest]], progress: str = ""
    ) -> Iterator[tuple[T, ChatReply]]:
        """Yields what each request came with, and its reply, as they finish.

        `requests` are drawn as room allows; equal ones are sent once. Requests that fail after
        all tries yield a reply with finish_reason "error", which is not cached.

        Args:
          requests: each with anything that tells whose it is.
          progress: label of a progress bar; "" for none.
        Raises:
          UserError: no key, no `openai`, the endpoint refuses the key or the model, every request
            or ten in a row failed, the first ten replies are unusable for one reason (all
            truncated, say), or the next request might exceed the budget. What was answered until
            then is yielded first and stays in the cache.
        """
        from tqdm import tqdm

        total = len(requests) if isinstance(requests, Sized) else None
        failure, n_answered = "", 0
        with tqdm(desc=progress, total=total, disable=not progress, mininterval=1) as bar:
            for whose, reply in self._complete(requests):
                bar.update()
                if reply.failed:
                    failure = reply.text
                else:
                    n_answered += 1
                if self.settings.priced:
                    bar.set_postfix_str(f"{self.cache.spent_usd:.2f} USD", refresh=False)
                if reply.base_url:
                    self._answered[reply.base_url] += 1
                yield whose, reply
        if failure and not n_answered:
            raise UserError(
                f"--base_url={self.settings.base_url}: every request failed; the last: {failure}"
            )

    def report(self) -> dict[str, Any]:
        """For a stage's report: what the cache's runs cost, who gave the replies of this one."""
        spent_usd = round(self.cache.spent_usd, 4) if self.settings.priced else None
        return {"spent_usd": spent_usd, "replies_by_endpoint": dict(self._answered.most_common())}

    def _complete(self, requests: Iterable[tuple[T, ChatRequest]]) -> Iterator[tuple[T, ChatReply]]:
        # By key; equal requests share one sending.
        waiting: dict[str, list[T]] = defaultdict(list)
        sender: Sender | None = None
        failures, unusable = 0, UnusableReplies()

        def settle() -> Iterator[tuple[T, ChatReply]]:
            nonlocal failures
            assert sender is not None
            key, future = sender.done.get()
            answered = waiting.pop(key)
            reply = future.result()
            failures = failures + 1 if reply.failed else 0
            yield from ((whose, reply) for whose in answered)
            if not reply.failed:
                unusable.note(reply.problem, reply.text)
            if failures >= MAX_FAILURES_IN_A_ROW:
                raise UserError(
                    f"--base_url={self.settings.base_url}: {failures} requests in a row failed; "
                    f"the last: {reply.text}"
                )

        try:
            for whose, request in requests:
                request = self.settings.as_sent(request)
                key = request.key(self.settings.model)
                if key in waiting:
                    waiting[key].append(whose)
                    continue
                if reply := self.cache.find(key):
                    yield whose, reply
                    unusable.note(reply.problem, reply.text)
                    continue
                sender = sender or Sender(self.settings, self.cache)
                while len(waiting) >= self.settings.concurrency:
                    yield from settle()
                while not sender.send(key, request):
                    if not waiting:
                        raise sender.over_budget(request)
                    yield from settle()
                waiting[key].append(whose)
            while waiting:
                yield from settle()
        except UserError:
            while waiting and sender:  # what is in flight is paid for
                key, future = sender.done.get()
                answered = waiting.pop(key)
                if not future.exception():
                    yield from ((whose, future.result()) for whose in answered)
            raise
        finally:
            if sender:
                sender.close()
