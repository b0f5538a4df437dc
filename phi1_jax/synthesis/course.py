"""The built-in tree of topics: an introductory course in Python."""

from phi1_jax.synthesis.topics import Area, Topics

AUDIENCES = (
    "children of twelve who have never programmed",
    "first-year students of computer science",
    "students of the natural sciences",
    "students of the humanities",
    "data analysts who know spreadsheets",
    "programmers who come from C or Java",
    "system administrators who write shell scripts",
    "web developers",
    "game designers",
    "people who prepare for job interviews",
    "retired engineers who learn for pleasure",
    "teachers who will explain it to a class",
)

# area: topics / verbs / nouns / qualifiers, separated by commas
_COURSE = {
    "numbers": """
        integer arithmetic and remainders, rounding and floating point, comparing and clamping,
        sums and products of ranges, averages and spread, percentages and ratios,
        converting between units, random numbers with a seed
        / add, average, clamp, convert, count, double, round, scale, split, sum
        / digits, numbers, amounts, marks, minutes, prices, ranges, ratios, shares, totals
        / by_step, from_start, in_range, to_nearest, with_limit
    """,
    "strings": """
        indexing and slicing, splitting and joining, searching and replacing, case and whitespace,
        counting characters, formatting with f-strings, checking prefixes and suffixes,
        comparing and sorting texts, building text step by step
        / capitalize, center, clean, count, find, insert, join, mask, remove, replace, reverse, trim
        / characters, consonants, initials, labels, letters, lines, names, sentences, spaces,
        vowels, words
        / at_ends, by_length, from_text, in_order, with_separator
    """,
    "lists": """
        indexing and slicing, appending and inserting, list comprehensions, filtering,
        mapping a function, nested lists, removing duplicates, rotating and reversing,
        pairing neighbours, running totals
        / collect, drop, filter, find, flatten, group, insert, merge, pair, partition, rotate, take
        / duplicates, elements, gaps, items, neighbours, pairs, positions, runs, scores, values
        / above_limit, at_index, by_parity, from_both, in_chunks
    """,
    "tuples": """
        packing and unpacking, returning several values, tuples as keys, named tuples,
        swapping values, sorting by several fields
        / build, compare, join, pack, pick, sort, split, swap, unpack, zip
        / coordinates, dates, entries, fields, intervals, pairs, points, ranges, records
        / by_field, in_order, with_default
    """,
    "dicts": """
        looking up with a default, counting occurrences, grouping by key, inverting a mapping,
        merging dicts, filtering by value, nested dicts, sorting by value, updating in a loop
        / count, filter, group, invert, lookup, merge, rank, rename, select, sum, update
        / ages, entries, frequencies, grades, inventories, keys, orders, prices, settings, stocks,
        votes
        / above_limit, by_key, by_owner, by_value, with_default
    """,
    "sets": """
        membership, union and intersection, differences, unique elements, subsets,
        comparing collections
        / common, compare, count, exclude, find, has, keep, union
        / colors, elements, friends, guests, ingredients, letters, numbers, tags, words
        / between_lists, in_all, in_any, not_shared
    """,
    "control flow": """
        conditions and boolean logic, for loops over ranges, while loops with a condition,
        early return, nested loops, break and continue, enumerating, zipping
        / check, classify, compare, count, decide, find, repeat, simulate, stop, validate
        / attempts, choices, grades, levels, moves, passwords, rounds, seasons, signals, steps,
        triangles
        / after_limit, by_rule, until_done, with_bonus
    """,
    "functions": """
        default arguments, keyword arguments, variable numbers of arguments, functions as values,
        lambda expressions, closures, composing functions, returning early with guards
        / apply, build, call, chain, compose, create, make, map, repeat, wrap
        / actions, adders, checks, counters, filters, formatters, pipelines, rules, scorers
        / in_sequence, n_times, to_each, with_default
    """,
    "recursion": """
        base cases, factorial and fibonacci, recursing on lists, nested structures, permutations
        and subsets, divide and conquer, memoization, the towers of Hanoi
        / build, compute, count, expand, find, flatten, generate, list, reverse, solve, sum
        / binary_strings, combinations, depths, factorials, nested_lists, partitions, paths, powers,
        subsets, trees
        / by_halving, of_size, recursively, with_memo
    """,
    "sorting and searching": """
        linear search, binary search, sorting with a key, stable sorting, insertion sort, merge
        sort, selecting the k-th element, merging sorted lists, finding extremes
        / binary_search, find, insert, locate, merge, order, partition, rank, search, select, sort
        / candidates, elements, extremes, intervals, medians, peaks, players, products, students,
        words
        / by_key, by_length, in_place, in_sorted, with_ties
    """,
    "classes": """
        attributes and methods, constructors with checks, representation as text, equality,
        class attributes, simple inheritance, dataclasses, stacks and queues
        / add, build, create, describe, move, pop, push, register, transfer, update
        / accounts, animals, books, counters, items, messages, orders, queues, shapes, stacks, tasks
        / by_name, if_valid, with_limit
    """,
    "dates and times": """
        differences between dates, weekdays, leap years, parsing dates, formatting times, adding
        durations, calendars and months
        / add, compare, convert, count, format, list, parse, shift
        / birthdays, days, deadlines, durations, holidays, hours, leap_years, months, seconds, weeks
        / between_dates, from_text, in_month, in_year
    """,
    "regular expressions": """
        matching a pattern, groups, finding all matches, replacing by pattern, validating input,
        splitting by pattern, greedy and lazy repetition
        / check, count, extract, find, match, normalize, replace, split, validate
        / addresses, codes, dates, digits, hashtags, identifiers, numbers, phones, tokens, urls
        / from_log, from_text, in_lines, with_pattern
    """,
    "text parsing": """
        comma-separated lines, key-value lines, JSON, log lines, tables of text, brackets and
        nesting, simple expressions, encoding and run lengths
        / decode, encode, evaluate, extract, format, parse, read, tokenize, validate, write
        / brackets, columns, configs, expressions, fields, headers, lines, logs, records, rows,
        tables
        / by_column, from_csv, from_json, with_header
    """,
    "matrices": """
        rows and columns, transposing, adding and multiplying, diagonals, rotating a grid,
        neighbours in a grid, spirals, searching a grid
        / add, count, fill, find, flip, multiply, rotate, sum, trace, transpose
        / borders, cells, columns, diagonals, grids, islands, matrices, neighbours, rows, spirals
        / by_row, clockwise, in_grid, of_square
    """,
    "number theory": """
        divisors and factors, primes and sieves, greatest common divisors, digits and bases,
        perfect and triangular numbers, modular arithmetic, sequences, fractions
        / check, compute, convert, count, factor, find, generate, is, list, sum
        / bases, coprimes, digit_sums, divisors, fractions, multiples, palindromes, primes,
        remainders, squares, triangulars
        / below_limit, in_base, of_number, up_to
    """,
    "errors and files": """
        raising and catching exceptions, checking input, default values on failure, reading lines,
        context managers, paths and names, iterating with generators
        / check, handle, iterate, load, parse, read, recover, retry, safe, validate
        / configs, divisions, extensions, filenames, indices, inputs, lines, lookups, paths, values
        / or_default, with_message, with_retry
    """,
}


def _area(text: str) -> Area:
    parts = (" ".join(part.split()) for part in text.split("/"))
    return Area(*(tuple(word.strip() for word in part.split(",")) for part in parts))


COURSE = Topics({name: _area(text) for name, text in _COURSE.items()}, AUDIENCES)
