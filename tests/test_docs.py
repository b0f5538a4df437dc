"""What the documentation names is there: files, modules, flags, links; and the site builds."""

import importlib
import re

import pytest
from conftest import REPOSITORY

PAGES = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "benchmarks/*.md")
    for path in REPOSITORY.glob(pattern)
    if path.name != "CHANGELOG.md"  # what was is history
)
SOURCES = sorted(
    path
    for folder in (
        "phi1_jax",
        "launch",
        "configs",
        "benchmarks",
        "notebooks",
        "tests",
        "tests_hf",
        "tests_harnesses",
    )
    for path in (REPOSITORY / folder).rglob("*.py")
)
FOLDERS = "phi1_jax|launch|tests|tests_hf|tests_harnesses|configs|docs|benchmarks|notebooks"
# A path as prose and commands write it; what has a placeholder in capitals is none.
_PATH = re.compile(rf"(?<![\w./-])((?:{FOLDERS})/[\w./*-]*\w)")
_MODULE = re.compile(r"\bphi1_jax(?:\.[a-z_0-9]+)+(?:\.[A-Z]\w+)?")
_LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(#[^)\s]*)?\)")


def relative(path) -> str:
    return str(path.relative_to(REPOSITORY))


def comments_and_strings(path) -> str:
    """A source's text without its import lines, whose names the import itself checks."""
    lines = path.read_text(encoding="utf-8").split("\n")
    return "\n".join(line for line in lines if not re.match(r"\s*(from|import) ", line))


@pytest.mark.parametrize("page", [*PAGES, *SOURCES], ids=relative)
def test_paths_that_are_named_exist(page):
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".py":
        # Tests make files of their own; what they say of the repository is in their docstrings.
        text = "\n".join(re.findall(r'"""(?:.|\n)*?"""', text))
    for named in _PATH.findall(text):
        name = named.rstrip(".")
        if re.search(r"(?<![a-zA-Z])(?!README)[A-Z]{2,}(?![a-z])", name):
            continue
        assert list(REPOSITORY.glob(name)), f"{relative(page)} names {name}, which is not there"


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_links_lead_somewhere(page):
    for target, anchor in _LINK.findall(page.read_text(encoding="utf-8")):
        path = page.parent / target if target else page
        if target.startswith("reference/"):  # a page that docs/hooks.py makes of a package
            path = REPOSITORY / "phi1_jax" / path.stem
        assert path.exists(), f"{relative(page)} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.M)
            slugs = {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}
            assert anchor[1:] in slugs, f"{relative(page)}: {target} has no heading {anchor}"


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_modules_that_are_named_can_be_imported(page):
    for name in set(_MODULE.findall(page.read_text(encoding="utf-8"))):
        module, _, attribute = name.rpartition(".")
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:
            found = importlib.import_module(module)
            assert hasattr(found, attribute), f"{relative(page)} names {name}"
