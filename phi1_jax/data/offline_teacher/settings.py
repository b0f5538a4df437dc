"""The knobs of the offline teacher."""

from dataclasses import dataclass, field

STYLES = ("comprehension", "loop", "helper")


@dataclass(frozen=True)
class TeacherSettings:
    """What the offline teacher writes; every choice here is ours, none is the paper's.

    Attributes:
      lengths: number of steps in a task -> weight.
      styles: style of the solution -> weight.
      kinds: the kinds (keys of KINDS) that a task's input may have; None: all.
      steps: names of the steps that may occur; None: all.
      n_phrasings: how many phrasings of each step are in use.
      nested_share: how often a task is said as "Return the sum of the squares of nums."
      two_examples_share: how often a docstring has a second example.
    """

    lengths: dict[int, float] = field(default_factory=lambda: {1: 0.25, 2: 0.55, 3: 0.20})
    styles: dict[str, float] = field(
        default_factory=lambda: {"comprehension": 0.7, "loop": 0.15, "helper": 0.15}
    )
    kinds: frozenset[str] | None = None
    steps: frozenset[str] | None = None
    n_phrasings: int = 3
    nested_share: float = 0.15
    two_examples_share: float = 0.15
