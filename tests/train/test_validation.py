"""Loss and bits per byte on rows that no step trained on."""

import json
from dataclasses import replace

import jax
import numpy as np
import pytest
from conftest import ByteTokenizer

from phi1_jax.config import MeshConfig
from phi1_jax.model.sharding import make_mesh
from phi1_jax.tokens.loader import Loader
from phi1_jax.train.loop import train
from phi1_jax.train.step import make_trainer
from phi1_jax.train.validation import validation_evaluator


@pytest.fixture(scope="module")
def config(run_config):
    data = replace(run_config.data, validation_rows=36)  # no multiple of a batch of 16
    return replace(run_config, data=data, eval_every_steps=6)


class ChatTokenizer(ByteTokenizer):
    """A line's end is a special token, as <|im_end|> is in tokenizers of chat models."""

    def decode(self, ids, special=False) -> str:
        return super().decode([i for i in ids if special or i != ord("\n")])


@pytest.mark.slow
def test_a_model_that_knows_nothing_costs_the_logarithm_of_the_vocabulary(config):
    trainer = make_trainer(config, make_mesh(MeshConfig()))
    loader = Loader(config.data, config.seed)
    loader.tokenizer = ChatTokenizer()
    params = jax.tree.map(np.zeros_like, jax.device_get(trainer.init().params))
    values = validation_evaluator(trainer, loader, 16)(0, params)
    for name, rows in zip(loader.names, loader.sources, strict=True):
        tokens, counts = rows.read_validation()
        n_bytes = int((tokens[:, 1:][counts] < 256).sum())  # the rest are ends of text
        assert 0 < n_bytes < counts.sum()
        assert values[f"loss/{name}"] == pytest.approx(np.log(264), rel=1e-6)
        bits = np.log2(264) * counts.sum() / n_bytes
        assert values[f"bits_per_byte/{name}"] == pytest.approx(bits, rel=1e-6)


@pytest.mark.slow
def test_the_curves_fall_while_training(config, tmp_path):
    train(config, tmp_path / "run", {"other": lambda step, params: {"x": step}})
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    points = [row for row in rows if "validation/loss/code" in row]
    assert [row["step"] for row in points] == [6, 12]
    for name in ("code", "exercises"):
        assert points[1][f"validation/loss/{name}"] < points[0][f"validation/loss/{name}"] < 5.5
    assert [row["other/x"] for row in rows if "other/x" in row] == [6, 12]
