"""The diversity report as one HTML file: figures, plots, and what repeats most."""

import base64
import html
import io
from collections.abc import Mapping
from typing import Any

from phi1_jax.errors import UserError

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
    ("topics, effective", "topics.effective", "steps of the composition where one is stated"),
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
    ("near variants of a document, mean", "near_variants.mean",
     "others with a match rate of syntax trees of 0.9 or more"),
    ("near variants, median", "near_variants.median", ""),
    ("near variants, 90th percentile", "near_variants.p90", ""),
    ("share with any near variant", "near_variants.share_with_any", ""),
)  # fmt: skip
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2430; max-width: 1000px; margin: 2.5em auto;
       padding: 0 1.5em; }
h1 { font-size: 1.6em; } h2 { font-size: 1.15em; margin-top: 2em; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .28em .8em .28em 0; border-bottom: 1px solid #e3e6eb;
         vertical-align: top; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
.note { color: #6b7482; font-size: .9em; }
img { width: 100%; margin: .5em 0; }
pre { background: #f5f6f8; padding: .8em 1em; overflow-x: auto; font-size: 13px; line-height: 1.4; }
"""


def write_page(corpora: Mapping[str, Mapping[str, Any]]) -> str:
    """A page without links to anything outside it.

    Args:
      corpora: name -> what `diversity.measure` returns; side by side on the page.
    """
    heads = "".join(f'<th class="n">{html.escape(name)}</th>' for name in corpora)
    rows = []
    for heading, path, note in _ROWS:
        cells = "".join(f'<td class="n">{_figure(c, path)}</td>' for c in corpora.values())
        rows.append(f'<tr><td>{heading} <span class="note">{note}</span></td>{cells}</tr>')
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>Diversity</title>",
        f"<style>{_STYLE}</style>",
        f"<h1>Diversity of {html.escape(', '.join(corpora))}</h1>",
        f"<table><tr><th></th>{heads}</tr>{''.join(rows)}</table>",
        "<h2>How it spreads</h2>",
        f'<img alt="frequencies, growth, clusters, near variants" src="{_image(corpora)}">',
    ]
    for name, figures in corpora.items():
        if figures["coverage"]["areas"]:
            parts.append(f"<h2>Topics: {html.escape(name)}</h2>{_areas(figures['coverage'])}")
    for name, figures in corpora.items():
        parts.append(f"<h2>Most common names: {html.escape(name)}</h2>")
        common = figures["names"]["most_common"]
        parts.append(f"<p>{', '.join(f'{html.escape(w)} ({n:,})' for w, n in common) or 'none'}")
        parts.append(f"<h2>Largest clusters of equal functions: {html.escape(name)}</h2>")
        for cluster in figures["code"]["largest"][:5]:
            text = cluster["text"]
            text = text if len(text) < 1500 else text[:1500] + "\n..."
            parts.append(f"<p>{cluster['size']:,} documents, one of them:")
            parts.append(f"<pre>{html.escape(text)}</pre>")
        if not figures["code"]["largest"]:
            parts.append("<p>none")
    return "\n".join(parts) + "\n"


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


def _areas(coverage: Mapping[str, Any]) -> str:
    rows = "".join(
        f'<tr><td>{html.escape(area)}</td><td class="n">{_share(c)}</td>'
        f'<td class="n">{c["documents"]:,}</td></tr>'
        for area, c in sorted(coverage["areas"].items(), key=lambda item: -item[1]["documents"])
    )
    head = '<tr><th>area</th><th class="n">leaves covered</th><th class="n">mentions</th></tr>'
    missing = html.escape("; ".join(coverage["missing"]))
    note = f'<p class="note">Not covered (at most 100 shown): {missing}' if missing else ""
    return f"<table>{head}{rows}</table>{note}"


def _share(area: Mapping[str, int]) -> str:
    return f"{area['covered']:,} of {area['of']:,}" if area["of"] else "not in the tree"


def _image(corpora: Mapping[str, Mapping[str, Any]]) -> str:
    return "data:image/png;base64," + base64.b64encode(plot(corpora)).decode()


def plot(corpora: Mapping[str, Mapping[str, Any]]) -> bytes:
    """A PNG of four plots, a line a corpus.

    Raises:
      UserError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise UserError("--output: the page needs pip install 'phi1_jax[plots]'") from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(10, 7), dpi=130, layout="constrained")
    names, growth, clusters, near = axes.flat
    for i, (name, figures) in enumerate(corpora.items()):
        line = {"color": _COLORS[i % len(_COLORS)], "label": name}
        for pane, what in ((names, "topics"), (clusters, "code")):
            if ranked := figures[what]["ranked"]:
                pane.loglog(*zip(*ranked, strict=True), **line)
        if ranked := figures["names"]["ranked"]:
            names.loglog(*zip(*ranked, strict=True), **{**line, "label": f"{name}: names"}, ls=":")
        documents, trees, _ = zip(*figures["growth"], strict=True)
        growth.plot(documents, trees, **line)
        counts = figures["near_variants"]["counts"]
        near.step([n / len(counts) for n in range(len(counts))], counts, where="post", **line)
    limit = growth.get_xlim()[1]
    growth.plot([0, limit], [0, limit], color="#b9bec7", ls="--", lw=1, label="nothing repeats")
    growth.set(xlabel="documents", ylabel="distinct functions", ylim=(0, None), xlim=(0, limit))
    names.set(xlabel="rank", ylabel="documents", title="Topics and names by frequency")
    clusters.set(xlabel="rank", ylabel="documents", title="Equal functions by cluster")
    growth.set_title("Distinct functions as the corpus grows")
    near.set(xlabel="share of documents", ylabel="near variants", title="Near variants")
    near.set_yscale("symlog", linthresh=1)
    near.set_ylim(0, None)
    for pane in axes.flat:
        pane.spines[["top", "right"]].set_visible(False)
        if pane.get_legend_handles_labels()[0]:
            pane.legend(frameon=False, fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    pyplot.close(figure)
    return buffer.getvalue()
