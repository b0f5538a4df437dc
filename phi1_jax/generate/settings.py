"""What is asked of sampling. Without JAX: scripts make flags of it, and --help must be quick."""

from dataclasses import dataclass
from typing import NamedTuple

from phi1_jax.bounds import bounded, check_bounds
from phi1_jax.errors import UserError


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen. Temperature 0 is greedy, and then top-k and top-p do nothing.

    The repetition penalty (Keskar et al. 2019, as Hugging Face has it) divides the positive and
    multiplies the negative logits of every token that the prompt or the completion holds already.
    Then, as in OpenAI's interface, each time that the completion holds a token costs it
    `frequency_penalty`, and that it holds it at all `presence_penalty`. Last, no token that would
    complete an n-gram which prompt and completion hold already (`no_repeat_ngram_size`).
    """

    temperature: float = bounded(0.0, ge=0, le=1e6)  # 0 is greedy
    top_k: int = bounded(0, ge=0, lt=2**24)  # draw from the best so many; 0: from all
    top_p: float = bounded(1.0, gt=0, le=1)  # draw from the fewest that hold this share
    repetition_penalty: float = bounded(1.0, ge=1e-10, le=1e10)  # above 1 avoids tokens seen before
    frequency_penalty: float = bounded(0.0, ge=-1e10, le=1e10)  # cost of each use of a token
    presence_penalty: float = bounded(0.0, ge=-1e10, le=1e10)  # cost of a token used at all
    no_repeat_ngram_size: int = bounded(0, ge=0)  # no n-gram of this size twice; 0: repeat freely

    def __post_init__(self) -> None:
        # Scores stay finite in float32 within these limits, also when all are at work.
        check_bounds(self)
        if 0 < self.temperature < 1e-6:
            raise UserError(f"temperature={self.temperature} must be 0 (greedy) or at least 1e-6")

    @property
    def rule(self) -> "Rule":
        """What must be compiled in."""
        drawn = self.temperature > 0
        return Rule(
            drawn,
            drawn and self.top_k > 0,
            drawn and self.top_p < 1,
            self.repetition_penalty != 1,
            (self.frequency_penalty, self.presence_penalty) != (0, 0),
            self.no_repeat_ngram_size,
        )


class Rule(NamedTuple):
    """The parts of a `Sampling` that compiled code depends on; its numbers are arguments.

    Rows under different rules decode together under one that has the parts of all: a part that a
    row did not ask for leaves it as it is, except for `ngram`, which all rows share.
    """

    drawn: bool
    top_k: bool
    top_p: bool
    penalised: bool
    counted: bool = False
    ngram: int = 0
