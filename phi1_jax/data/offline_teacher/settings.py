"""The knobs of the offline teacher."""

from dataclasses import dataclass

from phi1_jax.data.offline_teacher.chains import catalog
from phi1_jax.data.offline_teacher.primitives import Primitive
from phi1_jax.errors import UserError

STYLES = ("comprehension", "loop", "helper")


@dataclass(frozen=True)
class TeacherSettings:
    """What the offline teacher writes; every choice here is ours, none is the paper's.

    Attributes:
      lengths: weights of tasks of 1, 2 and 3 steps.
      styles: weights of solutions in each of STYLES.
      kinds: the kinds (keys of KINDS) that inputs, results and what lies between may have; None:
        all. True and False are always allowed.
      steps: names of the steps that may occur; None: all.
      n_phrasings: how many phrasings of each step are in use.
      nested_share: how often a task is said as "Return the sum of the squares of nums."
      two_examples_share: how often a docstring has a second example.
    Raises:
      UserError: a field out of range; the message names it.
    """

    lengths: tuple[float, ...] = (0.25, 0.55, 0.20)
    styles: tuple[float, ...] = (0.70, 0.15, 0.15)
    kinds: tuple[str, ...] | None = None
    steps: tuple[str, ...] | None = None
    n_phrasings: int = 3
    nested_share: float = 0.15
    two_examples_share: float = 0.15

    def __post_init__(self) -> None:
        for name, weights in (("lengths", self.lengths), ("styles", self.styles)):
            if len(weights) != 3 or min(weights) < 0 or sum(weights) <= 0:
                raise UserError(f"{name}={weights}: give three weights, none negative, not all 0")
        for name in ("nested_share", "two_examples_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name}={getattr(self, name)}: give a share from 0 to 1")
        if self.n_phrasings < 1:
            raise UserError(f"n_phrasings={self.n_phrasings}: at least 1 is needed")
        _ = self.allowed

    @property
    def allowed(self) -> dict[str, list[Primitive]]:
        """The steps that may occur, by name."""
        return catalog(self.kinds, self.steps)
