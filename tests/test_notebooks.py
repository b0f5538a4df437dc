"""Notebooks: paired with their scripts, ready for Colab, and they run."""

import os
import runpy
import subprocess
import sys

import jax
import jupytext
import pytest
from conftest import REPOSITORY

SCRIPTS = sorted((REPOSITORY / "notebooks").glob("[a-z]*.py"))
address = runpy.run_path(str(REPOSITORY / "notebooks" / "_address.py"))
# Notebooks of ablations: they keep what the real run showed. Of their smoke scale, which takes a
# dozen processes, one runs here; tests/ablation runs the cells of all.
ABLATIONS = {path.stem for path in (REPOSITORY / "configs" / "ablations").glob("*.py")}
RUN = [path for path in SCRIPTS if path.stem == "error_rate" or path.stem not in ABLATIONS]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_notebook_and_script_say_the_same(script):
    """After a change: jupytext --to ipynb notebooks/NAME.py"""
    notebook = jupytext.read(script.with_suffix(".ipynb"))
    paired = jupytext.read(script)
    cells = [[(cell.cell_type, cell.source) for cell in book.cells] for book in (notebook, paired)]
    assert cells[0] == cells[1]
    assert any(cell.get("outputs") for cell in notebook.cells), "a real run's outputs are missing"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_ready_for_colab(script):
    notebook = jupytext.read(script.with_suffix(".ipynb"))
    assert notebook.metadata["colab"]["name"] == f"{script.stem}.ipynb"
    text = script.read_text()
    assert "# @param" in text
    # The JAX that is there stays: it goes into pip's constraints, and nothing else installs it.
    assert "jax=={version('jax')}" in text and '"--constraint"' in text
    assert text.count('"install"') == 1
    forms = [cell for cell in notebook.cells if "# @title" in cell.source]
    assert forms and all(cell.metadata["cellView"] == "form" for cell in forms)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_one_constant_holds_the_repository_s_address(script):
    text, with_address = script.read_text(), address["with_address"]
    assert text == with_address(text, script.stem), "run python notebooks/_address.py"
    filled = with_address(text, script.stem, "https://github.com/me/phi1_jax")
    page = f"https://colab.research.google.com/github/me/phi1_jax/blob/main/notebooks/{script.stem}"
    assert f'<a href="{page}.ipynb">' in filled
    assert 'REPOSITORY = "https://github.com/me/phi1_jax"  # @param' in filled
    assert with_address(filled, script.stem, "") == with_address(text, script.stem, "")
    assert "OWNER" not in filled


@pytest.mark.slow(30)
@pytest.mark.parametrize("script", RUN, ids=lambda path: path.stem)
def test_runs_at_its_smallest(script, tmp_path):
    environment = {
        **os.environ,
        "PHI1_JAX_SCALE": "smoke",
        "PHI1_JAX_OUTPUT": str(tmp_path),
        "PYTHONPATH": str(REPOSITORY),
        # The suite's own cache; see conftest.
        "JAX_COMPILATION_CACHE_DIR": str(jax.config.jax_compilation_cache_dir),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
    }
    notebook = script.with_suffix(".ipynb")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--nbmake", "--nbmake-timeout=600", "-q", "-p",
         "no:cacheprovider", "--rootdir", str(notebook.parent), "-c", os.devnull, str(notebook)],
        env=environment, capture_output=True, text=True, cwd=tmp_path, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert "1 passed" in done.stdout
    assert list(tmp_path.rglob("ablation.json" if script.stem in ABLATIONS else "summary.json"))
