"""Edits that make a near duplicate of a Python file."""

import io
import tokenize


def rename(text, rng):
    """Every variable and function under another name, by tokens."""
    names = {}
    bound = ("def", "for", "as", "class")
    tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    for before, token, after in zip(tokens, tokens[1:], tokens[2:], strict=False):
        assigned = after.string == "=" and before.string != "."
        if token.type == tokenize.NAME and (assigned or before.string in bound):
            names[token.string] = f"other_{rng.randrange(10**9)}"
    out, previous = [], ""
    for token in tokens:
        attribute = previous == "."
        out.append(
            (token.type, token.string if attribute else names.get(token.string, token.string))
        )
        previous = token.string
    return tokenize.untokenize(out)


def move_comments(text, rng):
    """Comment lines leave their place for another line between statements of the top level."""
    lines = text.split("\n")
    comments = [line for line in lines if line.strip().startswith("#")]
    rest = [line for line in lines if not line.strip().startswith("#")]
    places = [i for i, line in enumerate(rest) if line.startswith(("def ", "class "))] or [0]
    for comment in comments:
        rest.insert(rng.choice(places), comment.strip())
    return "\n".join(rest)


def respace(text, rng):
    """Two spaces a level, blank lines, trailing space."""
    out = []
    for line in text.split("\n"):
        bare = line.lstrip(" ")
        out.append(" " * ((len(line) - len(bare)) // 2) + bare + " " * rng.randrange(3))
        out += [""] * (rng.random() < 0.1)
    return "\n".join(out)


EDITS = {"renamed": rename, "comments": move_comments, "spaces": respace}
