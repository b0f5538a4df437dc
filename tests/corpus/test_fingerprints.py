"""What a program's tree keeps of it, and what it leaves out; where its strings are."""

import io
import sysconfig
import time
import tokenize
from pathlib import Path

from phi1_jax.corpus.documents import Document
from phi1_jax.corpus.fingerprints import _LEXEME, fingerprint_document, tree_tokens
from phi1_jax.corpus.syntax import parse_python


def tokens_of(code):
    tree = parse_python(code)
    assert tree is not None
    return tree_tokens(tree.body[0])[0].tolist()


def test_trees_see_through_names_but_not_through_meaning():
    base = tokens_of("def f(a, b):\n    c = a[2:]\n    return c + [b]\n")
    assert base == tokens_of(
        '@cache\ndef g(x: list, y: int) -> list:\n    """D."""\n    z = x[2:]\n    return z + [y]\n'
    )
    for other in ("a[::2]", "a[:2]", "a[3:]", "b[2:]", "len(a)"):
        assert base != tokens_of(f"def f(a, b):\n    c = {other}\n    return c + [b]\n")
    assert tokens_of("def f(*a): pass") != tokens_of("def f(**a): pass")
    assert tokens_of("def f(a): return a.x") != tokens_of("def f(a): return a.y")
    # A name from outside is what it is.
    assert tokens_of("def f(a): return min(a)") != tokens_of("def f(a): return max(a)")


def test_an_integer_that_python_does_not_write_is_a_constant():
    large = "0x" + "f" * 10_000
    assert tokens_of(f"def f(): return {large}") == tokens_of(f"def g(): return {large}")
    assert tokens_of(f"def f(): return {large}") != tokens_of(f"def f(): return {large[:-1]}e")


def test_comments_and_strings_are_those_of_the_tokenizer():
    n = 0
    for file in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))[::5]:
        text = file.read_text("utf-8")
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
        kinds = {tokenize.tok_name[token.type] for token in tokens}
        if "FSTRING_START" in kinds:  # from Python 3.12 on, an f-string is several tokens
            continue
        kept = [t for t in tokens if t.type in (tokenize.COMMENT, tokenize.STRING)]
        strings = [t.string.lstrip("rbufRBUF") for t in kept]
        assert [match[0] for match in _LEXEME.finditer(text)] == strings, file.name
        n += len(strings)
    assert n > 1000


def test_no_text_takes_much_longer_than_others():
    for line in (
        r"{\"name\": \"item\", \"it\'s\": 1}, " * 2000,  # took 20 seconds
        r"{\"\"\"name\"\"\"}, " * 3000 + "\\",
        "| def f(): pass" + " " * 60_000 + "x",  # a row of a table
        "a-b-c-d-e-f-g| def f(x):\n" + "-" * 120 + "!\n",  # took minutes
        "a'b'c: d:e:f| def f(x):\n" + "-'" * 60_000 + "!\n",
        "x def f(a): " + "a[1] = 2; " * 8000,
        f"1.1{'-' * 3000}1.1{'-' * 3000}2 def f(x):\n" + "-" * 9000 + "!\n",
    ):
        start = time.perf_counter()
        fingerprint_document(Document("x", line, "s"))
        assert time.perf_counter() - start < 2
