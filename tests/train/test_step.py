from dataclasses import replace

import jax
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec

from phi1_jax.config import MeshConfig, ModelConfig, OptimizerConfig
from phi1_jax.errors import UserError
from phi1_jax.model.sharding import make_mesh
from phi1_jax.train.flops import flops_per_token, matmul_params, peak_flops
from phi1_jax.train.optimizer import decays, make_optimizer, schedule
from phi1_jax.train.step import Batch, count_micro_batches, make_trainer, training_mesh


def batch(rows=16, micro=1, seed=0, t=32) -> Batch:
    rng = np.random.default_rng(seed)
    tokens = rng.integers(0, 257, (micro, rows // micro, t + 1), dtype=np.int32)
    return Batch(tokens, rng.random((micro, rows // micro, t)) < 0.7, tokens[..., 0] % 2)


def losses(config, mesh, n=4, micro=1) -> tuple[list[float], dict]:
    trainer = make_trainer(config, make_mesh(mesh))
    state = trainer.init()
    found = []
    for step in range(n):
        state, metrics = trainer.step(state, batch(micro=micro, seed=step))
        found.append(float(metrics["loss"]))
    return found, jax.device_get(state.params)


@pytest.mark.slow
def test_the_state_is_sharded_as_the_rules_say(run_config):
    trainer = make_trainer(run_config, make_mesh(MeshConfig(1, 4, 2)))
    state = trainer.init()
    kernel = state.params["blocks"]["fc1"]["kernel"]  # [layer, embed, mlp]
    assert kernel.sharding.spec == PartitionSpec(None, "fsdp", "tensor")
    assert kernel.addressable_shards[0].data.size == kernel.size // 8
    moments = [leaf for leaf in jax.tree.leaves(state.optimizer) if leaf.shape == kernel.shape]
    assert len(moments) == 2
    assert all(moment.sharding.spec == kernel.sharding.spec for moment in moments)


def test_a_mesh_that_does_not_fit_is_refused(run_config):
    with pytest.raises(UserError, match="does not use all 8 devices"):
        make_mesh(MeshConfig(data=3))
    odd = replace(run_config, model=replace(run_config.model, vocab_size=265))
    with pytest.raises(UserError, match=r"tensor=8.* does not divide a dimension of 265"):
        make_trainer(odd, make_mesh(MeshConfig(1, 1, 8)))


@pytest.mark.parametrize(
    ("rows", "micro", "sizes", "shape"),
    [
        (16, 0, MeshConfig(), (8, 1, 1)),
        (4, 0, MeshConfig(), (4, 1, 1)),
        (6, 2, MeshConfig(), (3, 1, 1)),
        (4, 0, MeshConfig(-1, 1, 2), (4, 1, 2)),
        (4, 0, MeshConfig(-1, 2, 2), (2, 2, 2)),
        (2, 0, MeshConfig(-1, 2, 2), (1, 2, 2)),
        (2, 0, MeshConfig(4, 2, 1), (4, 2, 1)),
    ],
)
def test_fewer_rows_than_devices_take_fewer_devices(run_config, rows, micro, sizes, shape):
    data = replace(run_config.data, global_batch_size=rows)
    config = replace(run_config, data=data, mesh=sizes, micro_batch_size=micro)
    mesh = training_mesh(config)
    assert tuple(mesh.shape.values()) == shape
    if rows >= shape[0] * shape[1]:
        assert count_micro_batches(config, mesh) >= 1
    else:  # it was asked for so many
        with pytest.raises(UserError, match="must be a multiple of 8"):
            count_micro_batches(config, mesh)


@pytest.mark.slow
def test_dropout_repeats_for_a_step_and_differs_between_steps(run_config):
    config = replace(run_config, model=replace(run_config.model, residual_dropout=0.3))
    assert losses(config, MeshConfig(), n=2)[0] == losses(config, MeshConfig(), n=2)[0]
    trainer = make_trainer(config, make_mesh(MeshConfig()))
    state = trainer.init()
    params = jax.device_get(state.params)
    first = float(trainer.step(state, batch())[1]["loss"])
    later = jax.device_put(
        trainer.init()._replace(step=np.int32(5), params=params), trainer.shardings
    )
    assert float(trainer.step(later, batch())[1]["loss"]) != first


@pytest.mark.slow
def test_one_compilation_serves_all_steps(run_config):
    trainer = make_trainer(run_config, make_mesh(MeshConfig()))
    state = trainer.init()
    for seed in range(3):
        state, _ = trainer.step(state, batch(seed=seed))
    assert trainer.step._cache_size() == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_both_optimizers_fit_one_batch(run_config, name):
    optimizer = OptimizerConfig(
        name=name, peak_learning_rate=1e-2, adam_learning_rate=1e-2, warmup_steps=2
    )
    trainer = make_trainer(
        replace(run_config, optimizer=optimizer, steps=40), make_mesh(MeshConfig())
    )
    state = trainer.init()
    found = []
    for _ in range(30):
        state, metrics = trainer.step(state, batch())
        found.append(float(metrics["loss"]))
    assert found[-1] < 0.8 * found[0]


def test_learning_rate_is_linear_up_and_down():
    rate = schedule(OptimizerConfig(peak_learning_rate=1.0, warmup_steps=10), 110)
    np.testing.assert_allclose([rate(0), rate(4), rate(9)], [0.1, 0.5, 1.0], rtol=1e-6)
    np.testing.assert_allclose([rate(10), rate(60), rate(110)], [1.0, 0.5, 0.0], atol=1e-6)


@pytest.mark.slow
def test_weight_decay_leaves_biases_and_norms_alone(run_config):
    trainer = make_trainer(run_config, make_mesh(MeshConfig()))
    params = jax.device_get(trainer.init().params)
    optimizer = make_optimizer(replace(run_config.optimizer, weight_decay=0.5, warmup_steps=0), 10)
    zero = jax.tree.map(np.zeros_like, params)
    updates, _ = optimizer.update(zero, optimizer.init(params), params)
    decayed = {str(path) for path, u in jax.tree.leaves_with_path(updates) if np.abs(u).any()}
    assert decayed
    assert all("kernel" in path or "table" in path for path in decayed)
    assert optax.tree.norm(updates) > 0
    assert jax.tree.leaves(decays(params)).count(True) == len(decayed)


def test_operations_per_token_are_the_published_counts():
    # MosaicML's and nanoGPT's conventions, by hand for phi-1 at 2048 tokens.
    base = ModelConfig()
    small = ModelConfig(n_layers=20, d_model=1024, d_mlp=4096, n_heads=16)
    assert matmul_params(base) == pytest.approx(1.3128e9, rel=1e-4)
    assert flops_per_token(base, 2048) == pytest.approx((9.085e9, 8.481e9), rel=1e-4)
    assert flops_per_token(small, 2048) == pytest.approx((2.328e9, 2.076e9), rel=1e-3)


@pytest.mark.parametrize(
    ("kind", "tflops"),
    [
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H100 NVL", 835),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None),
        ("NVIDIA H200", 989),
        ("NVIDIA L4", 121),
        ("NVIDIA L40S", 362),
        ("NVIDIA L40", 181),
        ("NVIDIA RTX A1000", None),
        ("NVIDIA GeForce RTX 4090", 165),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("Tesla T4", 8.1),
        ("TPU v5 lite", 197),
        ("cpu", None),
    ],
)
def test_a_devices_peak_is_its_own(kind, tflops):
    assert peak_flops(kind, "bfloat16") == (tflops and tflops * 1e12)


def test_a_devices_peak_is_that_of_the_dtype():
    kinds = ("NVIDIA A100-SXM4-80GB", "Tesla T4", "TPU v4", "cpu")
    assert [peak_flops(kind, "float32") for kind in kinds] == [156e12, 8.1e12, 275e12, None]


def test_muons_state_lies_where_its_parameters_lie(run_config):
    """Muon's moments are of the matrices and Adam's of the rest: each leaves the other's out."""
    optimizer = OptimizerConfig(name="muon", peak_learning_rate=1e-2, warmup_steps=2)
    config = replace(run_config, optimizer=optimizer, mesh=MeshConfig(1, 8, 1))
    trainer = make_trainer(config, make_mesh(config.mesh))
    state = jax.eval_shape(trainer.init)
    held = zip(
        jax.tree.leaves(state.optimizer), jax.tree.leaves(trainer.shardings.optimizer), strict=True
    )
    matrices = [(x, s) for x, s in held if x.ndim > 1 and min(x.shape[-2:]) >= 32]
    shares = {x.shape: x.size // np.prod(s.shard_shape(x.shape)) for x, s in matrices}
    assert shares and set(shares.values()) == {8}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_dtypes_are_the_same_where_jax_counts_in_64_bits(run_config, name):
    model = replace(run_config.model, attention_dropout=0.1, residual_dropout=0.1)
    optimizer = replace(run_config.optimizer, name=name)
    config = replace(run_config, model=model, optimizer=optimizer)

    def dtypes():
        trainer = make_trainer(config, make_mesh(MeshConfig()))
        state = jax.eval_shape(trainer.init)
        two = jax.eval_shape(trainer.step, state, batch(micro=2))
        return jax.tree.map(lambda x: x.dtype, (state, two))

    want = dtypes()
    with jax.enable_x64(True):
        assert dtypes() == want
