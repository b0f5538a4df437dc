"""The vocabulary that names, texts and stories are drawn from."""

import random

# Nouns with a regular plural.
NOUNS = """
account acorn actor address age airport alarm album alert amount anchor angle animal answer ant
apartment apple apron arrow article artist asteroid atom author badge bag bakery balance balloon
banana banner barrel basket battery beacon beam bean bear bed bell belt bench bicycle bid bill bird
block board boat bond bonus book boot border bottle bowl bracelet branch brick bridge bucket budget
bug building bulb button cabin cable cake camera camp candle canoe captain car card carpet carrot
castle cat cell chain chair channel chapter charge chart chest chicken cinema circle client clock
cloud clue coach coat code coin column comet comment concert cookie cost couch course cousin cow
crane crate crayon creature credit crew crown cup curtain customer cycle dancer deal delay depth
desert desk diamond digit dinner discount distance doctor dog dollar dolphin donkey door dot dozen
dragon drawer drawing dream dress driver drone drum duck duration eagle ear earring edge egg
elephant elevator email employee engine entry envelope error event exam expense eye factor falcon
farm farmer feather fee field file film filter finger flag flame flight floor flower forest fork
fossil fountain frame friend frog fruit fund game garage garden gate gear gift giraffe glacier
glove goal goat grade grain grape graph guest guide guitar hammer harbor hat height helmet hen hero
highway hill hint holiday hook horse hospital hotel hour house idea image inch index insect
invoice island item jacket jar jewel joke journey judge jug kayak kernel kettle key king kitchen
kitten kite label ladder lake lamp language lantern laptop lawyer layer leader league lemon lesson
letter level lever lizard loan lock log lot machine magazine magnet mail map marble mark market
mask meal measurement medal meeting member memo message meter mile mineral minute mirror model
moment monkey month moon motor mountain mug museum nail napkin needle nest net night node note
notebook novel number nurse oar object ocean offer office olive onion opera orange orbit order
organ otter oven owl owner package packet page paint pair pan panel paper parcel parent park parrot
part partner passenger path patient pattern paw payment pea peach pear pebble pedal pen pencil
penguin pepper phone photo phrase piano picture pie pigeon pillow pilot pin pipe pirate pixel
planet plant plate platform player plot plum pocket poem point pond pool port portion post pot
potato power price prize problem product profit program project pump pupil puzzle quarter queen
query question queue quiz rabbit raft rain range rank rate rating ratio reading receipt recipe
record refund reptile request reward ribbon rider ring river road robot rock rocket roof room rope
rose round route ruler runner sail salad salary sale salmon sample sandwich saucer scarf scene
score screen sculpture seal season seat seed sensor sentence server shape share shark sheet shell
shelter shift ship shirt shop shoulder signal singer sister size sketch skill sled slice slope snack
snail snake sock soldier song soup space spark spider spoon spot spring square stage stair stamp
star station statue step stick stone store storm street string student subject suit suitcase sum
summit sunset surface swan sweater swimmer switch symbol table tablet tag tailor tale tank target
task tax teacher team temperature tent term test theater thread throne ticket tide tiger tile timer
tip tire toast token tool total tourist towel tower town toy track tractor trade trail train trap
traveler tray treasure tree trial trick trip trophy truck trumpet tube tulip tunnel turn turtle
umbrella uncle unit user valley value van vase vector vegetable vehicle village violin visit
visitor voice volcano vote voyage waiter wall wallet warehouse wave weapon week weight whale wheel
whistle window wing winner winter wizard word worker yard year zebra zone
""".split()  # noqa: SIM905

ADJECTIVES = """
able active actual annual average awake basic best big blue bold brave brief bright broken busy
calm careful central cheap clean clear clever cold common complete cool correct crisp current daily
dark deep dense digital direct distant double dry early eager easy empty equal even exact extra fair
famous fast final fine first fixed flat fresh friendly full gentle giant glad golden good grand
gray great green half handy happy hard heavy hidden high hollow honest hot huge humble idle initial
inner jolly keen kind large last late lazy light likely little local long loose loud low lucky main
major merged middle mild minor missing mixed modern monthly narrow neat new next nice noisy normal
old open outer pale past patient plain polite poor pretty prime private proud public pure quick
quiet random rapid rare raw ready real recent red regular rich rough round royal rusty safe salty
secret shallow sharp shiny short shy silent silver simple single slim slow small smart smooth soft
solid sour spare special stable steady steep still strange strict strong sunny sweet swift tall
tame thick thin tidy tiny top total tough true upper urban usual vast vivid warm weekly wet white
whole wide wild wise wooden yearly yellow young
""".split()  # noqa: SIM905

VERBS = """
analyze apply arrange assemble assess build calculate check choose collect combine compile compute
count create decide derive detect determine discover estimate evaluate examine explore extract fetch
figure filter find form gather generate get handle identify inspect judge list locate make measure
merge obtain pick plan prepare process produce rank rate read reduce report resolve scan score
search select settle show simplify solve split study summarize tally test track transform trim
update verify work
""".split()  # noqa: SIM905

PLACES = """
academy airport archive arena bakery bank beach camp castle choir cinema clinic club college
company contest dairy factory farm ferry festival forest gallery garage garden gym harbor hospital
hotel kitchen laboratory library market mine museum observatory orchard orchestra park pharmacy
port race restaurant school shop stadium station store studio theater tournament university
vineyard warehouse workshop zoo
""".split()  # noqa: SIM905

_PLURAL = {noun: noun + "s" for noun in NOUNS}
_PLURAL |= {n: n + "es" for n in NOUNS if n.endswith(("s", "x", "ch", "sh"))}
_PLURAL |= {n: n[:-1] + "ies" for n in NOUNS if n.endswith("y") and n[-2] not in "aeiou"}
PALINDROMES = ("level", "noon", "eye", "pop", "wow", "kayak", "civic", "abba", "x", "radar")


def plural(noun: str) -> str:
    """The plural of one of NOUNS."""
    return _PLURAL[noun]


def a(noun: str) -> str:
    """The noun with its article."""
    return f"an {noun}" if noun[0] in "aeio" else f"a {noun}"


_ONSETS = """b bl br c cl cr d dr f fl g gl gr h j k l m n p pl pr qu r s sk sl sm sn sp st str t th
tr v w y z""".split()  # noqa: SIM905
_CODAS = ["", "", "", *"nrlsmd", "st"]


def invent(rng: random.Random) -> str:
    """A word that no vocabulary has, so that it can only be copied, and piece by piece."""
    if rng.random() < 0.3:
        return rng.choice(NOUNS) + rng.choice(NOUNS)[: rng.randint(2, 5)]
    return "".join(
        rng.choice(_ONSETS) + rng.choice("aeiou") + rng.choice(_CODAS)
        for _ in range(rng.randint(2, 3))
    )


def draw_word(rng: random.Random) -> str:
    """A word to stand in a text: mostly a noun, sometimes made of drawn letters."""
    number = rng.random()
    if number < 0.6:
        return rng.choice(NOUNS)
    if number < 0.75:
        return rng.choice(ADJECTIVES)
    if number < 0.8:
        return rng.choice(PALINDROMES)
    return "".join(rng.choices("abcdeilnorst", k=rng.randint(1, 5)))
