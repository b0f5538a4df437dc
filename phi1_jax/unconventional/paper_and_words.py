"""Letters, footnotes, telegrams: problems about text."""


def overstrike(keys: str, margin: int) -> tuple[str, int]:
    """Types on a typewriter, and returns the line on the paper and how often the bell rang.

    "<" moves back one place without erasing (not beyond the left edge), ">" moves on one place
    without typing. A letter typed over the same letter makes it bold: it shows in upper case.
    Over a different sign that is no space it makes a blot "#", which stays a blot; a space
    typed over a sign leaves it as it is. The bell rings whenever a key moves the carriage from
    place margin - 1 to place margin (places count from 0). Blank paper at the right end of
    the line is not returned.

    >>> overstrike("no<<n", 9)
    ('No', 0)
    """
    paper: list[str] = []
    at = bells = 0
    for key in keys:
        if key == "<":
            at = max(0, at - 1)
            continue
        paper += " " * (at + 1 - len(paper))
        if key not in "> ":
            old = paper[at]
            paper[at] = key if old == " " else key.upper() if old.lower() == key.lower() else "#"
        at += 1
        bells += at == margin
    return "".join(paper).rstrip(), bells


def check_overstrike() -> None:
    assert overstrike("no<<n", 9) == ("No", 0)
    assert overstrike("no<<on", 9) == ("##", 0)
    assert overstrike("ab<<  c", 2) == ("abc", 2)
    assert overstrike("<<<a", 1) == ("a", 1)
    assert overstrike("a>>b<<<<>>>", 3) == ("a  b", 2)
    assert overstrike("a<b<b", 5) == ("#", 0)
    assert overstrike("a<a<a<", 1) == ("A", 3)
    assert overstrike("   ", 3) == ("", 1)


def gather_notes(text: str) -> tuple[str, list[str]]:
    """Turns remarks in braces into numbered notes: returns the text and the list of notes.

    "{remark}" becomes "[1]", "[2]" and so on, with the space before it gone. Remarks that are
    the same but for case and outer spaces share the number of the first one, which is also how
    the note is spelt (without outer spaces). An empty remark vanishes, also with the space
    before it. "{=" begins no remark but literal braces: "{=x}" becomes "{x}". Braces are
    balanced and never nested.

    >>> gather_notes("Owls {see p. 3} hoot {at night} and {See P. 3} moult.")
    ('Owls[1] hoot[2] and[1] moult.', ['see p. 3', 'at night'])
    """
    notes: list[str] = []
    pieces = text.split("{")
    out = pieces[0]
    for piece in pieces[1:]:
        remark, _, rest = piece.partition("}")
        if remark.startswith("="):
            out += "{" + remark[1:] + "}" + rest
            continue
        out = out.removesuffix(" ")
        remark = remark.strip()
        if remark:
            known = [note.lower() for note in notes]
            if remark.lower() not in known:
                notes.append(remark)
                known.append(remark.lower())
            out += f"[{known.index(remark.lower()) + 1}]"
        out += rest
    return out, notes


def check_gather_notes() -> None:
    text = "Owls {see p. 3} hoot {at night} and {See P. 3} moult."
    assert gather_notes(text) == ("Owls[1] hoot[2] and[1] moult.", ["see p. 3", "at night"])
    assert gather_notes("") == ("", [])
    assert gather_notes("a {} b") == ("a b", [])
    assert gather_notes("a{ x }{X}") == ("a[1][1]", ["x"])
    assert gather_notes("set {=a, b} {of two}") == ("set {a, b}[1]", ["of two"])
    assert gather_notes("{=}{=}") == ("{}{}", [])
    assert gather_notes("a  {n}") == ("a [1]", ["n"])


def telegram(text: str) -> tuple[str, int]:
    """Writes a message as a telegram: returns it and its price in pence.

    Every "." becomes the word STOP, and "?" the word QUERY; other punctuation goes (an
    apostrophe without leaving a gap, the rest like a space). All is in capitals, with single
    spaces. A STOP at the very end is left out. The first three words together cost 12, each
    further word 2; words with more than eight letters count as two words, digits standing
    together as one word whatever their length, and STOP is free and is not counted.

    >>> telegram("Can't come. Buy cows!")
    ('CANT COME STOP BUY COWS', 14)
    """
    plain = ""
    for sign in text.replace("'", ""):
        if sign == ".":
            plain += " STOP "
        elif sign == "?":
            plain += " QUERY "
        else:
            plain += sign.upper() if sign.isalnum() else " "
    words = plain.split()
    if words and words[-1] == "STOP":
        words.pop()
    count = 0
    for word in words:
        if word != "STOP":
            count += 2 if len(word) > 8 and not word.isdigit() else 1
    price = 0 if not count else 12 + 2 * max(0, count - 3)
    return " ".join(words), price


def check_telegram() -> None:
    assert telegram("Can't come. Buy cows!") == ("CANT COME STOP BUY COWS", 14)
    assert telegram("") == ("", 0)
    assert telegram("Hm.") == ("HM", 12)
    assert telegram("...") == ("STOP STOP", 0)
    assert telegram("Why? 1234567890") == ("WHY QUERY 1234567890", 12)
    assert telegram("Elephants arrived") == ("ELEPHANTS ARRIVED", 12)
    assert telegram("Elephants, hippopotami") == ("ELEPHANTS HIPPOPOTAMI", 14)
    assert telegram("a-b. c'd  e. f") == ("A B STOP CD E STOP F", 16)


def unfold_letter(strip: str, folds: str) -> str:
    """Reads a letter that was written on folded paper.

    A strip of squares was folded by `folds`, each time in the middle: "R" lays the right half,
    turned over, on top of the left one, "L" the left half, turned over, on top of the right.
    Then `strip` was written on the pile as it lies, one sign on each sheet from the top to
    the bottom, for the first place, then the second and so on. Return the signs in the order
    of the unfolded strip. The length of `strip` is a multiple of 2 ** len(folds).

    >>> unfold_letter("abcd", "R")
    'bdca'
    """
    piles = [[square] for square in range(len(strip))]  # each from the bottom to the top
    for fold in folds:
        half = len(piles) // 2
        left, right = piles[:half], piles[half:]
        if fold == "R":
            piles = [under + over[::-1] for under, over in zip(left, right[::-1], strict=True)]
        else:
            piles = [under + over[::-1] for under, over in zip(right, left[::-1], strict=True)]
    signs = iter(strip)
    letter = [""] * len(strip)
    for pile in piles:
        for square in reversed(pile):
            letter[square] = next(signs)
    return "".join(letter)


def check_unfold_letter() -> None:
    assert unfold_letter("abcd", "R") == "bdca"
    assert unfold_letter("abcd", "L") == "cabd"
    assert unfold_letter("abcd", "") == "abcd"
    assert unfold_letter("ab", "R") == "ba"
    assert unfold_letter("ab", "L") == "ab"
    assert unfold_letter("abcd", "RR") == "dabc"
    assert unfold_letter("abcdef", "R") == "bdfeca"
    assert unfold_letter("", "RL") == ""


def stamp_album(stamps: list[str], row: int) -> list[str]:
    """Sticks stamps like "NO 1931 blue" (country, year, colour) into an album with rows of
    `row` places, and returns the rows as text.

    Countries follow each other alphabetically; each begins a new row. Within a country the
    stamps are in order of year, and those of one year in the order given. A stamp shows as the
    first letter of its colour, in upper case if its year is before 1900. A stamp of the same
    year and colour as one already stuck in for that country is left out. Rows begin with the
    country, "NO b r", a later row of the country with two spaces in place of it.

    >>> stamp_album(["SE 1931 blue", "NO 1899 red", "SE 1920 green"], 1)
    ['NO R', 'SE g', '   b']
    """
    albums: dict[str, list[tuple[int, str]]] = {}
    for stamp in stamps:
        country, year, colour = stamp.split()
        page = albums.setdefault(country, [])
        if (int(year), colour) not in page:
            page.append((int(year), colour))
    rows = []
    for country, page in sorted(albums.items()):
        page.sort(key=lambda stamp: stamp[0])
        signs = [c[0].upper() if year < 1900 else c[0].lower() for year, c in page]
        for at in range(0, len(signs), row):
            head = country if at == 0 else "  "
            rows.append(" ".join([head, *signs[at : at + row]]))
    return rows


def check_stamp_album() -> None:
    stamps = ["SE 1931 blue", "NO 1899 red", "SE 1920 green"]
    assert stamp_album(stamps, 1) == ["NO R", "SE g", "   b"]
    assert stamp_album(stamps, 2) == ["NO R", "SE g b"]
    assert stamp_album([], 4) == []
    assert stamp_album(["DK 1900 Tan", "DK 1900 Tan"], 3) == ["DK t"]
    assert stamp_album(["DK 1900 z", "DK 1900 a", "DK 1850 q"], 2) == ["DK Q z", "   a"]
    assert stamp_album(["DK 1900 z", "IS 1900 z"], 9) == ["DK z", "IS z"]
    assert stamp_album(["DK 1800 a", "DK 1800 b", "DK 1801 a"], 3) == ["DK A B A"]


def shy_words(text: str, shy: set[str]) -> str:
    """Rewrites a sentence so that shy words never stand at an end or next to each other.

    Words are divided by single spaces. Go through the words from the left: a shy word (in
    whatever case) that would be the first of the new sentence, or would follow a shy word,
    waits; as soon as a word that is not shy has been placed, the one that has waited longest
    follows it. At the end, waiting words and a shy word at the very end are put in brackets
    after the sentence, the shy word at the end first, as in "(so) (too)".

    >>> shy_words("well hello well there", {"well"})
    'hello well there (well)'
    """
    placed: list[str] = []
    waiting: list[str] = []
    for word in text.split():
        if word.lower() in shy:
            if placed and placed[-1].lower() not in shy and not waiting:
                placed.append(word)
            else:
                waiting.append(word)
        else:
            placed.append(word)
            if waiting:
                placed.append(waiting.pop(0))
    if placed and placed[-1].lower() in shy:
        waiting.insert(0, placed.pop())
    return " ".join([*placed, *(f"({word})" for word in waiting)])


def check_shy_words() -> None:
    assert shy_words("well hello well there", {"well"}) == "hello well there (well)"
    assert shy_words("go", set()) == "go"
    assert shy_words("so", {"so"}) == "(so)"
    assert shy_words("So what", {"so"}) == "what (So)"
    assert shy_words("a so B so so c d", {"so"}) == "a so B so c so d"
    assert shy_words("a so too", {"so", "too"}) == "a (so) (too)"
    assert shy_words("um uh a b c", {"um", "uh"}) == "a um b uh c"
    assert shy_words("", {"um"}) == ""


def toll_of_letters(sign: str) -> int:
    """Prices the painting of a shop sign.

    A consonant costs 3, a vowel (aeiou) 2, a digit 5, any other sign but a space 1, a space
    nothing. A capital letter costs as much again as the small one. A letter (no digit) that he
    has just painted in the same word (the very same one right before) costs 1. A whole word
    (between spaces) that occurred before, exactly so, costs half of its price, rounded up,
    because a stencil is at hand. A sign of more than 60 pays the part above 60 twice.

    >>> toll_of_letters("Tea & tea")
    18
    """

    def price(word: str) -> int:
        total = 0
        for at, letter in enumerate(word):
            small = letter.lower()
            if letter.isalpha() and at and word[at - 1] == letter:
                total += 1
            elif letter.isalpha():
                cost = 2 if small in "aeiou" else 3
                total += cost if letter == small else 2 * cost
            else:
                total += 5 if letter.isdigit() else 1
        return total

    total = 0
    seen: set[str] = set()
    for word in sign.split():
        total += (price(word) + 1) // 2 if word in seen else price(word)
        seen.add(word)
    return total + max(0, total - 60)


def check_toll_of_letters() -> None:
    assert toll_of_letters("Tea & tea") == 18
    assert toll_of_letters("") == 0
    assert toll_of_letters("tea tea tea") == 15
    assert toll_of_letters("Aa") == 6
    assert toll_of_letters("book") == 9
    assert toll_of_letters("BBB 11!") == 19
    assert toll_of_letters("99999999999 999") == 80
    assert toll_of_letters("a-a-a") == 8
