"""What of a document could give a benchmark problem away: its words, its functions, its chain.

A problem hides in more places than a docstring or a function of a module: in comments, in strings
(also JSON, notebooks, lists of lines), in fences, in HTML, in code that does not parse, in methods.
So words are those of every comment and string, and functions are looked for at any depth, in
strings, between tags, and behind what may stand before each line of a listing ("# ", ">>> ", "+").
"""

import ast
import html
import re
import unicodedata
import zlib
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, islice
from typing import Any

from phi1_jax.corpus.documents import Document
from phi1_jax.corpus.problems import Problem
from phi1_jax.corpus.syntax import parse_python, parse_quietly

_BREAK = "|"
# Stands between two texts of one document: a comment, a string, or prose.
BREAK = zlib.crc32(_BREAK.encode())
# Numbers in a row are one word: else any table of numbers would be like any other.
_WORD = re.compile(r"[a-z]+|\d+(?:[^a-z\d]+\d+)*", re.ASCII)
# The same in any script. Where no blanks part words, each character is one: in Thai, Lao, Burmese,
# Khmer, Japanese and Chinese. Accents and vowel signs, of Hindi say, belong to their word.
_CHARACTERS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u30ff"
    "\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff"
)
_MARKS = "\u0300-\u036f\u0591-\u05bd\u064b-\u065f\u0670\u0900-\u0963\u0980-\u0dff"
_ANY_WORD = re.compile(rf"[{_CHARACTERS}]|(?:[^\W\d_{_CHARACTERS}]|[{_MARKS}])+|\d+(?:[\W_]+\d+)*")
_CHARACTER = re.compile(f"[{_CHARACTERS}]")
_PER_WORD = 2  # such characters say as much as a word of English
# An example ends at a blank line, as doctest has it, or with its text.
_DOCTEST = re.compile(r"^[ \t]*>>>.*?(?:\n[ \t]*(?:\n|\Z)|\Z)", re.MULTILINE | re.DOTALL)
# A comment, or what stands between the quotes of a string. None in quotes of one character begins
# behind a backslash, where no program has one: in a line of escaped quotes that are not in a string
# each would be followed to the end of the line, in vain.
_LEXEME = re.compile(
    r"(#[^\n]*)|"
    r'"""([^"\\]*(?:(?:\\[\s\S]|"(?!""))[^"\\]*)*)(?:"""|\\?\Z)|'
    r"'''([^'\\]*(?:(?:\\[\s\S]|'(?!''))[^'\\]*)*)(?:'''|\\?\Z)|"
    r'(?<!\\)"([^"\\\n]*(?:\\[\s\S][^"\\\n]*)*)"|'
    r"(?<!\\)'([^'\\\n]*(?:\\[\s\S][^'\\\n]*)*)'"
)
# What may stand between two strings that are one text. The repetitions are possessive: with
# backtracking the time would grow exponentially with the number of comments.
_JOINS_STRINGS = re.compile(r"(?:[\s,+\\()\[\]]|#[^\n]*+)*+[rbfuRBFU]{0,2}")
_ESCAPE = re.compile(
    r"\\(?:u([\da-fA-F]{4})|x([\da-fA-F]{2})|U(00(?:0[\da-fA-F]|10)[\da-fA-F]{4})|"
    r"([0-7]{1,3})|([\s\S]))"
)
_ESCAPED = {"n": "\n", "t": "\t", "r": "", "f": " ", "v": " ", "b": " ", "a": " ", "\n": ""}
# Where only words matter: escapes of any level, and what marks words in LaTeX, roff, HTML,
# Markdown, reStructuredText, a wiki and a forum.
_NESTED_ESCAPE = re.compile(
    r"\\+(?:(?:text[a-z]{2}|emph|em|bf|it|tt)\b|f[BIRP]|u[\da-fA-F]{4}|[nrt])?|&#?\w+;"
)
_MARKUP = re.compile(
    r"</?[A-Za-z][^<>]*>|\](?:\([^()\s]*(?: \"[^\"\n]*\")?\)|\[[^\[\]\n]*\])|:\w+:(?=`)|"
    r"\[\[[^\[\]|\n]*\||\[/?(?:b|i|u|code|url)\b[^\[\]\n]*\]"
)
_MARKS_UP = ("</", "<br", "<http", "](", "][", ":`", "[[", "[/")
# Code of a page: tags, and signs that are written as entities.
_LINE_TAG = re.compile(r"</?(?:br|p|pre|div|li|tr|h\d)\b[^<>\n]*>")
_TAG = re.compile(r"</?[A-Za-z][^<>\n]*>")
_ENTITY = re.compile(r"&(?:lt|gt|amp|quot|apos|#0*39|#x27);")
# The head of a function, and before it what is not code: blanks, "# ", ">>> ", "+", a line number.
_DEF = re.compile(r"""((?:[ \t]*In \[\d+\]:)?[^A-Za-z_\n"']*)(?:async[ \t]+)?def[ \t]+\w""")
# The same behind words: a cell of CSV, a statement that writes the line, a log's time.
_BEHIND = re.compile(r"(.{1,200}?)(?<![\w.])(?:async[ \t]+)?def[ \t]+\w+[ \t]*[(\[]")
# Of what stands before a line, a run of words and blanks, or one sign.
_MARK_PART = re.compile(r"([\w \t.,+^]+)|(.)")
# `def f[T](x: T)`, which Python reads from 3.12 on.
_TYPE_PARAMETERS = re.compile(r"((?:async +)?def +\w+ *)\[.*?\]\(")
_CELL_END = re.compile(r"(?<!\s)\s*[|\u2502\u2503]\s*$")
# Braces and percent signs of templates.
_DOUBLED = re.compile(r"\{\{|\}\}|%%")
# What stands before lines of a listing, where words go on from line to line: of `git blame`, of
# `grep -n`, a time and what follows it, a name, a number.
_LINE_MARK = re.compile(
    r"^(?:\^?[\da-f]{7,40} [^()\n]*\([^()\n]*\d\) ?|[^\s:]+[:-]\d+[:-]|[^\s:]+\.\w+[:-]|"
    r"(?:\[|\w{3} +\d+ )?(?:\d[\d-]*[T ])?\d\d:\d\d\S*(?: <\S+>|.{0,60}?\S:(?= ))?|"
    r"[\w-]+[ \t]+\||[\w-]+>|<\w+>|[ \t]*[A-Z]?\d+\b[:.)|]?|REM\b)(.*)",
    re.MULTILINE,
)
# Signs of typesetting: blanks, ends of lines, what is not seen; and in code quotes and dashes.
_BLANK = re.compile("[\xa0\u2000-\u200a\u202f\u205f\u3000]")
_LINE_END = re.compile("\r+\n|[\r\x85\u2028\u2029]")
_UNSEEN = re.compile("[\xad\u200b-\u200f\u2060\ufeff]")
_TYPOGRAPHY = re.compile("([\u2018\u2019])|([\u201c\u201d])|[\u2010\u2011\u2013\u2212]")
_TRIPLE = re.compile(r'"""|\'\'\'')
_OWNERS = ("self", "cls")
_MAX_NESTING = 3
_MAX_INT_BITS = 10_000  # Python writes no integer of more than 4300 digits, but reads its hex
_MAX_LINES = 500
_MAX_MARK = 200  # a longer one may lie in too many ways
_MAX_REPAIRS = 5
_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Fingerprint:
    """One document or problem, reduced to what is compared.

    Attributes:
      words: uint32[n], hashed words of its comments, strings and prose (see `normalize_words`);
        each text stands between two `BREAK`s.
      functions: for each function the hashed tokens of its syntax tree, local names numbered,
        uint32[n]; as written, and with the statements of each block sorted (see `tree_tokens`).
      composition: the primitives that solve it, in order; empty where they are not stated.
      per_word: how many of a problem's `words` say as much as a word of English: more than one
        where they are characters, see `normalize_words`.
    """

    words: array
    functions: tuple[tuple[array, array], ...]
    composition: tuple[str, ...] = ()
    per_word: int = 1


def fingerprint_document(document: Document) -> Fingerprint:
    """A document of code, or of text with code anywhere in it."""
    text = document.text
    if "\r" in text or not text.isascii():
        text = _LINE_END.sub("\n", text)
    if not text.isascii():
        text = _BLANK.sub(" ", _UNSEEN.sub("", text))
    tree = parse_python(text)
    if tree is None and not text.isascii():  # else the signs stand in strings and comments
        plain = unicodedata.normalize("NFKC", text)
        plain = _TYPOGRAPHY.sub(lambda sign: "'" if sign[1] else '"' if sign[2] else "-", plain)
        if plain != text:
            text, tree = plain, parse_python(plain)
    lexemes = list(_comments_and_strings(text))
    texts = lexemes if tree else [text, *lexemes, "\n".join(_LINE_MARK.findall(text))]
    words = [_BREAK]
    for found in texts:
        words += [*normalize_words(found), _BREAK]
    functions = [
        tree_tokens(function, is_method)
        for _, found in _all_code(text, tree, lexemes)
        for function, is_method in _functions(found)
    ]
    composition = tuple(document.metadata.get("composition") or ())
    return Fingerprint(array("I", map(_crc, words)), tuple(functions), composition)


def fingerprint_problem(problem: Problem) -> Fingerprint:
    """A problem: its task in words, without examples, and the tree of its entry point."""
    tree = parse_python(problem.prompt + problem.canonical_solution)
    functions = [function for function, _ in _functions(tree)] if tree else []
    entry = [function for function in functions if function.name == problem.entry_point]
    texts, trees = [problem.prompt], []
    if tree is not None and entry:  # else there are still words to compare
        # MBPP's task stands before the program, HumanEval's in the function, if not always first.
        statements = [*tree.body[:1], *entry[-1].body]
        texts = [text for statement in statements if (text := _text_of(statement)) is not None]
        trees = [tree_tokens(entry[-1])]
    words = [_BREAK]
    for text in texts:
        for part in _DOCTEST.split(text):  # what stands between two examples is a text of its own
            if found := normalize_words(part):
                words += [*found, _BREAK]
    n_characters = sum(map(bool, map(_CHARACTER.fullmatch, words)))
    per_word = _PER_WORD if 2 * n_characters > len(words) else 1
    return Fingerprint(array("I", map(_crc, words)), tuple(trees), problem.composition, per_word)


def code_blocks(text: str) -> Iterator[tuple[str, ast.Module]]:
    """The text itself if it is Python, else each function in it; with their syntax trees."""
    tree = parse_python(text)
    if tree is not None:
        yield text, tree
    else:
        yield from _listings(text)


def normalize_words(text: str) -> list[str]:
    """Lower-case words; numbers become "0", several in a row one "0".

    Where words are not parted by blanks, as in Chinese, each character counts as one.
    """
    if "&lt;" in text or "&amp;lt;" in text:
        text = html.unescape(text.replace("&amp;", "&"))
    if "\\" in text or "&" in text:
        text = _NESTED_ESCAPE.sub(" ", text)
    if any(sign in text for sign in _MARKS_UP):
        text = _MARKUP.sub(" ", text)
    if text.isascii():
        return ["0" if word[0] <= "9" else word for word in _WORD.findall(text.lower())]
    text = unicodedata.normalize("NFKC", _UNSEEN.sub("", text.lower()))
    found = _ANY_WORD.findall(text)
    return ["0" if word[0].isdecimal() else word for word in found]


def _comments_and_strings(text: str) -> Iterator[str]:
    """Each comment and string; those that follow each other, as lines do, are one text."""
    parts: dict[bool, list[str]] = {False: [], True: []}  # of the last comment, of the last string
    ends = dict.fromkeys(parts, 0)
    for match in _LEXEME.finditer(text):
        kind = match.lastindex or 0
        content, is_string = match[kind], kind > 1
        if is_string and "\\" in content:
            content = _ESCAPE.sub(_unescape, content)
        found = parts[is_string]
        if found:
            gap = text[ends[is_string] : match.start()]
            if not (_JOINS_STRINGS.fullmatch(gap) if is_string else not gap.strip()):
                yield "".join(found)
                found.clear()
            elif not is_string or ("," in gap and not found[-1].endswith("\n")):
                found.append("\n")
        found.append(content)
        ends[is_string] = match.end()
    for found in parts.values():
        if found:
            yield "".join(found)


def _unescape(match: re.Match[str]) -> str:
    if code := match[1] or match[2] or match[3]:
        return chr(int(code, 16))
    if match[4]:
        return chr(int(match[4], 8))
    return _ESCAPED.get(match[5], match[5])


def _all_code(
    text: str, tree: ast.Module | None, lexemes: list[str], nesting: int = 0
) -> Iterator[tuple[str, ast.Module]]:
    """The code of a text, of what is marked as comment or output in it, and of its strings."""
    if tree is not None:
        yield text, tree
    yield from _listings(text, in_program=tree is not None)
    if nesting == _MAX_NESTING:
        return
    # A comment is a marked listing of the text that it stands in.
    inner = [lexeme for lexeme in lexemes if lexeme[0:1] != "#" and "def " in lexeme]
    inner += [_halve(other) for other in inner if _DOUBLED.search(other)]
    # `return a &lt; b` parses, as two statements.
    if "def" in text and (_ENTITY.search(text) or (tree is None and "</" in text)):
        page = html.unescape(_TAG.sub("", _LINE_TAG.sub("\n", text)))
        inner.append(_BLANK.sub(" ", page))
    for other in inner:
        found = list(_comments_and_strings(other))
        yield from _all_code(other, parse_python(other), found, nesting + 1)


def _listings(text: str, in_program: bool = False) -> Iterator[tuple[str, ast.Module]]:
    """Each function of a listing: `def` and the lines indented below it.

    What stands before its lines may be as wide in each, or alike but for numbers and words, or
    stand before the first alone; the longest reading that parses counts.

    Args:
      in_program: the text is Python, and only what is marked in each line is not among its code.
    """
    lines = text.expandtabs().split("\n")  # to eighths, as Python 2 read them beside blanks
    end = 0
    for start, line in enumerate(lines):
        head = start >= end and "def " in line and (_DEF.match(line) or _BEHIND.match(line))
        if not head or (in_program and not head[1].strip()):
            continue
        mark, some = head[1], lines[start : start + _MAX_LINES]
        readings = [_below(some, mark)] if head.re is _DEF else []
        if mark.strip() and len(mark) <= _MAX_MARK:
            alike = _unmarked(some, mark)
            if in_program and head.re is _BEHIND:
                two = list(islice(alike, 2))
                if len(two) == 1:
                    continue  # in a string or comment, which is looked at by itself
                alike = chain(two, alike)
            readings.insert(0, _below(alike))
        readings.sort(key=len, reverse=True)
        parsed = _parse_leniently(readings)
        if parsed is None and mark.strip() and not in_program:
            parsed = _parse_leniently([_below([line[len(mark) :], *some[1:]])])
        if parsed:
            n_lines, code, tree = parsed
            yield code, tree
            end = start + n_lines


def _unmarked(lines: list[str], mark: str) -> Iterator[str]:
    """Yields lines without what stands before each, up to the first where it is not like `mark`.

    Numbers and words of it may differ. If it ends in a quote, each line is a string.

    Args:
      mark: what stands before the first; more than blanks.
    """
    own = mark.strip()
    lead, n_blanks = mark[: -len(mark.lstrip())], len(mark) - len(mark.rstrip())
    parts = _MARK_PART.findall(own)
    # Numbers that begin it, such as 9 and 10, need not begin in the same column.
    shape = r"[ \t]*+" if own[0].isdigit() else re.escape(lead) + r"(?=\S)"
    n_loose = 0
    for at, (words, sign) in enumerate(parts, start=1):
        if sign:
            shape += {":": "[:-]", "'": "[\"']", '"': "[\"']"}.get(sign, re.escape(sign))
        elif words.strip().isdigit():
            # Blanks behind the last part are the mark's and the code's own.
            shape += r"[ \t]*\d+[ \t]*" if at < len(parts) else r"[ \t]*\d+"
        elif not words.strip():
            shape += r"[ \t]*"
        elif at < len(parts):
            # Dashes and quotes are signs too: in more words than a name and a date they could lie
            # in many ways, and a row of dashes would be tried in all of them.
            shape += r"[\w \t.,'+^-]+?" if n_loose < 2 else r"[\w \t.,+^]+?"
            n_loose += 1
        else:  # as many words
            shape += r"[ \t]+".join([r"\S+"] * len(words.split()))
    pattern = re.compile(shape + f" {{0,{n_blanks}}}")
    is_first = True
    for line in lines:
        match = pattern.match(line, 0, len(mark) + 100)
        if match is None or (is_first and match.end() != len(mark)):
            break
        rest = line[match.end() :]
        if own[-1] in "'\"":
            string = _LEXEME.match(line, match.end() - 1)
            if string is None:
                break
            rest = _ESCAPE.sub(_unescape, string[string.lastindex or 0]).rstrip("\n")
            if own[-2:-1] in ("f", "F"):
                rest = _halve(rest)
        yield rest
        is_first = False
    if is_first:
        yield lines[0][len(mark) :]


def _below(lines: Iterable[str], mark: str = "") -> list[str]:
    """The lines of the function that begins in the first, without the columns that `mark` has."""
    width = len(mark)
    other_side = {"": "-", "+": "-", "-": "+"}.get(mark.strip())  # of a diff
    lines = iter(lines)
    found = [next(lines)[width:]]
    n_quotes = len(_TRIPLE.findall(found[0]))
    for line in lines:
        before, rest = line[:width], line[width:]
        ends = re.search("[A-Za-z_\"']", before) or (rest.strip() and rest[0] not in " )]}#")
        if before.strip() and before.strip() == other_side:
            rest = ""
        elif ends and n_quotes % 2 == 0:  # not inside a string
            break
        found.append(rest)
        n_quotes += len(_TRIPLE.findall(rest))
    while not found[-1].strip():
        found.pop()
    if _CELL_END.search(mark):  # a column of a table
        found = [_CELL_END.sub("", rest) for rest in found]
    return found


def _halve(template: str) -> str:
    return _DOUBLED.sub(lambda match: match[0][0], template)


def _parse_leniently(readings: list[list[str]]) -> tuple[int, str, ast.Module] | None:
    """The first reading of a function that is Python, with quotes halved or lines left out.

    And of how many lines it is; each may be a string of several.
    In CSV and SQL quotes are doubled; a few lines that Python cannot read count as `pass`.
    """
    halved = [
        [line.replace(quote * 2, quote) for line in lines]
        for lines in readings
        for quote in ('"', "'")
        if any(quote * 2 in line for line in lines)
    ]
    attempts = [(lines, 1) for lines in [*readings, *halved]]
    attempts += [(lines, _MAX_REPAIRS) for lines in readings]
    found = ((lines, _repair([*lines], tries)) for lines, tries in attempts)
    return next(((len(lines), *parsed) for lines, parsed in found if parsed), None)


def _repair(lines: list[str], tries: int) -> tuple[str, ast.Module] | None:
    for _ in range(tries):
        code = "\n".join(lines) + "\n"
        try:
            return code, parse_quietly(code)
        except SyntaxError as error:
            at = (error.lineno or 0) - 1
            if at == 0 and (head := _TYPE_PARAMETERS.match(lines[0])):
                lines[0] = f"{head[1]}({lines[0][head.end() :]}"
                continue
            if 0 < at < len(lines) and not any(map(str.strip, lines[at + 1 :])):
                whole = lines[at][: max((error.offset or 1) - 1, 0)]
                if whole.strip() and whole != lines[at]:  # before what closes a cell, say
                    lines[at] = whole
                    continue
            if not 0 < at < len(lines) or lines[at].strip() in ("", "pass"):
                return None
            indent = len(lines[at]) - len(lines[at].lstrip())
            unexpected = "unexpected indent" in (error.msg or "")
            lines[at] = "" if unexpected else " " * indent + "pass"
        except (ValueError, RecursionError, MemoryError):
            return None
    return None


def tree_tokens(function: _Function, is_method: bool = False) -> tuple[array, array]:
    """The syntax tree in writing order, uint32[nodes], one hash a node: as written, and in order.

    Names that the function binds are numbered as they appear; docstrings, annotations, decorators,
    `async` and `await` are left out, and so is a first argument that the function does not use or
    that stands for the object (`self.x` is `x`); constants, operators, attributes and names from
    outside are kept. In the second the statements of each block are sorted, so that moved ones come
    to the same place.
    """
    first = next(iter([*function.args.posonlyargs, *function.args.args]), None)
    owner = first.arg if first and (is_method or first.arg in _OWNERS) else None
    # Names of the function itself, its arguments, variables and inner functions; those it reads.
    bound: set[str] = set()
    loaded: set[str] = set()

    def visit(node: Any, parts: list[_Part]) -> None:
        # Types are compared, and `ast.iter_fields` is not used, for speed.
        cls: type[Any] = type(node)
        if cls is ast.Name:
            (loaded if type(node.ctx) is ast.Load else bound).add(node.id)
            parts.append(node.id)
            return
        if cls is ast.Constant:
            value = node.value
            if type(value) is int and value.bit_length() > _MAX_INT_BITS:
                value = hex(value)
            parts.append(_crc(f"C{value!r}"))
            return
        if cls is ast.arg:
            bound.add(node.arg)
            parts.append(node.arg)
            return
        if cls is ast.Await:
            visit(node.value, parts)
            return
        if owner and cls is ast.Attribute and getattr(node.value, "id", None) == owner:
            parts.append(node.attr if node.attr == function.name else _crc(node.attr))
            return
        kind = _SAME_KIND.get(cls.__name__, cls.__name__)
        if kind == "FunctionDef":
            bound.add(node.name)
        parts.append(_crc(kind))
        for field in cls._fields:
            value = None if field in _LEFT_OUT else getattr(node, field, None)
            if value is None:
                continue
            if type(value) is list:
                if field in ("body", "orelse", "finalbody"):
                    block: list[list[_Part]] = []
                    for item in value:
                        if not (isinstance(item, ast.Pass) or _text_of(item) is not None):
                            block.append([])
                            visit(item, block[-1])
                    parts += (block, _crc("end"))
                    continue
                for item in value:
                    if isinstance(item, ast.AST):
                        visit(item, parts)
                    else:
                        parts.append(_crc(f"S{item}"))
                if field == "args":
                    parts.append(_crc("end"))
            elif isinstance(value, ast.AST):
                if kind in ("Slice", "arguments"):
                    # x[2:] and x[::2] differ only in which field is set.
                    parts.append(_crc(field))
                visit(value, parts)
            elif isinstance(value, str):
                parts.append(value if field == "name" else _crc(f"S{value}"))

    parts: list[_Part] = []
    try:
        visit(function, parts)
        if first and (owner or first.arg not in loaded):
            del parts[parts.index(first.arg, 2)]  # the name of the function stands before
        return _number_names(_flatten(parts, bound)), _number_names(_flatten(parts, bound, True))
    except RecursionError:
        return array("I"), array("I")


_LEFT_OUT = {"returns", "annotation", "decorator_list", "type_comment", "type_params", "ctx"}
_SAME_KIND = {
    "AsyncFunctionDef": "FunctionDef",
    "AsyncFor": "For",
    "AsyncWith": "With",
    "AnnAssign": "Assign",
}
# A token, a name, or a block: the parts of each of its statements.
_Part = int | str | list[list[Any]]


def _flatten(parts: list[_Part], bound: set[str], in_order: bool = False) -> list[int | str]:
    """Tokens, and the names that the function binds."""
    flat: list[int | str] = []
    for part in parts:
        if not isinstance(part, list):
            flat.append(_crc(part) if isinstance(part, str) and part not in bound else part)
            continue
        statements = [_flatten(statement, bound, in_order) for statement in part]
        if in_order and len(statements) > 1:
            # What a local variable is called must not decide its place.
            statements.sort(key=lambda tokens: [0 if type(t) is str else t for t in tokens])
        for statement in statements:
            flat += statement
    return flat


def _number_names(tokens: list[int | str]) -> array:
    numbered: dict[str, int] = {}
    found = array("I")
    for token in tokens:
        if isinstance(token, str):
            token = numbered.setdefault(token, _crc(f"V{len(numbered)}"))
        found.append(token)
    return found


@lru_cache(1 << 14)
def _crc(token: str) -> int:
    return zlib.crc32(token.encode("utf-8", "replace"))


def _functions(tree: ast.AST) -> Iterator[tuple[_Function, bool]]:
    """Functions at any depth, lambdas with a name among them; whether to read each as a method."""
    stack: list[tuple[Any, bool]] = [(tree, False)]
    while stack:
        node, in_class = stack.pop()
        if isinstance(node, _Function):
            yield node, False
            # `self` tells itself; another first argument may be the object or not.
            if in_class and node.args.args and node.args.args[0].arg not in _OWNERS:
                yield node, True
        elif isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Lambda):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            name = target.id if isinstance(target, ast.Name) else "_"
            body: list[ast.stmt] = [ast.Return(node.value.body)]
            yield ast.FunctionDef(name, node.value.args, body, []), False
        # Where a node may hold statements; expressions, most of a tree, are passed over.
        for field in ("finalbody", "orelse", "handlers", "cases", "body"):
            inner = getattr(node, field, ())
            stack += [(item, isinstance(node, ast.ClassDef)) for item in reversed(inner)]


def _text_of(statement: ast.AST) -> str | None:
    """The string, if it is a docstring or stands where a comment could."""
    value = statement.value if isinstance(statement, ast.Expr) else None
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else None
