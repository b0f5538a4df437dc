"""What a program's tree keeps of it, and what it leaves out."""

from phi1_jax.corpus.fingerprints import tree_tokens
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
