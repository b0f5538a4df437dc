"""The programs that GPUs would run, compiled on a machine without one: `make test-gpu-aot`.

Each property is asserted of the programs as they are, and must fail when its fault is planted.
"""

import importlib
import math
import re
from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest
from flax import nnx

from phi1_jax.config import MeshConfig, RunConfig
from phi1_jax.config_dict import from_dict
from phi1_jax.generate import decoder
from phi1_jax.generate.sampling import History, SamplerInput, numbers_of
from phi1_jax.generate.settings import Sampling
from phi1_jax.model import decoding, phi
from phi1_jax.model.sharding import make_mesh
from phi1_jax.plan import program as program_module
from phi1_jax.plan.machines import GPUS, gpu_devices
from phi1_jax.plan.program import Program, compile_step, read_computations, read_text
from phi1_jax.train.flops import matmul_params

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
    # Of few kilobytes, such as the norms' gradients, newer versions of XLA wait at once.
    large = [c for c in program.collectives if c.group > 1 and c.result_bytes >= 2**16]
    assert large and all(c.asynchronous for c in large), [c for c in large if not c.asynchronous]
    gathered = [c for c in large if c.kind == "all-gather" and c.carries == "activations"]
    assert not gathered, gathered
    # Such as the random words of dropout would be, were they drawn whole and then cut.
    assert not [c for c in program.collectives if c.kind == "collective-permute"]


def assert_matmuls_are_bf16(program: Program, fp32_share: float = 0.0) -> None:
    flops = program.matmul_flops
    assert flops["bf16"] > 0
    assert flops.get("f32", 0.0) <= fp32_share * sum(flops.values()), flops


@pytest.fixture
def texts(monkeypatch) -> list[str]:
    """The compiled programs, as text."""
    found: list[str] = []
    read = program_module.read_text
    keep = lambda text, *rest: found.append(text) or read(text, *rest)  # noqa: E731
    monkeypatch.setattr(program_module, "read_text", keep)
    return found


def scores(text: str) -> list[str]:
    """Arrays [..., 32 heads, queries, keys], of hundreds of both."""
    return re.findall(r"\w+\[[\d,]*\b32,\d{3,},\d{3,}\]", text)


def test_phi1_base_on_eight_h100(texts):
    """The paper's recipe, whose dropout takes attention to our kernel."""
    config = load("phi1_base")
    program = compiled(config, "h100", 8)
    assert program.peak_bytes < 24.5 * GB
    assert program.attention == "flash" and not scores(texts[0])
    assert_well_cut(program)
    assert_matmuls_are_bf16(program)
    # For each layer and micro-batch one kernel forward, not run again by remat, and two backward.
    n_micro = 1024 // (8 * config.micro_batch_size)
    assert program.kernels["__gpu$xla.gpu.triton"] == 24 * n_micro * 3


def test_phi1_1xh100_uses_cudnn():
    program = compiled(load("phi1_1xh100"), "h100", 1)
    assert program.peak_bytes < 54 * GB
    assert program.attention == "cudnn"
    assert not [c for c in program.collectives if c.group > 1]
    assert_matmuls_are_bf16(program)


def test_phi1_colab_on_a_t4_in_float32():
    config = load("phi1_colab", compute_dtype="float32")
    program = compiled(config, "t4", 1)
    assert program.peak_bytes < 8 * GB
    assert program.attention == "xla" and set(program.matmul_flops) == {"f32"}


def compiled_decoding(config: RunConfig, rows: int, slots: int, monkeypatch) -> tuple[str, int]:
    """The program of 32 greedy tokens on one H100: its text and peak of memory in bytes."""
    model, device = config.model, gpu_devices(GPUS["h100"], 1)[0]
    here = jax.sharding.SingleDeviceSharding(device)

    def on_device(tree):
        place = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here)  # noqa: E731
        return jax.tree.map(place, tree)

    def weights():
        params = nnx.to_pure_dict(nnx.state(phi.Phi(model, nnx.Rngs(0)), nnx.Param))
        return decoding.decoding_weights(model, params)

    monkeypatch.setattr(decoding, "platform_of", lambda params: device.platform)
    spec = decoder.Spec(model, device.platform, None, model.vocab_size)
    greedy = Sampling()
    given = SamplerInput(
        np.zeros((rows, 2), np.uint32), *np.zeros((2, rows), np.int32), History(),
        numbers_of([greedy] * rows),
    )  # fmt: skip
    state = jax.eval_shape(partial(decoder.empty_state, spec, rows, slots))
    arrays = on_device((jax.eval_shape(weights), state, given))
    with jax.default_device(device):  # Pallas asks it for its kind
        program = decoder.decode.lower(spec, greedy.rule, 32, *arrays).compile()
    memory = program.memory_analysis()
    peak = memory.argument_size_in_bytes + memory.temp_size_in_bytes
    return program.as_text(), peak + memory.output_size_in_bytes - memory.alias_size_in_bytes


def assert_reads_all_once(config: RunConfig, text: str, rows: int, slots: int) -> None:
    """Each weight goes through a bfloat16 matmul and each cache is read where it lies."""
    program = read_text(text, config, rows)
    assert program.attention == "flash"
    assert program.matmul_flops == {"bf16": 32 * 2.0 * rows * matmul_params(config.model)}
    assert program.kernels["__gpu$xla.gpu.triton"] == 32 * config.model.n_layers
    cache = rows * config.model.d_model * slots
    moved = [
        line
        for body in read_computations(text).values()
        for line in body
        if line.opcode in ("copy", "transpose") and math.prod(line.arrays[0][1]) >= cache
    ]
    assert not moved, moved


@pytest.mark.parametrize(("rows", "peak_gb"), [(64, 16.3), (2, 3.3)])
def test_decoding_phi1_base_on_one_h100(rows, peak_gb, monkeypatch):
    """Beside weights and cache of 1024 slots there is little else, and no copy of either."""
    config = load("phi1_base")
    text, peak = compiled_decoding(config, rows, 1024, monkeypatch)
    assert peak < peak_gb * GB
    assert_reads_all_once(config, text, rows, 1024)


def test_matmuls_of_one_row_are_noticed(monkeypatch):
    """XLA writes all their products to memory; `Batch` therefore decodes two rows at least."""
    config = load("phi1_small_base")
    with pytest.raises(AssertionError):
        assert_reads_all_once(config, compiled_decoding(config, 1, 256, monkeypatch)[0], 1, 256)
    text, _ = compiled_decoding(config, 2, 256, monkeypatch)
    assert_reads_all_once(config, text, 2, 256)


def test_a_small_model_on_eight(small):
    """With rematerialization, which does not run cuDNN's forward kernel again."""
    remat = replace(small, model=replace(small.model, remat="dots"))
    program = compiled(remat, "h100", 8)
    assert program.attention == "cudnn"
    kernels = program.kernels
    assert kernels["__cudnn$fmhaSoftmax"] == kernels["__cudnn$fmhaSoftmaxBackward"]
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
    """Looked up where it lies, XLA then rematerializes it on every device, and says so."""
    from phi1_jax.model import sharding

    monkeypatch.setitem(sharding.RULES, "pieces", "tensor")
    made = phi.Embed.__init__

    def split(self, *args):
        made(self, *args)
        self.table = nnx.Param(
            self.table[...], out_sharding=("pieces", "embed"), eager_sharding=False
        )

    monkeypatch.setattr(phi.Embed, "__init__", split)
    look_up = lambda self, tokens_bt: self.table[...].astype(self.dtype)[tokens_bt]  # noqa: E731
    monkeypatch.setattr(phi.Embed, "__call__", look_up)
    with pytest.raises(AssertionError):
        assert_well_cut(compiled(replace(small, mesh=MeshConfig(2, 2, 2)), "h100", 8))


@pytest.fixture(autouse=True)
def no_compile_cache():
    """What the compiler says on the way is wanted."""
    jax.config.update("jax_enable_compilation_cache", False)
