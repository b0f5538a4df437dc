"""Steps that keep state, most of them as a small class, and steps on matrices."""

from phi1_jax.synthesis.offline_teacher.primitives import (
    DIGITS,
    LIMITS,
    SMALL,
    filters,
    maps,
    steps,
)

OBJECTS = [
    *steps("undo_stack", "ints", "",
           "push each positive number on a stack, pop for any other, and list what is left|"
           "stack the positive numbers, each other one taking the last off",
           "", "stacked",
           loop="class Stack:\n    def __init__(self):\n        self.left = []\n\n"
                "    def push(self, n):\n        self.left.append(n)\n\n"
                "    def pop(self):\n        if self.left:\n            self.left.pop()\n\n"
                "stack = Stack()\nfor V in X:\n    if V > 0:\n        stack.push(V)\n"
                "    else:\n        stack.pop()\nOUT = stack.left"),
    *steps("account_balance", "ints", "",
           "add each number to a balance that never falls below 0, and give its end|"
           "keep a balance, skipping what would make it negative, and take the last",
           "", "account", target="int", family="fold",
           loop="class Account:\n    def __init__(self):\n        self.saved = 0\n\n"
                "    def book(self, n):\n        if self.saved + n >= 0:\n"
                "            self.saved += n\n\n"
                "account = Account()\nfor V in X:\n    account.book(V)\nOUT = account.saved"),
    *steps("bounded_counter", "ints", "",
           "count up for each positive number and down for others, staying in 0 to K|"
           "run a counter from 0 to K, up on positive numbers, else down",
           "", "counter", target="int", family="fold", constants=SMALL,
           loop="class Counter:\n    def __init__(self, top):\n        self.n, self.top = 0, top\n"
                "\n"
                "    def move(self, way):\n"
                "        self.n = min(max(self.n + way, 0), self.top)\n\n"
                "counter = Counter(K)\nfor V in X:\n    counter.move(1 if V > 0 else -1)\n"
                "OUT = counter.n"),
    *steps("window_sums", "ints", "",
           "sum each number with up to K - 1 before it|"
           "list the sums of a window that holds the last K numbers",
           "", "window", family="map", constants=(2, 3),
           loop="class Window:\n    def __init__(self, size):\n"
                "        self.size, self.held = size, []\n\n"
                "    def add(self, n):\n"
                "        self.held = (self.held + [n])[-self.size:]\n"
                "        return sum(self.held)\n\n"
                "window = Window(K)\nOUT = []\nfor V in X:\n    OUT.append(window.add(V))"),
    *steps("tally_signs", "ints", "",
           "count the numbers under 'up' if positive, else under 'down'|"
           "tally how many are positive ('up') and how many are not ('down')",
           "", "tally", target="counts",
           loop='class Tally:\n    def __init__(self):\n        self.seen = {"up": 0, "down": 0}\n'
                "\n"
                "    def add(self, n):\n"
                '        self.seen["up" if n > 0 else "down"] += 1\n\n'
                "tally = Tally()\nfor V in X:\n    tally.add(V)\nOUT = tally.seen"),
    *steps("robot_walk", "ints", "",
           "walk each number ahead, starting up and turning right after each, and give [x, y]|"
           "move a robot by each number up, right, down, left in turn and list its x and y",
           "", "robot",
           loop="class Robot:\n    def __init__(self):\n"
                "        self.x = self.y = 0\n        self.way = (0, 1)\n\n"
                "    def walk(self, n):\n        a, b = self.way\n"
                "        self.x += a * n\n        self.y += b * n\n        self.way = (b, -a)\n\n"
                "robot = Robot()\nfor V in X:\n    robot.walk(V)\nOUT = [robot.x, robot.y]"),
    *steps("best_streak", "ints", "",
           "find the longest streak of positive numbers|count the most positive numbers in a row",
           "", "streak", target="int", family="fold",
           loop="class Streak:\n    def __init__(self):\n        self.now = self.best = 0\n\n"
                "    def add(self, n):\n        self.now = self.now + 1 if n > 0 else 0\n"
                "        self.best = max(self.best, self.now)\n\n"
                "streak = Streak()\nfor V in X:\n    streak.add(V)\nOUT = streak.best"),
    *steps("reset_sums", "ints", "",
           "list the running sums, starting over after each 0|"
           "take the sums so far, with each 0 setting the sum back to 0",
           "", "resets", family="map",
           loop="OUT = []\nsofar = 0\nfor V in X:\n    sofar = sofar + V if V != 0 else 0\n"
                "    OUT.append(sofar)", wants="zeros"),
    *steps("typed_text", "str", "",
           "type the characters, a space deleting the one before|"
           "write the characters one by one, each space acting as a backspace",
           "", "typed", family="convert",
           loop='class Screen:\n    def __init__(self):\n        self.shown = ""\n\n'
                "    def press(self, c):\n"
                '        self.shown = self.shown[:-1] if c == " " else self.shown + c\n\n'
                "screen = Screen()\nfor V in X:\n    screen.press(V)\nOUT = screen.shown"),
    *steps("queue_served", "strs", "",
           "serve the ITEMS in turn, each longer than K going once more to the back at K letters|"
           "take ITEMS from the front; send those longer than K back, cut to K letters",
           "", "served", constants=(3, 4), family="order",
           loop="OUT = []\nwaiting = list(X)\nwhile waiting:\n    w = waiting.pop(0)\n"
                "    if len(w) > K:\n        waiting.append(w[:K])\n    else:\n"
                "        OUT.append(w)"),
]  # fmt: skip

MATRICES = [
    *steps("rotate_rows", "rows", "[list(V) for V in zip(*X[::-1])]",
           "rotate the rows a quarter turn clockwise|turn the table clockwise", "",
           "turned", family="order"),
    *steps("column_sums", "rows", "[sum(V) for V in zip(*X)]",
           "sum each column that all rows have|add up the columns, up to the shortest row",
           "the column sums of X", "columns", target="ints", family="fold"),
    *steps("column_tops", "rows", "[max(V) for V in zip(*X)]",
           "take the largest of each column that all rows have|"
           "find the maximum of the columns, up to the shortest row",
           "the column maxima of X", "columntops", target="ints", family="fold"),
    *steps("diagonal", "rows", "[V[i] for i, V in enumerate(X) if i < len(V)]",
           "list the main diagonal, where rows are long enough|"
           "take number i of row i where there is one",
           "the diagonal of X", "diagonal", target="ints", family="slice",
           loop="OUT = []\nfor i, V in enumerate(X):\n    if i < len(V):\n"
                "        OUT.append(V[i])"),
    *steps("trace_of", "rows", "sum(V[i] for i, V in enumerate(X) if i < len(V))",
           "add up the main diagonal, where rows are long enough|"
           "sum number i of row i where there is one",
           "the trace of X", "trace", target="int", family="fold"),
    *steps("scale_cells", "rows", "[[n * K for n in V] for V in X]",
           "multiply every cell by K|scale the table by K", "", "scaled", family="map",
           constants=DIGITS[1:]),
    *steps("shift_cells", "rows", "[[n + K for n in V] for V in X]",
           "add K to every cell|raise all cells by K", "", "shifted", family="map",
           constants=LIMITS),
    *steps("gram", "rows", "[[sum(a * b for a, b in zip(r, q)) for q in X] for r in X]",
           "multiply the rows with each other, as dot products|"
           "build the table of dot products of all rows",
           "", "gram", family="map", first_only=True),
    *maps("row_minima", "rows", "min(V, default=0)",
          "take the smallest of each row (or 0)|find the minimum of each row (or 0)",
          "the row minima (or 0) of X", "minima", target="ints"),
    *maps("row_spreads", "rows", "max(V) - min(V) if V else 0",
          "take the maximum minus the minimum of each row (or 0)|"
          "find the gap inside each row from smallest to largest (or 0)",
          "", "spreads", target="ints"),
    *maps("last_column", "rows", "V[-1] if V else 0",
          "take the last number of each row (or 0)|list where each row ends (or 0)",
          "", "ends", target="ints"),
    *filters("keep_rows_with", "rows", "K in V",
             "keep the rows that contain K|select the rows in which K is", "", "rowswith",
             constants=LIMITS[:5]),
    *filters("keep_rows_above", "rows", "sum(V) > K",
             "keep the rows that add up to more than K|select the rows with sums above K", "",
             "rowsabove", constants=LIMITS),
    *steps("sort_by_sum", "rows", "sorted(X, key=sum)",
           "sort the rows by their sums|order the rows by sum", "", "bysum", family="order"),
    *steps("cells_above", "rows", "[n for V in X for n in V if n > K]",
           "list the cells above K|take all numbers of the rows that are above K", "",
           "cellsabove", target="ints", family="filter", constants=LIMITS),
    *steps("largest_cell", "rows", "max((n for V in X for n in V), default=0)",
           "take the largest cell (or 0)|find the maximum of all cells (or 0)",
           "the largest cell (or 0) of X", "topcell", target="int", family="fold"),
    *steps("is_square_table", "rows", "all(len(V) == len(X) for V in X)",
           "check if each row is as long as there are rows|tell whether the table is square",
           "", "square", target="bool", family="test"),
    *steps("zigzag", "rows", "",
           "join the rows, every second one backwards|read the rows as a snake does",
           "", "snake", target="ints",
           loop="OUT = []\nfor i, V in enumerate(X):\n    OUT += V if i % 2 == 0 else V[::-1]"),
]  # fmt: skip
