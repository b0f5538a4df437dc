"""The commands of docs/own_data.md, as they stand there, from folders to an exported model."""

import json
import os
import re
import subprocess
import sys

import jax
import pytest
from conftest import REPOSITORY
from flax import nnx

from phi1_jax.config import ModelConfig
from phi1_jax.model.phi import Phi

PAGE = (REPOSITORY / "docs/own_data.md").read_text(encoding="utf-8")


@pytest.mark.slow(70)
def test_the_commands_lead_from_folders_to_an_exported_model(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").symlink_to(sys.executable)
    for name in ("launch", "phi1_jax", "configs", "docs"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    commands = "\n".join(re.findall(r"^```bash\n(.*?)^```$", PAGE, re.M | re.S))
    assert commands.count("python launch/") == 10
    environment = {
        **os.environ,
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
    }
    # A link to the interpreter is not its environment: name that one's packages.
    environment["PYTHONPATH"] += os.pathsep + os.pathsep.join(p for p in sys.path if "site-" in p)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1500,  # a minute on two quiet cores
    )
    assert done.returncode == 0, done.stderr[-3000:]
    own = tmp_path / "runs/own"
    exercises = json.loads((own / "shards/exercises/report.json").read_text())
    assert exercises["in"]["documents"] == 200
    assert (own / "shards/exercises/loss-00000.npy").exists()
    sources = json.loads((own / "curate/report.json").read_text())["sources"]
    assert sources["mine"]["filtered"] > 3 and sources["notes"]["filtered"] > 3
    assert json.loads((own / "base/result.json").read_text())["steps"] == 30
    points = (own / "finetuned/evaluate").glob("*/*")
    assert sorted(point.name for point in points) == ["10", "20"]
    for name in ("base", "finetuned"):
        assert json.loads((own / "eval" / name / "summary.json").read_text())["pass_at_k"]
    assert "def add_7(x):" in done.stdout
    assert (own / "exported/model.safetensors").exists()


@pytest.mark.slow
def test_the_table_of_sizes_is_right():
    rows = re.findall(r"^\| (\d+) \| (\d+) \| (\d+) \| ([\d.]+)M \| ([\d.]+)M \|$", PAGE, re.M)
    assert len(rows) == 6
    for layers, width, heads, *counts in rows:
        for pieces, count in zip((2048, 8192), counts, strict=True):
            config = ModelConfig(
                vocab_size=pieces,
                n_layers=int(layers),
                d_model=int(width),
                d_mlp=4 * int(width),
                n_heads=int(heads),
                rotary_dim=16,
            )
            model = nnx.eval_shape(lambda config=config: Phi(config, nnx.Rngs(0)))
            n = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
            assert abs(n / 1e6 - float(count)) < 0.06, (layers, width, pieces, n)
