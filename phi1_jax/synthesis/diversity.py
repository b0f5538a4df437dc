"""How diverse a synthetic corpus is, how much of it repeats itself, and which constructs it uses.

Beyond the paper: phi-1 section 6 says that no good measure of a synthetic set's diversity and
redundancy exists. No figure here is one; together they show what a teacher does over and over, and
what the solutions of a benchmark need that it never writes.
"""

import ast
import hashlib
import math
import re
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zstandard

from phi1_jax.corpus.documents import Document, chunks
from phi1_jax.corpus.fingerprints import code_blocks, fingerprint_document
from phi1_jax.corpus.parallel import ordered_map
from phi1_jax.corpus.similarity import gram_counts
from phi1_jax.corpus.syntax import last_function
from phi1_jax.llm_client.replies import fenced
from phi1_jax.synthesis.exercises import Exercise, entry_point, parse_program

# Distinct n-grams fall with length, so they are counted in the same number of words everywhere.
N_WORDS = 200_000
MAX_N = 4
_CHUNK_DOCUMENTS = 500
_N_SHOWN = 20
_N_AREAS = 20
_EXCERPT_CHARS = 1500

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
                    helpers = any(isinstance(n, _FUNCTIONS) for s in node.body for n in ast.walk(s))
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
        nodes = [node for statement in body for node in ast.walk(statement)]
        arguments = function.args
        named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        n_arguments = len(named) + bool(arguments.vararg) + bool(arguments.kwarg)
        call = re.escape(function.name) + r"\("
        # Where the task ends and its examples begin.
        words = re.split(rf"(?im)>>>|^\s*(?:for )?examples?\b|^\s*assert |^\s*{call}", task)[0]
        has = {
            "two or more arguments": n_arguments >= 2,
            **_branches(nodes),
            "early-return guard": any(
                isinstance(n, ast.If) and any(isinstance(s, ast.Return) for s in n.body)
                for n in body
            ),
            "if at the top": any(isinstance(n, ast.If) for n in body),
            "recursion": any(
                isinstance(n, ast.Call)
                and isinstance(n.func, ast.Name)
                and n.func.id == function.name
                for n in nodes
            ),
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
    in_loops = [
        node
        for loop in nodes
        if isinstance(loop, _LOOPS)
        for statement in loop.body
        for node in ast.walk(statement)
    ]
    return {
        "for": any(isinstance(n, ast.For | ast.AsyncFor) for n in nodes),
        "if inside a loop": any(isinstance(n, ast.If) for n in in_loops),
        "return inside a loop": any(isinstance(n, ast.Return) for n in in_loops),
        "nested loops": any(isinstance(n, _LOOPS) for n in in_loops),
        "while": any(isinstance(n, ast.While) for n in nodes),
        "elif": any(
            isinstance(n, ast.If) and len(n.orelse) == 1 and isinstance(n.orelse[0], ast.If)
            for n in nodes
        ),
    }


def construct_shares(
    functions: Iterable[Exercise], counter: ConstructCounter = ConstructCounter()
) -> dict[str, float]:
    """Which constructs functions use, in % of them; see `Constructs.shares`."""
    total = Constructs()
    for function in functions:
        total.add(counter.of_exercise(function))
    return total.shares()


def _example_form(task: str, call: str) -> str:
    if ">>>" in task:
        return ">>>"
    if re.search(rf"{call}.*\)\s*==", task):
        return "f(x) == y"
    if re.search(rf"{call}.*\)\s*(?:➞|→|[-=]+>)", task):
        return "arrow"
    return "prose" if re.search(call, task) or _PROSE_EXAMPLE.search(task) else "none"


def _paths(body: Sequence[ast.AST], above: str = "") -> Iterator[str]:
    """Each statement as the statements around it and its own kind; docstrings are none."""
    for statement in body:
        value = getattr(statement, "value", None)
        if isinstance(statement, ast.Expr) and isinstance(value, ast.Constant):
            continue
        path = above + type(statement).__name__
        yield path
        for name, inner in ast.iter_fields(statement):
            # Handlers and cases hold statements of their own.
            if isinstance(inner, list) and name in ("body", "orelse", "finalbody"):
                blocks = [inner]
            elif name in ("handlers", "cases"):
                blocks = [part.body for part in inner]
            else:
                continue
            for block in blocks if above.count(".") < _MAX_DEPTH else ():
                yield from _paths(block, f"{path}." if name == "body" else f"{path}.{name}.")


@dataclass
class _Tally:
    """What is kept of a corpus while it is read."""

    names: Counter[str] = field(default_factory=Counter)
    leaves: Counter[str] = field(default_factory=Counter)
    audiences: Counter[str] = field(default_factory=Counter)
    trees: dict[bytes, list[int]] = field(default_factory=lambda: defaultdict(list))
    words: array = field(default_factory=lambda: array("I"))
    n_documents: int = 0
    n_bytes: int = 0
    apart_bytes: int = 0
    constructs: Constructs = field(default_factory=Constructs)


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
      `names`, `verbs` (their first words), `topics`, `audiences`: see `spread`; `coverage` of the
      tree; `compression`; `distinct_n`: distinct runs of n words among the first N_WORDS; `code`:
      functions that are equal up to local names.
    """
    tally = _Tally()
    whole = zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters.from_level(
            6, window_log=27, enable_ldm=True
        )
    ).compressobj()
    apart = zstandard.ZstdCompressor(level=6, write_content_size=False)
    together_bytes = 0
    shown: dict[int, str] = {}
    items = chunks(documents, _CHUNK_DOCUMENTS)
    for chunk, (read, constructs) in ordered_map(_read, counter, items, workers):
        tally.constructs.add(constructs)
        for document, (name, words, tokens) in zip(chunk, read, strict=True):
            _count(tally, document, name, words, tokens)
            data = document.text.encode("utf-8", "backslashreplace")
            tally.n_bytes += len(data)
            tally.apart_bytes += len(apart.compress(data))
            together_bytes += len(whole.compress(data))
            if tokens and len(tally.trees[_digest(tokens)]) == 2:
                shown[tally.trees[_digest(tokens)][0]] = document.text
    together_bytes += len(whole.flush())
    verbs: Counter[str] = Counter()
    for name, n in tally.names.items():
        verbs[name.strip("_").split("_")[0]] += n
    figures = {
        "documents": tally.n_documents,
        "bytes": tally.n_bytes,
        "names": spread(tally.names),
        "verbs": spread(verbs),
        "topics": spread(tally.leaves),
        "audiences": spread(tally.audiences),
        "coverage": _coverage(tally.leaves, tree),
        "compression": {
            "together_bytes": together_bytes,
            "apart_bytes": tally.apart_bytes,
            "text_to_together": round(tally.n_bytes / max(together_bytes, 1), 3),
            "apart_to_together": round(tally.apart_bytes / max(together_bytes, 1), 3),
        },
        "distinct_n": distinct_n(tally.words),
        "code": _clusters(tally.trees, shown),
    }
    return figures, tally.constructs


def spread(counts: Counter[str]) -> dict[str, Any]:
    """Entropy in bits, and 2 to that power: as many equally frequent values would have it."""
    total = counts.total()
    shares = [n / total for n in counts.values()]
    entropy = -sum(share * math.log2(share) for share in shares)
    return {
        "counted": total,
        "distinct": len(counts),
        "entropy_bits": round(entropy, 3),
        "effective": round(2**entropy, 1) if counts else 0.0,
        "largest_share": round(max(shares, default=0.0), 4),
        "most_common": [[name, n] for name, n in counts.most_common(_N_SHOWN)],
        # By rank, thinned out: for the plot.
        "ranked": _thinned(sorted(counts.values(), reverse=True)),
    }


def distinct_n(words: array) -> dict[str, float]:
    """For n from 1 to MAX_N: distinct runs of n words / all of them, in the first N_WORDS."""
    hashes = np.frombuffer(words, np.uint32)[:N_WORDS]
    return {
        str(n): round(int(gram_counts([hashes], n)[0]) / (len(hashes) - n + 1), 4)
        for n in range(1, min(MAX_N, len(hashes)) + 1)
    }


def _read(
    counter: ConstructCounter, chunk: list[Document]
) -> tuple[list[tuple[str, array, array]], Constructs]:
    """Of each document its function's name, the hashed words of its prose, and its trees in a row.

    Only an exercise has a name.
    """
    found = []
    constructs = Constructs()
    for document in chunk:
        fingerprint = fingerprint_document(document)
        tokens: array = array("I")
        for as_written, _ in fingerprint.functions:
            tokens += as_written
        about = document.metadata
        named = "prompt_chars" in about or "entry_point" in about
        name = entry_point(document) if named else ""
        found.append((name, fingerprint.words, tokens))
        constructs.add(counter.of_document(document))
    return found, constructs


def _count(tally: _Tally, document: Document, name: str, words: array, tokens: array) -> None:
    metadata = document.metadata
    if name:
        tally.names[name] += 1
    if audience := metadata.get("audience"):
        tally.audiences[audience] += 1
    if topic := metadata.get("topic"):
        tally.leaves[topic if " > " in topic else f"other > {topic}"] += 1
    if len(tally.words) < N_WORDS:
        tally.words += words
    if tokens:
        tally.trees[_digest(tokens)].append(tally.n_documents)
    tally.n_documents += 1


def _digest(tokens: array) -> bytes:
    return hashlib.blake2b(tokens.tobytes(), digest_size=16).digest()


def _coverage(leaves: Counter[str], tree: Collection[str]) -> dict[str, Any]:
    areas: dict[str, dict[str, int]] = defaultdict(lambda: {"covered": 0, "of": 0, "documents": 0})
    for leaf in tree:
        area = areas[leaf.split(" > ")[0]]
        area["of"] += 1
        area["covered"] += leaf in leaves
    for leaf, n in leaves.items():
        areas[leaf.split(" > ")[0]]["documents"] += n
    missing = [leaf for leaf in tree if leaf not in leaves]
    return {
        "covered": len(tree) - len(missing),
        "of": len(tree),
        "areas": dict(areas),
        "missing": missing[:100],
    }


def _clusters(trees: Mapping[bytes, list[int]], shown: Mapping[int, str]) -> dict[str, Any]:
    sizes = sorted(map(len, trees.values()), reverse=True)
    n_documents = sum(sizes)
    largest = sorted((c for c in trees.values() if len(c) > 1), key=len, reverse=True)
    return {
        "with_functions": n_documents,
        "distinct": len(sizes),
        "clusters": len(largest),
        "in_clusters": sum(map(len, largest)),
        "duplicate_share": round(1 - len(sizes) / n_documents, 4) if sizes else 0.0,
        # Good and Turing: how likely the next document's functions are to be new.
        "chance_of_new": round(sizes.count(1) / n_documents, 4) if sizes else 0.0,
        "ranked": _thinned(sizes),
        "largest": [
            {"size": len(c), "documents": c[:5], "text": shown[c[0]]} for c in largest[:_N_SHOWN]
        ],
    }


def _thinned(ranked: list[int], n: int = 200) -> list[list[int]]:
    """(rank, value) pairs at about n ranks, dense at the front."""
    if not ranked:
        return []
    ranks = np.unique(np.geomspace(1, len(ranked), n).round().astype(int))
    return [[int(rank), ranked[rank - 1]] for rank in ranks]


_COLORS = ("#1f5fae", "#d1603d", "#3d8b5f", "#8a5aa8", "#8c6d1f")
# (heading, path into the figures, how to read it)
_ROWS = (
    ("documents", "documents", ""),
    ("bytes", "bytes", ""),
    ("function names, distinct", "names.distinct", ""),
    ("function names, effective", "names.effective",
     "2 to the entropy: as many equally frequent names"),
    ("function names, entropy (bits)", "names.entropy_bits", ""),
    ("first words of names, effective", "verbs.effective", ""),
    ("topics, effective", "topics.effective", ""),
    ("topics, entropy (bits)", "topics.entropy_bits", ""),
    ("leaves of the topic tree covered", "coverage.covered", ""),
    ("leaves of the topic tree", "coverage.of", ""),
    ("audiences, effective", "audiences.effective", ""),
    ("compressed apart / together", "compression.apart_to_together",
     "zstd; how much documents repeat each other; 1: nothing in common"),
    ("text / compressed together", "compression.text_to_together", ""),
    ("distinct words", "distinct_n.1", "share of the first 200,000 words of prose"),
    ("distinct runs of 2 words", "distinct_n.2", ""),
    ("distinct runs of 3 words", "distinct_n.3", ""),
    ("distinct runs of 4 words", "distinct_n.4", ""),
    ("documents with functions", "code.with_functions", ""),
    ("distinct functions", "code.distinct", "equal up to the names of local things"),
    ("share that repeats an earlier one", "code.duplicate_share", ""),
    ("clusters of equal ones", "code.clusters", ""),
    ("chance that the next is new", "code.chance_of_new", "Good-Turing estimate"),
)  # fmt: skip


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
    names = {
        name: [_figure(figures, path) for _, path, _ in _ROWS] for name, figures in corpora.items()
    }
    lines = [
        f"# Diversity of {', '.join(corpora)}",
        "",
        *_table([f"{row}{f' ({note})' if note else ''}" for row, _, note in _ROWS], names),
        "",
        "![topics, names and equal functions by frequency](diversity.png)",
        "",
        *construct_table(constructs),
    ]
    for name, figures in corpora.items():
        coverage = figures["coverage"]
        if coverage["areas"]:
            lines += ["", f"## Topics: {name}", ""]
            lines += [f"{coverage['covered']:,} of {coverage['of']:,} leaves of the tree.", ""]
            areas = sorted(coverage["areas"].items(), key=lambda item: -item[1]["documents"])
            columns = {
                "leaves covered": [_share(area) for _, area in areas[:_N_AREAS]],
                "mentions": [f"{area['documents']:,}" for _, area in areas[:_N_AREAS]],
            }
            lines += _table([area for area, _ in areas[:_N_AREAS]], columns, "area")
            if len(areas) > _N_AREAS:
                lines += ["", f"{len(areas) - _N_AREAS} more areas stand in report.json."]
        common = figures["names"]["most_common"]
        lines += ["", f"## Most common names: {name}", ""]
        lines += [", ".join(f"`{word}` ({n:,})" for word, n in common) or "none"]
        lines += ["", f"## Largest clusters of equal functions: {name}"]
        for cluster in figures["code"]["largest"][:5] or [{}]:
            lines += ["", *(_excerpt(cluster) if cluster else ["none"])]
    (output / "diversity.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def construct_table(constructs: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The lines of a Markdown table of `Constructs.shares`, a column for each name."""
    rows = list(dict.fromkeys(row for figures in constructs.values() for row in figures))
    cells = {
        name: [f"{figures[row]:,.4g}" if row in figures else "-" for row in rows]
        for name, figures in constructs.items()
    }
    return _table(rows, cells, "% of functions")


def _table(
    rows: Sequence[str], columns: Mapping[str, Sequence[str]], corner: str = ""
) -> list[str]:
    """A Markdown table, padded so that it also reads well in a terminal."""
    table = [[corner, *rows]] + [[name, *cells] for name, cells in columns.items()]
    table = [[cell.replace("|", "\\|") for cell in column] for column in table]
    widths = [max(map(len, column)) for column in table]
    lines = [
        [
            c.ljust(w) if not i else c.rjust(w)
            for i, (c, w) in enumerate(zip(line, widths, strict=True))
        ]
        for line in zip(*table, strict=True)
    ]
    lines.insert(1, ["-" * w if not i else "-" * (w - 1) + ":" for i, w in enumerate(widths)])
    return [f"| {' | '.join(line)} |" for line in lines]


def _excerpt(cluster: Mapping[str, Any]) -> list[str]:
    text = cluster["text"][:_EXCERPT_CHARS]
    more = "\n..." if len(text) < len(cluster["text"]) else ""
    block = fenced(text + more).rstrip("\n")
    return [f"{cluster['size']:,} documents, one of them:", "", block]


def _figure(figures: Mapping[str, Any], path: str) -> str:
    section, _, key = path.partition(".")
    value = figures[section]
    if key:
        # Where nothing was counted, 0 would be read as a bad figure.
        value = None if value.get("counted") == 0 else value.get(key)
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.4g}" if value < 100 else f"{value:,.0f}"


def _share(area: Mapping[str, int]) -> str:
    return f"{area['covered']:,} of {area['of']:,}" if area["of"] else "not in the tree"


def plot(corpora: Mapping[str, Mapping[str, Any]]) -> Any:
    """A matplotlib Figure of two plots, a line a corpus."""
    from matplotlib.figure import Figure

    figure = Figure((10, 4.2), dpi=130, layout="constrained")
    axes = names, clusters = figure.subplots(1, 2)
    for i, (name, figures) in enumerate(corpora.items()):
        line = {"color": _COLORS[i % len(_COLORS)], "label": name}
        for pane, what in ((names, "topics"), (clusters, "code")):
            if ranked := figures[what]["ranked"]:
                pane.loglog(*zip(*ranked, strict=True), **line)
        if ranked := figures["names"]["ranked"]:
            names.loglog(*zip(*ranked, strict=True), **{**line, "label": f"{name}: names"}, ls=":")
    names.set(xlabel="rank", ylabel="documents", title="Topics and names by frequency")
    clusters.set(xlabel="rank", ylabel="documents", title="Equal functions by cluster")
    for pane in axes:
        pane.spines[["top", "right"]].set_visible(False)
        if pane.get_legend_handles_labels()[0]:
            pane.legend(frameon=False, fontsize=8)
    return figure
