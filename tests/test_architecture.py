"""The doors between the rooms open one way only, and the core imports nothing heavy."""

import ast

import pytest
from conftest import REPOSITORY

PACKAGE = REPOSITORY / "phi1_jax"
# room -> the rooms it may import; ground-level modules import no room.
DOORS = {
    "language_model": set(),
    "data": set(),
    "model": set(),
    "sandbox": set(),
    "train": {"data", "model"},
    "generate": {"model", "data"},
    "interop": {"model", "data"},
    "evaluate": {"generate", "data", "sandbox"},
    "embed": {"model", "data"},
    "plan": {"train", "model", "data"},
    "benchmark": {
        "train",
        "generate",
        "interop",
        "model",
        "data",
        "sandbox",
        "evaluate",
        "plan",
    },
}
# Packages that any room may import, as it may the ground-level modules.
GROUND = {"language_model"}
HEAVY = {"torch", "transformers", "tensorflow"}
# The peer that the benchmark times; imported only when it is asked for.
PEERS = {"benchmark/peer.py"}


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


def rooms(path) -> set[str]:
    names = (name.split(".") for name in imports(path) if name.startswith("phi1_jax."))
    return {parts[1] for parts in names if parts[1] in DOORS.keys() - GROUND}


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_doors_open_one_way(path):
    parts = path.relative_to(PACKAGE).parts
    room = parts[0] if len(parts) > 1 else None
    allowed = DOORS[room] | {room} if room else set()
    assert rooms(path) <= allowed, f"{path} imports {rooms(path) - allowed}"
    heavy = {name for name in imports(path) if name.split(".")[0] in HEAVY}
    assert not heavy or str(path.relative_to(PACKAGE)) in PEERS, f"{path} imports {heavy}"
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 320, f"{path} is too long"


def test_every_room_has_its_doors_declared():
    folders = {
        path.parent.relative_to(PACKAGE).parts[0] for path in FILES if path.parent != PACKAGE
    }
    assert folders <= set(DOORS)


def test_configs_import_only_ml_collections():
    for path in (REPOSITORY / "configs").glob("*.py"):
        top = {name.split(".")[0] for name in imports(path)}
        assert top <= {"ml_collections", "configs"}, path
