"""A Hugging Face folder where a run's folder is asked for."""

import json
import os
import re
import shutil

import jax
import numpy as np
import pytest
from test_convert_script import converted, run  # noqa: F401

from phi1_jax import load_model
from phi1_jax.cli import script
from phi1_jax.corpus.packages import fetch_package
from phi1_jax.errors import UserError
from phi1_jax.evaluate.evaluate import Checkpoint
from phi1_jax.interop.as_run import as_run, find_tokenizer


@pytest.mark.slow
def test_a_folder_is_converted_once_and_again_when_a_file_changes(converted, tmp_path):  # noqa: F811
    source = tmp_path / "phi"
    shutil.copytree(converted / "hf", source)
    (source / "README.md").symlink_to(tmp_path / "cleared")
    first = as_run(source, tmp_path / "cache")
    ours, theirs = (jax.tree.leaves(load_model(r)[1]) for r in (first, converted / "run"))
    assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
    written = (first / "config.json").stat().st_mtime_ns
    assert as_run(str(source), tmp_path / "cache") == first
    assert (first / "config.json").stat().st_mtime_ns == written
    os.utime(source / "model.safetensors", ns=(0, 0))
    assert as_run(source, tmp_path / "cache") != first
    assert len(list((tmp_path / "cache").iterdir())) == 2  # nothing half done is left
    assert as_run(first) == first


@pytest.mark.slow
def test_what_cannot_be_converted_is_an_error_and_leaves_nothing(converted, tmp_path, capfd):  # noqa: F811
    source = tmp_path / "phi"
    shutil.copytree(converted / "hf", source)
    (source / "tokenizer.json").unlink()
    with pytest.raises(UserError, match="cannot be converted"):
        as_run(source, tmp_path / "cache")
    assert "tokenizer" in capfd.readouterr().err
    assert not list((tmp_path / "cache").iterdir())
    (source / "config.json").write_text('{"n_embd": 24}')  # the older layout is tried as well
    with pytest.raises(UserError, match="cannot be converted"):
        as_run(source, tmp_path / "cache")


@pytest.mark.slow
def test_a_lost_copy_is_made_anew_as_the_same_model(converted, tmp_path):  # noqa: F811
    """Else the samples drawn so far would be set aside as those of other weights."""
    copies = [as_run(converted / "hf", tmp_path / name) for name in ("first", "second")]
    first, second = (Checkpoint(str(copy)) for copy in copies)
    assert first.path != second.path and first.identity == second.identity


def test_a_home_without_room_for_a_cache_is_named(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    for place in (lambda: as_run("models/phi1_tiny"), lambda: fetch_package("pip:demo==1.0")):
        with pytest.raises(UserError, match=r"Not a directory; .*XDG_CACHE_HOME"):
            place()


@pytest.mark.slow
def test_scripts_take_either_folder(converted, monkeypatch, tmp_path):  # noqa: F811
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    flags = ["--prompt=def f(x):", "--max_new_tokens=8", "--json"]
    folders = (converted / "hf", converted / "run")
    of_hf, of_run = (run("generate", f"--checkpoint={folder}", *flags) for folder in folders)
    assert of_hf == of_run
    problem = {
        "task_id": "t/0",
        "prompt": "def f(x):\n",
        "entry_point": "f",
        "canonical_solution": "    return x\n",
        "test": "def check(f):\n    assert f(1) == 1\n",
    }
    (tmp_path / "problems.jsonl").write_text(json.dumps(problem) + "\n")
    output = run(
        "evaluate",
        *(f"--checkpoint={name}={converted / name}" for name in ("hf", "run")),
        f"--benchmark={tmp_path / 'problems.jsonl'}",
        "--metrics=solution_bits_per_byte",
        f"--output={tmp_path / 'bits'}",
    )
    bits = re.findall(r"^(?:hf|run): ([\d.]+) bits per byte", output, re.MULTILINE)
    assert len(bits) == 2 and bits[0] == bits[1]
    caches = {path.name for path in (tmp_path / "phi1_jax").iterdir()}
    assert "models" in caches and caches & {"checked", "unchecked"}  # the compile cache, too


@pytest.mark.slow
def test_a_config_takes_weights_and_tokenizer_of_either_folder(converted, monkeypatch, tmp_path):  # noqa: F811
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made, ours = as_run(converted / "hf"), converted / "run"
    for folder, found in ((converted / "hf", made), (made, made), (ours, ours)):
        assert find_tokenizer(str(folder)) == str(found / "tokenizer")
        given = {"init_from": str(folder), "data": {"tokenizer": str(folder), "sources": []}}
        assert script._with_local_paths(given) == {
            "init_from": str(found),
            "data": {"tokenizer": str(found / "tokenizer"), "sources": []},
        }
    for other in (str(ours / "tokenizer"), "nowhere"):
        assert find_tokenizer(other) == other
    given = {"init_from": f"{ours}@2", "data": {"tokenizer": ""}}
    assert script._with_local_paths(given) == given


@pytest.mark.slow
def test_the_model_that_comes_along_is_found_anywhere_and_writes_python(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    prompt = 'def keep_small(values):\n    """Return the values below 5, in the same order."""\n'
    found = run("generate", "--checkpoint=models/phi1_tiny", f"--prompt={prompt}", "--json")
    answer = json.loads(found)["text"]
    assert "values" in answer and "return" in answer
    compile(prompt + answer, "answer", "exec")
