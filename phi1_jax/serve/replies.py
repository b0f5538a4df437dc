"""The parts of a reply, in the form of OpenAI's completions."""

from collections.abc import Sequence
from typing import Any

from phi1_jax.generate.batch import Row, named
from phi1_jax.generate.generator import Progress
from phi1_jax.serve.requests import CompletionRequest
from phi1_jax.tokens.tokenizer import END_OF_TEXT, Tokenizer

_FINISH = {"eos": "stop", "stop": "stop", "length": "length"}


class ChoiceWriter:
    """Writes one completion, in as many parts as it is told of: one, if it is not streamed."""

    def __init__(
        self, index: int, row: Row, asked: CompletionRequest, tokenizer: Tokenizer
    ) -> None:
        self._index, self._row, self._asked, self._tokenizer = index, row, asked, tokenizer
        self._n_chars = self._n_tokens = 0  # of the completion, written so far
        self._is_first = True
        self._offset, self._pending = 0, list[int]()

    def part(self, progress: Progress) -> dict[str, Any]:
        """What is new since the last part; together they are the choice."""
        text, row = progress.text[self._n_chars :], self._row
        logprobs: dict[str, list[Any]] | None = None
        if self._asked.logprobs is not None:
            logprobs = {
                key: [] for key in ("tokens", "token_logprobs", "top_logprobs", "text_offset")
            }
        if self._asked.echo and self._is_first:
            text = self._prompt() + text
            if logprobs is not None and (scores := row.prompt_scores):
                self._add(
                    logprobs,
                    row.prompt_ids,
                    [None, *scores.logprobs_bt.tolist()],
                    [[], *named(scores.top_ids_btk, scores.top_logprobs_btk)],
                    special=True,
                )
        if logprobs is not None:
            new = slice(self._n_tokens, progress.n_tokens)
            self._add(logprobs, row.ids[new], row.logprobs[new], row.top[new], special=False)
        self._n_chars, self._n_tokens = len(progress.text), progress.n_tokens
        self._is_first = False
        done = progress.completion
        return {
            "index": self._index,
            "text": text,
            "logprobs": logprobs,
            "finish_reason": _FINISH[done.finish_reason] if done else None,
        }

    def _prompt(self) -> str:
        prompt = self._asked.prompts[self._index // self._asked.n]
        return prompt if isinstance(prompt, str) else self._tokenizer.decode(prompt, special=True)

    def _add(
        self,
        logprobs: dict[str, list[Any]],
        ids: Sequence[int],
        chosen: Sequence[float | None],
        top: Sequence[Sequence[tuple[int, float]]],
        special: bool,
    ) -> None:
        """Adds tokens, with their own log-probabilities and those of the likeliest instead.

        Args:
          special: the text shows special tokens, as a prompt's does and a completion's does not.
        """
        for place, (token, logprob) in enumerate(zip(ids, chosen, strict=True)):
            others: dict[str, float] | None = None
            if self._asked.logprobs and logprob is not None:
                others = {}  # best first, and the chosen token too; of equal names the likelier
                for other, value in (*top[place][: self._asked.logprobs], (token, logprob)):
                    others.setdefault(self._name(other), value)
            logprobs["tokens"].append(self._name(token))
            logprobs["token_logprobs"].append(logprob)
            logprobs["top_logprobs"].append(others)
            logprobs["text_offset"].append(self._offset)
            # A character can take several tokens; the text has it when it is whole.
            self._pending.append(token)
            text = self._tokenizer.decode(self._pending, special)
            if not text.endswith("\ufffd") or len(self._pending) == 4:
                self._offset, self._pending = self._offset + len(text), []

    def _name(self, token: int) -> str:
        """A token's text, or its id if it has none by itself (a part of a character)."""
        if token == self._tokenizer.eot_id:
            return END_OF_TEXT
        text = self._tokenizer.decode([token], special=True)
        return f"token_id:{token}" if "\ufffd" in text else text
