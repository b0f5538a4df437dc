"""The knobs of the offline teacher."""

from dataclasses import dataclass

from phi1_jax.errors import UserError
from phi1_jax.synthesis.offline_teacher.chains import Steps, catalog

# What the default settings use: about as much as a model of a million parameters learns to chain
# from a few million tokens. The rest of the catalog is for larger models.
CORE = tuple(
    """
    square_it double_it add_to_it times_it remainder_it digit_sum_it to_text list_digits count_up
    is_even is_above halve_it square_each double_each halve_each negate_each absolute_each
    add_to_each times_each remainder_each truncate_each to_strings keep_even keep_odd keep_positive
    keep_negative keep_above keep_below keep_multiples running_sums neighbour_gaps append_number
    sum_of product_of largest smallest mean_down count_equal index_of_largest any_negative contains
    join_numbers chunk reverse sort_up sort_down first_k last_k skip_k drop_last every_other unique
    length first_item last_item has_duplicates upper remove_vowels remove_spaces count_vowels
    count_letter is_palindrome split_words characters count_characters upper_each reverse_each
    first_letters lengths keep_longer keep_with_letter keep_starting sort_by_length join_spaces
    longest count_words length_by_word keys_of values_of total_of top_key keys_above sums_by_key
    merge_lists flatten row_sums row_tops transpose grand_total
    """.split()  # noqa: SIM905
)
STYLES = ("comprehension", "loop", "helper")


@dataclass(frozen=True)
class TeacherSettings:
    """What the offline teacher writes; every choice here is ours, none is the paper's.

    Attributes:
      lengths: weights of tasks of 1, 2 and 3 steps.
      styles: weights of solutions in each of STYLES.
      kinds: the kinds (keys of KINDS) that inputs, results and what lies between may have; None:
        all. True and False are always allowed.
      steps: names of the steps that may occur; None: the whole catalog.
      n_phrasings: how many phrasings of each step are in use.
      nested_share: how often a task is said as "Return the sum of the squares of nums."
      two_examples_share: how often a docstring has a second example.
    Raises:
      UserError: a field out of range; the message names it.
    """

    lengths: tuple[float, ...] = (0.25, 0.55, 0.20)
    styles: tuple[float, ...] = (0.70, 0.15, 0.15)
    kinds: tuple[str, ...] | None = None
    steps: tuple[str, ...] | None = CORE
    n_phrasings: int = 2
    nested_share: float = 0.05
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
    def allowed(self) -> Steps:
        """The steps that may occur."""
        return catalog(self.kinds, self.steps)
