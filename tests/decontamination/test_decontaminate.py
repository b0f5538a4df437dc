import ast
import base64
import html
import importlib
import inspect
import json
import textwrap
import unicodedata
import zlib
from pathlib import Path

import numpy as np
import pytest

from phi1_jax.corpus.documents import Document, read_documents, write_documents
from phi1_jax.corpus.fingerprints import (
    fingerprint_problem,
    normalize_words,
)
from phi1_jax.corpus.problems import Problem
from phi1_jax.decontamination import decontaminate as decontaminate_module
from phi1_jax.decontamination.contamination import Comparison, Rules
from phi1_jax.decontamination.decontaminate import decontaminate
from phi1_jax.errors import UserError
from phi1_jax.unconventional import read_unconventional

PROBLEM = Problem(
    task_id="bench/0",
    prompt='def even_squares(numbers):\n    """Keep the even numbers, then square each number and '
    "sort the result from the largest to the smallest.\n    >>> even_squares([1, 2])\n    [4]\n"
    '    """\n',
    entry_point="even_squares",
    canonical_solution="    even = [n for n in numbers if n % 2 == 0]\n"
    "    squares = [n * n for n in even]\n    return sorted(squares, reverse=True)\n",
    test="def check(candidate):\n    assert candidate([1, 2]) == [4]\n",
    composition=("keep_even", "square_each", "sort_down"),
)
SHORT = Problem(
    "bench/1",
    'def count_vowels(text):\n    """Count the vowels of a text."""\n',
    "count_vowels",
    '    return sum(c in "aeiou" for c in text)\n',
    "def check(candidate): ...",
    ("vowels", "count"),
)

SPREAD = Problem(
    "bench/2",
    'def spread(a):\n    """The distance between the ends of a."""\n',
    "spread",
    "    total = 0\n    top = max(a)\n    low = min(a)\n    return top - low + total\n",
    "def check(candidate): ...",
)
PROBLEMS = [PROBLEM, SHORT, SPREAD]


def exercise(name, docstring, body, composition="", arguments="numbers"):
    prompt = f'def {name}({arguments}):\n    """{docstring}"""\n'
    metadata = {
        "prompt_chars": len(prompt),
        "entry_point": name,
        "composition": composition.split(),
    }
    return Document(name, prompt + body, "exercises", metadata)


def body(*lines):
    return "".join(f"    {line}\n" for line in lines)


SOLUTION = ("a = [n for n in numbers if n % 2 == 0]", "b = [n * n for n in a]")
LEAKS = {
    "exact_copy": (
        Document("copy", PROBLEM.prompt + PROBLEM.canonical_solution, "exercises"),
        {"text", "ast"},
    ),
    "renamed_variables": (
        exercise(
            "pick",
            "Something else.",
            body(
                "kept = [item for item in values if item % 2 == 0]",
                "powers = [item * item for item in kept]",
                "return sorted(powers, reverse=True)",
            ),
            arguments="values",
        ),
        {"ast"},
    ),
    "same_composition_in_other_words": (
        exercise(
            "other",
            "Drop odd entries, multiply each by itself, order downwards.",
            body("out = list(filter(is_even, numbers))", "return rank(map(power, out))"),
            "keep_even square_each sort_down",
        ),
        {"composition"},
    ),
    "the_chain_inside_a_longer_one": (
        exercise(
            "longer",
            "A longer task.",
            body("return first(numbers)"),
            "drop_first keep_even square_each sort_down sum",
        ),
        {"composition"},
    ),
    "same_words_with_another_body": (
        exercise(
            "words",
            "KEEP the even numbers, then: square each number and sort the result from the largest.",
            body("return None"),
        ),
        {"text"},
    ),
    "a_short_docstring_whole_within_another": (
        exercise("vowel", "First, count the vowels of a text. Then stop.", body("return 0")),
        {"text"},
    ),
    "reordered_statements": (
        exercise(
            "spread",
            "How far a list spreads.",
            body(
                "lowest = min(values)",
                "total = 0",
                "highest = max(values)",
                "return highest - lowest + total",
            ),
            arguments="values",
        ),
        {"ast"},
    ),
    "paraphrased_docstring_with_the_same_body": (
        exercise(
            "even_squares",
            "From biggest to smallest, give the second power of whatever 2 divides.",
            PROBLEM.canonical_solution,
        ),
        {"ast"},
    ),
    "same_docstring_with_another_body": (
        Document(
            "loop",
            PROBLEM.prompt + body("result = []", "while numbers:", "    result.append(numbers)"),
            "exercises",
        ),
        {"text"},
    ),
    "in_a_textbook": (
        Document(
            "section",
            "# Even numbers\n\nSome prose.\n\n```python\ndef f(numbers):\n"
            + body(*SOLUTION, "return sorted(b, reverse=True)")
            + "```\n\nMore prose.\n",
            "textbooks",
        ),
        {"ast"},
    ),
}
CLEAN = [
    exercise("evens", "Keep the even numbers.", body(f"return {SOLUTION[0][4:]}"), "keep_even"),
    exercise("pair", "Square, then sort.", body("return numbers[0]"), "square_each sort_down"),
    exercise("split", "Other order.", body("return 2"), "keep_even sort_down square_each"),
    exercise(
        "odd",
        "Keep the odd numbers.",
        body(SOLUTION[0].replace("0", "1"), SOLUTION[1], "return sorted(b, reverse=True)"),
    ),
    exercise("letters", "Count the letters of a text.", body("return len(numbers)")),
    Document("prose", "Two divides even numbers.\n\n```\nnot python (\n```\n", "textbooks"),
]


def compare(documents, problems=PROBLEMS, **rules):
    return Comparison(problems, Rules(**rules)).compare(documents).leaks


@pytest.mark.parametrize("name", LEAKS)
def test_a_planted_leak_is_caught(name):
    document, measures = LEAKS[name]
    leak = compare([document])[0]
    assert set(leak.task_ids) == measures
    expected = {"a_short": "bench/1", "reorder": "bench/2"}.get(name[:7], "bench/0")
    assert set(leak.task_ids.values()) == {expected}


def test_what_only_resembles_the_benchmark_stays():
    assert compare(CLEAN) == {}


CODE = """def {name}(values):
    kept = [item for item in values if item % 2 == 0]
    powers = [item * item for item in kept]
    return sorted(powers, reverse=True)
"""
RENAMED = CODE.format(name="pick")
TASK = "Keep the even numbers, then square each number and sort the result from the largest."
PROSE = textwrap.fill(TASK, 25) + "\n"
PYTHON_2 = "print 'even', kept\n"


def lines(code, mark):
    return "".join(f"{mark}{line}\n" for line in code.splitlines())


def numbered(code, form, first):
    return "".join(f"{form.format(i)}{line}\n" for i, line in enumerate(code.splitlines(), first))


def method(first, code=RENAMED, before=""):
    return "class A:\n" + lines(before + code.replace("(values", f"({first}, values"), "    ")


# The renamed code (ast) or the words of the task (text) where the code around them parses, in
# strings, and where Python cannot read what is around them.
HIDDEN_CODE = {
    "under if": "if True:\n" + lines(RENAMED, "    "),
    "in try": "try:\n" + lines(RENAMED, "    ") + "except E:\n    pass\n",
    "in a function": "def outer(a):\n" + lines(RENAMED, "    ") + "    return pick(a)\n",
    "method": method("self"),
    "method with another name for self": method("s"),
    "class method": method("cls", before="@classmethod\n"),
    "static method": "class A:\n" + lines("@staticmethod\n" + RENAMED, "    "),
    "async, with hints and decorator": "@cache\nasync " + RENAMED.replace(
        "kept =", "kept: list =").replace("(values)", "(values: int) -> int"),
    "commented out": "x = 1\n" + lines(RENAMED, "# "),
    "commented out within a function": "def f(a):\n" + lines(RENAMED, "    #") + "    return a\n",
    "doctest": 'def f(a):\n    """D.\n\n'
    + lines(RENAMED, "    ... ").replace("...", ">>>", 1) + '    """\n',
    "string": f"CODE = {RENAMED!r}\n",
    "parameter of a test": f"@parametrize('code', [param({RENAMED!r}, id='a')])\ndef t(): ...\n",
    "JSON": json.dumps({"a": True, "code": RENAMED}),
    "JSON in JSON in a string": f"X = {json.dumps({'a': json.dumps({'code': RENAMED})})!r}\n",
    "notebook": json.dumps({"cells": [{"source": RENAMED.splitlines(keepends=True)}]}, indent=1),
    "list of lines": f"X = '\\n'.join({RENAMED.splitlines()!r})\n",
    "reply with a fence in JSON": json.dumps([{"content": f"Sure:\n```py\n{RENAMED}```\n"}]),
    "text fence": f"It's:\n\n```text\n{RENAMED}```\n",
    "indented fence": "1. It's:\n\n   ```python\n" + lines(RENAMED, "   ") + "   ```\n",
    "fence with Python 2": f"A\n\n```python\n{PYTHON_2}{RENAMED}{PYTHON_2}```\n",
    "Python 2 inside": RENAMED.replace("    powers", f"    {PYTHON_2}    powers"),
    "Python 2 module": PYTHON_2 + method("self") + PYTHON_2,
    "tabs in what does not parse": (RENAMED + PYTHON_2).replace("    ", "\t"),
    "CRLF in what does not parse": (RENAMED + PYTHON_2).replace("\n", "\r\n"),
    "spaces of a web page": RENAMED.replace(" ", "\xa0"),
    "signature over lines": PYTHON_2 + RENAMED.replace("(values)", "(\n    values,\n)"),
    "type parameters": RENAMED.replace("(values)", "[T: (int, float)](values: list[T])"),
    "diff": "@@ -1 +1 @@\n" + lines(RENAMED, "+"),
    "quoted mail": "He wrote:\n" + lines(RENAMED, "> "),
    "column of a table": "| code |\n|---|\n"
    + "".join(f"| {line:60} |\n" for line in RENAMED.splitlines()),
    "line numbers": numbered(RENAMED, "{:3} ", 0),
    "line numbers of other widths": numbered(RENAMED, "{}: ", 98),
    "such numbers in a list": numbered(RENAMED, "  {}. ", 8),
    "line numbers aligned to the left": numbered(RENAMED, "{:<4}", 98),
    "diff that holds the old lines": "@@ -1 +1 @@\n"
    + lines(RENAMED.replace("    return", "    a = 1\n" * 8 + "    return"), " ")
    .replace("     a", "-    a").replace("     return", "+    return"),
    "tabs of eight beside blanks": "class A:\n" + lines(RENAMED, "    ").replace(" " * 8, "\t"),
    "such tabs in JSON": json.dumps(lines(RENAMED, "    ").replace(" " * 8, "\t") + PYTHON_2),
    "IPython": "In [1]: " + lines(RENAMED, "   ...: ")[8:],
    "cell of CSV": f'id,code,x\n1,"{RENAMED.rstrip()}",2\n',
    "cell of TSV": f"id\tcode\n1\t{RENAMED}",
    "cell that doubles its quotes": 'id,code\n1,"import a\n\n'
    + RENAMED.replace("    kept", '    """"""Says ""D"".""""""\n    kept') + '"\n',
    "SQL": f"INSERT INTO t VALUES (1, '{RENAMED}', 3);\n",
    "CDATA": f"<a><![CDATA[{RENAMED.rstrip()}]]></a>\n",
    "template of JavaScript": f"const a = `{RENAMED}`;\n",
    "reply on the same line": f"It's easy.\nAssistant: {RENAMED}\nThat's it.\n",
    "below a function on one line": "So:\n>>> a = 'def f(x):\\n    y = x\\n    return y'\n"
    + lines(RENAMED, "... ").replace("...", ">>>", 1),
    "built line by line": "a = ''\n" + "".join(
        f"a += {line!r}\n" for line in RENAMED.splitlines(keepends=True)),
    "printed": "def f():\n" + "".join(
        f"    print({line!r}, file=a)\n" for line in RENAMED.splitlines()),
    "built in Java": "".join(
        f"sb.append({json.dumps(line)});\n" for line in RENAMED.splitlines(keepends=True)),
    "echo": "#!/bin/sh\n" + lines(RENAMED, 'echo "').replace("\n", '" >> a.py\n'),
    "git blame": numbered(
        RENAMED, "^3f0c1d2 (Jo O'Neil-Roe 2020-01-02 03:04:05 +0100 {:>3}) ", 98),
    "grep -n": numbered(RENAMED, "src/my-util.py:{}:", 8),
    "grep -n -C 3": numbered(RENAMED, "src/util.py-{}-", 8).replace("-8-", ":8:"),
    "log": numbered(RENAMED, "2023-05-01 12:03:{:02},123 INFO root: ", 1),
    "log of a container": lines(RENAMED, "web_1  | "),
    "chat": numbered(RENAMED, "12:{:02} <bob> ", 8),
    "mail with a name": lines(RENAMED, "JD> "),
    "box": "".join(f"\u2502 {line:60} \u2502\n" for line in RENAMED.splitlines()),
    "typographic signs": "It\u2019s:\n\n" + RENAMED.replace(" -", " \u2212"),
    "zero-width spaces": RENAMED.replace(" = ", "\u200b = "),
    "blanks of a web page": PYTHON_2 + RENAMED.replace(" ", "\u2002"),
    "lines of a web page": "<p>" + RENAMED.replace(" ", "&nbsp;").replace("\n", "<br/>") + "</p>",
    "page": f"<p>Code:</p><pre><code>{RENAMED}</code></pre>",
    "highlighted page": lines(RENAMED, "<li><b>").replace("\n", "</b></li>\n"),
}  # fmt: skip
HIDDEN_WORDS = {
    "comment": f"# {TASK}\ndef f(a):\n    return a\n",
    "comment over lines": lines(TASK.replace(" each", "\neach"), "    #  ") + "x = 1\n",
    "comments between statements": f"# {TASK[:40]}\nx = 1\n# {TASK[40:]}\ny = 2\n",
    "list of prompts": f"PROMPTS = [{PROBLEM.prompt!r}, 'x']\n",
    "JSON line": json.dumps({"task_id": "a", "prompt": PROBLEM.prompt, "passed": None}),
    "escapes in JSON in a string": repr(json.dumps([json.dumps(TASK.replace(" ", "\n"))])),
    "parts of a string": f"x = ({TASK[:30]!r} +\n     f'{TASK[30:]}')\n",
    "parts with comments between": f"x = ({TASK[:30]!r}  # so\n # (it' so\n {TASK[30:]!r})\n",
    "octal and long escapes": "x = '"
    + TASK.replace("e", r"\145").replace("t", r"\U00000074")
    + "'\n",
    "value of a dictionary": f"TASKS = [{{'text': {TASK!r}, 'code': 1}}]\n",
    "string that is added to": f"x = {TASK[:23]!r}\nx += {TASK[23:]!r}\n",
    "what does not parse": f"{PYTHON_2}# {TASK}\n",
    "HTML tags": f"<p>{TASK.replace('each', '<b>each</b>').replace(' and', '<br/>and')}</p>",
    "Markdown links": TASK.replace("sort", "[sort](https://a.b/c-d)").replace("even", "[even][1]"),
    "git blame": numbered(PROSE, "3f0c1d2a (Jo Roe 2020-01-02 03:04:05 +0100 {:>3})     ", 98),
    "grep -n": numbered(PROSE, "src/my-util.py:{}:    ", 8),
    "grep -r": lines(PROSE, "src/util.py:    "),
    "log": numbered(PROSE, "2023-05-01 12:03:{:02},123 INFO root: ", 1),
    "log of a container": lines(PROSE, "web_1  | "),
    "chat": numbered(PROSE, "12:{:02} <bob> ", 8),
    "line numbers": numbered(PROSE, "{:3} ", 8),
    "soft hyphens": "# " + TASK.replace("umb", "um\xadb") + "\nx = 1\n",
    "tags that are escaped": html.escape(f"<p>{TASK.replace('each', '<code>each</code>')}</p>"),
    "link with a title": TASK.replace("sort", '[sort](https://a.b/c "A title")'),
    "roles and links of reStructuredText": TASK.replace("sort", ":func:`sort`").replace(
        "even", "`even <https://a.b/c>`_"
    ),
    "LaTeX": TASK.replace("sort", "\\textbf{sort}").replace("even", "{\\em even}"),
    "link of a wiki": TASK.replace("sort", "[[Other (sorting)|sort]]"),
    "forum": TASK.replace("sort", "[b]sort[/b]"),
    "HTML entities": f"<p>{TASK.replace(' ', '&nbsp;')}</p>",
}


@pytest.mark.parametrize("name", [*HIDDEN_CODE, *HIDDEN_WORDS])
def test_a_leak_is_found_wherever_it_hides(name):
    text, measure = HIDDEN_CODE.get(name), "ast"
    if text is None:
        text, measure = HIDDEN_WORDS[name], "text"
    (leak,) = compare([Document("hidden", text, "x")]).values()
    assert leak.task_ids == {measure: "bench/0"}


TASKS = {
    "Russian": "Верни наибольшее чётное число из списка целых чисел, которое не делится на три и"
    " больше нуля, или ноль.",
    "Chinese": "给定一个整数列表,返回其中最大的偶数,该偶数不能被三整除并且大于零,否则返回零。",
    "Japanese": "整数のリストから、3で割り切れない正の最大の偶数を返します。なければ0を返します。",
    "Hindi": "पूर्णांकों की सूची से सबसे बड़ी सम संख्या लौटाएँ जो तीन से विभाज्य न हो और शून्य से बड़ी हो।",
    "Arabic": "أعد أكبر عدد زوجي من قائمة الأعداد الصحيحة لا يقبل القسمة على ثلاثة وأكبر من الصفر.",
    "Vietnamese": "Trả về số chẵn lớn nhất trong danh sách không chia hết cho ba và lớn hơn không.",
    "Thai": "ส่งคืนจำนวนคู่ที่มากที่สุดในรายการซึ่งหารด้วยสามไม่ลงตัวและมากกว่าศูนย์",
}


@pytest.mark.parametrize("language", TASKS)
def test_a_task_is_words_in_any_script(language):
    task = TASKS[language]
    problem = Problem("t/0", f'def f(a):\n    """{task}"""\n', "f", "    return max(a) + 17\n", "")
    hidden = [
        "# " + task.upper().replace(" ", "\n# ") + "\nx = 1\n",
        f"x = {task!r}\n",
        json.dumps({"prompt": problem.prompt}),  # escaped
        unicodedata.normalize("NFD", f'"""{task}"""\n'),
        f"<p>{task} {task}</p>",
    ]
    documents = [Document("x", text, "x") for text in hidden]
    assert sorted(compare(documents, [problem])) == list(range(len(hidden)))
    others = [Document("x", other, "x") for name, other in TASKS.items() if name != language]
    begun = [Document("x", f"# {task[: len(task) // 4]}\nx = 1\n", "x")]  # a fourth of the task
    assert compare([*others, *begun], [problem]) == {}


def test_two_characters_of_chinese_count_as_a_word():
    def problem(task):
        return Problem("t/0", f'def f(a):\n    """{task}"""\n', "f", "    return a * 17\n", "")

    long = problem(TASKS["Chinese"])
    shared = "".join(c for c in TASKS["Chinese"] if c.isalpha())
    for n, found in ((25, 0), (26, 1)):
        assert len(compare([Document("x", f"# {shared[3 : 3 + n]}\n", "x")], [long])) == found
    within = Document("x", "# 首先返回两数之和然后停止\n", "x")
    assert not compare([within], [problem("返回两数之和")])
    assert compare([Document("x", "# 返回两数之和。\n", "x")], [problem("返回两数之和")])


def test_code_is_read_with_the_signs_that_a_page_escapes():
    problem = Problem("p/0", 'def f(a, b):\n    """D."""\n', "f",
                      "    c = max(a)\n    return c < b and '&' not in a\n", "")  # fmt: skip
    code = html.escape(problem.prompt + problem.canonical_solution)
    for text in (
        code,
        html.escape(code),
        f"<pre>{code}</pre>",
        json.dumps({"body": f"<p>A</p><pre><code>{code}</code></pre>"}),
        "def f(a, b):\n    c = max(a)\n    return c &lt; b and '&amp;' not in a\n",  # parses
    ):
        assert compare([Document("x", text, "x")], [problem])[0].match_rate == 1, text


def test_code_is_read_with_the_signs_that_a_template_doubles():
    problem = Problem("p/0", 'def f(a, b):\n    """D."""\n', "f",
                      "    c = {'a': max(a)}\n    return c['a'] % b\n", "")  # fmt: skip
    code = problem.prompt.replace('"""D."""', "pass") + problem.canonical_solution
    doubled = code.replace("{", "{{").replace("}", "}}")
    for text in (
        f'X = f"""{doubled}"""\n',
        f'X = """{code.replace("%", "%%")}""" % ()\n',
        "".join(f'x += f"{line}\\n"\n' for line in doubled.splitlines()),
    ):
        assert compare([Document("x", text, "x")], [problem])[0].match_rate == 1, text


@pytest.mark.slow
def test_functions_of_the_library_are_hardly_ever_taken_for_a_problem():
    """Against real problems, at most 1 % of functions; they come with all their comments."""
    names = (
        "heapq",
        "statistics",
        "textwrap",
        "bisect",
        "fractions",
        "random",
        "string",
        "calendar",
    )
    documents = []
    for name in names:
        text = inspect.getsource(importlib.import_module(name))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                source = textwrap.dedent(
                    "\n".join(text.split("\n")[node.lineno - 1 : node.end_lineno])
                )
                documents.append(Document(f"{name}.{node.name}", source, "stdlib"))
    problems = [*PROBLEMS, *read_unconventional()]
    assert len(documents) > 200
    assert len(compare(documents, problems)) <= len(documents) / 100


def test_numbers_alone_are_no_shared_words():
    table = Problem("bench/3", 'def f(a):\n    """Add 1 2 3 4 5 6 7 8 9 10 11 12 13 14"""\n', "f",
                    "    return a + 17\n", "")  # fmt: skip
    values = f"TABLE = '{' '.join(map(str, range(50)))}'\n"
    assert compare([Document("table", values, "x")], [table]) == {}


def test_tau_catches_small_edits_of_the_solution():
    longer = body(*SOLUTION, "b = sorted(b)", "return sorted(b, reverse=True)")
    documents = [CLEAN[3], exercise("more", "One step more.", longer), CLEAN[0]]
    leaks = compare(documents, taus=(1.0, 0.9, 0.75))
    assert {row: (leak.level, leak.reason) for row, leak in leaks.items()} == {
        0: (1, "ast"),
        1: (2, "ast"),
    }


def test_what_is_not_caught():
    """As docs/decontamination.md says; a change here belongs there too."""
    missed = {
        "the same idea in other words, other code": exercise(
            "q",
            "Even ones, to the second power, downwards.",
            body("b = filter(is_even, numbers)", "return rank(map(power, b))"),
        ),
        "a comprehension written as a loop": exercise(
            "loop",
            "A loop.",
            body(
                "r = []",
                "for n in numbers:",
                "    if n % 2 == 0:",
                "        r.append(n * n)",
                "r.sort(reverse=True)",
                "return r",
            ),
        ),
        "a docstring in another language": exercise(
            "de", "Behalte die geraden Zahlen und quadriere sie.", body("return 0")
        ),
        "a solution in two functions": Document(
            "two",
            "def first(numbers):\n    return [n for n in numbers if n % 2 == 0]\n\n\n"
            "def second(even):\n    squares = [n * n for n in even]\n"
            "    return sorted(squares, reverse=True)\n",
            "x",
        ),
        "its examples": exercise("ex", "T.\n    >>> ex([1, 2])\n    [4]\n    ", body("return 1")),
        "the body alone": Document("p2", PROBLEM.canonical_solution + "print x", "x"),
        "words between placeholders": Document(
            "f", f"x = f'{TASK[:20]}{{n}}{TASK[21:50]}{{n}}{TASK[51:]}'\n", "x"
        ),
        "Cython": Document("pyx", RENAMED.replace("def pick(", "cpdef list pick(list "), "x"),
        "encoded": Document("b64", base64.b64encode(RENAMED.encode()).decode(), "x"),
    }
    assert compare(list(missed.values()), taus=(0.8,)) == {}


def read_rows(path):
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]]


def test_the_tool_prunes_reports_and_lists_the_nearest(tmp_path):
    exercises = [d for d, _ in LEAKS.values() if d.source == "exercises"]
    write_documents(tmp_path / "exercises.jsonl.zst", CLEAN[:-1] + exercises)
    write_documents(tmp_path / "textbooks.jsonl.gz", [CLEAN[-1], LEAKS["in_a_textbook"][0]])
    corpora = [tmp_path / "exercises.jsonl.zst", tmp_path / "textbooks.jsonl.gz"]
    out = tmp_path / "out"
    report = decontaminate(corpora, PROBLEMS, out, Rules())
    assert list(read_documents(out / "exercises.jsonl.zst")) == CLEAN[:-1]
    assert list(read_documents(out / "textbooks.jsonl.zst")) == CLEAN[-1:]
    dropped = {d.id: d for d in read_documents(out / "dropped.jsonl.zst")}
    assert set(dropped) == {d.id for d, _ in LEAKS.values()}
    leak = dropped["other"].metadata["leak"]
    assert leak.pop("match_rate") < 1
    assert leak == {"reason": "composition", "task_ids": {"composition": "bench/0"}, "tau": 1.0}
    assert report["in"] == {"exercises": 14, "textbooks": 2}
    assert report["out"] == {"exercises": 5, "textbooks": 1}
    assert report["dropped"] == {"composition": 2, "text": 4, "ast": 4}
    rows = read_rows(out / "nearest.jsonl")
    assert [row["task_id"] for row in rows] == ["bench/0", "bench/1", "bench/2"]
    left = rows[0]["left"]["1.0"]
    composition = left["composition"]["similarity"], left["composition"]["document"]
    assert composition == (pytest.approx(2 / 3, abs=1e-3), "pair")
    assert left["ast"]["document"] == "odd" and 0.9 < left["ast"]["similarity"] < 1
    assert left["ast"]["text"] == CLEAN[3].text
    assert left["text"]["document"] == "evens"
    copy = rows[0]["nearest"]["ast"]
    assert (copy["similarity"], copy["document"]) == (1.0, "copy")


@pytest.mark.slow
def test_several_taus_give_a_corpus_each_and_the_papers_split(tmp_path, monkeypatch):
    longer = body(*SOLUTION, "b = sorted(b)", "return sorted(b, reverse=True)")
    documents = [
        CLEAN[3],
        *CLEAN[:3],
        exercise("more", "One step more.", longer),
        LEAKS["reordered_statements"][0],
        LEAKS["same_docstring_with_another_body"][0],
    ]
    rest = [exercise(f"n{i}", f"Number {i}.", body(f"return {i}")) for i in range(1500)]
    write_documents(tmp_path / "c.jsonl", documents[:3] + rest + documents[3:])
    rules = Rules(taus=(1.0, 0.9, 0.75))
    reports = []
    # The second time in many chunks, so that two workers have something to do.
    for workers, chunk_chars in ((1, 1 << 30), (2, 20_000)):
        monkeypatch.setattr(decontaminate_module, "_CHUNK_CHARS", chunk_chars)
        output = tmp_path / f"{workers}"
        reports.append(
            decontaminate([tmp_path / "c.jsonl"], PROBLEMS, output, rules, workers=workers)
        )
    assert reports[0] == reports[1]
    for file in sorted((tmp_path / "1").rglob("*.*")):
        other = tmp_path / "2" / file.relative_to(tmp_path / "1")
        assert file.is_dir() or file.read_bytes() == other.read_bytes()

    def left(tau):
        kept = list(read_documents(tmp_path / f"2/tau_{tau}/c.jsonl.zst"))
        assert not compare(kept, taus=(float(tau),))
        return [d.id for d in kept]

    assert set(left("1.0")) - set(left("0.9")) == {"odd"}
    assert set(left("0.9")) - set(left("0.75")) == {"more"}
    assert len(left("1.0")) == 1505 and not {"spread", "loop"} & set(left("1.0"))
    assert reports[0]["out"] == {tau: {"c": len(left(tau))} for tau in ("1.0", "0.9", "0.75")}
    dropped = {
        d.id: d.metadata["leak"]["tau"] for d in read_documents(tmp_path / "2/dropped.jsonl.zst")
    }
    assert dropped == {"odd": 0.9, "more": 0.75, "spread": 1.0, "loop": 1.0}
    splits = json.loads((tmp_path / "2/splits.json").read_text())
    assert splits["measure"] == "ast"
    assert splits["splits"] == [
        {"tau": 1.0, "similar": ["bench/2"], "non_similar": ["bench/0", "bench/1"]},
        {"tau": 0.9, "similar": ["bench/0", "bench/2"], "non_similar": ["bench/1"]},
        {"tau": 0.75, "similar": ["bench/0", "bench/2"], "non_similar": ["bench/1"]},
    ]
    row = read_rows(tmp_path / "2/nearest.jsonl")[0]
    assert row["nearest"]["ast"]["document"] == row["left"]["1.0"]["ast"]["document"] == "odd"
    assert row["left"]["0.9"]["ast"]["document"] == "more"


def embed_letters(texts):
    """Counts of letters, of length 1."""
    counts = np.array([[text.count(c) for c in "abcdefghijklmnopqrstuvwxyz"] for text in texts])
    return (counts / np.linalg.norm(counts, axis=1, keepdims=True)).astype(np.float32)


def test_embeddings_are_reported_and_drop_within_the_distance(tmp_path):
    write_documents(tmp_path / "c.jsonl", CLEAN)
    program = PROBLEM.prompt + PROBLEM.canonical_solution
    distance = np.linalg.norm(
        embed_letters([d.text for d in CLEAN]) - embed_letters([program]), axis=1
    )
    files = [tmp_path / "c.jsonl"], [PROBLEM]
    decontaminate(*files, tmp_path / "1", Rules(), embed=embed_letters)
    near = read_rows(tmp_path / "1/nearest.jsonl")[0]["nearest"]["embedding"]
    assert near["document"] == CLEAN[int(distance.argmin())].id
    assert near["distance"] == pytest.approx(distance.min(), abs=1e-3)
    cut = float(np.sort(distance)[:2].mean())
    report = decontaminate(
        *files, tmp_path / "2", Rules(max_distance=cut), embed=embed_letters, workers=1
    )
    assert report["dropped"] == {"embedding": 1}
    assert json.loads((tmp_path / "2/splits.json").read_text())["splits"][0]["similar"] == [
        "bench/0"
    ]
    with pytest.raises(UserError, match="max_distance: needs embeddings"):
        decontaminate(*files, tmp_path / "3", Rules(max_distance=0.5))


def test_humanevals_problems_without_a_composition(tmp_path):
    write_documents(tmp_path / "c.jsonl", [*CLEAN[:4], LEAKS["renamed_variables"][0]])
    bare = Problem(PROBLEM.task_id, PROBLEM.prompt, "even_squares", PROBLEM.canonical_solution, "")
    files = [tmp_path / "c.jsonl"], [bare]
    report = decontaminate(*files, tmp_path / "out", Rules())
    assert report["dropped"] == {"ast": 1}
    (row,) = read_rows(tmp_path / "out/nearest.jsonl")
    near = row["left"]["1.0"]["composition"]
    assert (near["similarity"], near["document"]) == (0.0, None)


def test_bad_input_is_named(tmp_path):
    write_documents(tmp_path / "a.jsonl", [LEAKS["exact_copy"][0]])
    with pytest.raises(UserError, match=r"a\.jsonl: at tau=1.0 every document"):
        decontaminate([tmp_path / "a.jsonl"], [PROBLEM], tmp_path / "out", Rules())
    with pytest.raises(UserError, match="two are called a"):
        decontaminate([tmp_path / "a.jsonl"] * 2, [PROBLEM], tmp_path / "out", Rules())
    for name, words in (("dropped.jsonl", "that of what is dropped"), (".jsonl", "has nothing")):
        with pytest.raises(UserError, match=rf"{name}: its name .*{words}"):
            decontaminate([tmp_path / name], [PROBLEM], tmp_path / "out", Rules())
    with pytest.raises(UserError, match="two problems are called bench/0; name each file once"):
        decontaminate([tmp_path / "a.jsonl"], [PROBLEM] * 2, tmp_path / "out", Rules())
    for bad in ({"taus": (0.8, 0.9)}, {"taus": (1.5,)}, {"ngram": 1}, {"max_distance": 3.0}):
        with pytest.raises(UserError, match=next(iter(bad)).rstrip("s")):
            Rules(**bad)


def test_this_folder_is_called_by_its_name(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    write_documents(tmp_path / "mine" / "a.jsonl", [Document("x", "def f(): ...\n", "s")])
    monkeypatch.chdir(tmp_path / "mine")
    decontaminate([Path()], [PROBLEM], tmp_path / "out", Rules())
    assert len(list(read_documents(tmp_path / "out" / "mine.jsonl.zst"))) == 1


def test_words_leave_out_numbers_and_the_examples_of_a_problem():
    assert normalize_words("Add 5, 6 to Numbers_2.\\n") == ["add", "0", "to", "numbers", "0"]
    text = "Add 5 to Numbers.\n    >>> f([1])\n    [6]\n\n    Then stop."
    problem = Problem("a", f'def f(a):\n    """{text}"""\n', "f", "    return a\n", "")
    words = ["|", "add", "0", "to", "numbers", "|", "then", "stop", "|"]
    assert list(fingerprint_problem(problem).words) == [zlib.crc32(w.encode()) for w in words]
