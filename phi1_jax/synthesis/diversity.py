"""How diverse a synthetic corpus is, how much of it repeats itself, and which constructs it uses.

Beyond the paper: phi-1 section 6 says that no good measure of a synthetic set's diversity and
redundancy exists. No figure here is one; together they show what a teacher does over and over, and
what the solutions of a benchmark need that it never writes.
"""

import ast
import hashlib
import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zstandard

from phi1_jax.corpus.documents import Document, chunks
from phi1_jax.corpus.fingerprints import code_blocks, fingerprint_document
from phi1_jax.corpus.parallel import ordered_map
from phi1_jax.corpus.syntax import last_function
from phi1_jax.markdown import table
from phi1_jax.synthesis.exercises import Exercise, entry_point, parse_program

_CHUNK_DOCUMENTS = 500
_N_SHOWN = 20
# What the page says of each corpus, and where it stands in the figures.
_ROWS = (
    ("documents", "size", "documents"),
    ("text / compressed", "size", "compression_ratio"),
    ("function names, distinct", "names", "distinct"),
    ("function names, entropy (bits)", "names", "entropy_bits"),
    ("topics, entropy (bits)", "topics", "entropy_bits"),
    ("share of the topic tree that occurs", "coverage", "share"),
    ("distinct functions", "functions", "distinct"),
    ("share that repeats an earlier one", "functions", "repeated_share"),
    ("clusters of equal ones", "functions", "clusters"),
)

# What a function may use, each counted in % of the functions; the forms of examples exclude each
# other.
CONSTRUCTS = (
    "two or more arguments", "for", "if inside a loop", "early-return guard", "if at the top",
    "return inside a loop", "nested loops", "while", "elif", "recursion", "helper functions",
    "type hints", "docstring of more than one sentence", "long prompt", "examples: >>>",
    "examples: f(x) == y", "examples: arrow", "examples: prose", "examples: none",
)  # fmt: skip
LONG_PROMPT = 200
_LOOPS = (ast.For, ast.AsyncFor, ast.While)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_PROSE_EXAMPLE = re.compile(r"\b(?:examples?|for instance|input)\b|\be\.g\.", re.IGNORECASE)
_MAX_DEPTH = 20


@dataclass
class Constructs:
    """What functions are made of, summed over any number of them.

    Attributes:
      counts: construct -> functions that have it; also "functions" and "statements".
      paths: each statement that occurs with those around it, e.g. "For.If.orelse.Return".
      arguments: the numbers of arguments that occur.
      words: the distinct words of docstrings, without their examples.
    """

    counts: Counter[str] = field(default_factory=Counter)
    paths: set[str] = field(default_factory=set)
    arguments: set[int] = field(default_factory=set)
    words: set[str] = field(default_factory=set)

    @classmethod
    def total(cls, each: Iterable["Constructs"]) -> "Constructs":
        total = cls()
        for constructs in each:
            total.add(constructs)
        return total

    def add(self, other: "Constructs") -> None:
        self.counts += other.counts
        self.paths |= other.paths
        self.arguments |= other.arguments
        self.words |= other.words

    def shares(self) -> dict[str, float]:
        """% of the functions by construct; mean statements, distinct words, number of functions."""
        n = self.counts["functions"]
        return {
            **{name: round(100 * self.counts[name] / max(n, 1), 1) for name in CONSTRUCTS},
            "statements, mean": round(self.counts["statements"] / max(n, 1), 2),
            "distinct words in docstrings": len(self.words),
            "functions": n,
        }

    def covers(self, other: "Constructs") -> bool:
        """Whether all statement paths and argument counts of the other occur here too."""
        return (
            other.counts["functions"] > 0
            and other.paths <= self.paths
            and other.arguments <= self.arguments
        )


@dataclass(frozen=True)
class ConstructCounter:
    """Counts the constructs of functions.

    Attributes:
      long_prompt: prompts longer than this count as long.
      encode: what a prompt's length is counted in; characters by default, or a tokenizer's.
    """

    long_prompt: int = LONG_PROMPT
    encode: Callable[[str], Sized] = str

    def of_exercise(self, exercise: Exercise) -> Constructs:
        """The constructs of the entry point; empty if the exercise does not parse or lacks it.

        Of an exercise that names no entry point, those of its last function. An instruction in
        plain words counts as the docstring.
        """
        tree, in_words = parse_program(exercise.prompt, exercise.solution)
        functions = [n for n in ast.walk(tree) if isinstance(n, _FUNCTIONS)] if tree else []
        entry = [f for f in functions if f.name == exercise.entry_point]
        if tree and not exercise.entry_point and (last := last_function(tree)):
            entry = [last]
        if tree is None or not entry:
            return Constructs()
        # HumanEval states its task in the function, MBPP before the program.
        task = ast.get_docstring(entry[-1]) or ast.get_docstring(tree) or ""
        if in_words:
            task = exercise.prompt
        return self._count(entry[-1], task, exercise.prompt, len(functions) > 1)

    def of_document(self, document: Document) -> Constructs:
        """The constructs of an exercise, or of each function of any other document with code."""
        if n := document.metadata.get("prompt_chars"):
            text, entry = document.text, document.metadata.get("entry_point", "")
            found = self.of_exercise(Exercise(text[:n], text[n:], entry))
            if found.counts:
                return found
        total = Constructs()
        for code, tree in code_blocks(document.text):
            lines = code.split("\n")
            for node in ast.walk(tree):
                if isinstance(node, _FUNCTIONS):
                    docstring = ast.get_docstring(node)
                    first = node.body[0]
                    end = (first.end_lineno or 0) if docstring else first.lineno - 1
                    prompt = "\n".join(lines[node.lineno - 1 : end])
                    helpers = _has(_within(node.body), *_FUNCTIONS)
                    total.add(self._count(node, docstring or "", prompt, helpers))
        return total

    def used_by(self, document: Document) -> set[str] | None:
        """The constructs of an exercise, and the loops and branches anywhere in its solution.

        Those of helpers, of methods and of code in no function count too.

        Returns:
          None if neither the exercise nor its solution alone parses: nothing is known of it.
        """
        n = document.metadata.get("prompt_chars", 0)
        prompt, solution = document.text[:n], document.text[n:]
        tree, in_words = parse_program(prompt, solution)
        if tree is None:
            return None
        first_line = 1 if in_words else 1 + prompt.count("\n")
        counts = self.of_document(document).counts
        statements = [n for n in ast.walk(tree) if isinstance(n, ast.stmt)]
        has = _branches([n for n in statements if n.lineno >= first_line])
        has["long prompt"] = len(self.encode(prompt)) > self.long_prompt
        return {name for name in CONSTRUCTS if counts[name] or has.get(name)}

    def _count(
        self,
        function: ast.FunctionDef | ast.AsyncFunctionDef,
        task: str,
        prompt: str,
        helpers: bool,
    ) -> Constructs:
        body = function.body[1:] if ast.get_docstring(function) is not None else function.body
        nodes = _within(body)
        arguments = function.args
        named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        n_arguments = len(named) + bool(arguments.vararg) + bool(arguments.kwarg)
        called = {getattr(n.func, "id", "") for n in nodes if isinstance(n, ast.Call)}
        call = re.escape(function.name) + r"\("
        # Where the task ends and its examples begin.
        words = re.split(rf"(?im)>>>|^\s*(?:for )?examples?\b|^\s*assert |^\s*{call}", task)[0]
        has = {
            "two or more arguments": n_arguments >= 2,
            **_branches(nodes),
            "early-return guard": any(
                isinstance(n, ast.If) and _has(n.body, ast.Return) for n in body
            ),
            "if at the top": _has(body, ast.If),
            "recursion": function.name in called,
            "helper functions": helpers,
            "type hints": bool(function.returns) or any(a.annotation for a in named),
            "docstring of more than one sentence": len(re.findall(r"[.!?](?:\s|$)", words)) > 1,
            "long prompt": len(self.encode(prompt)) > self.long_prompt,
            f"examples: {_example_form(task, call)}": True,
        }
        counts = Counter({name: 1 for name, true in has.items() if true})
        counts["functions"] = 1
        counts["statements"] = sum(isinstance(n, ast.stmt) for n in nodes)
        paths = set(_paths(body)) | ({"helper functions"} if helpers else set())
        return Constructs(counts, paths, {n_arguments}, set(re.findall("[a-z]+", words.lower())))


def _branches(nodes: Sequence[ast.AST]) -> dict[str, bool]:
    """Which loops and branches are among nodes, whatever holds them."""
    in_loops = [n for loop in nodes if isinstance(loop, _LOOPS) for n in _within(loop.body)]
    return {
        "for": _has(nodes, ast.For, ast.AsyncFor),
        "if inside a loop": _has(in_loops, ast.If),
        "return inside a loop": _has(in_loops, ast.Return),
        "nested loops": _has(in_loops, *_LOOPS),
        "while": _has(nodes, ast.While),
        "elif": any(
            isinstance(n, ast.If) and len(n.orelse) == 1 and _has(n.orelse, ast.If) for n in nodes
        ),
    }


def _within(body: Sequence[ast.stmt]) -> list[ast.AST]:
    return [node for statement in body for node in ast.walk(statement)]


def _has(nodes: Iterable[ast.AST], *kinds: type[ast.AST]) -> bool:
    return any(isinstance(node, kinds) for node in nodes)


def _example_form(task: str, call: str) -> str:
    if ">>>" in task:
        return ">>>"
    if re.search(rf"{call}.*\)\s*==", task):
        return "f(x) == y"
    if re.search(rf"{call}.*\)\s*(?:➞|→|[-=]+>)", task):
        return "arrow"
    return "prose" if re.search(call, task) or _PROSE_EXAMPLE.search(task) else "none"


def _paths(body: Sequence[ast.stmt], above: str = "") -> Iterator[str]:
    """Each statement as the statements around it and its own kind; docstrings are none."""
    for statement in body:
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            continue
        path = above + type(statement).__name__
        yield path
        for name in ("body", "orelse", "finalbody", "handlers", "cases"):
            inner = getattr(statement, name, [])
            # Handlers and cases hold statements of their own.
            blocks = [part.body for part in inner] if name in ("handlers", "cases") else [inner]
            for block in blocks if above.count(".") < _MAX_DEPTH else ():
                yield from _paths(block, f"{path}." if name == "body" else f"{path}.{name}.")


def measure(
    documents: Iterable[Document],
    tree: Collection[str],
    workers: int = 1,
    counter: ConstructCounter = ConstructCounter(),
) -> tuple[dict[str, Any], Constructs]:
    """The figures of one corpus, JSON-serialisable, and the constructs of its functions.

    Args:
      tree: all leaves, "area > topic" each; empty if they are not known.
      workers: processes that parse.
    Returns:
      `size`; `names`, `topics` and `functions`, equal up to local names: see `spread`; `coverage`
      of the tree.
    """
    names, topics, functions = Counter[str](), Counter[str](), Counter[bytes]()
    first: dict[bytes, str] = {}  # document with these functions
    constructs = Constructs()
    compressor = zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters.from_level(
            6, window_log=27, enable_ldm=True
        )
    ).compressobj()
    n_documents = n_bytes = compressed_bytes = 0
    items = chunks(documents, _CHUNK_DOCUMENTS)
    for chunk, (read, found) in ordered_map(_read, counter, items, workers):
        constructs.add(found)
        n_documents += len(chunk)
        for document, (name, trees) in zip(chunk, read, strict=True):
            data = document.text.encode("utf-8", "backslashreplace")
            n_bytes += len(data)
            compressed_bytes += len(compressor.compress(data))
            if name:
                names[name] += 1
            if topic := document.metadata.get("topic"):
                topics[topic] += 1
            if trees:
                functions[trees] += 1
                first.setdefault(trees, document.id)
    compressed_bytes += len(compressor.flush())
    equal = spread(functions)
    if equal:
        equal["repeated_share"] = round(1 - len(functions) / functions.total(), 4)
        equal["clusters"] = sum(n > 1 for n in functions.values())
        equal["most_common"] = [[first[trees], n] for trees, n in functions.most_common(_N_SHOWN)]
    missing = [leaf for leaf in tree if leaf not in topics]
    coverage = {"of": len(tree), "missing": missing[:100]}
    if tree and topics:
        coverage["share"] = round(1 - len(missing) / len(tree), 4)
    figures = {
        "size": {
            "documents": n_documents,
            "bytes": n_bytes,
            "compression_ratio": round(n_bytes / compressed_bytes, 3),
        },
        "names": spread(names),
        "topics": spread(topics),
        "coverage": coverage,
        "functions": equal,
    }
    return figures, constructs


def spread(counts: Counter[Any]) -> dict[str, Any]:
    """How values are distributed; {} where nothing was counted, since 0 would be a bad figure."""
    if not counts:
        return {}
    total = counts.total()
    shares = [n / total for n in counts.values()]
    ranked = sorted(counts.values(), reverse=True)
    ranks = np.unique(np.geomspace(1, len(ranked), 200).round().astype(int))
    return {
        "counted": total,
        "distinct": len(counts),
        "entropy_bits": round(sum(share * -math.log2(share) for share in shares), 3),
        "most_common": [[value, n] for value, n in counts.most_common(_N_SHOWN)],
        # (rank, count), thinned out: for the plot.
        "ranked": [[int(rank), ranked[rank - 1]] for rank in ranks],
    }


def _read(
    counter: ConstructCounter, chunk: list[Document]
) -> tuple[list[tuple[str, bytes]], Constructs]:
    """Of each document its function's name and the hash of its trees; "" and b"" without them.

    Only an exercise has a name.
    """
    found = []
    for document in chunk:
        trees = b"".join(
            as_written.tobytes() for as_written, _ in fingerprint_document(document).functions
        )
        about = document.metadata
        named = "prompt_chars" in about or "entry_point" in about
        hashed = hashlib.blake2b(trees, digest_size=16).digest() if trees else b""
        found.append((entry_point(document) if named else "", hashed))
    return found, Constructs.total(map(counter.of_document, chunk))


def write_report(
    output: Path,
    corpora: Mapping[str, Mapping[str, Any]],
    constructs: Mapping[str, Mapping[str, float]],
) -> None:
    """Writes `diversity.md` and its figure, `diversity.png`.

    Args:
      corpora: name -> what `measure` returns; side by side.
      constructs: name of a corpus or benchmark -> row -> its figure.
    """
    plot(corpora).savefig(output / "diversity.png")
    rows = [
        [heading, *(_cell(figures[section].get(key)) for figures in corpora.values())]
        for heading, section, key in _ROWS
    ]
    lines = [
        f"# Diversity of {', '.join(corpora)}",
        "",
        table(["", *corpora], rows),
        "",
        "![names, topics and equal functions by frequency](diversity.png)",
        "",
        construct_table(constructs),
    ]
    for name, figures in corpora.items():
        lines += ["", f"## What repeats: {name}", ""]
        for key, what in (
            ("names", "names"),
            ("topics", "topics"),
            ("functions", "equal functions, by the id of the first"),
        ):
            common = [f"`{v}` ({n:,})" for v, n in figures[key].get("most_common", ()) if n > 1]
            lines.append(f"- {what}: {', '.join(common) or 'none'}")
    (output / "diversity.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def construct_table(constructs: Mapping[str, Mapping[str, float]]) -> str:
    """A Markdown table of `Constructs.shares`, a column for each name."""
    headings = dict.fromkeys(row for figures in constructs.values() for row in figures)
    rows = [[row, *(_cell(each.get(row)) for each in constructs.values())] for row in headings]
    return table(["% of functions", *constructs], rows)


def _cell(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def plot(corpora: Mapping[str, Mapping[str, Any]]) -> Any:
    """A matplotlib Figure: how often each name, topic and function occurs, a line a corpus."""
    from matplotlib.figure import Figure

    figure = Figure((12, 4.2), dpi=130, layout="constrained")
    panes = figure.subplots(1, 3)
    for axis, what in zip(panes, ("names", "topics", "functions"), strict=True):
        for i, (name, figures) in enumerate(corpora.items()):
            if ranked := figures[what].get("ranked"):
                axis.loglog(*zip(*ranked, strict=True), ".-", color=f"C{i}", label=name)
                axis.legend(frameon=False, fontsize=8)
        axis.set(xlabel="rank", ylabel="documents", title=f"{what.capitalize()} by frequency")
        axis.spines[["top", "right"]].set_visible(False)
    return figure
