"""What each step of the offline teacher does, defined a second time and in other ways."""

import math
import operator
import string
from collections import Counter
from functools import reduce
from itertools import accumulate, pairwise
from itertools import chain as itertools_chain

from reference_more_steps import MORE

VOWELS = set("aeiouAEIOU")


def each(function):
    """`function` over the elements of a list or text, or over the values of a dict."""

    def over(x, k):
        if isinstance(x, dict):
            return {key: function(value, k) for key, value in x.items()}
        results = [function(e, k) for e in x]
        return "".join(results) if isinstance(x, str) else results

    return over


def only(test):
    def over(x, k):
        if isinstance(x, dict):
            return {key: value for key, value in x.items() if test(value, k)}
        kept = list(filter(lambda e: test(e, k), x))
        return "".join(kept) if isinstance(x, str) else kept

    return over


chain_all = itertools_chain.from_iterable


def add_up(x):
    return reduce(operator.add, x, 0)


def tally(x):
    return dict(Counter(x))


def nothing_or(best, x, empty):
    return best(x) if len(x) else empty


def first_best(x, better):
    best = None
    for e in x:
        if best is None or better(len(e), len(best)):
            best = e
    return best


def empty_element(x):
    """What stands for nothing in a list whose elements cannot be seen."""
    return {"ints": 0, "strs": "", "rows": []}[x]


REFERENCE = {
    "square_it": lambda x, k: math.prod((x, x)),
    "double_it": lambda x, k: x + x,
    "negate_it": lambda x, k: 0 - x,
    "absolute_it": lambda x, k: x if x > 0 else 0 - x,
    "add_to_it": lambda x, k: sum((x, k)),
    "times_it": lambda x, k: sum([x] * k),
    "remainder_it": lambda x, k: x - k * math.floor(x / k),
    "at_most_it": lambda x, k: sorted((x, k))[0],
    "digit_sum_it": lambda x, k: sum(map(int, str(x).lstrip("-"))),
    "truncate_it": lambda x, k: math.trunc(x),
    "halve_it": lambda x, k: x * 0.5,
    "to_text": lambda x, k: f"{x}",
    "list_digits": lambda x, k: list(map(int, str(x).lstrip("-"))),
    "count_up": lambda x, k: [i + 1 for i in range(max(x, 0))],
    "divisors": lambda x, k: [d for d in range(1, x + 1) if divmod(x, d)[1] == 0],
    "is_even": lambda x, k: divmod(x, 2)[1] == 0,
    "is_above": lambda x, k: not x <= k,
    "square_each": each(lambda e, k: e**2),
    "double_each": each(lambda e, k: e + e),
    "halve_each": each(lambda e, k: math.floor(e / 2)),
    "negate_each": each(lambda e, k: 0 - e),
    "absolute_each": each(lambda e, k: max(e, -e)),
    "add_to_each": each(lambda e, k: k + e),
    "subtract_from_each": each(lambda e, k: e + -k),
    "times_each": each(lambda e, k: sum([e] * k)),
    "remainder_each": each(lambda e, k: e - k * math.floor(e / k)),
    "last_digits": each(lambda e, k: int(str(e)[-1])),
    "cap_each": each(lambda e, k: k if e > k else e),
    "zero_negatives": each(lambda e, k: 0 if e < 0 else e),
    "truncate_each": each(lambda e, k: math.trunc(e)),
    "divide_each": each(lambda e, k: e * 0.5),
    "to_strings": each(lambda e, k: f"{e}"),
    "name_parity": each(lambda e, k: ("even", "odd")[e % 2]),
    "keep_even": only(lambda e, k: not e % 2),
    "keep_odd": only(lambda e, k: e % 2),
    "keep_positive": only(lambda e, k: not e <= 0),
    "keep_negative": only(lambda e, k: not e >= 0),
    "keep_above": only(lambda e, k: not e <= k),
    "keep_below": only(lambda e, k: not e >= k),
    "keep_multiples": only(lambda e, k: (e / k).is_integer()),
    "drop_equal": only(lambda e, k: e - k),
    "running_sums": lambda x, k: list(accumulate(x)),
    "neighbour_gaps": lambda x, k: [b - a for a, b in pairwise(x)],
    "neighbour_sums": lambda x, k: [sum(p) for p in pairwise(x)],
    "times_index": lambda x, k: [x[i] * i for i in range(len(x))],
    "append_number": lambda x, k: [*x, k],
    "sum_of": lambda x, k: add_up(x),
    "product_of": lambda x, k: math.prod(x),
    "largest": lambda x, k: nothing_or(lambda v: sorted(v)[-1], x, 0),
    "smallest": lambda x, k: nothing_or(lambda v: sorted(v)[0], x, 0),
    "spread": lambda x, k: nothing_or(lambda v: sorted(v)[-1] - sorted(v)[0], x, 0),
    "mean_down": lambda x, k: nothing_or(lambda v: math.floor(sum(v) / len(v)), x, 0),
    "count_equal": lambda x, k: len([e for e in x if e == k]),
    "index_of_largest": lambda x, k: nothing_or(
        lambda v: max(range(len(v)), key=lambda i: (v[i], -i)), x, -1
    ),
    "any_negative": lambda x, k: nothing_or(lambda v: sorted(v)[0] < 0, x, False),
    "all_above": lambda x, k: not [e for e in x if e <= k],
    "contains": lambda x, k: bool([e for e in x if e == k]),
    "join_numbers": lambda x, k: "-".join(map(str, x)),
    "chunk": lambda x, k: [x[i * k : i * k + k] for i in range(math.ceil(len(x) / k))],
    "prefixes": lambda x, k: [x[:n] for n in range(1, len(x) + 1)],
    "split_parity": lambda x, k: {
        "even": list(filter(lambda e: not e % 2, x)),
        "odd": list(filter(lambda e: e % 2, x)),
    },
    "count_numbers": lambda x, k: tally(map(str, x)),
    "reverse": lambda x, k: (
        type(x)() if not x else "".join(reversed(x)) if isinstance(x, str) else list(reversed(x))
    ),
    "sort_up": lambda x, k: sorted(x),
    "sort_down": lambda x, k: list(reversed(sorted(x))),
    "first_k": lambda x, k: x[: min(k, len(x))],
    "last_k": lambda x, k: x[max(len(x) - k, 0) :],
    "skip_k": lambda x, k: x[min(k, len(x)) :],
    "drop_last": lambda x, k: x[: max(len(x) - 1, 0)],
    "every_other": lambda x, k: (
        type(x)().join(x[i] for i in range(0, len(x), 2))
        if isinstance(x, str)
        else [x[i] for i in range(0, len(x), 2)]
    ),
    "rotate": lambda x, k: (x + x)[1 : len(x) + 1],
    "mirror": lambda x, k: x + ("".join(reversed(x)) if isinstance(x, str) else list(reversed(x))),
    "unique": lambda x, k: [e for i, e in enumerate(x) if e not in x[:i]],
    "length": lambda x, k: sum(1 for _ in x),
    "has_duplicates": lambda x, k: any(n > 1 for n in Counter(x).values()),
    "is_sorted": lambda x, k: all(a <= b for a, b in pairwise(x)),
    "upper": each(lambda e, k: e.upper()),
    "swap_case": each(lambda e, k: e.lower() if e.isupper() else e.upper()),
    "remove_spaces": only(lambda e, k: e != " "),
    "dash_spaces": each(lambda e, k: "-" if e == " " else e),
    "remove_vowels": only(lambda e, k: e not in VOWELS),
    "keep_vowels": only(lambda e, k: e in VOWELS),
    "keep_letters": only(lambda e, k: e in string.ascii_letters),
    "drop_letter": lambda x, k: x.replace(k, ""),
    "double_letters": each(lambda e, k: e + e),
    "in_brackets": lambda x, k: f"({x})",
    "repeat_text": lambda x, k: "".join([x] * k),
    "count_vowels": lambda x, k: len([e for e in x if e in VOWELS]),
    "count_letter": lambda x, k: len(x.split(k)) - 1,
    "is_palindrome": lambda x, k: list(x) == list(reversed(x)),
    "starts_with": lambda x, k: x[: len(k)] == k,
    "split_words": lambda x, k: [w for w in x.split(" ") if w],
    "characters": lambda x, k: [*x],
    "count_characters": lambda x, k: tally(x),
    "letter_indexes": lambda x, k: [i for i in range(len(x)) if x[i] == k],
    "upper_each": each(lambda e, k: "".join(map(str.upper, e))),
    "capitalize_each": each(lambda e, k: e[:1].upper() + e[1:].lower()),
    "reverse_each": each(lambda e, k: REFERENCE["reverse"](e, k)),
    "first_letters": each(lambda e, k: e[0] if e else ""),
    "cut_each": each(lambda e, k: e[: min(k, len(e))]),
    "mark_each": each(lambda e, k: f"{e}!"),
    "lengths": each(lambda e, k: sum(1 for _ in e)),
    "keep_longer": only(lambda e, k: e[k:]),
    "keep_shorter": only(lambda e, k: not e[k - 1 :]),
    "keep_with_letter": only(lambda e, k: e.count(k)),
    "keep_starting": only(lambda e, k: e[:1] == k),
    "drop_empty": only(lambda e, k: len(e) > 0),
    "keep_palindromes": only(lambda e, k: list(e) == list(reversed(e))),
    "sort_by_length": lambda x, k: [e for n in range(100) for e in x if len(e) == n],
    "join_spaces": lambda x, k: "".join(f"{e} " for e in x)[:-1],
    "join_commas": lambda x, k: "".join(f"{e}," for e in x)[:-1],
    "join_all": lambda x, k: "".join(x),
    "longest": lambda x, k: first_best(x, lambda a, b: a > b),
    "shortest": lambda x, k: first_best(x, lambda a, b: a < b),
    "total_length": lambda x, k: sum(map(len, x)),
    "any_longer": lambda x, k: bool([e for e in x if e[k:]]),
    "count_words": lambda x, k: tally(x),
    "length_by_word": lambda x, k: dict(zip(x, map(len, x), strict=True)),
    "keys_of": lambda x, k: [key for key, _ in x.items()],
    "values_of": lambda x, k: [value for _, value in x.items()],
    "total_of": lambda x, k: sum(value for _, value in x.items()),
    "top_value": lambda x, k: nothing_or(lambda v: sorted(v.values())[-1], x, 0),
    "top_key": lambda x, k: nothing_or(
        lambda v: next(key for key in v if v[key] == sorted(v.values())[-1]), x, ""
    ),
    "keys_above": lambda x, k: list(filter(lambda key: not x[key] <= k, x)),
    "upper_keys": lambda x, k: dict(zip(map(str.upper, x), x.values(), strict=True)),
    "short_keys": lambda x, k: dict(filter(lambda item: not item[0][k - 1 :], x.items())),
    "sums_by_key": each(lambda e, k: add_up(e)),
    "sizes_by_key": each(lambda e, k: sum(1 for _ in e)),
    "tops_by_key": each(lambda e, k: nothing_or(lambda v: sorted(v)[-1], e, 0)),
    "sort_lists": each(lambda e, k: [n for n in range(-500, 500) for m in e if m == n]),
    "merge_lists": lambda x, k: list(chain_all(x.values())),
    "lists_of": lambda x, k: [value for _, value in x.items()],
    "flatten": lambda x, k: list(chain_all(x)),
    "row_sums": each(lambda e, k: add_up(e)),
    "row_tops": each(lambda e, k: nothing_or(lambda v: sorted(v)[-1], e, 0)),
    "sort_rows": each(lambda e, k: [n for n in range(-500, 500) for m in e if m == n]),
    "double_cells": each(lambda e, k: [n + n for n in e]),
    "transpose": lambda x, k: [
        [row[i] for row in x] for i in range(min((len(row) for row in x), default=0))
    ],
    "first_column": lambda x, k: [row[0] for row in x if len(row)],
    "grand_total": lambda x, k: add_up(chain_all(x)),
}


def reference(step, value, constant):
    if step.name in ("first_item", "last_item"):
        place = 0 if step.name == "first_item" else -1
        return value[place] if value else empty_element(step.source)
    if step.name in ("longest", "shortest") and not value:
        return empty_element(step.source)
    return (REFERENCE | MORE)[step.name](value, constant)
