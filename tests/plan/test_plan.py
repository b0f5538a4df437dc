"""The plan against the paper's figures, known counts, and programs compiled here."""

import importlib
import json
import math
import os
import re
import subprocess
import sys
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest
from conftest import REPOSITORY

from phi1_jax.config import MeshConfig, RunConfig
from phi1_jax.config_dict import from_dict
from phi1_jax.errors import UserError
from phi1_jax.model.sharding import make_mesh
from phi1_jax.plan import machines, report
from phi1_jax.plan.machines import GPUS
from phi1_jax.plan.memory import memory
from phi1_jax.plan.program import compile_step, count_executions, read_computations, read_text
from phi1_jax.train.flops import peak_flops
from phi1_jax.train.state_size import state_bytes
from phi1_jax.train.step import make_trainer, training_mesh

A100 = report.Machine(replace(GPUS["a100"], mfu=0.536), devices=8)
PARAMS = 1_418_270_720
NAMES = sorted(p.stem for p in (REPOSITORY / "configs").glob("*.py") if p.stem != "__init__")

FOR_ONE_DEVICE = ("bench_cpu", "phi1_1xh100", "phi1_colab")


def load(name: str) -> RunConfig:
    if str(REPOSITORY) not in sys.path:
        sys.path.append(str(REPOSITORY))
    values = importlib.import_module(f"configs.{name}").get_config().to_dict()
    return from_dict(RunConfig, values)


def test_the_papers_stages_take_what_the_paper_says():
    config = load("phi1_base")
    assert A100.tokens_per_s(config) / 8 == pytest.approx(18_400, rel=0.01)
    kept, whole, finetune = report.stages(config, load("phi1"), A100)
    tokens = [stage["tokens"] / 1e9 for stage in (kept, whole, finetune)]
    assert tokens == pytest.approx([50.3, 75.5, 3.15], rel=2e-3)
    # "less than 4 days", "770 GPU-hours", "an additional 7 hours".
    assert kept["days"] < 4 and kept["paper_gpu_hours"] == 770
    assert kept["gpu_hours"] == pytest.approx(770, rel=0.02)
    assert finetune["days"] * 24 == pytest.approx(7, rel=0.16)
    priced = report.stages(config, load("phi1"), replace(A100, usd_per_gpu_hour=2.0))
    assert priced[0]["usd"] == pytest.approx(2 * kept["gpu_hours"])


def test_state_is_counted_as_it_is_sharded():
    config = load("phi1_base")
    whole = state_bytes(make_trainer(config, make_mesh(MeshConfig(8, 1, 1))))
    assert whole[0] == 4 * PARAMS
    assert whole[1] == pytest.approx(8 * PARAMS, rel=1e-6)  # two moments, some counters
    split = state_bytes(make_trainer(config, make_mesh(MeshConfig(1, 8, 1))))
    # All but the biases and norms.
    assert split[0] * 8 == pytest.approx(whole[0], rel=4e-3) and split[0] * 8 > whole[0]
    assert split[1] == pytest.approx(2 * split[0], rel=1e-6)


@pytest.mark.slow
def test_with_flash_attention_nothing_kept_grows_with_the_square_of_the_length():
    config = load("phi1_1xh100")
    mesh = make_mesh(config.mesh, jax.devices()[:1])

    def kept(seq_len, attention) -> int:
        rows = config.micro_batch_size * config.data.seq_len // seq_len
        data = replace(config.data, seq_len=seq_len)
        model = replace(config.model, attention=attention)
        changed = replace(config, model=model, data=data, micro_batch_size=rows)
        return memory(changed, mesh).activations

    assert kept(2048, "auto") == pytest.approx(kept(512, "auto"), rel=0.05)
    assert kept(2048, "xla") > 2 * kept(512, "xla")
    # Per token and layer: a block's input, its LayerNorm, q, k, v and their like, two of the MLP's.
    vectors = kept(2048, "auto") / (config.micro_batch_size * 2048 * 24 * 2048 * 2)
    assert 14 < vectors < 22


@pytest.mark.slow
def test_remat_trades_memory_for_work_and_the_best_choice_fits():
    config = replace(load("phi1_base"), mesh=MeshConfig(1, 8, 1))
    found = report.choices(config, make_mesh(config.mesh))
    by_policy = {remat: m.activations for (remat, n), m in found.items() if n == 4}
    assert by_policy["none"] > 1.8 * by_policy["dots"] > 3 * by_policy["full"]
    # What `full` keeps is each layer's input in bfloat16: layers x rows x tokens x width.
    layers = 24 * 4 * 2048 * 2048 * 2
    assert by_policy["full"] == pytest.approx(layers, rel=0.4)
    chosen = report.best(found, hbm_gb=80)
    assert chosen is not None and found[chosen].total < 80e9
    remat, size = chosen
    assert found[remat, 2 * size].total > 80e9 * report.RECOMMENDED
    assert report.best(found, hbm_gb=3) is None
    with pytest.raises(UserError, match=r"global_batch_size=1024 must be a multiple of 24"):
        memory(
            replace(config, mesh=MeshConfig(3, 1, 1)), make_mesh(MeshConfig(3), jax.devices()[:3])
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_config_has_a_plan(name):
    config = load(name)
    mesh = training_mesh(config, jax.devices()[:1] if name in FOR_ONE_DEVICE else None)
    needed = memory(config, mesh)
    assert 0 < needed.params < needed.total
    assert report.stages(config, load("phi1"), A100)[-1]["gpu_hours"] > 0


HLO = """
%dots (p0: bf16[16,8], p1: bf16[8,4]) -> bf16[16,4] {
  %p0 = bf16[16,8]{1,0} parameter(0)
  %p1 = bf16[8,4]{1,0} parameter(1)
  ROOT %d = bf16[16,4]{1,0} dot(%p0, %p1), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}

%body (p: (s32[], f32[24,8])) -> (s32[], f32[24,8]) {
  %x = f32[16,8]{1,0} parameter(0)
  %g = (f32[16,8]{1,0}, f32[64,8]{1,0}) all-gather-start(%x), replica_groups=[2,4]<=[8]
  %r = (f32[2,16,32]{2,1,0}, f32[]) all-reduce-start(%y, %z), replica_groups={{0,1},{2,3}}
  %f = bf16[16,4]{1,0} fusion(%x, %x), kind=kCustom, calls=%dots
  %c = (f32[16,4]{1,0}, s8[4]{0}) custom-call(%x, %x), custom_call_target="__cublas$gemm", CUBLAS
}

ENTRY %main (a: f32[8]) -> f32[8] {
  %w = (s32[], f32[24,8]) while(%t), body=%body, backend_config={"known_trip_count":{"n":"24"}}
  %s = f32[16] all-reduce-start(%q), replica_groups=mesh['a'=2,'b'=4] {'a', 'b':(1)2}, SYNC
  %k = (bf16[2]{0}, u8[0]{0}) custom-call(%q), custom_call_target="__cudnn$fmhaSoftmax"
}
""".replace("CUBLAS", 'backend_config={"lhs_contracting_dimensions":["1"]}').replace(
    "SYNC", 'backend_config={"is_sync":true}'
)


def test_collectives_matmuls_and_kernels_are_read_with_their_loops(run_config):
    found = read_text(HLO, run_config, rows=2)
    gather, reduce, small = sorted(found.collectives, key=lambda c: -c.times)
    assert (gather.kind, gather.carries, gather.group, gather.times, gather.asynchronous) == (
        *("all-gather", "weights", 4, 24, True),
    )
    # By hand: a ring passes on all but a device's own part.
    assert gather.link_bytes == 24 * 64 * 8 * 4 * 3 / 4
    assert (reduce.carries, reduce.group, reduce.asynchronous) == ("activations", 2, True)
    assert reduce.link_bytes == 24 * (2 * 16 * 32 + 1) * 4 * 2 / 2
    assert (small.carries, small.group, small.times, small.asynchronous) == (
        *("gradients", 4, 1, False),
    )
    assert found.matmul_flops == {
        "bf16": 24 * 2 * 16 * 4 * 8,
        "f32": 24 * 2 * 16 * 4 * 8,
    }
    assert found.kernels == {"__cublas$gemm": 24, "__cudnn$fmhaSoftmax": 1}
    assert found.attention == "cudnn"


def test_a_reduce_scatter_sends_what_all_devices_keep(run_config):
    line = "  %r = ((f32[64,8]), (f32[8,8])) reduce-scatter-start(%x), replica_groups=[1,8]<=[8]\n"
    (found,) = read_text("ENTRY %m () -> f32[] {\n" + line + "}\n", run_config, 2).collectives
    assert found.link_bytes == 64 * 8 * 4 * 7 / 8


def test_the_matmuls_of_a_step_are_those_of_the_weights(run_config):
    """Against JAX's own count, which does not know how often a loop runs."""
    x = jax.ShapeDtypeStruct((32, 16), np.float32)
    w = jax.ShapeDtypeStruct((16, 16), np.float32)
    step = jax.jit(lambda x, w: jax.lax.fori_loop(0, 5, lambda i, x: x @ w, x)).lower(x, w)
    bodies = read_computations(step.compile().as_text())
    assert sum(count_executions(bodies).values()) >= 5
    found = read_text(step.compile().as_text(), run_config, 2)
    assert sum(found.matmul_flops.values()) == 5 * 2 * 32 * 16 * 16


@pytest.fixture
def fresh_compiler():
    """No program out of the cache: what the compiler says on the way is wanted."""
    jax.config.update("jax_enable_compilation_cache", False)
    yield
    jax.config.update("jax_enable_compilation_cache", True)


@pytest.mark.slow(30)
@pytest.mark.parametrize(
    ("mesh", "expected"),
    [
        (MeshConfig(8, 1, 1), {("all-reduce", "gradients")}),
        (MeshConfig(1, 8, 1), {("all-reduce", "gradients"), ("all-gather", "weights")}),
        (MeshConfig(2, 1, 4), {("all-reduce", "gradients"), ("all-reduce", "activations")}),
        (
            MeshConfig(2, 2, 2),
            {
                ("all-reduce", "gradients"),
                ("all-gather", "weights"),
                ("all-reduce", "activations"),
            },
        ),
    ],
    ids=["data", "fsdp", "tensor", "mixed"],
)
def test_each_mesh_sends_what_it_should_and_no_more(
    run_config, fresh_compiler, capfd, mesh, expected
):
    model = replace(run_config.model, remat="dots", attention_dropout=0.1, residual_dropout=0.1)
    config = replace(run_config, model=model, mesh=mesh, micro_batch_size=2)
    program = compile_step(config, make_mesh(mesh))
    assert "Involuntary full rematerialization" not in capfd.readouterr().err
    sent = [
        c
        for c in program.collectives
        if c.group > 1 and c.times * sum(map(math.prod, c.shapes)) > 1000
    ]
    assert {(c.kind, c.carries) for c in sent} == expected
    # Nobody puts the logits together: what is as wide as the vocabulary is head or embedding.
    wide = [shape for c in sent for shape in c.shapes if {264, 132, 66} & set(shape)]
    assert all(len(shape) == 1 or (len(shape) == 2 and {32, 16} & set(shape)) for shape in wide)


def test_fsdp_replicates_no_matrix_of_the_state(run_config):
    trainer = make_trainer(run_config, make_mesh(MeshConfig(1, 8, 1)))
    state = jax.eval_shape(trainer.init)
    leaves = zip(jax.tree.leaves(state), jax.tree.leaves(trainer.shardings), strict=True)
    held = [(x.shape, np.prod(s.shard_shape(x.shape)) / x.size) for x, s in leaves if x.ndim > 1]
    matrices = [share for shape, share in held if min(shape[-2:]) >= 32]
    assert len(matrices) == 3 * 8 and set(matrices) == {1 / 8}


@pytest.mark.parametrize("name", GPUS)
def test_every_gpu_has_a_peak_and_a_description_that_xla_reads(name):
    gpu = GPUS[name]
    assert 8e12 < (peak_flops(gpu.name, gpu.compute_dtype) or 0) < 1e15 and gpu.hbm_gb < 160
    assert f'device_description_str: "{gpu.name}"' in machines._description(gpu)


def test_this_machines_gpus_are_asked_of_the_driver(monkeypatch, tmp_path):
    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\necho 'NVIDIA H200'\necho 'NVIDIA H200'\n")
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert machines.this_machine() == ("h200", 2)
    driver.write_text("#!/bin/sh\nexit 9\n")
    assert machines.this_machine() is None


@pytest.mark.slow
def test_a_card_that_is_too_small_gets_what_fits():
    config, finetune = load("phi1_1xh100"), load("phi1")

    def text(name: str) -> str:
        machine = report.Machine(GPUS[name], 1)
        return report.plan_text(report.plan(config, finetune, machine, compiling=False))

    assert "no micro-batch fits: more devices" in text("l4")
    small = text("a100_40gb")
    flags = "--config.micro_batch_size=2 --config.model.remat=none"
    assert f"39.1 GB usable: does not fit; recommended: {flags}" in small
    assert "by shapes), 138 GB usable: fits" in text("h200")


@pytest.mark.slow
def test_devices_that_a_small_batch_leaves_idle_are_not_counted():
    config, finetune = load("phi1_colab"), load("phi1")

    def planned(devices: int) -> dict:
        machine = report.Machine(GPUS["l4"], devices)
        return report.plan(config, finetune, machine, compiling=False)

    four, eight = planned(4), planned(8)
    assert eight["devices"] == math.prod(eight["mesh"].values()) == 4
    assert eight["tokens_per_s"] == four["tokens_per_s"]


def test_a_figure_has_three_digits():
    figures = [0, 0.00123, 0.296, 15.34, 79.4, 999.6, 2194.7]
    assert [report.short(x) for x in figures] == [
        *("0", "0.00123", "0.296", "15.3", "79.4", "1,000", "2,195"),
    ]


@pytest.mark.slow
def test_the_script_prints_a_plan_and_json(tmp_path):
    command = [
        sys.executable,
        str(REPOSITORY / "launch" / "plan.py"),
        f"--config={REPOSITORY / 'configs' / 'phi1_base.py'}",
    ]

    def run(*arguments: str, env: Any = None) -> subprocess.CompletedProcess[str]:
        kept: dict[str, Any] = {"capture_output": True, "text": True, "cwd": tmp_path}
        return subprocess.run([*command, *arguments], **kept, env=env, timeout=120)

    done = run("--machine=a100", "--devices=8", "--nocompile", "--usd_per_gpu_hour=2", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["mesh"] == {"data": 1, "fsdp": 8, "tensor": 1}
    assert result["fits"] and result["best"]["micro_batch_size"] >= 2
    assert result["stages"][0]["paper_gpu_hours"] == 770
    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\nyes 'NVIDIA A100-SXM4-40GB' | head -16\n")
    driver.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    sixteen = json.loads(run("--nocompile", "--json", env={**os.environ, "PATH": path}).stdout)
    assert sixteen["devices"] == sixteen["mesh"]["fsdp"] == 16
    text = re.sub(" +", " ", report.plan_text(result))
    assert "| to the kept step 24,000 | 50.3e9 |" in text and "1,418,270,720 parameters" in text
    done = run("--machine=a101")
    assert done.returncode == 2 and "must be one of a100_40gb, a100, h100" in done.stderr
    done = run("--machine=a100", "--devices=1000000")
    assert done.returncode == 2 and "1,000,000 devices: a plan is for at most 4,096" in done.stderr


def test_a_mesh_for_other_devices_is_refused():
    config = replace(load("phi1_base"), mesh=MeshConfig(1, 4, 1))
    with pytest.raises(UserError, match=r"mesh=1x4x1 is not for --devices=8; give --devices=4"):
        report.plan(config, load("phi1"), A100, compiling=False)
