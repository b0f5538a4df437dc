"""Bells, drums, dances: problems about music."""


def ring_changes(bells: str, calls: str) -> list[str]:
    """Returns the rows that the bells ring, the first row `bells` included.

    Each letter of `calls` makes the next row out of the last: "x" swaps the first with the
    second bell, the third with the fourth and so on (an odd last one stays); "-" leaves the
    first bell and swaps the second with the third and so on; "b" (a bob) does as "x", but the
    two bells of the last pair keep their places. If a row is the same as the first row,
    the ringing ends there, with the row included.

    >>> ring_changes("1234", "x-b")
    ['1234', '2143', '2413', '4213']
    """
    rows = [bells]
    for call in calls:
        row = list(rows[-1])
        pairs = list(range(1 if call == "-" else 0, len(row) - 1, 2))
        for at in pairs[:-1] if call == "b" else pairs:
            row[at], row[at + 1] = row[at + 1], row[at]
        rows.append("".join(row))
        if rows[-1] == bells:
            break
    return rows


def check_ring_changes() -> None:
    assert ring_changes("1234", "x-b") == ["1234", "2143", "2413", "4213"]
    assert ring_changes("1234", "xxx") == ["1234", "2143", "1234"]
    assert ring_changes("123", "x-x") == ["123", "213", "231", "321"]
    assert ring_changes("12345", "b-") == ["12345", "21345", "23154"]
    assert ring_changes("12", "b") == ["12", "12"]
    assert ring_changes("12345", "") == ["12345"]
    assert ring_changes("123456", "b-x") == ["123456", "214356", "241536", "425163"]


def drum_circle(drums: list[str]) -> str:
    """Writes what is heard when drummers repeat their patterns together until all begin anew.

    In a pattern "x" is a stroke and "." a rest. Where one drum strikes, write "x", where
    several strike "X", where all of at least three do "!". A drum that has rested for four
    beats or more in a row (counted from the start of the music) startles: its next stroke
    counts as two. Patterns without a beat are not played; without any, nothing is heard.

    >>> drum_circle(["x.", "x.."])
    'X.xxx.'
    """
    import math

    playing = [pattern for pattern in drums if pattern]
    if not playing:
        return ""
    rested = [0] * len(playing)
    heard = ""
    for beat in range(math.lcm(*map(len, playing))):
        strokes = drummers = 0
        for at, pattern in enumerate(playing):
            if pattern[beat % len(pattern)] == "x":
                strokes += 2 if rested[at] >= 4 else 1
                drummers += 1
                rested[at] = 0
            else:
                rested[at] += 1
        if drummers == len(playing) >= 3:
            heard += "!"
        else:
            heard += ".xX"[min(strokes, 2)]
    return heard


def check_drum_circle() -> None:
    assert drum_circle(["x.", "x.."]) == "X.xxx."
    assert drum_circle([]) == ""
    assert drum_circle(["", "x"]) == "x"
    assert drum_circle(["x.", "x.", "xx"]) == "!x"
    assert drum_circle(["x", "x"]) == "X"
    assert drum_circle(["....x"]) == "....X"
    assert drum_circle(["...x", "...."]) == "...x"
    assert drum_circle(["x....", "x....", "x"]) == "!xxxx"
    assert drum_circle(["....x", "x."]) == "x.x.X.x.xX"


def sing_higher(tune: str, scale: str, steps: int) -> str:
    """Transposes a tune in a scale of any letters.

    `scale` lists the notes of one octave from low to high. In the tune, notes are divided by
    spaces; each is a letter and then one "'" for each octave up or one "," for each octave
    down. Each note moves by `steps` places of the scale (down if negative), from one octave
    into the next where the scale ends. "-" is a rest and stays. A note that would come out
    more than two octaves up or down becomes a rest. A note that is not in the scale is sung as
    it was, in brackets.

    >>> sing_higher("a c' - z", "abc", 2)
    "c b'' - (z)"
    """
    out = []
    for note in tune.split():
        if note == "-":
            out.append(note)
        elif note[0] not in scale:
            out.append(f"({note})")
        else:
            octave = note.count("'") - note.count(",")
            octave, place = divmod(scale.index(note[0]) + steps + octave * len(scale), len(scale))
            mark = "'" * octave if octave > 0 else "," * -octave
            out.append("-" if abs(octave) > 2 else scale[place] + mark)
    return " ".join(out)


def check_sing_higher() -> None:
    assert sing_higher("a c' - z", "abc", 2) == "c b'' - (z)"
    assert sing_higher("", "abc", 2) == ""
    assert sing_higher("a b c", "abc", -1) == "c, a b"
    assert sing_higher("a,, b,,", "abc", -1) == "- a,,"
    assert sing_higher("c''", "abc", 1) == "-"
    assert sing_higher("x", "x", 2) == "x''"
    assert sing_higher("x q'", "x", -3) == "- (q')"
    assert sing_higher("d f a", "dfa", 7) == "f'' a'' -"


def contra_line(couples: list[str], rounds: int, out: str) -> list[str]:
    """Dances a line of couples, and returns their order afterwards.

    In odd rounds the couples at places 1 and 2 change places, 3 and 4, and so on; in even
    rounds 2 and 3, 4 and 5, and so on. A couple without a partner to change with waits. The
    couple `out` is tired: after it has waited once in a round, it leaves the line at the end of
    that round, and then the one who stands first in the line moves to its end.

    >>> contra_line(["A", "B", "C"], 2, "B")
    ['A', 'C']
    """
    line = list(couples)
    for number in range(1, rounds + 1):
        first = 0 if number % 2 else 1
        waiting = set(line)
        for at in range(first, len(line) - 1, 2):
            waiting -= {line[at], line[at + 1]}
            line[at], line[at + 1] = line[at + 1], line[at]
        if out in waiting:
            line.remove(out)
            line = line[1:] + line[:1]
    return line


def check_contra_line() -> None:
    assert contra_line(["A", "B", "C"], 2, "B") == ["A", "C"]
    assert contra_line(["A", "B", "C"], 2, "-") == ["B", "C", "A"]
    assert contra_line(["A", "B", "C", "D"], 1, "-") == ["B", "A", "D", "C"]
    assert contra_line(["A", "B", "C", "D"], 3, "-") == ["D", "B", "C", "A"]
    assert contra_line(["A", "B", "C"], 1, "C") == ["A", "B"]
    assert contra_line(["A"], 3, "A") == []
    assert contra_line([], 2, "A") == []
    assert contra_line(["A", "B", "C", "D"], 2, "B") == ["A", "C", "D"]


def music_box(cylinder: list[str], comb: str, start: int) -> str:
    """Plays one turn of a music box from row `start`, and returns the sounds, one a row.

    Row by row (after the last comes the first), a pin "o" plucks the tooth of `comb` at its
    place, a gap is ".". Pins beyond the comb pluck nothing. Several teeth in a row sound as a
    chord, in brackets and in the order of the comb, "(ce)". A tooth that was plucked in the row
    just before, in this turn, only clicks: it counts as "'" instead of its note. A row without
    a sound is "-".

    >>> music_box(["o.o", ".o.", "oo."], "ceg", 1)
    "e(c')('g)"
    """
    sounds = ""
    before: set[int] = set()
    for step in range(len(cylinder)):
        row = cylinder[(start + step) % len(cylinder)]
        now = [at for at, sign in enumerate(row) if sign == "o" and at < len(comb)]
        notes = "".join("'" if at in before else comb[at] for at in now)
        sounds += "-" if not notes else notes if len(notes) == 1 else f"({notes})"
        before = set(now)
    return sounds


def check_music_box() -> None:
    assert music_box(["o.o", ".o.", "oo."], "ceg", 1) == "e(c')('g)"
    assert music_box(["o.o", ".o.", "oo."], "ceg", 0) == "(cg)e(c')"
    assert music_box(["oo", "oo"], "ab", 0) == "(ab)('')"
    assert music_box(["..", "o."], "ab", 3) == "a-"
    assert music_box([".oo"], "ab", 0) == "b"
    assert music_box(["o", "o", "o"], "z", 2) == "z''"
    assert music_box([], "ab", 0) == ""


def applause(claps: list[int], hall: int) -> list[int]:
    """Says how many people clap in each second of an applause.

    `claps` holds how many begin to clap of themselves in each second; nobody begins twice, and
    of the `hall` people only those who have not begun yet can. Whoever began claps for 3
    seconds. If at least half of the hall claps in a second, everybody who has not begun yet
    begins in the next second (besides nobody else). The list goes on, with no more beginners
    than these, until nobody claps; its last number is never 0.

    >>> applause([1, 0, 2], 8)
    [1, 1, 3, 2, 2]
    """
    seconds, begun, beginners = [], 0, []  # type: list[int], int, list[int]
    while True:
        now = len(seconds)
        wave = bool(seconds) and 2 * seconds[-1] >= hall
        new = hall - begun if wave else min(claps[now], hall - begun) if now < len(claps) else 0
        begun += new
        beginners.append(new)
        seconds.append(sum(beginners[-3:]))
        if now >= len(claps) - 1 and not seconds[-1]:
            break
    while seconds and not seconds[-1]:
        seconds.pop()
    return seconds


def check_applause() -> None:
    assert applause([1, 0, 2], 8) == [1, 1, 3, 2, 2]
    assert applause([1], 5) == [1, 1, 1]
    assert applause([], 5) == []
    assert applause([0, 0], 5) == []
    assert applause([9], 5) == [5, 5, 5]
    assert applause([2, 0, 1], 4) == [2, 4, 4, 2]
    assert applause([0, 1, 1, 1], 6) == [0, 1, 2, 3, 5, 4, 3]
    assert applause([1, 0, 0, 0, 1], 9) == [1, 1, 1, 0, 1, 1, 1]


def metronome_slip(beats: int, tempo: int, slips: dict[int, int]) -> list[int]:
    """Returns the milliseconds at which a worn metronome ticks, from 0 for its first beat.

    It ticks `tempo` times a minute: the pause between two ticks is 60000 / tempo milliseconds,
    rounded down. `slips` gives for some beats (the first is 1) a change of the tempo, in ticks a
    minute, that holds for the pauses after that beat. The tempo stays from 20 to 240 whatever
    the changes. Every fourth tick (beats 4, 8, ...) is weak: it does not sound and is left
    out of the list, unless the tempo was changed at the beat just before it.

    >>> metronome_slip(5, 60, {2: 60})
    [0, 1000, 1500, 2500]
    """
    ticks, now = [], 0
    for beat in range(1, beats + 1):
        if beat % 4 or slips.get(beat - 1):
            ticks.append(now)
        tempo = min(240, max(20, tempo + slips.get(beat, 0)))
        now += 60000 // tempo
    return ticks


def check_metronome_slip() -> None:
    assert metronome_slip(5, 60, {2: 60}) == [0, 1000, 1500, 2500]
    assert metronome_slip(0, 60, {}) == []
    assert metronome_slip(4, 60, {3: -20}) == [0, 1000, 2000, 3500]
    assert metronome_slip(3, 60, {1: -90, 2: 10}) == [0, 3000, 5000]
    assert metronome_slip(4, 200, {1: 900}) == [0, 250, 500]
    assert metronome_slip(9, 240, {}) == [0, 250, 500, 1000, 1250, 1500, 2000]
    assert metronome_slip(3, 7, {}) == [0, 3000, 6000]
    assert metronome_slip(3, 70, {}) == [0, 857, 1714]
