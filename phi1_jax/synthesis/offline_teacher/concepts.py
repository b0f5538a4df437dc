"""Textbook topics that are no step of the catalog: the ideas that every step is made of."""

# Topic -> paragraphs; the first defines, the others can stand in any order.
CONCEPTS: dict[str, tuple[str, ...]] = {
    "variables": (
        "A variable is a name for a value. The equals sign does not ask a question: it makes the "
        "name on its left stand for the value on its right.\n\n```python\nresult = 3 + 4\n```",
        "A name can be given a new value later. The old value is then forgotten, unless another "
        "name still stands for it.\n\n```python\nout = [1, 2, 3]\nout = sum(out)\n```\n\nAfter "
        "the second line `out` is the number 6 and no longer a list.",
        "Choose names that say what the value is: `prices` for a list of prices, `price` for one "
        "of them. The computer does not care, but the next reader does.",
        "The right side is worked out first, with the values that the names have at that moment. "
        "So `total = total + n` is no contradiction: it adds n to the old total and keeps the sum "
        "under the same name.",
    ),
    "lists": (
        "A list holds values in order, between square brackets. It may be empty, and the same "
        "value may occur twice.\n\n```python\nnums = [4, 7, 4]\nempty = []\n```",
        "Places are counted from 0, so `nums[0]` is the first element and `nums[-1]` the last. "
        "Asking an empty list for its first element is an error, which is why careful code says "
        "`nums[0] if nums else 0`.",
        "A slice such as `nums[:2]` is a new list with the elements before place 2, and "
        "`nums[2:]` has all the others. A slice of a short list is just shorter; it is never an "
        "error.",
        "`len(nums)` counts the elements, `sum(nums)` adds them, `max(nums)` finds the largest, "
        "and `sorted(nums)` is a new list in ascending order.",
        "Two lists are joined by a plus sign: `[1, 2] + [3]` is `[1, 2, 3]`. The two lists "
        "themselves stay as they were.",
    ),
    "the for loop": (
        "A for loop does something once for each element. The indented lines are the body, and "
        "the name after `for` stands for one element at a time.\n\n```python\nresult = []\n"
        "for n in nums:\n    result.append(n * 2)\n```",
        "To collect results, start with an empty list before the loop and append to it inside. "
        "To count or to add up, start with 0 and use `+=`.",
        "An if inside the loop lets only some elements through:\n\n```python\nresult = []\n"
        "for n in nums:\n    if n > 0:\n        result.append(n)\n```",
        "A loop over an empty list does nothing at all, so what stood before the loop is the "
        "answer. That makes the empty case easy to read off.",
        "A loop over a text takes its characters, and a loop over a dictionary takes its keys.",
    ),
    "list comprehensions": (
        "A list comprehension builds a list in one line. First comes what each element becomes, "
        "then where the elements come from.\n\n```python\nsquares = [n * n for n in nums]\n```",
        "A condition at the end keeps only some elements: `[n for n in nums if n % 2 == 0]` has "
        "the even numbers. Where nothing passes, the list is empty.",
        "Read it aloud from left to right: the square of n, for each n in nums. If it takes two "
        "breaths, a loop is the better choice.",
        "Braces in place of brackets give a dictionary: `{w: len(w) for w in words}` maps each "
        "word to its length.",
        "Joined with a text method, a comprehension also builds a text: "
        '`"".join(c for c in text if c.isalpha())` keeps only the letters.',
    ),
    "functions": (
        "A function is a piece of code with a name. Values come in through its arguments and one "
        "value goes out through `return`.\n\n```python\ndef double(n):\n    return n * 2\n```",
        "Defining a function runs nothing. The body runs when the function is called, as in "
        "`double(4)`, and the call is then worth 8.",
        "The function ends at the first `return` that it meets. A function without one gives "
        "back `None`, which is seldom what you want.",
        "A function may use other functions, and may even define a small one inside itself, to "
        "give a name to one step:\n\n```python\ndef squares(nums):\n    def helper(n):\n        "
        "return n * n\n    return [helper(n) for n in nums]\n```",
        "The same input should give the same output. Then you can test the function on a few "
        "values and trust it on the rest.",
    ),
    "docstrings and examples": (
        "The text under the first line of a function says what it is for. It stands between three "
        "quotation marks and is called a docstring.",
        "A good docstring says what comes in, what goes out and what happens when there is "
        "nothing. It does not repeat the code.",
        "An example after three greater-than signs shows a call, and the line below shows what "
        "Python would print. Python can check such examples by itself.",
        "Examples catch mistakes in two directions: wrong code, and a description that promises "
        "something else.",
    ),
    "dictionaries": (
        "A dictionary maps keys to values. It is written in braces, with a colon between a key "
        "and its value.\n\n```python\nstock = {'apple': 3, 'fig': 5}\n```",
        "`stock['fig']` is the value of one key, `list(stock)` has the keys, and "
        "`stock.values()` has the values. The keys keep the order in which they came.",
        "A loop over `stock.items()` gives key and value together:\n\n```python\nresult = {}\n"
        "for k, v in stock.items():\n    result[k] = v * 2\n```",
        "A key occurs once. Storing a second value under it replaces the first.",
        "`max(stock, key=stock.get)` is the key with the largest value; `max(stock.values())` is "
        "that value.",
    ),
    "texts": (
        "A text, or string, is a sequence of characters between quotation marks. Texts never "
        "change: every method gives back a new one.",
        '`text.split()` cuts a text into words at the spaces, and `" ".join(words)` puts words '
        "together again with spaces between them.",
        "`text[::-1]` is the text backwards, `text[:3]` its first three characters, and "
        "`text.upper()` the text in capitals.",
        "The empty text is written with two quotation marks and nothing between them. It has "
        "length 0, and it counts as false in a condition.",
        '`c in "aeiou"` asks whether the character c is a vowel.',
    ),
    "conditions": (
        "A condition is True or False. Comparisons such as `n > 3`, `n == 3` and `n != 3` are "
        "conditions, and `if` acts on them.",
        "`n % 2` is what remains after a division by 2, so `n % 2 == 0` is true for even numbers "
        "and `n % 2 == 1` for odd ones, negative numbers included.",
        "`any(...)` is true if one of many conditions is, and `all(...)` if every one is. For no "
        "elements at all, `any` is False and `all` is True.",
        'A choice fits in one line: `"even" if n % 2 == 0 else "odd"` is one of two texts.',
        "Empty lists, empty texts and 0 count as false, so `if nums` asks whether there is "
        "anything in the list.",
    ),
    "nested lists": (
        "The elements of a list may be lists themselves. A table of numbers is a list of rows, "
        "and `table[0][1]` is the second number of the first row.",
        "One loop walks over the rows and another, inside it, over the numbers of a row:\n\n"
        "```python\nresult = [n for r in rows for n in r]\n```\n\nThe result is one flat list.",
        "To get one number for each row, compute it in a comprehension: `[sum(r) for r in rows]` "
        "has the sum of every row. The sum of an empty row is 0.",
        "`zip(*rows)` takes the first numbers of all rows together, then the second numbers, and "
        "so on: it turns columns into rows, up to the length of the shortest row.",
    ),
}
