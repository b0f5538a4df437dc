"""Tides, mushrooms, lighthouses: problems from outside."""


def tide_pool(notes: list[str]) -> str:
    """Keeps count of the animals in a tide pool.

    A note is "crab +3" or "crab -1" (never below zero), or "tide", which takes a third of each
    species with it, rounded up. A species that the tide takes to zero never comes back: later
    notes about it are ignored. Return the living, the most numerous first and equal ones by
    name, as in "crab 4, whelk 2", or "empty".

    >>> tide_pool(["crab +7", "whelk +1", "tide", "whelk +5"])
    'crab 4'
    """
    count: dict[str, int] = {}
    gone: set[str] = set()
    for note in notes:
        if note == "tide":
            for name, number in count.items():
                count[name] = number - -(-number // 3)
                if number and not count[name]:
                    gone.add(name)
            continue
        name, change = note.split()
        if name not in gone:
            count[name] = max(0, count.get(name, 0) + int(change))
    living = sorted((-number, name) for name, number in count.items() if number)
    return ", ".join(f"{name} {-number}" for number, name in living) or "empty"


def check_tide_pool() -> None:
    assert tide_pool(["crab +7", "whelk +1", "tide", "whelk +5"]) == "crab 4"
    assert tide_pool([]) == "empty"
    assert tide_pool(["eel +2", "crab +2", "whelk +3"]) == "whelk 3, crab 2, eel 2"
    assert tide_pool(["eel +2", "eel -5", "eel +1"]) == "eel 1"
    assert tide_pool(["eel +2", "eel -2", "tide", "eel +4"]) == "eel 4"
    assert tide_pool(["eel +4", "tide", "tide", "tide"]) == "empty"
    assert tide_pool(["a +9", "tide", "b +9", "tide"]) == "b 6, a 4"


def dark_stretch(lights: list[tuple[int, int]], night: int) -> tuple[int, int]:
    """Finds the longest darkness on a coast with lighthouses.

    The seconds of the night are 0 to night - 1. A light (first, period) flashes at second
    `first` and every `period` seconds from there. A flash of one light alone makes its second
    bright; where two or more flash together, the glare also makes the second after it bright.
    Return (start, length) of the longest run of dark seconds, the earliest if several are
    equally long, or (-1, 0) if no second is dark.

    >>> dark_stretch([(0, 4), (8, 100)], 12)
    (1, 3)
    """
    flashes = [0] * (night + 1)
    for first, period in lights:
        for second in range(first, night, period):
            flashes[second] += 1
    best, start, length = (-1, 0), 0, 0
    for second in range(night):
        glare = second > 0 and flashes[second - 1] > 1
        if flashes[second] or glare:
            start, length = second + 1, 0
        else:
            length += 1
        if length > best[1]:
            best = (start, length)
    return best


def check_dark_stretch() -> None:
    assert dark_stretch([(0, 4), (8, 100)], 12) == (1, 3)
    assert dark_stretch([(0, 4), (0, 100)], 5) == (2, 2)
    assert dark_stretch([(0, 1)], 6) == (-1, 0)
    assert dark_stretch([], 6) == (0, 6)
    assert dark_stretch([(3, 50)], 10) == (4, 6)
    assert dark_stretch([(3, 50), (3, 50)], 10) == (5, 5)
    assert dark_stretch([(0, 2), (1, 2)], 9) == (-1, 0)
    assert dark_stretch([(20, 5)], 4) == (0, 4)


def fairy_ring(mushrooms: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Returns the mushrooms of the fairy ring around the oak at (0, 0).

    The ring is the circle around the oak with the most mushrooms on it, the narrower of two
    with equally many. A ring needs three mushrooms at different places; without one, return an
    empty list. List each place once, beginning at the one with the greatest y (of these the
    one with the smallest x) and going round clockwise.

    >>> fairy_ring([(0, 5), (3, 4), (-5, 0), (1, 1)])
    [(0, 5), (3, 4), (-5, 0)]
    """
    import math

    rings: dict[int, set[tuple[int, int]]] = {}
    for x, y in mushrooms:
        rings.setdefault(x * x + y * y, set()).add((x, y))
    size, radius = max(((len(ring), -r) for r, ring in rings.items()), default=(0, 0))
    if size < 3:
        return []
    ring = rings[-radius]
    first = min(ring, key=lambda place: (-place[1], place[0]))
    start = math.atan2(first[0], first[1])

    def turn(place: tuple[int, int]) -> float:
        angle = (math.atan2(place[0], place[1]) - start) % (2 * math.pi)
        return 0.0 if place == first else angle

    return sorted(ring, key=turn)


def check_fairy_ring() -> None:
    assert fairy_ring([(0, 5), (3, 4), (-5, 0), (1, 1)]) == [(0, 5), (3, 4), (-5, 0)]
    assert fairy_ring([(1, 0), (1, 0), (0, 1)]) == []
    assert fairy_ring([]) == []
    assert fairy_ring([(2, 1), (-2, 1), (1, -2)]) == [(-2, 1), (2, 1), (1, -2)]
    square = [(-1, 0), (0, -1), (1, 0), (0, 1)]
    assert fairy_ring(square) == [(0, 1), (1, 0), (0, -1), (-1, 0)]
    assert fairy_ring([(5, 0), (0, 5), (-5, 0), *square[:3]]) == [(-1, 0), (1, 0), (0, -1)]
    assert fairy_ring([(-3, -4), (3, -4), (4, -3), (4, -3)]) == [(4, -3), (3, -4), (-3, -4)]


def snail_trail(ledge: str, days: int) -> tuple[int, str]:
    """Moves a snail along a ledge, and returns where it sits and what the ledge looks like.

    The snail starts on the first character. By day it goes two places on, one if it stands on
    moss "m", three if it stands on its own slime "~". It leaves slime on every place that it
    leaves. At night it slips one place back (not off the ledge) if it sits on a dry place ".".
    At the last place it stops for good.

    >>> snail_trail("..m...", 2)
    (2, '~.~...')
    """
    places, at = list(ledge), 0
    for _ in range(days):
        if at >= len(places) - 1:
            break
        step = {"m": 1, "~": 3}.get(places[at], 2)
        places[at] = "~"
        at = min(at + step, len(places) - 1)
        if places[at] == "." and at < len(places) - 1:
            at -= 1
    return at, "".join(places)


def check_snail_trail() -> None:
    assert snail_trail("..m...", 0) == (0, "..m...")
    assert snail_trail("..m...", 1) == (2, "~.m...")
    assert snail_trail("mmmm", 2) == (2, "~~mm")
    assert snail_trail("mmmm", 9) == (3, "~~~m")
    assert snail_trail(".....", 1) == (1, "~....")
    assert snail_trail(".....", 2) == (2, "~~...")
    assert snail_trail("~.......", 1) == (2, "~.......")
    assert snail_trail(".", 5) == (0, ".")
    assert snail_trail("m.....", 3) == (3, "~.~...")


def flood_marks(marks: list[str]) -> list[str]:
    """Tidies the flood marks that are carved into a mill's wall.

    A mark is a year and a height in feet and inches, "1872 7'11" for 7 feet 11 inches (12
    inches a foot; more than 11 inches may have been carved, and count as they stand). Keep of
    each year the highest mark only, and drop every year that stays below the mark of the year
    kept before it by 3 feet or more. Return what is left by year, with whole feet carried, so
    that inches are 0 to 11.

    >>> flood_marks(["1872 7'11", "1860 8'2", "1872 6'30"])
    ["1860 8'2", "1872 8'6"]
    """
    highest: dict[int, int] = {}
    for mark in marks:
        year, height = mark.split()
        feet, inches = height.split("'")
        total = 12 * int(feet) + int(inches)
        highest[int(year)] = max(highest.get(int(year), 0), total)
    kept: list[tuple[int, int]] = []
    for entry in sorted(highest.items()):
        if not kept or kept[-1][1] - entry[1] < 36:
            kept.append(entry)
    return [f"{year} {total // 12}'{total % 12}" for year, total in kept]


def check_flood_marks() -> None:
    assert flood_marks(["1872 7'11", "1860 8'2", "1872 6'30"]) == ["1860 8'2", "1872 8'6"]
    assert flood_marks([]) == []
    assert flood_marks(["1900 9'0", "1901 6'0"]) == ["1900 9'0"]
    assert flood_marks(["1900 9'0", "1901 6'1"]) == ["1900 9'0", "1901 6'1"]
    assert flood_marks(["1903 6'5", "1900 9'0", "1901 5'0"]) == ["1900 9'0", "1903 6'5"]
    assert flood_marks(["1903 4'0", "1900 9'0", "1901 6'6"]) == ["1900 9'0", "1901 6'6", "1903 4'0"]
    assert flood_marks(["1800 0'25"]) == ["1800 2'1"]
