"""Knitting, dough, candles: problems from workshops and kitchens."""


def knit_row(pattern: str, stitches: int) -> tuple[str, int]:
    """Knits one row: returns how it looks, and how many stitches are on the needle after it.

    The pattern, as "k2 p1 yo", is repeated until the `stitches` of the row below are used up:
    "kN" uses N of them and shows N times "V", "pN" shows N times "-", "yo" uses none and shows
    "O" (one more stitch), "tog" uses two and shows "A" (one fewer). An instruction for which
    too few are left is done as far as they reach; a "tog" with one left becomes "V". A pattern
    that uses none is not knitted: return ("", stitches).

    >>> knit_row("k2 yo tog", 6)
    ('VVOAVV', 6)
    """
    words = pattern.split()
    if not any(word != "yo" for word in words):
        return "", stitches
    row, left, turn = "", stitches, 0
    while left > 0:
        word = words[turn % len(words)]
        turn += 1
        if word == "yo":
            row += "O"
        elif word == "tog":
            row += "A" if left > 1 else "V"
            left -= 2
        else:
            count = min(int(word[1:]), left)
            row += ("V" if word[0] == "k" else "-") * count
            left -= count
    return row, len(row)


def check_knit_row() -> None:
    assert knit_row("k2 yo tog", 6) == ("VVOAVV", 6)
    assert knit_row("k2 p1", 5) == ("VV-VV", 5)
    assert knit_row("yo", 4) == ("", 4)
    assert knit_row("tog", 5) == ("AAV", 3)
    assert knit_row("yo k1", 3) == ("OVOVOV", 6)
    assert knit_row("p4 k1", 3) == ("---", 3)
    assert knit_row("k1", 0) == ("", 0)
    assert knit_row("k12", 11) == ("VVVVVVVVVVV", 11)


def dough_clock(start: str, warmth: list[int]) -> list[str]:
    """Says when a baker has to get up for the dough.

    The dough starts at "HH:MM" and ripens by the hour: `warmth` holds the temperature of the
    first hour, the second and so on, the last one holding on for ever. An hour below 18 degrees
    ripens it by 1, from 18 to 25 by 2, above that by 3. At the end of an hour in which its
    ripeness reaches or passes 4, 8 and 12, the baker acts: return these times of day, in order;
    an hour that passes two marks counts once. After the second time that the baker acts, the
    next hour ripens nothing.

    >>> dough_clock("22:30", [20])
    ['00:30', '02:30', '05:30']
    """
    hour, minute = map(int, start.split(":"))
    ripe, times, number, rest = 0, [], 0, False
    while ripe < 12:
        degrees = warmth[min(number, len(warmth) - 1)]
        number += 1
        gain = 0 if rest else 1 if degrees < 18 else 2 if degrees <= 25 else 3
        rest = False
        before, ripe = ripe, ripe + gain
        if before // 4 < ripe // 4:
            times.append(f"{(hour + number) % 24:02d}:{minute:02d}")
            rest = len(times) == 2
    return times


def check_dough_clock() -> None:
    assert dough_clock("22:30", [20]) == ["00:30", "02:30", "05:30"]
    assert dough_clock("06:05", [10]) == ["10:05", "14:05", "19:05"]
    assert dough_clock("06:05", [30]) == ["08:05", "09:05", "11:05"]
    assert dough_clock("00:00", [17, 18, 25, 26, 5]) == ["03:00", "04:00", "09:00"]
    assert dough_clock("23:59", [26, 10, 10, 26]) == ["01:59", "03:59", "06:59"]
    assert dough_clock("12:00", [18, 18, 18, 18, 40, 40, 0]) == ["14:00", "16:00", "19:00"]
    assert dough_clock("12:00", [18, 18, 18, 18, 40, 40]) == ["14:00", "16:00", "19:00"]
    assert dough_clock("12:00", [18, 18, 18, 18, 40, 20, 20]) == ["14:00", "16:00", "19:00"]
    assert dough_clock("12:00", [18, 18, 18, 18, 40, 9, 9]) == ["14:00", "16:00", "21:00"]


def candles_out(candles: dict[str, int], gusts: list[int]) -> list[str]:
    """Returns the names of candles in the order in which they go out.

    A candle of height h, lit at minute 0, burns one unit a minute and goes out at minute h. A
    gust at minute g blows out the tallest candle that still burns then, after those that end
    in that minute by themselves; of equally tall ones, the last in the alphabet. Two gusts in
    one minute are two gusts. Candles that end by themselves in the same minute are named in
    alphabetical order. A blown-out candle gets a "*" after its name.

    >>> candles_out({"red": 9, "blue": 4, "green": 9}, [2])
    ['red*', 'blue', 'green']
    """
    burning, order = dict(candles), []
    minute = 0
    while burning:
        ended = sorted(name for name, height in burning.items() if height <= minute)
        for name in ended:
            del burning[name]
        order += ended
        for _ in range(gusts.count(minute)):
            if burning:
                tallest = max(burning, key=lambda name: (burning[name], name))
                del burning[tallest]
                order.append(f"{tallest}*")
        minute += 1
    return order


def check_candles_out() -> None:
    assert candles_out({"red": 9, "blue": 4, "green": 9}, [2]) == ["red*", "blue", "green"]
    assert candles_out({}, [1]) == []
    assert candles_out({"b": 3, "a": 3}, []) == ["a", "b"]
    assert candles_out({"b": 3, "a": 3}, [3]) == ["a", "b"]
    assert candles_out({"b": 3, "a": 3, "c": 8}, [3]) == ["a", "b", "c*"]
    assert candles_out({"a": 5, "b": 6, "c": 7}, [1, 1]) == ["c*", "b*", "a"]
    assert candles_out({"a": 5, "b": 6}, [9, 0]) == ["b*", "a"]
    assert candles_out({"a": 0, "b": 1}, [0]) == ["a", "b*"]


def quilt_threads(quilt: list[str]) -> dict[str, int]:
    """Counts the seams of a quilt by the thread that they need.

    Each letter is a patch, "." a hole. Where two patches touch along an edge, there is a seam.
    A seam between two patches of one colour needs no thread. Between two colours it takes the
    colour that covers more patches of the whole quilt, or if both cover as many, "grey". Rows
    may differ in length. Return colour -> seams, without colours that have none.

    >>> quilt_threads(["aab", "a.b"])
    {'a': 1}
    """
    patches = {
        (row, column): colour
        for row, line in enumerate(quilt)
        for column, colour in enumerate(line)
        if colour != "."
    }
    cover: dict[str, int] = {}
    for colour in patches.values():
        cover[colour] = cover.get(colour, 0) + 1
    threads: dict[str, int] = {}
    for (row, column), one in patches.items():
        for place in ((row, column + 1), (row + 1, column)):
            other = patches.get(place, one)
            if other == one:
                continue
            thread = one if cover[one] > cover[other] else other
            thread = "grey" if cover[one] == cover[other] else thread
            threads[thread] = threads.get(thread, 0) + 1
    return threads


def check_quilt_threads() -> None:
    assert quilt_threads(["aab", "a.b"]) == {"a": 1}
    assert quilt_threads([]) == {}
    assert quilt_threads(["ab"]) == {"grey": 1}
    assert quilt_threads(["aaa", "aaa"]) == {}
    assert quilt_threads(["abc", "abc"]) == {"grey": 4}
    assert quilt_threads(["aba", "bab"]) == {"grey": 7}
    assert quilt_threads(["aba", "b", "aaa"]) == {"a": 4}
    assert quilt_threads(["a.b", ".c.", "d.e"]) == {}


def rake_gravel(garden: list[str], start: int) -> list[str]:
    """Rakes a gravel garden from the top edge down, and returns it with the rake's track.

    Gravel is ".", a stone is "o". The rake enters above column `start` and goes down one row at
    a time, leaving "|". If the place below it is a stone, it first steps aside once, to the left
    if there is gravel, else to the right, which turns the "|" that it leaves into "_" and draws
    a "|" where it steps. If it cannot step aside, or the place below is a stone all the same,
    or the first place is one, the rake is lifted out and its track ends there.

    >>> rake_gravel(["...", ".o.", "..."], 1)
    ['|_.', '|o.', '|..']
    """
    rows, column = [list(row) for row in garden], start
    for number, row in enumerate(rows):
        if row[column] == "o":
            break
        row[column] = "|"
        below = rows[number + 1] if number + 1 < len(rows) else None
        if below is None or below[column] != "o":
            continue
        free = [c for c in (column - 1, column + 1) if 0 <= c < len(row) and row[c] == "."]
        if not free:
            break
        row[column] = "_"
        column = free[0]
        row[column] = "|"
    return ["".join(row) for row in rows]


def check_rake_gravel() -> None:
    assert rake_gravel(["...", "..."], 2) == ["..|", "..|"]
    assert rake_gravel(["...", ".o.", "..."], 1) == ["|_.", "|o.", "|.."]
    assert rake_gravel(["o.."], 0) == ["o.."]
    assert rake_gravel(["..", "o.", ".."], 0) == ["_|", "o|", ".|"]
    assert rake_gravel(["...", "oo.", "..."], 1) == ["|_.", "oo.", "..."]
    assert rake_gravel(["o.o", "ooo"], 1) == ["o|o", "ooo"]
    assert rake_gravel(["o..", ".o.", "..o"], 1) == ["o_|", ".o|", "..o"]
    assert rake_gravel(["...", "..o", ".o."], 2) == [".|_", "|_o", "|o."]
    assert rake_gravel([], 0) == []


def tin_labels(tins: list[tuple[str, int]], width: int) -> list[str]:
    """Writes labels for spice tins.

    A tin is (spice, year). Tins of one spice share one label, which shows the oldest year and,
    if there are several, their number: "CUMIN 19" or "CUMIN 19 x2". The year is two digits. A
    label has `width` characters: the spice is in capitals and cut to what fits (the rest of the
    label is never cut), and loses its vowels from the right, one at a time and never the first
    letter, before it is cut. Spaces fill up the label between spice and year. Labels are in
    the order of the spices' first tins.

    >>> tin_labels([("cardamom", 2019), ("salt", 2021), ("cardamom", 2018)], 11)
    ['CRDMM 18 x2', 'SALT     21']
    """
    groups: dict[str, list[int]] = {}
    for spice, year in tins:
        groups.setdefault(spice, []).append(year)
    labels = []
    for spice, years in groups.items():
        end = f" {min(years) % 100:02d}" + (f" x{len(years)}" if len(years) > 1 else "")
        letters, room = list(spice.upper()), width - len(end)
        for at in range(len(letters) - 1, 0, -1):
            if len(letters) > room and letters[at] in "AEIOU":
                del letters[at]
        labels.append("".join(letters)[: max(room, 0)].ljust(room) + end)
    return labels


def check_tin_labels() -> None:
    tins = [("cardamom", 2019), ("salt", 2021), ("cardamom", 2018)]
    assert tin_labels(tins, 11) == ["CRDMM 18 x2", "SALT     21"]
    assert tin_labels(tins, 12) == ["CARDMM 18 x2", "SALT      21"]
    assert tin_labels([("anise", 2005)], 7) == ["ANIS 05"]
    assert tin_labels([("anise", 2005)], 6) == ["ANS 05"]
    assert tin_labels([("anise", 2005)], 8) == ["ANISE 05"]
    assert tin_labels([("oregano", 1999)], 5) == ["OR 99"]
    assert tin_labels([], 5) == []
    assert tin_labels([("mace", 2000), ("Mace", 2001)], 8) == ["MACE  00", "MACE  01"]


def oven_rack(cakes: list[tuple[str, int]], shelves: int) -> list[tuple[int, str]]:
    """Bakes cakes (name, minutes) one after another as places come free, and tells when each
    is done: (minute, name) in order, equal minutes by name.

    A cake goes into the oven as soon as a shelf is free, in the order given, from minute 0.
    Whenever the door is opened, to put cakes in or take them out after minute 0, all cakes
    that stay in the oven need 1 minute more. Cakes that are done in a minute are taken out
    together, and their shelves are filled again, in one opening of the door.

    >>> oven_rack([("plum", 10), ("nut", 4), ("rye", 5)], 2)
    [(4, 'nut'), (9, 'rye'), (12, 'plum')]
    """
    waiting, done = list(cakes), []
    oven: dict[str, int] = {}
    minute = 0
    while waiting or oven:
        ready = sorted(name for name, end in oven.items() if end == minute)
        for name in ready:
            del oven[name]
            done.append((minute, name))
        if ready:
            oven = {name: end + 1 for name, end in oven.items()}
        while waiting and len(oven) < shelves:
            name, needs = waiting.pop(0)
            oven[name] = minute + needs
        minute += 1
    return done


def check_oven_rack() -> None:
    cakes = [("plum", 10), ("nut", 4), ("rye", 5)]
    assert oven_rack(cakes, 2) == [(4, "nut"), (9, "rye"), (12, "plum")]
    assert oven_rack(cakes, 1) == [(10, "plum"), (14, "nut"), (19, "rye")]
    assert oven_rack(cakes, 3) == [(4, "nut"), (6, "rye"), (12, "plum")]
    assert oven_rack([], 3) == []
    assert oven_rack([("b", 3), ("a", 3)], 2) == [(3, "a"), (3, "b")]
    assert oven_rack([("b", 3), ("a", 2)], 2) == [(2, "a"), (4, "b")]
    assert oven_rack([("a", 2), ("b", 2), ("c", 2), ("d", 1)], 2) == [
        (2, "a"), (2, "b"), (3, "d"), (5, "c"),
    ]  # fmt: skip
