"""The plan against the paper's figures, known counts, and programs compiled here."""

import importlib
import json
import subprocess
import sys
from dataclasses import replace

import jax
import numpy as np
import pytest
from conftest import REPOSITORY

from phi1_jax.config import MeshConfig, RunConfig
from phi1_jax.config_dict import from_dict
from phi1_jax.errors import UserError
from phi1_jax.model.sharding import make_mesh
from phi1_jax.plan import report
from phi1_jax.plan.compare import compare, comparison_text
from phi1_jax.plan.memory import memory
from phi1_jax.plan.program import collectives, compile_step
from phi1_jax.train.state_size import state_bytes
from phi1_jax.train.step import make_trainer

A100 = report.Machine(devices=8, hbm_gb=80, peak_tflops=312, mfu=0.536, link_gb_per_s=300)
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
    assert [stage.steps for stage in (kept, whole, finetune)] == [24_000, 36_000, 6_000]
    tokens = [stage.tokens / 1e9 for stage in (kept, whole, finetune)]
    assert tokens == pytest.approx([50.3, 75.5, 3.15], rel=2e-3)
    # "less than 4 days", "770 GPU-hours", "an additional 7 hours".
    assert kept.days < 4 and kept.paper_gpu_hours == 770
    assert kept.gpu_hours == pytest.approx(770, rel=0.02)
    assert finetune.days * 24 == pytest.approx(7, rel=0.16)
    priced = report.stages(config, load("phi1"), replace(A100, usd_per_gpu_hour=2.0))
    assert priced[0].usd == pytest.approx(2 * kept.gpu_hours)


def test_state_is_counted_as_it_is_sharded():
    config = load("phi1_base")
    whole = state_bytes(make_trainer(config, make_mesh(MeshConfig(8, 1, 1))))
    assert whole[0] == 4 * PARAMS
    assert whole[1] == pytest.approx(8 * PARAMS, rel=1e-6)  # two moments, some counters
    split = state_bytes(make_trainer(config, make_mesh(MeshConfig(1, 8, 1))))
    # All but the biases and norms.
    assert split[0] * 8 == pytest.approx(whole[0], rel=4e-3) and split[0] * 8 > whole[0]
    assert split[1] == pytest.approx(2 * split[0], rel=1e-6)


def test_with_flash_attention_nothing_kept_grows_with_the_square_of_the_length():
    config = load("phi1_1xh100")
    mesh = make_mesh(config.mesh, jax.devices()[:1])

    def kept(seq_len, flash) -> int:
        rows = config.micro_batch_size * config.data.seq_len // seq_len
        data = replace(config.data, seq_len=seq_len)
        changed = replace(config, data=data, micro_batch_size=rows)
        return memory(changed, mesh, flash=flash).activations

    assert kept(2048, True) == pytest.approx(kept(512, True), rel=0.05)
    assert kept(2048, False) > 2 * kept(512, False)
    # Per token and layer: a block's input, its LayerNorm, q, k, v and their like, two of the MLP's.
    vectors = kept(2048, True) / (4 * 2048 * 24 * 2048 * 2)
    assert 14 < vectors < 22


def test_remat_trades_memory_for_work_and_the_best_choice_fits():
    config = replace(load("phi1_base"), mesh=MeshConfig(1, 8, 1))
    found = report.choices(config, make_mesh(config.mesh))
    by_policy = {c.remat: c.memory.activations for c in found if c.micro_batch_size == 4}
    assert by_policy["none"] > 3 * by_policy["dots"] > 10 * by_policy["full"] / 2
    # What `full` keeps is each layer's input in bfloat16: layers x rows x tokens x width.
    layers = 24 * 4 * 2048 * 2048 * 2
    assert by_policy["full"] == pytest.approx(layers, rel=0.4)
    chosen = report.best(found, hbm_gb=80)
    assert chosen is not None and chosen.memory.total < 80e9
    size = 2 * chosen.micro_batch_size
    (bigger,) = (c for c in found if (c.remat, c.micro_batch_size) == (chosen.remat, size))
    assert bigger.memory.total > 80e9 * report.RECOMMENDED
    assert report.best(found, hbm_gb=3) is None
    with pytest.raises(UserError, match=r"global_batch_size=1024 must be a multiple of 24"):
        memory(
            replace(config, mesh=MeshConfig(3, 1, 1)), make_mesh(MeshConfig(3), jax.devices()[:3])
        )


@pytest.mark.parametrize("name", NAMES)
def test_every_config_has_a_plan(name):
    config = load(name)
    mesh = make_mesh(config.mesh, jax.devices()[:1] if name in FOR_ONE_DEVICE else None)
    needed = memory(config, mesh)
    assert 0 < needed.params < needed.total
    assert report.stages(config, load("phi1"), A100)[-1].gpu_hours > 0


HLO = """
%body (p: (s32[], f32[24,8])) -> (s32[], f32[24,8]) {
  %g = f32[64,8]{1,0} all-gather(%x), replica_groups=[2,4]<=[8], dimensions={0}
  %r = (f32[2,16,32]{2,1,0}, f32[]) all-reduce-start(%y, %z), replica_groups={{0,1},{2,3}}
}

ENTRY %main (a: f32[8]) -> f32[8] {
  %w = (s32[], f32[24,8]) while(%t), body=%body, backend_config={"known_trip_count":{"n":"24"}}
  %s = f32[16] all-reduce(%q), replica_groups=mesh['a'=2,'b'=4], device_ids=([8]) {'a', 'b':(1)2}
}
"""


def test_collectives_are_read_with_their_loops(run_config):
    gather, reduce, small = sorted(collectives(HLO, run_config, 2), key=lambda c: -c.times)
    assert (gather.kind, gather.carries, gather.group, gather.times) == (
        "all-gather",
        "weights",
        4,
        24,
    )
    assert gather.link_bytes(2) == 24 * 64 * 8 * 2 * 3 / 4 and gather.hidden
    assert (reduce.carries, reduce.group, reduce.asynchronous) == ("activations", 2, True)
    assert reduce.link_bytes(4) == 24 * (2 * 16 * 32 + 1) * 4 * 2 / 2 and not reduce.hidden
    assert (small.carries, small.group, small.times) == ("gradients", 4, 1)


@pytest.fixture
def fresh_compiler():
    """No program out of the cache: what the compiler says on the way is wanted."""
    jax.config.update("jax_enable_compilation_cache", False)
    yield
    jax.config.update("jax_enable_compilation_cache", True)


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
    sent = [c for c in program.collectives if c.group > 1 and c.elements > 1000]
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


def test_meshes_are_compared_as_far_as_they_work(run_config, monkeypatch):
    meshes = {"data": MeshConfig(8, 1, 1), "mixed": MeshConfig(2, 2, 2)}
    monkeypatch.setattr(report, "meshes", lambda devices: meshes)
    data = replace(run_config.data, global_batch_size=12)  # 8 do not divide it, 4 do
    machines = {"8 mine": A100}
    result = compare(replace(run_config, data=data, micro_batch_size=1), machines)
    text = comparison_text(result)
    assert "data (8x1x1) does not work: config field data.global_batch_size=12 must be" in text
    assert "| data (8x1x1) |" not in text
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| mixed (2x2x2)")]
    sent = {row[2]: float(row[5]) for row in rows if row[1].startswith("all-")}
    assert sent.keys() >= {"weights", "gradients", "activations"} and min(sent.values()) > 0
    (time,) = [row for row in rows if row[1] == "8 mine"]
    assert all(float(cell) > 0 for cell in time[2:5])
    assert "the paper" not in text
    result = {"meshes": {}, "steps": 24_000, "paper_gpu_hours": 770.0}
    assert comparison_text(result).endswith("| the paper | 8 x A100 |  |  |  |  |  |  | 4.01 |")


def test_a_figure_has_three_digits():
    figures = [0, 0.00123, 0.296, 15.34, 79.4, 999.6, 2194.7]
    assert [report.short(x) for x in figures] == [
        *("0", "0.00123", "0.296", "15.3", "79.4", "1,000", "2,195"),
    ]


def test_what_the_flags_cannot_mean_gets_one_line():
    for arguments, words in (
        (["--config=configs/phi1_1xh100.py"], "give --devices=1"),
        (
            ["--config=configs/phi1_base.py", "--collectives", "--hbm_gb=40"],
            "--hbm_gb changes nothing with --collectives",
        ),
    ):
        command = [sys.executable, "launch/plan.py", *arguments]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
        assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_script_prints_a_plan_and_json(tmp_path):
    command = [
        sys.executable,
        str(REPOSITORY / "launch" / "plan.py"),
        f"--config={REPOSITORY / 'configs' / 'phi1_base.py'}",
        "--nocompile",
        "--usd_per_gpu_hour=2",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "| to the kept step 24,000 | 50.3e9 |" in done.stdout and "770" in done.stdout
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=120)
    result = json.loads(done.stdout)
    assert result["mesh"] == {"data": 1, "fsdp": 8, "tensor": 1}
    assert result["fits"].startswith("yes") and result["best"]["micro_batch_size"] >= 2
