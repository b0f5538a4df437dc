"""The Python API: one import, nothing loaded before it is used, and the page's code runs."""

import re
import subprocess
import sys
from dataclasses import replace

import jax
import pytest
from conftest import REPOSITORY

import phi1_jax
from phi1_jax.config import ModelConfig
from phi1_jax.corpus.problems import Problem, write_problems
from phi1_jax.model.phi import Phi
from phi1_jax.run.checkpoint import write_model
from phi1_jax.tokens.sentencepiece_bpe import train_tokenizer

PAGE = REPOSITORY / "docs" / "python_api.md"


def test_an_import_loads_neither_jax_nor_anything_heavy():
    heavy = "{'jax', 'flax', 'numpy', 'absl', 'orbax'}"
    code = f"import sys, phi1_jax; dir(phi1_jax); print({heavy} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr


def test_every_name_is_there_and_a_wrong_one_is_an_attribute_error():
    for name in phi1_jax.__all__:
        assert getattr(phi1_jax, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        phi1_jax.nothing  # noqa: B018


@pytest.mark.slow(50)
def test_the_pages_code_runs(tmp_path, monkeypatch, tiny_model):
    """In the page's order, in one namespace, on a checkpoint with random weights."""
    from flax import nnx

    tokenizer = train_tokenizer(["def double(n):\n    return 2 * n\n"] * 50, 290)
    model: ModelConfig = replace(tiny_model, vocab_size=320)
    params = nnx.to_pure_dict(nnx.state(Phi(model, nnx.Rngs(0)), nnx.Param))
    tokenizer.save(tmp_path / "tokenizer")
    for name in ("code_exercises", "code_textbook"):
        write_model(tmp_path / "runs/quickstart" / name, model, params, tmp_path / "tokenizer")
    solution = "    return n + 1\n"
    problem = Problem(
        *("own/0", 'def up(n):\n    """One more."""\n', "up", solution),
        "def check(candidate):\n    assert candidate(1) == 2\n    assert candidate(5) == 6\n",
    )
    folder = tmp_path / "runs/quickstart/synthesize"
    folder.mkdir()
    write_problems(folder / "benchmark.jsonl", [problem])
    (tmp_path / "configs").symlink_to(REPOSITORY / "configs")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S):
        exec(compile(code, str(PAGE), "exec"), names)
    assert names["result"]["finished"] and names["vectors"].shape == (2, model.d_model)
    assert names["logprobs"].shape == (len(names["ids"]) - 1,) and (names["logprobs"] < 0).all()
    assert 0 <= names["summary"]["pass_at_k"]["1"]["value"] <= 1
    assert jax.numpy.isfinite(names["results"][0].bits)
