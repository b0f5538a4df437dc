"""A teacher behind an OpenAI-compatible endpoint."""

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator

from phi1_jax.llm_client import ChatRequest, LanguageModel
from phi1_jax.synthesis.teacher import TeacherReply, TeacherRequest

# Longer replies are cut by the endpoint, and set aside.
MAX_TOKENS = {"textbook": 2048, "exercise": 768}


class APITeacher:
    """Has a language model write; replies that it did not finish or refused carry a `problem`.

    Attributes:
      name: "api:" and the model's name; it is noted with every document.
      temperature: of sampling.
    """

    def __init__(self, model: LanguageModel, temperature: float = 1.0):
        self.name = f"api:{model.settings.model}"
        self.temperature = temperature
        self._model = model

    def completion(self, request: TeacherRequest) -> ChatRequest:
        """What the endpoint is asked."""
        return ChatRequest(
            tuple(request.messages), self.temperature, MAX_TOKENS[request.kind], request.seed
        )

    def replies(self, requests: Iterable[TeacherRequest]) -> Iterator[TeacherReply]:
        """One reply a request, in order, so that the same replies make the same corpus.

        Raises:
          UserError: see `LanguageModel.complete`.
        """
        asked: defaultdict[ChatRequest, deque[tuple[int, TeacherRequest]]] = defaultdict(deque)
        arrived: dict[int, TeacherReply] = {}
        following = 0

        def completions() -> Iterator[ChatRequest]:
            for number, request in enumerate(requests):
                completion = self.completion(request)
                asked[completion].append((number, request))
                yield completion

        for completion, reply in self._model.complete(completions()):
            number, request = asked[completion].popleft()
            if not asked[completion]:
                del asked[completion]
            arrived[number] = TeacherReply(request, reply.text, problem=reply.problem)
            while following in arrived:
                yield arrived.pop(following)
                following += 1
