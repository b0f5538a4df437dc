"""Games that nobody plays: problems with their rules."""


def domino_snake(tiles: list[str]) -> tuple[str, int]:
    """Lays dominoes like "3-5" in the order given, and returns the snake and how many are left.

    The first tile is laid as it is. Each further one goes to the right end if one of its halves
    fits there, else to the left end, turned if needed; if neither fits, it is put aside. As
    soon as a double (like "4-4") is laid, except as the first tile, the whole snake turns
    round. After each tile laid, the tile put aside most recently is tried once again in the
    same way (and if it is laid, the next one). The snake is written "5-3 3-3 3-1".

    >>> domino_snake(["3-5", "1-2", "5-1", "2-2"])
    ('2-2 2-1 1-5 5-3', 0)
    """
    snake: list[tuple[str, str]] = []
    aside: list[tuple[str, str]] = []

    def lay(a: str, b: str) -> bool:
        if not snake:
            snake.append((a, b))
            return True
        left, right = snake[0][0], snake[-1][1]
        if right in (a, b):
            snake.append((a, b) if a == right else (b, a))
        elif left in (a, b):
            snake.insert(0, (a, b) if b == left else (b, a))
        else:
            return False
        if a == b:
            snake[:] = [(y, x) for x, y in reversed(snake)]
        return True

    for tile in tiles:
        a, b = tile.split("-")
        if not lay(a, b):
            aside.append((a, b))
            continue
        while aside and lay(*aside[-1]):
            aside.pop()
    return " ".join(f"{a}-{b}" for a, b in snake), len(aside)


def check_domino_snake() -> None:
    assert domino_snake(["3-5", "1-2", "5-1", "2-2"]) == ("2-2 2-1 1-5 5-3", 0)
    assert domino_snake([]) == ("", 0)
    assert domino_snake(["6-6"]) == ("6-6", 0)
    assert domino_snake(["1-2", "3-1"]) == ("3-1 1-2", 0)
    assert domino_snake(["1-2", "1-3"]) == ("3-1 1-2", 0)
    assert domino_snake(["1-2", "5-5"]) == ("1-2", 1)
    assert domino_snake(["1-2", "1-1"]) == ("2-1 1-1", 0)
    assert domino_snake(["1-2", "4-5", "3-4", "2-3"]) == ("1-2 2-3 3-4 4-5", 0)
    assert domino_snake(["1-2", "3-4", "4-5", "2-3"]) == ("1-2 2-3", 2)


def card_house(cards: list[str]) -> tuple[int, list[str]]:
    """Builds a house of cards, and returns how many floors are whole and which cards are left.

    Cards are like "7h" or "Qs", taken from the left. Floors grow from the ground: the first
    needs 4 cards, the next 3, then 2, then 1; then the house is done. A floor must not hold two
    cards of one suit (the last letter): a card that does not suit goes to the end of the cards
    not yet taken, but a card for which this happens a second time is left for good. A joker
    "*" suits always. When no card can be taken any more, the house ends; the cards of a floor
    begun and not finished are left too. Left cards are sorted as text.

    >>> card_house(["7h", "Qs", "2h", "3d", "9c", "*"])
    (1, ['*', '2h'])
    """
    queue = list(cards)
    refused: list[int] = [0] * len(cards)
    order = list(range(len(cards)))
    left: list[str] = []
    floor: list[str] = []
    floors = 0
    while order and floors < 4:
        at = order.pop(0)
        card = queue[at]
        if card != "*" and any(other[-1] == card[-1] for other in floor):
            refused[at] += 1
            if refused[at] == 2:
                left.append(card)
            else:
                order.append(at)
            continue
        floor.append(card)
        if len(floor) == 4 - floors:
            floors, floor = floors + 1, []
    return floors, sorted([*left, *floor, *(queue[at] for at in order)])


def check_card_house() -> None:
    assert card_house(["7h", "Qs", "2h", "3d", "9c", "*"]) == (1, ["*", "2h"])
    assert card_house([]) == (0, [])
    assert card_house(["1h", "2h", "3h", "4h"]) == (0, ["1h", "2h", "3h", "4h"])
    assert card_house(["*", "*", "*", "*"]) == (1, [])
    assert card_house(["*"] * 11) == (4, ["*"])
    suits = ["1a", "1b", "1c", "1d"]
    assert card_house(suits + suits[:3]) == (2, [])
    assert card_house(["1a", "2a", *suits[1:], "3a", "3b"]) == (1, ["2a", "3a", "3b"])
    assert card_house([*suits, "2a", "3a", "2b", "2c"]) == (2, ["3a"])


def rope_pull(teams: tuple[list[int], list[int]], seconds: int) -> str:
    """Decides a tug of war between two teams (the strengths of their members).

    The knot starts at 0. In each second a team pulls with the sum of its strengths; the
    stronger pull moves the knot one place towards its team (left is negative), two places if it
    is at least twice the other's. Then, in a team that lost the second, its strongest member
    loses 1; in the other one everybody loses 1; with equal pulls nobody loses anything and the
    knot stays. Nobody gets below 0. At -5 or 5 the team there wins at once: "left in 3" names
    the seconds; otherwise after `seconds` return "left ahead", "right ahead" or "even".

    >>> rope_pull(([5, 5], [4]), 9)
    'left in 3'
    """
    left, right = list(teams[0]), list(teams[1])
    knot = 0
    for second in range(1, seconds + 1):
        pulls = sum(left), sum(right)
        if pulls[0] == pulls[1]:
            continue
        winner, loser, way = (left, right, -1) if pulls[0] > pulls[1] else (right, left, 1)
        knot += 2 * way if max(pulls) >= 2 * min(pulls) else way
        if abs(knot) >= 5:
            return f"{'left' if knot < 0 else 'right'} in {second}"
        winner[:] = [max(0, member - 1) for member in winner]
        if loser:
            strongest = loser.index(max(loser))
            loser[strongest] = max(0, loser[strongest] - 1)
    return "even" if knot == 0 else "left ahead" if knot < 0 else "right ahead"


def check_rope_pull() -> None:
    assert rope_pull(([5, 5], [4]), 9) == "left in 3"
    assert rope_pull(([5, 5], [4]), 2) == "left ahead"
    assert rope_pull(([3], [3]), 50) == "even"
    assert rope_pull(([], [1]), 3) == "right ahead"
    assert rope_pull(([], [9]), 3) == "right in 3"
    assert rope_pull(([4, 4, 4], [13]), 2) == "right ahead"
    assert rope_pull(([2, 2], [3]), 4) == "left ahead"
    assert rope_pull(([], []), 4) == "even"


def echo_tag(players: list[str], shouts: list[tuple[str, str]]) -> list[str]:
    """Plays a game of shouting, and returns the players still in it, in the order given.

    In a shout (who, whom), `who` must be the one who was called last (in the first shout
    anybody may begin) and `whom` somebody else who still plays. A shout that breaks a rule puts
    `who` out of the game if `who` still plays, and anybody may begin the next one. A shout
    back to the one who just called you, two shouts in a row (a calls b, b calls a, a calls b),
    puts both out, and anybody may begin. Shouts after only one player is left do not count.

    >>> echo_tag(["al", "bo", "cy"], [("al", "bo"), ("cy", "al"), ("bo", "al")])
    ['al', 'bo']
    """
    still = list(players)
    called, history = None, []  # type: str | None, list[tuple[str, str]]
    for who, whom in shouts:
        if len(still) < 2:
            break
        if who not in still or whom not in still or whom == who or called not in (None, who):
            if who in still:
                still.remove(who)
            called, history = None, []
            continue
        history.append((who, whom))
        if len(history) >= 3 and history[-3] == (who, whom) and history[-2] == (whom, who):
            still = [name for name in still if name not in (who, whom)]
            called, history = None, []
            continue
        called = whom
    return still


def check_echo_tag() -> None:
    names = ["al", "bo", "cy"]
    assert echo_tag(names, [("al", "bo"), ("cy", "al"), ("bo", "al")]) == ["al", "bo"]
    assert echo_tag(names, []) == names
    assert echo_tag(names, [("al", "al")]) == ["bo", "cy"]
    assert echo_tag(names, [("zz", "al"), ("bo", "al")]) == names
    assert echo_tag(names, [("al", "bo"), ("bo", "al"), ("al", "bo")]) == ["cy"]
    assert echo_tag(names, [("al", "bo"), ("bo", "al"), ("al", "cy")]) == names
    assert echo_tag(names, [("al", "zz"), ("bo", "al"), ("cy", "bo")]) == ["cy"]
    assert echo_tag(["al", "bo"], [("bo", "bo"), ("al", "al")]) == ["al"]


def dice_omens(rolls: list[int]) -> int:
    """Scores a superstitious game with one die.

    A roll counts its points. A 1 is an omen: it counts nothing, and turns the next roll to its
    opposite (7 minus it, so 1 and 6, 2 and 5, 3 and 4 change places), which is no omen then. The
    same number counted three times in a row counts double at the third time, and a fourth roll
    of it begins anew with counting to three. If the total is exactly 13 after a roll, all
    points are lost and the game goes on from 0.

    >>> dice_omens([4, 1, 2, 3])
    12
    """
    total = run = 0
    last, omen = 0, False
    for roll in rolls:
        if omen:
            roll, omen = 7 - roll, False
        elif roll == 1:
            omen, last, run = True, 0, 0
            continue
        run = run + 1 if roll == last and run < 3 else 1
        last = roll
        total += 2 * roll if run == 3 else roll
        if total == 13:
            total = 0
    return total


def check_dice_omens() -> None:
    assert dice_omens([4, 1, 2, 3]) == 12
    assert dice_omens([]) == 0
    assert dice_omens([1]) == 0
    assert dice_omens([1, 1]) == 6
    assert dice_omens([1, 6, 1, 6]) == 2
    assert dice_omens([2, 2, 2]) == 8
    assert dice_omens([2, 2, 2, 2, 2, 2]) == 16
    assert dice_omens([6, 5, 2, 3]) == 3
    assert dice_omens([3, 3, 1, 4]) == 9
