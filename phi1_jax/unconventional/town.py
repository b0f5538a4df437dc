"""Lifts, ferries, parking: problems about a town."""


def lift_gossip(events: list[str], knows: str) -> list[str]:
    """Follows a rumour through a lift, and returns all who know it at the end, in the order in
    which they learnt it (`knows` first).

    An event is "in NAME", "out NAME" or "stop". Whoever stands in the lift with somebody who
    knows it learns it at the next "stop"; several learn it together in the order in which they
    got in. Nobody tells it while the "boss" is in the lift, and the boss never learns it. The
    lift holds four: one who would be the fifth does not get in.

    >>> lift_gossip(["in ann", "in bob", "stop", "out ann", "in cy", "stop"], "ann")
    ['ann', 'bob', 'cy']
    """
    inside: list[str] = []
    told = [knows]
    for event in events:
        verb, _, name = event.partition(" ")
        if verb == "in" and len(inside) < 4:
            inside.append(name)
        elif verb == "out" and name in inside:
            inside.remove(name)
        elif verb == "stop" and "boss" not in inside and set(inside) & set(told):
            told += [person for person in inside if person not in told]
    return told


def check_lift_gossip() -> None:
    events = ["in ann", "in bob", "stop", "out ann", "in cy", "stop"]
    assert lift_gossip(events, "ann") == ["ann", "bob", "cy"]
    assert lift_gossip(events, "cy") == ["cy", "bob"]
    assert lift_gossip(events, "dee") == ["dee"]
    assert lift_gossip(["in a", "in b", "out b", "stop"], "a") == ["a"]
    assert lift_gossip(["in a", "in boss", "in b", "stop", "out boss"], "a") == ["a"]
    assert lift_gossip([*events[:2], "in boss", "stop", "out boss", "stop"], "bob") == [
        "bob",
        "ann",
    ]
    crowd = ["in a", "in b", "in c", "in d", "in e", "stop", "out b", "in f", "stop"]
    assert lift_gossip(crowd, "d") == ["d", "a", "b", "c", "f"]


def load_ferry(vehicles: list[str], length: int) -> tuple[list[str], list[str], list[str]]:
    """Loads a ferry with two lanes; returns the left lane, the right lane, and who stays behind.

    "car" is 4 long, "van" 5, "truck" 9, "bike" 1; between two vehicles of a lane there is 1
    free. Trucks must go left. Others go into the lane with more free length, left if equal;
    if they do not fit there, they do not try the other one. Bikes are loaded after all others,
    in their order. Once a vehicle that is no bike has stayed behind, all later ones that
    are no bikes stay behind too. The ones that stay are listed in the order given.

    >>> load_ferry(["bike", "car", "truck", "van"], 14)
    (['car', 'truck'], ['van', 'bike'], [])
    """
    size = {"car": 4, "van": 5, "truck": 9, "bike": 1}
    lanes: list[list[str]] = [[], []]
    free = [length, length]
    stays: set[int] = set()
    order = sorted(range(len(vehicles)), key=lambda i: vehicles[i] == "bike")
    for at in order:
        vehicle = vehicles[at]
        lane = 0 if vehicle == "truck" or free[0] >= free[1] else 1
        needs = size[vehicle] + (1 if lanes[lane] else 0)
        closed = vehicle != "bike" and bool(stays)
        if closed or needs > free[lane]:
            stays.add(at)
            continue
        free[lane] -= needs
        lanes[lane].append(vehicle)
    return lanes[0], lanes[1], [vehicles[at] for at in sorted(stays)]


def check_load_ferry() -> None:
    mixed = ["bike", "car", "truck", "van"]
    assert load_ferry(mixed, 14) == (["car", "truck"], ["van", "bike"], [])
    assert load_ferry(mixed, 13) == (["car"], ["bike"], ["truck", "van"])
    assert load_ferry([], 9) == ([], [], [])
    assert load_ferry(["van"], 4) == ([], [], ["van"])
    assert load_ferry(["car", "car", "car"], 9) == (["car", "car"], ["car"], [])
    assert load_ferry(["bike", "van", "car"], 5) == (["van"], ["car"], ["bike"])
    assert load_ferry(["truck", "truck", "car", "bike"], 9) == (
        ["truck"],
        ["bike"],
        ["truck", "car"],
    )
    assert load_ferry(["bike"] * 4, 3) == (["bike", "bike"], ["bike", "bike"], [])


def parking_end(start: str, coins: list[int]) -> str:
    """Says until when one may park: coins (in cents) put in at "HH:MM" are worth time.

    10 cents buy 6 minutes in the first paid hour, 4 minutes after it; a coin's cents beyond a
    multiple of 10 are lost. At most 3 paid hours can be bought at once; what is beyond them is
    lost. From 12:00 to 13:00 parking is free: this hour does not use up paid minutes. From
    18:00 parking is free for the day: time that reaches 18:00 or begins later gives "free".

    >>> parking_end("11:30", [50, 25])
    '13:12'
    """
    hour, minute = map(int, start.split(":"))
    now = 60 * hour + minute
    paid = 0
    for coin in coins:
        for _ in range(coin // 10):
            paid += 6 if paid < 60 else 4
    for _ in range(min(paid, 180)):
        if now >= 18 * 60:
            break
        if now == 12 * 60 or 12 * 60 < now < 13 * 60:
            now = 13 * 60
        now += 1
    if now >= 18 * 60:
        return "free"
    return f"{now // 60:02d}:{now % 60:02d}"


def check_parking_end() -> None:
    assert parking_end("11:30", [50, 25]) == "13:12"
    assert parking_end("09:00", []) == "09:00"
    assert parking_end("09:05", [19, 9, 10]) == "09:17"
    assert parking_end("09:00", [100, 50]) == "10:20"
    assert parking_end("09:00", [500]) == "12:00"
    assert parking_end("08:00", [500]) == "11:00"
    assert parking_end("11:30", [50]) == "12:00"
    assert parking_end("12:20", [10]) == "13:06"
    assert parking_end("17:30", [50]) == "free"
    assert parking_end("17:30", [40]) == "17:54"
    assert parking_end("20:00", []) == "free"


def house_numbers(plots: str, superstitious: bool) -> list[str]:
    """Numbers the plots of a street as one walks along it.

    Each letter of `plots` is the next plot: "l" on the left, "r" on the right, "L" or "R" a
    large one with two houses, "p" a park. Houses on the left have the odd numbers 1, 3, 5...,
    on the right 2, 4, 6... . The second house of a large plot does not use up a number: it gets
    the first one's with "a". A park uses up the next number of both sides and shows as "-".
    A superstitious street has no number 13 and 26: these houses get the number before on their
    side with "b".

    >>> house_numbers("lRpl", False)
    ['1', '2', '2a', '-', '5']
    """
    following = {"l": 1, "r": 2}
    numbers = []
    for plot in plots:
        if plot == "p":
            numbers.append("-")
            following = {side: number + 2 for side, number in following.items()}
            continue
        side = plot.lower()
        number = following[side]
        following[side] += 2
        name = str(number)
        if superstitious and number in (13, 26):
            name = f"{number - 2}b"
        numbers.append(name)
        if plot.isupper():
            numbers.append(f"{name}a")
    return numbers


def check_house_numbers() -> None:
    assert house_numbers("lRpl", False) == ["1", "2", "2a", "-", "5"]
    assert house_numbers("", True) == []
    assert house_numbers("ppL", True) == ["-", "-", "5", "5a"]
    assert house_numbers("lllllll", True)[5:] == ["11", "11b"]
    assert house_numbers("lllllll", False)[5:] == ["11", "13"]
    assert house_numbers("llllllLl", True)[6:] == ["11b", "11ba", "15"]
    assert house_numbers("r" * 14, True)[11:] == ["24", "24b", "28"]
    assert house_numbers("rlRL", False) == ["2", "1", "4", "4a", "3", "3a"]


def street_mimes(crowd: list[int], mimes: int) -> list[int]:
    """Places street artists one after another; returns the place that each one takes.

    `crowd` holds how many people pass each place of a street. A mime takes the free place where
    most people pass, the first of equal ones. From then on half of the people of that place
    (rounded down) do not reach the next place, and a third (rounded down) not the one
    before, counted from the number that passes the mime; nobody can be fewer than none. A
    place without passers-by is never taken: remaining mimes give -1.

    >>> street_mimes([6, 9, 7], 2)
    [1, 0]
    """
    people, taken = list(crowd), []  # type: list[int], list[int]
    for _ in range(mimes):
        free = [at for at in range(len(people)) if at not in taken and people[at] > 0]
        if not free:
            taken.append(-1)
            continue
        best = max(free, key=lambda at: (people[at], -at))
        taken.append(best)
        for near, share in ((best + 1, 2), (best - 1, 3)):
            if 0 <= near < len(people):
                people[near] = max(0, people[near] - people[best] // share)
    return taken


def check_street_mimes() -> None:
    assert street_mimes([6, 9, 7], 2) == [1, 0]
    assert street_mimes([6, 9, 8], 2) == [1, 2]
    assert street_mimes([5, 5, 5], 3) == [0, 2, 1]
    assert street_mimes([], 2) == [-1, -1]
    assert street_mimes([0, 1], 2) == [1, -1]
    assert street_mimes([2, 9, 3], 3) == [1, -1, -1]
    assert street_mimes([4, 4, 4, 4], 4) == [0, 2, 3, 1]
    assert street_mimes([3, 3], 0) == []


def night_bus(stops: list[str], wishes: list[tuple[str, str]]) -> list[str]:
    """Drives a night bus once along its stops, and returns the places where it halts.

    A wish (from, to) is a person who waits. The bus halts at a stop where somebody wants to get
    on (who has a stop further on as the aim) or off. It never halts at two neighbouring stops
    one after the other: at the second of them it drives through; who wants to get off there
    leaves at the next halt, who wants to get on stays behind. At the last stop the bus always
    halts, also after a halt at the stop before it.

    >>> night_bus(["mill", "pier", "zoo", "gate"], [("mill", "pier"), ("zoo", "gate")])
    ['mill', 'zoo', 'gate']
    """
    halts: list[str] = []
    riding: list[int] = []
    last = -2
    for at, stop in enumerate(stops):
        waiting = [stops.index(to) for origin, to in wishes if origin == stop]
        boarding = [to for to in waiting if to > at]
        leaving = [to for to in riding if to <= at]
        end = at == len(stops) - 1
        if end or ((boarding or leaving) and last != at - 1):
            halts.append(stop)
            last = at
            riding = [to for to in riding if to > at] + boarding
    return halts


def check_night_bus() -> None:
    stops = ["mill", "pier", "zoo", "gate"]
    assert night_bus(stops, [("mill", "pier"), ("zoo", "gate")]) == ["mill", "zoo", "gate"]
    assert night_bus(stops, [("mill", "pier")]) == ["mill", "zoo", "gate"]
    assert night_bus(stops, []) == ["gate"]
    assert night_bus(stops, [("pier", "mill")]) == ["gate"]
    assert night_bus(stops, [("pier", "zoo"), ("zoo", "gate")]) == ["pier", "gate"]
    assert night_bus(stops, [("mill", "zoo"), ("pier", "gate")]) == ["mill", "zoo", "gate"]
    assert night_bus(["a", "b", "c", "d", "e"], [("b", "c"), ("c", "d")]) == ["b", "d", "e"]
    assert night_bus(["a", "b", "c", "d", "e"], [("b", "d")]) == ["b", "d", "e"]
    assert night_bus(["a"], []) == ["a"]


def wet_paint(benches: int, events: list[tuple[int, str, int]]) -> list[str]:
    """Returns what happens to people who sit down in a park with freshly painted benches.

    An event (minute, what, bench) is in order of time: "paint" makes the bench wet, "sit" is a
    person, "rain" (whatever the bench) makes every bench that is wet stay so for 30 minutes
    longer. Paint dries in 60 minutes. A person who sits down on a dry bench gives "dry", on a
    bench that dries in 10 minutes or less "tacky", else "striped"; the first striped person
    on a coat of paint hangs up a warning, and later ones go on to the next dry bench (to the
    right, not round the end): "moved to N", or "stands" if there is none.

    >>> wet_paint(2, [(0, "paint", 0), (5, "sit", 0), (9, "sit", 0), (55, "sit", 0)])
    ['striped', 'moved to 1', 'moved to 1']
    """
    dries = [0] * benches
    warned = [False] * benches
    results = []
    for minute, what, bench in events:
        if what == "paint":
            dries[bench], warned[bench] = minute + 60, False
        elif what == "rain":
            dries = [end + 30 if end > minute else end for end in dries]
        elif dries[bench] <= minute:
            results.append("dry")
        elif warned[bench]:
            free = [b for b in range(bench + 1, benches) if dries[b] <= minute]
            results.append(f"moved to {free[0]}" if free else "stands")
        elif dries[bench] - minute <= 10:
            results.append("tacky")
        else:
            warned[bench] = True
            results.append("striped")
    return results


def check_wet_paint() -> None:
    day = [(0, "paint", 0), (5, "sit", 0), (9, "sit", 0), (55, "sit", 0)]
    assert wet_paint(2, day) == ["striped", "moved to 1", "moved to 1"]
    assert wet_paint(1, day) == ["striped", "stands", "stands"]
    assert wet_paint(1, [(0, "sit", 0)]) == ["dry"]
    assert wet_paint(1, [(0, "paint", 0), (50, "sit", 0), (60, "sit", 0)]) == ["tacky", "dry"]
    assert wet_paint(1, [(0, "paint", 0), (49, "sit", 0), (60, "sit", 0)]) == ["striped", "dry"]
    rainy = [(0, "paint", 1), (5, "rain", 0), (60, "sit", 1), (80, "sit", 0), (89, "sit", 1)]
    assert wet_paint(3, rainy) == ["striped", "dry", "moved to 2"]
    again = [(0, "paint", 0), (1, "sit", 0), (2, "paint", 0), (3, "sit", 0), (4, "sit", 0)]
    assert wet_paint(1, again) == ["striped", "striped", "stands"]
