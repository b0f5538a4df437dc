"""Packages import each other one way only, and the core imports nothing heavy."""

import ast

import pytest
from conftest import REPOSITORY

PACKAGE = REPOSITORY / "phi1_jax"
# Package -> the packages that it may import. What lies in none, such as config.py, imports none.
IMPORT_RULES: dict[str, set[str]] = {
    "corpus": set(),
    "model": set(),
    "sandbox": set(),
    "llm_client": set(),
    "unconventional": {"corpus"},
    "cli": {"llm_client", "corpus"},
    "tokens": {"corpus"},
    "run": {"model"},
    "quality": {"corpus", "llm_client", "tokens", "model", "interop"},
    "curation": {"quality", "corpus"},
    "synthesis": {"corpus", "llm_client", "sandbox"},
    "decontamination": {"corpus"},
    "train": {"tokens", "model", "run", "interop"},
    "generate": {"tokens", "model", "interop"},
    "interop": {"tokens", "model", "run"},
    "plan": {"train", "model"},
    # The HTTP door to generation: it adds requests and replies, no model code.
    "serve": {"generate", "tokens"},
    "ablation": {"cli", "corpus", "synthesis", "evaluate", "run", "sandbox"},
    "evaluate": {
        *("generate", "tokens", "interop", "run"),
        *("corpus", "sandbox", "unconventional", "llm_client"),
    },
}
HEAVY = {"torch", "transformers", "tensorflow"}


def imports(path) -> set[str]:
    """Full names of all modules that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module or ""} | {f"{node.module}.{a.name}" for a in node.names}
    return found


def packages(path) -> set[str]:
    names = (name.split(".") for name in imports(path) if name.startswith("phi1_jax."))
    return {parts[1] for parts in names if (PACKAGE / parts[1]).is_dir()}


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path):
    parts = path.relative_to(PACKAGE).parts
    package = parts[0] if len(parts) > 1 else None
    allowed = IMPORT_RULES[package] | {package} if package else set()
    if parts == ("__init__.py",):  # the Python API names things of all packages
        allowed = set(IMPORT_RULES)
    assert packages(path) <= allowed, f"{path} imports {packages(path) - allowed}"
    heavy = {name for name in imports(path) if name.split(".")[0] in HEAVY}
    assert not heavy, f"{path} imports {heavy}"
    outside = {name.split(".")[0] for name in imports(path)} & {"launch", "benchmarks", "configs"}
    assert not outside, f"{path} imports {outside}, which are not of the package"


def test_every_package_has_import_rules():
    folders = {
        path.parent.relative_to(PACKAGE).parts[0] for path in FILES if path.parent != PACKAGE
    }
    assert folders == set(IMPORT_RULES)


def test_the_import_rules_have_no_circle():
    left = dict(IMPORT_RULES)
    while left:
        free = [package for package, rules in left.items() if not rules & left.keys()]
        assert free, f"{sorted(left)} import each other in a circle"
        for package in free:
            del left[package]


@pytest.mark.slow
def test_modules_import_each_other_in_no_circle():
    names = {
        ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__"): path
        for path in FILES
    }
    left = {}
    for name, path in names.items():
        # A module's own package is no step of a circle: its __init__ only gathers names.
        left[name] = {n for n in imports(path) & names.keys() if not f"{name}.".startswith(f"{n}.")}
    while left:
        free = [name for name, found in left.items() if not found & left.keys()]
        assert free, f"modules import each other in a circle, among {sorted(left)}"
        for name in free:
            del left[name]


def test_configs_import_only_ml_collections():
    for path in (REPOSITORY / "configs").glob("*.py"):
        top = {name.split(".")[0] for name in imports(path)}
        assert top <= {"ml_collections", "configs"}, path
