"""The programs that GPUs would run, compiled on a machine without one: `make test-gpu-aot`.

Each property is asserted of the programs as they are, and must fail when its fault is planted.
"""

import importlib
from dataclasses import replace

import jax
import pytest

from phi1_jax.config import MeshConfig, RunConfig
from phi1_jax.config_dict import from_dict
from phi1_jax.model import phi
from phi1_jax.model.sharding import make_mesh
from phi1_jax.plan.machines import GPUS, gpu_devices
from phi1_jax.plan.program import Program, compile_step

GB = 1e9


def load(name: str, **changes) -> RunConfig:
    values = importlib.import_module(f"configs.{name}").get_config().to_dict()
    config = from_dict(RunConfig, values)
    model = replace(config.model, **{k: v for k, v in changes.items() if k != "run"})
    return replace(config, model=model, **changes.get("run", {}))


def compiled(config: RunConfig, gpu: str, n: int) -> Program:
    return compile_step(config, make_mesh(config.mesh, gpu_devices(GPUS[gpu], n)))


@pytest.fixture(scope="module")
def small() -> RunConfig:
    """Two layers of phi-1's kind on an FSDP mesh of eight."""
    config = load("phi1_tiny", d_model=512, d_mlp=2048, n_heads=8, rotary_dim=32, n_layers=2)
    model = replace(config.model, compute_dtype="bfloat16", attention="auto", scan_unroll=1)
    data = replace(config.data, seq_len=256, global_batch_size=64)
    # Muon works on whole matrices, and so gathers them when the step ends.
    optimizer = replace(config.optimizer, name="adamw")
    model = replace(model, max_seq_len=256)
    return replace(config, model=model, optimizer=optimizer, data=data, mesh=MeshConfig(1, 8, 1))


def assert_well_cut(program: Program) -> None:
    """FSDP as it should be: weights gathered, gradients scattered, nothing waits or is redone."""
    assert program.warnings == ()
    large = [c for c in program.collectives if c.group > 1 and c.carries != "scalars"]
    assert large and all(c.asynchronous for c in large), [c for c in large if not c.asynchronous]
    gathered = [c for c in large if c.kind == "all-gather" and c.carries == "activations"]
    assert not gathered, gathered


def assert_matmuls_are_bf16(program: Program, fp32_share: float = 0.0) -> None:
    flops = program.matmul_flops
    assert flops["bf16"] > 0
    assert flops.get("f32", 0.0) <= fp32_share * sum(flops.values()), flops


def test_phi1_base_on_eight_h100():
    """The paper's recipe, whose dropout keeps attention from cuDNN's kernel."""
    program = compiled(load("phi1_base"), "h100", 8)
    assert program.peak_bytes < 26 * GB
    assert program.attention == "xla"
    assert_well_cut(program)
    assert_matmuls_are_bf16(program, fp32_share=0.03)


def test_phi1_1xh100_uses_cudnn():
    program = compiled(load("phi1_1xh100"), "h100", 1)
    assert program.peak_bytes < 44 * GB
    assert program.attention == "cudnn"
    assert not [c for c in program.collectives if c.group > 1]
    assert_matmuls_are_bf16(program)


def test_phi1_colab_on_a_t4_in_float32():
    config = load("phi1_colab", compute_dtype="float32")
    program = compiled(config, "t4", 1)
    assert program.peak_bytes < 8 * GB
    assert program.attention == "xla" and set(program.matmul_flops) == {"f32"}


def test_a_small_model_on_eight(small):
    program = compiled(small, "h100", 8)
    assert program.attention == "cudnn"
    assert_well_cut(program)
    assert_matmuls_are_bf16(program)


def test_activations_without_constraints_are_noticed(small, monkeypatch):
    monkeypatch.setattr(phi, "constrain", lambda x, *names: x)
    with pytest.raises(AssertionError):
        assert_well_cut(compiled(small, "h100", 8))


def test_float32_matmuls_are_noticed(small):
    model = replace(small.model, compute_dtype="float32")
    program = compiled(replace(small, model=model), "h100", 8)
    assert program.attention == "xla"
    with pytest.raises((AssertionError, KeyError)):
        assert_matmuls_are_bf16(program)


def test_a_table_split_along_both_axes_is_noticed(small, monkeypatch):
    """XLA then rematerializes it on every device, and says so."""
    from flax import nnx

    from phi1_jax.model import sharding

    monkeypatch.setitem(sharding.RULES, "pieces", "tensor")
    made = phi.Embed.__init__

    def split(self, *args):
        made(self, *args)
        self.table = nnx.Param(
            self.table[...], out_sharding=("pieces", "embed"), eager_sharding=False
        )

    monkeypatch.setattr(phi.Embed, "__init__", split)
    with pytest.raises(AssertionError):
        assert_well_cut(compiled(replace(small, mesh=MeshConfig(2, 2, 2)), "h100", 8))


@pytest.fixture(autouse=True)
def no_compile_cache():
    """What the compiler says on the way is wanted."""
    jax.config.update("jax_enable_compilation_cache", False)
