"""What the steps of number theory, search, parsing, dates, objects and matrices do, otherwise."""

import datetime
import heapq
import math
import operator
import statistics
import string
from collections import Counter, deque
from fractions import Fraction
from functools import reduce
from itertools import accumulate, chain, groupby, islice, pairwise, product

DIGITS = string.digits
SMALL = string.ascii_lowercase


def digits(x):
    return [DIGITS.index(d) for d in str(x).lstrip("-")]


def in_base(x, base):
    sign, x, out = ("-" if x < 0 else ""), max(x, -x), ""
    while x:
        x, rest = divmod(x, base)
        out = "0123456789abcdef"[rest] + out
    return sign + (out or "0")


def is_prime(x):
    return sum(x % d == 0 for d in range(1, x + 1)) == 2 if x < 5000 else pow(2, x - 1, x) == 1


def squares_below(x):
    return [n**2 for n in range(max(x, 0) + 1) if n**2 <= x]


def collatz(x):
    return 0 if x <= 1 else 1 + collatz(x // 2 if x % 2 == 0 else 3 * x + 1)


def fibonacci(n):
    root = math.isqrt(5 * 10**40)
    return round(Fraction((10**20 + root) ** n, (2 * 10**20) ** n) / Fraction(root, 10**20))


def factors(x):
    smallest = next((d for d in range(2, x + 1) if x % d == 0), None)
    return [smallest, *factors(x // smallest)] if smallest else []


def each(function):
    def over(x, k):
        return [function(e, k) for e in x]

    return over


def text_of(function):
    def over(x, k):
        return "".join(function(c, k) for c in x)

    return over


def only(test):
    def over(x, k):
        kept = [e for e in x if test(e, k)]
        return "".join(kept) if isinstance(x, str) else kept

    return over


def or_else(function, empty):
    return lambda x, k: function(x) if len(x) else empty


def runs(x):
    found = []
    for e in x:
        if found and found[-1][0] == e:
            found[-1].append(e)
        else:
            found.append([e])
    return found


def spans(text, inside):
    return ["".join(g) for yes, g in groupby(text, inside) if yes]


def as_date(x):
    return datetime.datetime(*x)


def moved(x, days):
    return tuple(datetime.date.fromordinal(as_date(x).toordinal() + days).timetuple()[:3])


def month_days(x):
    after = (x[0] + x[1] // 12, x[1] % 12 + 1, 1)
    return (as_date(after) - as_date((x[0], x[1], 1))).days


def leap(year):
    return month_days((year, 2, 1)) == 29


def weekday(x):
    return as_date(x).isoweekday() - 1


def parsed(x):
    return {f.split("=")[0]: int(f.split("=")[1]) for f in x.split(";") if f}


def cut_back(x, k):
    waiting, out = deque(x), []
    while waiting:
        w = waiting.popleft()
        (waiting if len(w) > k else out).append(w[:k] if len(w) > k else w)
    return out


def bounded(x, k):
    return reduce(lambda n, e: sorted((0, n + (1 if e > 0 else -1), k))[1], x, 0)


def robot(x):
    place = sum(e * 1j * (-1j) ** i for i, e in enumerate(x))
    return [int(complex(place).real), int(complex(place).imag)]


def merge_cost(x):
    heap, cost = sorted(x), 0
    while len(heap) > 1:
        a, b, *rest = sorted(heap)
        heap, cost = [*rest, a + b], cost + a + b
    return cost


def columns(x):
    return list(zip(*x, strict=False))


def insertion_place(x, k):
    return len([e for e in x if e < k])


def by(x, key):
    """A stable sort by decorating, as heaps give it."""
    heap = [(key(e), i) for i, e in enumerate(x)]
    heapq.heapify(heap)
    return [x[heapq.heappop(heap)[1]] for _ in range(len(heap))]


def first_with(x, value):
    return next(i for i, e in enumerate(x) if e == value)


def without_space_before(x):
    out = []
    for c in x:
        if c != " ":
            out.append(c)
        elif out:
            out.pop()
    return "".join(out)


def kept_on_stack(x):
    left = []
    for e in x:
        left = [*left, e] if e > 0 else left[:-1]
    return left


MORE = {
    # numbers
    "cube_it": lambda x, k: x * x * x,
    "at_least_it": lambda x, k: x if x > k else k,
    "distance_it": lambda x, k: max(x, k) - min(x, k),
    "sign_it": lambda x, k: int(math.copysign(1, x)) if x else 0,
    "round_tens_it": lambda x, k: x - x % 10,
    "divide_down_it": lambda x, k: math.floor(Fraction(x, k)),
    "gcd_it": lambda x, k: max(d for d in range(1, k + 1) if x % d == 0 and k % d == 0),
    "lcm_it": lambda x, k: next(m for m in range(0, abs(x) * k + 1, abs(x) or 1)
                                if m % k == 0 and (m or not x)),
    "factorial_it": lambda x, k: reduce(operator.mul, range(1, x + 1), 1),
    "fibonacci_it": lambda x, k: fibonacci(x),
    "climb_ways_it": lambda x, k: sum(math.comb(x - twos, twos) for twos in range(x // 2 + 1)),
    "triangle_it": lambda x, k: sum(range(x + 1)),
    "collatz_it": lambda x, k: collatz(x),
    "power_of_two_it": lambda x, k: 1 << x,
    "reverse_digits_it": lambda x, k: sum(d * 10**i for i, d in enumerate(digits(x))),
    "largest_digit_it": lambda x, k: sorted(digits(x))[-1],
    "digit_product_it": lambda x, k: math.prod(digits(x)),
    "count_bits_it": lambda x, k: abs(x).bit_count(),
    "to_binary": lambda x, k: in_base(x, 2),
    "to_hex": lambda x, k: in_base(x, 16),
    "to_clock": lambda x, k: str(datetime.timedelta(minutes=x))[:-3],
    "is_prime": lambda x, k: is_prime(x),
    "is_perfect_square": lambda x, k: x in squares_below(x),
    "is_divisible": lambda x, k: Fraction(x, k).denominator == 1,
    "is_leap_year": lambda x, k: x % 400 == 0 or (x % 4 == 0 and x % 100 != 0),
    "prime_factors": lambda x, k: factors(x),
    "primes_up_to": lambda x, k: list(filter(is_prime, range(x + 1))),
    "squares_up_to": lambda x, k: squares_below(x)[1:],
    "count_down": lambda x, k: list(reversed(range(1, x + 1))),
    "multiples_of_it": lambda x, k: list(accumulate([x] * k)),
    "powers_of_it": lambda x, k: list(accumulate([1] + [x] * (k - 1), operator.mul)),
    # lists of numbers
    "cube_each": each(lambda e, k: e * e * e),
    "sign_each": each(lambda e, k: int(math.copysign(1, e)) if e else 0),
    "distance_each": each(lambda e, k: max(e, k) - min(e, k)),
    "raise_each": each(lambda e, k: e if e > k else k),
    "round_tens_each": each(lambda e, k: e - e % 10),
    "digit_sum_each": each(lambda e, k: sum(digits(e))),
    "gcd_each": each(lambda e, k: max(d for d in range(1, k + 1) if e % d == 0 and k % d == 0)),
    "binary_each": each(lambda e, k: in_base(e, 2)),
    "ceil_each": each(lambda e, k: -int(-e // 1)),
    "round_each": each(lambda e, k: math.floor(Fraction(e) + Fraction(1, 2))),
    "keep_primes": only(lambda e, k: is_prime(e)),
    "keep_squares": only(lambda e, k: e in squares_below(e)),
    "keep_one_digit": only(lambda e, k: len(digits(e)) == 1),
    "keep_between": only(lambda e, k: not (e < 1 or e > k)),
    "drop_multiples": only(lambda e, k: Fraction(e, k).denominator > 1),
    "gcd_of": lambda x, k: reduce(math.gcd, x, 0),
    "lcm_of": lambda x, k: reduce(lambda a, b: abs(a * b) // (math.gcd(a, b) or 1), x, 1),
    "median_low": or_else(statistics.median_low, 0),
    "mode_of": or_else(statistics.mode, 0),
    "mean_of": or_else(statistics.fmean, 0),
    "alternating_sum": lambda x, k: sum((-1) ** i * e for i, e in enumerate(x)),
    "best_stretch": lambda x, k: max(
        sum(x[i:j]) for i in range(len(x) + 1) for j in range(i, len(x) + 1)
    ),
    "read_digits": lambda x, k: sum(e * k**i for i, e in enumerate(reversed(x))),
    "running_tops": lambda x, k: list(accumulate(x, max)),
    "running_products": lambda x, k: list(accumulate(x, operator.mul)),
    "moving_sums": lambda x, k: [sum(w) for w in zip(*(x[i:] for i in range(k)), strict=False)],
    # search and sets
    "first_above": lambda x, k: ([e for e in x if not e <= k] + [-1])[0],
    "index_of": lambda x, k: next((i for i, e in enumerate(x) if e == k), -1),
    "index_of_smallest": or_else(lambda x: first_with(x, sorted(x)[0]), -1),
    "closest_to": lambda x, k: by(x, lambda e: max(e - k, k - e))[0] if x else 0,
    "insert_place": insertion_place,
    "second_largest": lambda x, k: ([*heapq.nlargest(2, set(x)), 0][1] if x[1:] else 0),
    "sort_by_absolute": lambda x, k: by(x, lambda e: max(e, -e)),
    "sort_by_last_digit": lambda x, k: by(x, lambda e: digits(e)[-1]),
    "evens_first": lambda x, k: [e for e in x if not e & 1] + [e for e in x if e & 1],
    "zeros_last": lambda x, k: by(x, lambda e: not e),
    "rank_each": lambda x, k: [sum(o < e for o in x) for e in x],
    "peaks": lambda x, k: [
        x[i] for i in range(1, len(x) - 1) if x[i] > x[i - 1] and x[i] > x[i + 1]
    ],
    "record_highs": lambda x, k: [
        e for i, e in enumerate(x) if all(e > before for before in x[:i])
    ],
    "count_drops": lambda x, k: len([i for i in range(1, len(x)) if x[i] < x[i - 1]]),
    "count_inversions": lambda x, k: sum(
        x[i] > x[j] for i in range(len(x)) for j in range(i + 1, len(x))
    ),
    "pairs_with_sum": lambda x, k: sum(
        x[i] + x[j] == k for i, j in product(range(len(x)), repeat=2) if i < j
    ),
    "has_pair_sum": lambda x, k: any(k - e in x[i + 1 :] for i, e in enumerate(x)),
    "all_pairs": lambda x, k: [[e, later] for i, e in enumerate(x) for later in x[i + 1 :]],
    "subsets": lambda x, k: [
        [e for i, e in enumerate(x) if number >> i & 1] for number in range(2 ** len(x))
    ],
    "is_rising": lambda x, k: x == sorted(set(x)),
    "missing_between": lambda x, k: (
        sorted(set(range(min(x), max(x) + 1)).difference(x)) if x else []
    ),
    "not_among": lambda x, k: [n for n in range(1, k + 1) if n not in x],
    "common_with_range": lambda x, k: [n for n in range(1, k + 1) if n in x],
    "union_with_range": lambda x, k: list(dict.fromkeys(sorted([*x, *range(1, k + 1)]))),
    "group_by_last_digit": lambda x, k: {
        key: [e for e in x if str(e)[-1] == key] for key in dict.fromkeys(str(e)[-1] for e in x)
    },
    "huffman_cost": lambda x, k: merge_cost(x),
    # sequences
    "count_distinct": lambda x, k: len(Counter(x)),
    "all_equal": lambda x, k: all(a == b for a, b in pairwise(x)),
    "once_only": lambda x, k: [e for e, n in Counter(x).items() if n == 1],
    "repeated_items": lambda x, k: [e for e, n in Counter(x).items() if n > 1],
    "squeeze": lambda x, k: [run[0] for run in runs(x)],
    "run_lengths": lambda x, k: [len(run) for run in runs(x)],
    "longest_run": lambda x, k: max(map(len, runs(x)), default=0),
    "count_changes": lambda x, k: max(len(runs(x)) - 1, 0),
    "swap_ends": lambda x, k: type(x)().join([x[-1], x[1:-1], x[0]])
    if isinstance(x, str) and len(x) > 1
    else x
    if len(x) < 2
    else [x[-1], *x[1:-1], x[0]],
    "drop_ends": lambda x, k: x[1 : max(len(x) - 1, 1)],
    "rotate_right": lambda x, k: (x + x)[max(len(x) - 1, 0) : 2 * len(x) - 1] if x else x,
    "rotate_by": lambda x, k: (x + x)[min(k, len(x)) : min(k, len(x)) + len(x)],
    "first_half": lambda x, k: x[: math.floor(len(x) / 2)],
    "second_half": lambda x, k: x[math.floor(len(x) / 2) :],
    "every_third": lambda x, k: only(lambda pair, _: 1)(
        [e for i, e in enumerate(x) if i % 3 == 0], 0
    )
    if not isinstance(x, str)
    else "".join(e for i, e in enumerate(x) if i % 3 == 0),
    "odd_places": lambda x, k: (
        "".join(islice(x, 1, None, 2)) if isinstance(x, str) else list(islice(x, 1, None, 2))
    ),
    "write_twice": lambda x, k: list(chain.from_iterable(zip(x, x, strict=True))),
    "evens_then_odds": lambda x, k: (
        "".join(by(list(range(len(x))), lambda i: i % 2) and
                [x[i] for i in by(list(range(len(x))), lambda i: i % 2)])
        if isinstance(x, str)
        else [x[i] for i in by(list(range(len(x))), lambda i: i % 2)]
    ),
    # texts
    "lower": text_of(lambda c, k: c.lower()),
    "title_case": lambda x, k: " ".join(w[:1].upper() + w[1:].lower() for w in x.split()),
    "remove_digits": only(lambda c, k: c not in DIGITS),
    "keep_digits": only(lambda c, k: c in DIGITS),
    "keep_capitals": only(lambda c, k: c in string.ascii_uppercase),
    "mask_vowels": lambda x, k: x.translate(str.maketrans("aeiou", "*****")),
    "caesar": lambda x, k: x.translate(str.maketrans(SMALL, SMALL[k:] + SMALL[:k])),
    "character_codes": lambda x, k: list(x.encode("utf-32-le")[::4]),
    "digit_total": lambda x, k: sum(DIGITS.index(c) for c in x if c in DIGITS),
    "count_capitals": lambda x, k: sum(x.count(c) for c in string.ascii_uppercase),
    "count_consonants": lambda x, k: sum(x.lower().count(c) for c in "bcdfghjklmnpqrstvwxyz"),
    "acronym": lambda x, k: "".join(w[:1] for w in x.split()).upper(),
    "reverse_words": lambda x, k: " ".join(reversed(x.split())),
    "flip_words": lambda x, k: " ".join("".join(reversed(w)) for w in x.split()),
    "sort_words": lambda x, k: " ".join(by(x.split(), lambda w: w)),
    "first_word": lambda x, k: x.partition(" ")[0],
    "last_word": lambda x, k: x.rpartition(" ")[2],
    "snake_case": lambda x, k: "_".join(x.split(" ")).lower(),
    "camel_case": lambda x, k: "".join(
        w.lower() if i == 0 else w[:1].upper() + w[1:].lower() for i, w in enumerate(x.split())
    ),
    "sort_letters": lambda x, k: "".join(by(list(x), lambda c: c)),
    "unique_letters": lambda x, k: "".join(Counter(x)),
    "encode_runs": lambda x, k: "".join(f"{run[0]}{len(run)}" for run in runs(x)),
    "pad_left": lambda x, k: "." * (k - len(x)) + x,
    "star_letter": lambda x, k: "*".join(x.split(k)),
    "find_letter": lambda x, k: next((i for i, c in enumerate(x) if c == k), -1),
    "ends_with": lambda x, k: x[-1:] == k,
    "any_digit": lambda x, k: not set(x).isdisjoint(DIGITS),
    "alphabet_of": lambda x, k: by(list(Counter(x)), lambda c: c),
    "missing_vowels": lambda x, k: [c for c in "aeiou" if c not in x],
    "bigrams": lambda x, k: [x[i : i + 2] for i in range(len(x) - 1)],
    "balance": lambda x, k: 2 * sum(x.count(c) for c in "aeiou") - len(x),
    # patterns, without the regular expression
    "find_small_words": lambda x, k: spans(x, lambda c: c in SMALL),
    "find_numbers": lambda x, k: [int(s) for s in spans(x, lambda c: c in DIGITS)],
    "find_capitalized": lambda x, k: [
        x[i] + "".join(chain.from_iterable(spans(x[i + 1 :], lambda c: c in SMALL)[:1]))
        for i in range(len(x) - 1)
        if x[i].isupper() and x[i + 1] in SMALL
    ],
    "find_vowel_runs": lambda x, k: spans(x, lambda c: c in "aeiou"),
    "find_after_space": lambda x, k: [b for a, b in pairwise(x) if a == " " and b.isalnum()],
    "split_at_vowels": lambda x, k: x.translate(str.maketrans("aeiou", "\0" * 5)).split("\0"),
    "mask_digits": lambda x, k: x.translate(str.maketrans(DIGITS, "#" * 10)),
    "collapse_runs": lambda x, k: "".join(run[0] for run in runs(x)),
    "wrap_vowels": text_of(lambda c, k: f"<{c}>" if c in "aeiou" else c),
    "swap_first_words": lambda x, k: (
        " ".join([x.split(" ")[1], x.split(" ")[0], *x.split(" ")[2:]])
        if " " in x and all(w.isalnum() for w in x.split(" ")[:2])
        else x
    ),
    "strip_number": lambda x, k: x.rstrip(DIGITS),
    "number_at_end": lambda x, k: int("0" + x[len(x.rstrip(DIGITS)) :]),
    "has_double": lambda x, k: any(a == b for a, b in pairwise(x)),
    "is_small_word": lambda x, k: bool(x) and set(x) <= set(SMALL),
    # words
    "last_letters": each(lambda w, k: "".join(list(w)[len(w) - 1 :]) if w else ""),
    "sort_letters_each": each(lambda w, k: "".join(by(list(w), lambda c: c))),
    "vowels_each": each(lambda w, k: sum(w.count(c) for c in "aeiou")),
    "drop_letter_each": each(lambda w, k: "".join(w.split(k))),
    "pad_each": each(lambda w, k: w + "." * (k - len(w))),
    "keep_ending": only(lambda w, k: w[-1:] == k),
    "keep_small_words": only(lambda w, k: w == w.lower() and w != w.upper()),
    "drop_with_letter": only(lambda w, k: not w.count(k)),
    "keep_longest": lambda x, k: [w for w in x if not any(len(o) > len(w) for o in x)],
    "sort_by_last_letter": lambda x, k: by(x, lambda w: w and w[len(w) - 1]),
    "sort_ignoring_case": lambda x, k: by(x, lambda w: w.casefold()),
    "number_words": lambda x, k: [f"{n}{w}" for n, w in zip(range(1, 99), x, strict=False)],
    "common_beginning": or_else(
        lambda x: next(x[0][:n] for n in range(len(x[0]), -1, -1)
                       if all(w.startswith(x[0][:n]) for w in x)), ""
    ),
    "common_letters": lambda x, k: (
        [c for c in map(chr, range(128)) if all(c in w for w in x)] if x else []
    ),
    "all_letters": lambda x, k: [c for c in map(chr, range(128)) if any(c in w for w in x)],
    "index_of_longest": or_else(lambda x: first_with(list(map(len, x)), max(map(len, x))), -1),
    "total_letters": lambda x, k: len([c for c in "".join(x) if c in string.ascii_letters]),
    "is_word_chain": lambda x, k: not [
        1 for i in range(1, len(x)) if (x[i - 1] or " ")[-1].strip() != (x[i] or " ")[0].strip()
    ],
    "with_lengths": lambda x, k: list(zip(x, map(len, x), strict=True)),
    "with_places": lambda x, k: list(zip(x, range(len(x)), strict=True)),
    # fields
    "parse_fields": lambda x, k: parsed(x),
    "field_names": lambda x, k: list(parsed(x)),
    "field_numbers": lambda x, k: list(parsed(x).values()),
    "count_fields": lambda x, k: len(parsed(x)),
    "sort_fields": lambda x, k: ";".join(by(x.split(";"), lambda f: f)),
    "last_field": lambda x, k: x.rpartition(";")[2],
    "keep_fields_above": lambda x, k: ";".join(f"{n}={v}" for n, v in parsed(x).items() if v > k),
    "write_fields": lambda x, k: ";".join("=".join((n, str(v))) for n, v in x.items()),
    "first_fields": lambda x, k: ";".join(f"{n}={v}" for n, v in list(parsed(x).items())[:k]),
    # dates
    "weekday_of": lambda x, k: weekday(x),
    "day_of_year": lambda x, k: (as_date(x) - as_date((x[0], 1, 1))).days + 1,
    "days_left": lambda x, k: 1 + (as_date((x[0], 12, 31)) - as_date(x)).days,
    "days_in_month": lambda x, k: month_days(x),
    "year_of": lambda x, k: as_date(x).year,
    "month_of": lambda x, k: as_date(x).month,
    "quarter_of": lambda x, k: math.ceil(x[1] / 3),
    "is_weekend": lambda x, k: weekday(x) in (5, 6),
    "in_leap_year": lambda x, k: leap(x[0]),
    "add_days": moved,
    "subtract_days": lambda x, k: moved(x, -k),
    "month_start": lambda x, k: as_date(x).replace(day=1).timetuple()[:3],
    "month_end": lambda x, k: (*x[:2], month_days(x)),
    "to_iso": lambda x, k: "{:04}-{:02}-{:02}".format(*x),
    "month_name": lambda x, k: as_date(x).strftime("%B"),
    "date_parts": lambda x, k: [*x],
    "sort_dates": lambda x, k: by(x, as_date),
    "earliest": or_else(lambda x: by(x, as_date)[0], (2000, 1, 1)),
    "latest": or_else(lambda x: by(x, as_date)[-1], (2000, 1, 1)),
    "span_days": or_else(lambda x: max((as_date(a) - as_date(b)).days for a in x for b in x), 0),
    "years_of": each(lambda d, k: as_date(d).year),
    "weekdays_of": each(lambda d, k: weekday(d)),
    "iso_each": each(lambda d, k: "{:04}-{:02}-{:02}".format(*d)),
    "keep_workdays": only(lambda d, k: weekday(d) not in (5, 6)),
    "keep_leap_dates": only(lambda d, k: leap(d[0])),
    "keep_month_ends": only(lambda d, k: not d[2] <= 26),
    "count_weekends": lambda x, k: [weekday(d) in (5, 6) for d in x].count(True),
    # pairs
    "pair_names": each(lambda p, k: p[0]),
    "pair_numbers": each(lambda p, k: p[1]),
    "keep_pairs_above": only(lambda p, k: not p[1] <= k),
    "keep_long_names": only(lambda p, k: bool(p[0][k:])),
    "raise_pairs": lambda x, k: [(w, sum((n, k))) for w, n in x],
    "initial_pairs": lambda x, k: [(w[0] if w else "", n) for w, n in x],
    "sort_by_number": lambda x, k: by(x, lambda p: p[1]),
    "sort_by_name": lambda x, k: by(by(x, lambda p: p[1]), lambda p: p[0]),
    "pairs_to_dict": lambda x, k: {w: n for w, n in x},
    "winner": or_else(
        lambda x: next(w for w, n in x if all(n >= other for _, other in x)), ""
    ),
    "pair_total": lambda x, k: sum(p[1] for p in x),
    "write_pairs": lambda x, k: [":".join((w, str(n))) for w, n in x],
    "count_pairs": lambda x, k: sum(1 for _ in x),
    "items_of": lambda x, k: list(zip(x.keys(), x.values(), strict=True)),
    "items_by_value": lambda x, k: by([(key, x[key]) for key in x], lambda p: p[1]),
    "keys_by_value": lambda x, k: by(list(x), lambda key: x[key]),
    "lowest_key": or_else(lambda x: by(list(x), lambda key: x[key])[0], ""),
    "count_above": lambda x, k: len([n for n in x.values() if n > k]),
    "invert": lambda x, k: {str(x[key]): len(key) for key in x},
    "fullest_key": or_else(lambda x: by(list(x), lambda key: -len(x[key]))[0], ""),
    # objects
    "undo_stack": lambda x, k: kept_on_stack(x),
    "account_balance": lambda x, k: reduce(lambda n, e: n + e if n + e >= 0 else n, x, 0),
    "bounded_counter": bounded,
    "window_sums": lambda x, k: [sum(x[max(i - k + 1, 0) : i + 1]) for i in range(len(x))],
    "tally_signs": lambda x, k: {
        "up": len([e for e in x if e > 0]), "down": len([e for e in x if e <= 0])
    },
    "robot_walk": lambda x, k: robot(x),
    "best_streak": lambda x, k: max((len(r) for r in runs([e > 0 for e in x]) if r[0]), default=0),
    "reset_sums": lambda x, k: list(accumulate(x, lambda total, e: total + e if e else 0)),
    "typed_text": lambda x, k: without_space_before(x),
    "queue_served": cut_back,
    # matrices
    "rotate_rows": lambda x, k: [list(reversed(c)) for c in columns(x)],
    "column_sums": lambda x, k: [sum(c) for c in columns(x)],
    "column_tops": lambda x, k: [sorted(c)[-1] for c in columns(x)],
    "diagonal": lambda x, k: [x[i][i] for i in range(len(x)) if len(x[i]) > i],
    "trace_of": lambda x, k: sum(x[i][i] for i in range(len(x)) if len(x[i]) > i),
    "scale_cells": lambda x, k: [[sum([n] * k) for n in row] for row in x],
    "shift_cells": lambda x, k: [[sum((n, k)) for n in row] for row in x],
    "gram": lambda x, k: [
        [sum(map(operator.mul, row, other)) for other in x] for row in x
    ],
    "row_minima": each(lambda r, k: sorted(r)[0] if r else 0),
    "row_spreads": each(lambda r, k: sorted(r)[-1] - sorted(r)[0] if r else 0),
    "last_column": each(lambda r, k: next(reversed(r)) if r else 0),
    "keep_rows_with": only(lambda r, k: r.count(k)),
    "keep_rows_above": only(lambda r, k: reduce(operator.add, r, 0) > k),
    "sort_by_sum": lambda x, k: by(x, lambda r: reduce(operator.add, r, 0)),
    "cells_above": lambda x, k: list(filter(lambda n: n > k, chain.from_iterable(x))),
    "largest_cell": or_else(lambda x: max([0] if not any(x) else chain.from_iterable(x)), 0),
    "is_square_table": lambda x, k: {len(r) for r in x} <= {len(x)},
    "zigzag": lambda x, k: [
        n for i, r in enumerate(x) for n in (reversed(r) if i & 1 else r)
    ],
}  # fmt: skip
