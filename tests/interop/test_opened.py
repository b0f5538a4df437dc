"""Models as they lie: a run, one of its steps, or a Hugging Face folder."""

import json
import re
import shutil

import jax
import numpy as np
import pytest
from test_convert_script import converted, run  # noqa: F401

from phi1_jax import Embedder, Generator, load_model, load_tokenizer
from phi1_jax.config import MeshConfig
from phi1_jax.errors import UserError
from phi1_jax.evaluate.evaluate import Checkpoint
from phi1_jax.interop.huggingface import import_run
from phi1_jax.interop.opened import OpenModel
from phi1_jax.model.sharding import make_mesh
from phi1_jax.run.checkpoint import on_all_devices
from phi1_jax.tokens.load import find_tokenizer


@pytest.fixture
def phi(converted, tmp_path):  # noqa: F811
    """A copy of the Hugging Face folder."""
    shutil.copytree(converted / "hf", tmp_path / "phi")
    (tmp_path / "phi" / "README.md").symlink_to(tmp_path / "cleared")
    return tmp_path / "phi"


def test_a_folder_is_the_model_that_is_converted_from_it(phi, converted):  # noqa: F811
    of_run, of_folder = OpenModel(converted / "run"), OpenModel(phi)
    assert of_folder.config == of_run.config
    assert of_folder.tokenizer.fingerprint == of_run.tokenizer.fingerprint
    assert of_folder.tokenizer.stop_ids == of_run.tokenizer.stop_ids
    assert (of_folder.step, of_run.step) == (0, 0)
    ours, theirs = of_run.params(), of_folder.params()
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert (one.dtype, one.sharding) == (other.dtype, other.sharding)
        assert np.array_equal(one, other)
    spread = of_folder.params(on_all_devices())
    assert all(len(leaf.sharding.device_set) == 8 for leaf in jax.tree.leaves(spread))
    first, second = (Embedder.from_checkpoint(place) for place in (phi, converted / "run"))
    assert first.fingerprint == second.fingerprint


def test_a_folder_is_spread_over_a_mesh(phi):
    mesh = make_mesh(MeshConfig(fsdp=4, tensor=2))
    alone, spread = (Generator.from_checkpoint(phi, mesh=each) for each in (None, mesh))
    assert spread.mesh == mesh
    texts = [g.generate(["def f(x):"], max_new_tokens=8)[0][0].text for g in (alone, spread)]
    assert texts[0] == texts[1]


def test_identity_is_that_of_the_weights(phi, tmp_path):
    before = OpenModel(phi).identity
    (phi / "README.md").unlink()
    (phi / "README.md").write_text("# Phi")
    assert OpenModel(phi).identity == before
    # A lost copy that is converted again is the same model: its samples stay.
    runs = [tmp_path / "first", tmp_path / "second"]
    for each in runs:
        import_run(phi, each)
    assert OpenModel(runs[0]).identity == OpenModel(runs[1]).identity
    weights = (phi / "model.safetensors").read_bytes()
    (phi / "model.safetensors").write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
    assert OpenModel(phi).identity != before


def test_a_step_is_named_once(phi, converted):  # noqa: F811
    run_dir = converted / "run"
    assert OpenModel(f"{run_dir}@0").step == OpenModel(f"{run_dir}@0", 0).step == 0
    with pytest.raises(UserError, match="run@0: step=1 is another step; name one"):
        OpenModel(f"{run_dir}@0", 1)
    with pytest.raises(UserError, match=r"run has no checkpoint 7; its steps are \[0\]"):
        load_model(f"{run_dir}@7")
    with pytest.raises(UserError, match="is a Hugging Face folder: it has no step 7"):
        load_model(phi, 7)
    checkpoint = Checkpoint(f"a={phi}")
    assert (checkpoint.name, checkpoint.path) == ("a", phi)


def test_what_lacks_a_part_is_refused(phi):
    values = json.loads((phi / "config.json").read_text())
    (phi / "config.json").write_text(json.dumps({**values, "vocab_size": 300}))
    with pytest.raises(UserError, match=r"400 pieces .* model\.vocab_size=300"):
        Generator.from_checkpoint(phi)
    (phi / "config.json").write_text(json.dumps({**values, "model_type": "llama"}))
    with pytest.raises(UserError, match="model_type='llama' is not phi-1's 'phi'"):
        Generator.from_checkpoint(phi)
    (phi / "config.json").write_text('{"n_embd": 24}')  # the older layout is tried as well
    with pytest.raises(UserError, match="has no field 'num_attention_heads'"):
        load_model(phi)
    (phi / "config.json").write_text(json.dumps(values))
    (phi / "model.safetensors").rename(phi / "other.safetensors")
    with pytest.raises(UserError, match=r"has neither model\.safetensors nor"):
        load_model(phi)
    (phi / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"has neither tokenizer\.json nor"):
        Embedder.from_checkpoint(phi)


def test_a_snapshot_of_the_hubs_cache_is_named(phi, tmp_path):
    (tmp_path / "hub/snapshots").mkdir(parents=True)
    phi.rename(tmp_path / "hub/snapshots/abc")
    with pytest.raises(UserError, match=r"it holds snapshots/abc: name .*/hub/snapshots/abc, say"):
        Generator.from_checkpoint(tmp_path / "hub")


def test_a_tokenizer_is_found_in_its_model(phi, converted):  # noqa: F811
    ours = converted / "run"
    assert find_tokenizer(ours) == ours / "tokenizer"
    for other in (phi, ours / "tokenizer"):
        assert find_tokenizer(other) == other
    found = {load_tokenizer(place).fingerprint for place in (phi, ours, ours / "tokenizer")}
    assert len(found) == 1


@pytest.mark.slow
def test_scripts_take_either_folder(converted, monkeypatch, tmp_path):  # noqa: F811
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    flags = ["--prompt=def f(x):", "--max_new_tokens=8", "--json"]
    folders = (converted / "hf", f"{converted / 'run'}@0")
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
    [compiled] = (tmp_path / "phi1_jax").iterdir()
    assert compiled.name in ("checked", "unchecked")


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
    assert (
        load_tokenizer("models/phi1_tiny").vocab_size
        == OpenModel("models/phi1_tiny").config.vocab_size
    )
