"""Beavers, geese, crabs: problems about animals."""


def beaver_ponds(water: int, dams: list[int]) -> list[int]:
    """Water runs down a stream through beaver ponds, in the order of `dams` (their capacities).

    A pond keeps water up to its capacity and lets the rest run on. But if more than twice its
    capacity arrives, its dam breaks: it keeps nothing and everything runs on. A broken dam's
    sticks raise the capacity of the next dam by 1. Return what each pond keeps, and as a last
    number what reaches the sea.

    >>> beaver_ponds(10, [3, 6, 5])
    [0, 7, 3, 0]
    """
    kept, sticks = [], 0
    for capacity in dams:
        capacity += sticks
        broken = water > 2 * capacity
        sticks = 1 if broken else 0
        stays = 0 if broken else min(water, capacity)
        kept.append(stays)
        water -= stays
    return [*kept, water]


def check_beaver_ponds() -> None:
    assert beaver_ponds(10, [3, 6, 5]) == [0, 7, 3, 0]
    assert beaver_ponds(6, [3]) == [3, 3]
    assert beaver_ponds(7, [3]) == [0, 7]
    assert beaver_ponds(7, [3, 3]) == [0, 4, 3]
    assert beaver_ponds(20, [1, 1, 1, 30]) == [0, 0, 0, 20, 0]
    assert beaver_ponds(8, [4, 3, 3]) == [4, 3, 1, 0]
    assert beaver_ponds(9, [4, 3, 3]) == [0, 0, 0, 9]
    assert beaver_ponds(0, [2, 0]) == [0, 0, 0]
    assert beaver_ponds(5, []) == [5]


def goose_leaders(flock: list[str], weary: list[str], hours: int) -> list[str]:
    """Geese take turns at the head of the flock; return who leads in each of the `hours`.

    The first goose of `flock` flies ahead and falls back to the last place after its hour. A
    weary goose that comes to the front falls back at once without leading, and is then rested:
    it is weary only the first time. No goose leads more than two hours in all; after these it
    leaves the flock. When nobody is left, the hours that remain are led by "wind".

    >>> goose_leaders(["ada", "bo", "cy"], ["bo"], 4)
    ['ada', 'cy', 'ada', 'bo']
    """
    queue, tired = list(flock), set(weary)
    led: list[str] = []
    while len(led) < hours:
        if not queue:
            led.append("wind")
            continue
        goose = queue.pop(0)
        if goose in tired:
            tired.remove(goose)
            queue.append(goose)
            continue
        led.append(goose)
        if led.count(goose) < 2:
            queue.append(goose)
    return led


def check_goose_leaders() -> None:
    assert goose_leaders(["ada", "bo", "cy"], ["bo"], 4) == ["ada", "cy", "ada", "bo"]
    assert goose_leaders(["ada"], [], 4) == ["ada", "ada", "wind", "wind"]
    assert goose_leaders(["ada"], ["ada"], 1) == ["ada"]
    assert goose_leaders([], ["x"], 2) == ["wind", "wind"]
    assert goose_leaders(["a", "b"], ["a", "b"], 5) == ["a", "b", "a", "b", "wind"]
    assert goose_leaders(["a", "b", "c"], ["c"], 7) == ["a", "b", "a", "b", "c", "c", "wind"]
    assert goose_leaders(["a", "b"], [], 0) == []


def bird_table(visits: list[tuple[int, str, int]], seeds: int) -> dict[str, int]:
    """Says how many seeds each kind of bird gets from a table that starts with `seeds`.

    Each visit is (minute, kind, appetite), in any order; the earlier comes first, and at the
    same minute the kind that is first in the alphabet. A bird eats up to its appetite. A
    "magpie" takes half of what is there instead, rounded down, whatever its appetite, and
    nobody dares to come in the 5 minutes after a magpie (a magpie neither). Every full 60
    minutes, before any visit at that minute, 10 seeds are added. Kinds that got nothing are
    left out.

    >>> bird_table([(0, "tit", 3), (1, "magpie", 1), (6, "tit", 2), (7, "tit", 9)], 9)
    {'tit': 6, 'magpie': 3}
    """
    eaten: dict[str, int] = {}
    feared, filled = -1, 0
    for minute, kind, appetite in sorted(visits):
        while filled + 60 <= minute:
            filled += 60
            seeds += 10
        if minute <= feared:
            continue
        meal = seeds // 2 if kind == "magpie" else min(appetite, seeds)
        if kind == "magpie":
            feared = minute + 5
        seeds -= meal
        if meal:
            eaten[kind] = eaten.get(kind, 0) + meal
    return eaten


def check_bird_table() -> None:
    visits = [(0, "tit", 3), (1, "magpie", 1), (6, "tit", 2), (7, "tit", 9)]
    assert bird_table(visits, 9) == {"tit": 6, "magpie": 3}
    assert bird_table(visits[::-1], 3) == {"tit": 3}
    assert bird_table([(5, "wren", 4), (5, "finch", 4)], 6) == {"finch": 4, "wren": 2}
    assert bird_table([(60, "wren", 99)], 1) == {"wren": 11}
    assert bird_table([(180, "wren", 99), (59, "wren", 1)], 0) == {"wren": 30}
    assert bird_table([(1, "magpie", 0), (6, "magpie", 0), (7, "magpie", 0)], 8) == {"magpie": 6}
    assert bird_table([], 5) == {}


def share_honey(jars: list[int], bears: list[str]) -> dict[str, list[int]]:
    """Divides honey jars among bears, who choose by turns; returns bear -> its jars as taken.

    A bear takes the fullest jar that is left, but a "cub" (a name in lower case) cannot carry
    more than 5 in one jar and takes the fullest that it can. A bear that finds no jar for itself
    is out. When one turn round is over, the next goes in the opposite direction, so that the
    last bear chooses again first. It ends when no jar is left or all are out.

    >>> share_honey([9, 2, 7, 5, 4], ["Ursa", "pip"])
    {'Ursa': [9, 7, 2], 'pip': [5, 4]}
    """
    left = sorted(jars)
    got: dict[str, list[int]] = {bear: [] for bear in bears}
    playing = list(bears)
    while left and playing:
        for bear in list(playing):
            possible = [jar for jar in left if jar <= 5 or not bear.islower()]
            if not possible:
                playing.remove(bear)
                continue
            left.remove(possible[-1])
            got[bear].append(possible[-1])
        playing.reverse()
    return got


def check_share_honey() -> None:
    assert share_honey([9, 2, 7, 5, 4], ["Ursa", "pip"]) == {"Ursa": [9, 7, 2], "pip": [5, 4]}
    assert share_honey([], ["Ursa"]) == {"Ursa": []}
    assert share_honey([8, 8], ["pip"]) == {"pip": []}
    assert share_honey([8, 5, 8], ["pip", "Bo"]) == {"pip": [5], "Bo": [8, 8]}
    assert share_honey([1, 2, 3, 4, 5], ["A", "B", "C"]) == {"A": [5], "B": [4, 1], "C": [3, 2]}
    assert share_honey([6, 6, 1], ["a", "b", "C"]) == {"a": [1], "b": [], "C": [6, 6]}
    assert share_honey([3, 3, 3], []) == {}


def crab_race(lanes: list[str], minutes: int) -> list[int]:
    """Returns the places (0 is the start) of racing crabs after some minutes.

    Each lane is a line of signs; the crab starts at its first one. Each minute a crab goes one
    on; on "~" (water) two on. Reaching "v" (a hole) it stays for the two minutes after that. On
    "@" (a rival's claw) it goes back to the start, but only the first time in the race for each
    crab. Signs count where a move ends; the start counts for the first move. Whoever reaches
    the last sign stays there for good. The crab behind all others, if it is the only one and has
    not reached the end, goes one further in every fifth minute.

    >>> crab_race([".....", "~...."], 2)
    [2, 3]
    """
    at, asleep, clawed = [0] * len(lanes), [0] * len(lanes), [False] * len(lanes)
    for minute in range(1, minutes + 1):
        rear = [i for i in range(len(lanes)) if at[i] == min(at)]
        for crab, lane in enumerate(lanes):
            end = len(lane) - 1
            if at[crab] >= end:
                continue
            if asleep[crab]:
                asleep[crab] -= 1
                continue
            step = 2 if lane[at[crab]] == "~" else 1
            if minute % 5 == 0 and rear == [crab]:
                step += 1
            at[crab] = min(end, at[crab] + step)
            if at[crab] == end:
                continue
            if lane[at[crab]] == "v":
                asleep[crab] = 2
            elif lane[at[crab]] == "@" and not clawed[crab]:
                at[crab], clawed[crab] = 0, True
    return at


def check_crab_race() -> None:
    assert crab_race([".....", "~...."], 2) == [2, 3]
    assert crab_race([], 3) == []
    assert crab_race([".v....", "......"], 3) == [1, 3]
    assert crab_race([".v....", "......"], 4) == [2, 4]
    assert crab_race(["..@.."], 2) == [0]
    assert crab_race(["..@.."], 4) == [2]
    assert crab_race(["..@"], 2) == [2]
    assert crab_race(["...........", "..........."], 5) == [5, 5]
    assert crab_race(["@..........", "~.........."], 5) == [6, 6]


def pocket_bets(nuts: dict[str, int], rounds: list[tuple[str, str, int]]) -> dict[str, int]:
    """Settles bets among squirrels, and returns how many nuts each one holds at the end.

    A round (winner, loser, stake): the loser pays the stake, or all it has if that is less. A
    loser that has to pay all of a stake of 5 or more with nuts to spare gets 1 back out of
    pity. A winner that then holds more than twice as many as each other squirrel pays a feast:
    every other squirrel gets 1 from it, in the order of `nuts`. A squirrel without any nut when
    its round comes does not pay, and the winner gives it 1 instead if it has one.

    >>> pocket_bets({"flip": 4, "nip": 6, "tuck": 3}, [("nip", "flip", 5)])
    {'flip': 1, 'nip': 8, 'tuck': 4}
    """
    held = dict(nuts)
    for winner, loser, stake in rounds:
        if held[loser] == 0:
            gift = min(1, held[winner])
        else:
            paid = min(stake, held[loser])
            pity = 1 if paid == stake >= 5 and held[loser] > stake else 0
            gift = pity - paid
        held[loser] += gift
        held[winner] -= gift
        others = [name for name in held if name != winner]
        if all(held[winner] > 2 * held[name] for name in others):
            for name in others:
                held[name] += 1
                held[winner] -= 1
    return held


def check_pocket_bets() -> None:
    three = {"flip": 4, "nip": 6, "tuck": 3}
    assert pocket_bets(three, [("nip", "flip", 5)]) == {"flip": 1, "nip": 8, "tuck": 4}
    assert pocket_bets(three, []) == three
    assert pocket_bets(three, [("flip", "nip", 5)]) == {"flip": 6, "nip": 3, "tuck": 4}
    assert pocket_bets(three, [("tuck", "flip", 1)]) == {"flip": 3, "nip": 6, "tuck": 4}
    assert pocket_bets({"a": 0, "b": 3}, [("b", "a", 2)]) == {"a": 1, "b": 2}
    assert pocket_bets({"a": 0, "b": 9}, [("b", "a", 2)]) == {"a": 2, "b": 7}
    assert pocket_bets({"a": 5, "b": 5}, [("b", "a", 5)]) == {"a": 1, "b": 9}
    assert pocket_bets({"a": 6, "b": 0}, [("b", "a", 5)]) == {"a": 2, "b": 4}
