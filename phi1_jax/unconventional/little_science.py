"""Crystals, alloys, echoes: problems from an odd laboratory."""


def grow_crystal(seed: str, days: int) -> str:
    """Grows a crystal, a line of letters, and returns it after some days.

    Each day new letters form in all gaps between neighbours at once: between two equal letters
    nothing; between two that follow each other in the alphabet (in either direction) the
    later one; between others the letter half-way, rounded towards "a". Then each run of three
    or more equal letters breaks to one letter. A crystal of more than 20 letters is cut down to
    its middle 20 at the end of the day (of an odd number too many, the odd one goes on the
    left).

    >>> grow_crystal("ae", 2)
    'abcde'
    """
    crystal = seed
    for _ in range(days):
        grown = crystal[:1]
        for at in range(1, len(crystal)):
            a, b = crystal[at - 1], crystal[at]
            low, high = sorted((ord(a), ord(b)))
            if high - low == 1:
                grown += chr(high)
            elif high > low:
                grown += chr((low + high) // 2)
            grown += b
        crystal = ""
        at = 0
        while at < len(grown):
            run = at
            while run < len(grown) and grown[run] == grown[at]:
                run += 1
            crystal += grown[at] if run - at >= 3 else grown[at:run]
            at = run
        over = max(0, len(crystal) - 20)
        crystal = crystal[(over + 1) // 2 : len(crystal) - over // 2]
    return crystal


def check_grow_crystal() -> None:
    assert grow_crystal("ae", 2) == "abcde"
    assert grow_crystal("ae", 0) == "ae"
    assert grow_crystal("ab", 1) == "abb"
    assert grow_crystal("ab", 2) == "ab"
    assert grow_crystal("aab", 1) == "aabb"
    assert grow_crystal("x", 9) == "x"
    assert grow_crystal("", 2) == ""
    assert grow_crystal("za", 1) == "zma"
    assert grow_crystal("acacacacacac", 1) == "cbabcbabcbabcbabcbab"


def alloy_name(parts: dict[str, int]) -> str:
    """Names an alloy by the weights of its metals, like "Cu70Zn30".

    The numbers are whole per cent that add up to 100: each share is rounded down, and the per
    cents that are missing go one each to the shares with the largest rest (of equal rests to
    the metal first in the alphabet). Metals come by falling per cent, equal ones by the
    alphabet; one with 0 per cent is not named. An alloy of one named metal is called "pure Cu",
    one in which no metal has half or more ends in "?". Without any weight the name is "".

    >>> alloy_name({"Zn": 1, "Cu": 2})
    'Cu67Zn33'
    """
    total = sum(parts.values())
    if not total:
        return ""
    cents = {metal: 100 * weight // total for metal, weight in parts.items()}
    missing = 100 - sum(cents.values())
    by_rest = sorted(parts, key=lambda metal: (-(100 * parts[metal] % total), metal))
    for metal in by_rest[:missing]:
        cents[metal] += 1
    named = sorted((-cent, metal) for metal, cent in cents.items() if cent)
    if len(named) == 1:
        return f"pure {named[0][1]}"
    name = "".join(f"{metal}{-cent}" for cent, metal in named)
    return name + ("?" if -named[0][0] < 50 else "")


def check_alloy_name() -> None:
    assert alloy_name({"Zn": 1, "Cu": 2}) == "Cu67Zn33"
    assert alloy_name({}) == ""
    assert alloy_name({"Au": 0}) == ""
    assert alloy_name({"Au": 7, "Ag": 0}) == "pure Au"
    assert alloy_name({"Au": 999, "Ag": 1}) == "pure Au"
    assert alloy_name({"C": 1, "B": 1, "A": 1}) == "A34B33C33?"
    assert alloy_name({"Sn": 1, "Pb": 1}) == "Pb50Sn50"
    assert alloy_name({"Fe": 5, "Ni": 2, "Cr": 4}) == "Fe46Cr36Ni18?"


def echo_valley(shout: str, walls: list[int], length: int) -> str:
    """Writes what is heard at each moment 0 to length - 1 after a shout in a valley.

    A letter of the shout sounds at each moment from 0 on, one after the other. Each wall, at a
    distance d, sends every letter back 2 * d moments later, in lower case; a wall nearer than 3
    returns nothing, and one at 10 or farther only the vowels (aeiou, in either case). If
    several letters arrive at once, the one that set out last is heard, and a letter that just
    sets out drowns all others. "." is silence.

    >>> echo_valley("HEY", [3, 2], 10)
    'HEY...hey.'
    """
    heard = ""
    for moment in range(length):
        if moment < len(shout):
            heard += shout[moment]
            continue
        latest = -1
        for distance in walls:
            at = moment - 2 * distance
            if distance < 3 or not 0 <= at < len(shout):
                continue
            if distance < 10 or shout[at].lower() in "aeiou":
                latest = max(latest, at)
        heard += shout[latest].lower() if latest >= 0 else "."
    return heard


def check_echo_valley() -> None:
    assert echo_valley("HEY", [3, 2], 10) == "HEY...hey."
    assert echo_valley("", [3], 3) == "..."
    assert echo_valley("Oh", [], 1) == "O"
    assert echo_valley("Ahoy", [10], 25) == "Ahoy" + "." * 16 + "a.o.."
    assert echo_valley("ABCDEFGH", [3], 10) == "ABCDEFGHcd"
    assert echo_valley("ABCDEFGH", [3, 4], 16) == "ABCDEFGHcdefghgh"
    assert echo_valley("AB", [3, 3], 9) == "AB....ab."
    assert echo_valley("AB", [9, 10], 23) == "AB" + "." * 16 + "aba.."


def snip_strand(strand: str, site: str, keep: int) -> list[str]:
    """Cuts a strand of letters wherever `site` occurs, and returns the pieces, longest first.

    Sites are found from the left, without overlap. The cut lies after the first `keep` letters
    of a site. Between two cuts (not before the first nor after the last one) a piece shorter
    than twice the site is lost. A strand that begins and ends with the same letter is a ring
    if it is cut at least once: the last piece is then joined in front of the first one, and
    this letter, of which the ring has one only, is kept once. Equally long pieces keep the
    order that they have in the strand (a joined piece comes first).

    >>> snip_strand("ttgaattcgaaa", "gaa", 1)
    ['aattcg', 'ttg', 'aaa']
    """
    cuts = []
    at = strand.find(site)
    while at >= 0:
        cuts.append(at + keep)
        at = strand.find(site, at + len(site))
    edges = [0, *cuts, len(strand)]
    pieces = [strand[edges[i] : edges[i + 1]] for i in range(len(edges) - 1)]
    middle = [piece for piece in pieces[1:-1] if len(piece) >= 2 * len(site)]
    if cuts and len(strand) > 1 and strand[0] == strand[-1]:
        pieces = [pieces[-1][:-1] + pieces[0], *middle]
    elif cuts:
        pieces = [pieces[0], *middle, pieces[-1]]
    return sorted((piece for piece in pieces if piece), key=len, reverse=True)


def check_snip_strand() -> None:
    assert snip_strand("ttgaattcgaaa", "gaa", 1) == ["aattcg", "ttg", "aaa"]
    assert snip_strand("acgt", "tt", 1) == ["acgt"]
    assert snip_strand("", "tt", 1) == []
    assert snip_strand("ccabbabdd", "ab", 0) == ["abdd", "cc"]
    assert snip_strand("ccabcc", "ab", 1) == ["bccca"]
    assert snip_strand("xababay", "aba", 3) == ["xaba", "bay"]
    assert snip_strand("dabcabxyabe", "ab", 1) == ["bxya", "da", "be"]
    assert snip_strand("gttttg", "tt", 1) == ["tgt"]


def read_core(core: str) -> list[str]:
    """Reads a drill core, one letter a foot from the surface down, and lists its layers.

    A run of one letter is a layer. First each run of one foot is a vein, and takes the letter
    of the thicker of its two neighbours as they lie in the core (the upper one if they are
    equally thick, the only one at an end; a core of a single run has no vein). Then runs of
    the same letter that now touch are one layer. Give "FROM-TO LETTER" with the depths in feet;
    a letter that occurred in a layer above gets " again", from its third layer on " fold".

    >>> read_core("sssclls")
    ['0-4 s', '4-7 l']
    """
    runs: list[tuple[str, int]] = []
    for letter in core:
        if runs and runs[-1][0] == letter:
            runs[-1] = (letter, runs[-1][1] + 1)
        else:
            runs.append((letter, 1))
    flat = ""
    for at, (letter, size) in enumerate(runs):
        near = [runs[i] for i in (at - 1, at + 1) if 0 <= i < len(runs)]
        if size == 1 and near:
            letter = max(near, key=lambda run: run[1])[0]
        flat += letter * size
    layers: list[str] = []
    above = ""
    start = 0
    for depth in range(1, len(flat) + 1):
        if depth < len(flat) and flat[depth] == flat[start]:
            continue
        letter = flat[start]
        note = ["", " again", " fold"][min(2, above.count(letter))]
        layers.append(f"{start}-{depth} {letter}{note}")
        above += letter
        start = depth
    return layers


def check_read_core() -> None:
    assert read_core("sssclls") == ["0-4 s", "4-7 l"]
    assert read_core("") == []
    assert read_core("k") == ["0-1 k"]
    assert read_core("aabbaa") == ["0-2 a", "2-4 b", "4-6 a again"]
    assert read_core("aabaacc") == ["0-5 a", "5-7 c"]
    assert read_core("abb") == ["0-3 b"]
    assert read_core("aaxybb") == ["0-3 a", "3-6 b"]
    assert read_core("aabbaabbaa")[2:] == ["4-6 a again", "6-8 b again", "8-10 a fold"]
    assert read_core("ab") == ["0-1 b", "1-2 a"]


def moon_nights(moons: dict[str, int], days: int) -> list[tuple[int, str]]:
    """Lists the remarkable nights of a planet with several moons, from night 1 to night `days`.

    A moon with period p is full in the nights p, 2 * p, 3 * p and so on. When exactly two are
    full, the one with the longer period hides the other, as in (6, "Io hides Pax") (of equal
    periods the first in the alphabet hides). When three or more are full, the night is
    (night, "feast"), and each of them stays dark the next time that it would be full: then it
    counts as not full. Nights with fewer full moons are not listed.

    >>> moon_nights({"Pax": 2, "Io": 3}, 12)
    [(6, 'Io hides Pax'), (12, 'Io hides Pax')]
    """
    nights = []
    tired: set[str] = set()
    for night in range(1, days + 1):
        full = []
        for name, period in moons.items():
            if night % period == 0:
                if name in tired:
                    tired.remove(name)
                else:
                    full.append(name)
        if len(full) == 2:
            first, second = sorted(full, key=lambda name: (-moons[name], name))
            nights.append((night, f"{first} hides {second}"))
        elif len(full) > 2:
            nights.append((night, "feast"))
            tired.update(full)
    return nights


def check_moon_nights() -> None:
    assert moon_nights({"Pax": 2, "Io": 3}, 12) == [(6, "Io hides Pax"), (12, "Io hides Pax")]
    assert moon_nights({}, 5) == []
    assert moon_nights({"A": 1}, 5) == []
    assert moon_nights({"B": 4, "A": 4}, 9) == [(4, "A hides B"), (8, "A hides B")]
    assert moon_nights({"A": 1, "B": 1, "C": 1}, 3) == [(1, "feast"), (3, "feast")]
    three = {"A": 2, "B": 3, "C": 6}
    assert moon_nights(three, 6) == [(6, "feast")]
    assert moon_nights(three, 18) == [(6, "feast"), (12, "B hides A"), (18, "feast")]
    assert moon_nights({"A": 1, "B": 2, "C": 2}, 4) == [(2, "feast")]
    assert moon_nights({"A": 1, "B": 2, "C": 4}, 5) == [(2, "B hides A"), (4, "feast")]
