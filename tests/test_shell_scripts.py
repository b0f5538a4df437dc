"""The shell scripts with stand-ins for Slurm, the driver's tool and Python on the path."""

import os
import subprocess

import pytest
from conftest import REPOSITORY

SBATCH = REPOSITORY / "launch" / "slurm" / "train.sbatch"
EIGHT = REPOSITORY / "launch" / "train_8gpu.sh"
ONE = REPOSITORY / "benchmarks" / "one_gpu.sh"


@pytest.fixture
def run(tmp_path):
    """Runs a script; what the stand-ins are asked for lands in a log, one line each."""
    log = tmp_path / "log"
    stand_ins = {
        "srun": 'echo "srun $*" >>"$LOG"; while [[ $1 == --* ]]; do shift; done; "$@"',
        "scontrol": 'echo "scontrol $*" >>"$LOG"',
        "nvidia-smi": 'for i in $(seq "$N_GPUS"); do echo "GPU $i"; done',
        "python": (
            'echo "python $*" >>"$LOG"; [ -z "$RESULT" ] || echo "$RESULT" >"$WHERE"; exit $CODE'
        ),
    }
    for name, body in stand_ins.items():
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "run").mkdir()

    def start(script, *arguments, finished="true", code=0, n_gpus=8, **variables):
        result = f' "finished": {finished},' if script == SBATCH else ""
        environment = {
            **os.environ,
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "PYTHON": "python",
            "LOG": str(log),
            "RESULT": result,
            "WHERE": str(tmp_path / "run" / "result.json"),
            "CODE": str(code),
            "N_GPUS": str(n_gpus),
            "SLURM_JOB_ID": "42",
            "SLURM_CPUS_PER_TASK": "32",
            **variables,
        }
        done = subprocess.run(
            ["bash", script, *arguments], env=environment, capture_output=True, text=True
        )
        return done, log.read_text().splitlines() if log.exists() else []

    return start


@pytest.mark.parametrize("script", [SBATCH, EIGHT, ONE], ids=lambda path: path.name)
def test_the_scripts_are_whole(script):
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    assert os.access(script, os.X_OK)


def test_slurm_goes_back_to_the_queue_until_training_is_finished(run, tmp_path):
    arguments = ("--config=configs/phi1_base.py", f"--output={tmp_path}/run")
    done, log = run(SBATCH, *arguments, finished="false")
    train = f"launch/train.py {' '.join(arguments)}"
    assert done.returncode == 0, done.stderr
    assert log == [
        f"srun --kill-on-bad-exit=1 --cpus-per-task=32 python {train}",
        f"python {train}",
        "scontrol requeue 42",
    ]
    done, log = run(SBATCH, *arguments)
    assert done.returncode == 0 and log[-1] == f"python {train}"


def test_slurm_stops_on_a_failure_and_without_output(run, tmp_path):
    done, log = run(SBATCH, f"--output={tmp_path}/run", finished="false", code=2)
    assert done.returncode == 2 and not any("requeue" in line for line in log)
    done, _ = run(SBATCH, "--config=configs/phi1_base.py")
    assert done.returncode == 2 and "--output=FOLDER is missing" in done.stderr


def test_slurm_reads_the_result_of_a_run_in_the_home(run, tmp_path):
    done, log = run(SBATCH, "--output=~/run", HOME=str(tmp_path))
    assert done.returncode == 0 and log[-1] == "python launch/train.py --output=~/run"


def test_eight_gpus_are_counted_planned_and_used(run, tmp_path):
    config = "--config=configs/phi1.py --config.mesh.fsdp=4 --config.micro_batch_size=2"
    done, log = run(EIGHT, *config.split(), "--output=x")
    assert done.returncode == 0, done.stderr
    assert log == [
        f"python {REPOSITORY}/launch/plan.py {config} --devices=8 --nocompile",
        f"python {REPOSITORY}/launch/train.py {config} --output=x",
    ]
    separate = config.replace("=", " ", 1).split()
    done, log = run(EIGHT, *separate, "--output=x")
    assert log[-2:] == [
        f"python {REPOSITORY}/launch/plan.py {' '.join(separate)} --devices=8 --nocompile",
        f"python {REPOSITORY}/launch/train.py {' '.join(separate)} --output=x",
    ]
    done, log = run(EIGHT, "--output=y")
    base = REPOSITORY / "configs" / "phi1_base.py"
    assert log[-1] == f"python {REPOSITORY}/launch/train.py --config={base} --output=y"
    done, _ = run(EIGHT, "--output=x", n_gpus=4)
    assert done.returncode == 2
    assert "4 GPUs found, not 8" in done.stderr
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\nexit 127\n")  # as where there is none
    done, _ = run(EIGHT, "--output=x")
    assert done.returncode == 2
    assert "0 GPUs found, not 8" in done.stderr


def test_eight_gpus_leave_relative_paths_to_the_folder_one_is_in(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "python").write_text('#!/bin/sh\npwd >>"$LOG"\n')
    assert run(EIGHT, "--output=x")[1] == [str(tmp_path)] * 2


def test_one_gpu_keeps_each_part_and_goes_on_where_it_stopped(run, tmp_path):
    output = tmp_path / "rows.jsonl"
    done, log = run(ONE, output, tmp_path / "quickstart")
    assert done.returncode == 0, done.stderr
    subjects = [line.split("launch/")[1].split()[:2] for line in log]
    assert subjects[:2] == [["benchmark.py", "check"], ["benchmark.py", "train"]]
    assert {"decode", "train"} < {words[1] for words in subjects}
    assert ["train.py", f"--config={REPOSITORY}/configs/phi1_colab.py"] in subjects
    assert all(f"--output={output}" in line for line in log)
    again = run(ONE, output, tmp_path / "quickstart")[1][len(log) :]
    assert again == []
    (tmp_path / "rows.jsonl.done").write_text("losses as on the CPU\n")
    nexts = run(ONE, output)[1][len(log)].split("launch/")[1].split()[:2]
    assert nexts == ["benchmark.py", "train"], "the part that is done is not done again"


def test_one_gpu_does_the_other_parts_if_one_fails(run, tmp_path):
    done, log = run(ONE, tmp_path / "rows.jsonl", code=2)
    assert done.returncode == 1 and "failed: losses as on the CPU (2) train 1.3B (2)" in done.stderr
    assert len(log) > 5
    done, _ = run(ONE)
    assert done.returncode and "name a file" in done.stderr


def test_one_gpu_s_smoke_mode_asks_a_cpu_for_nothing_that_only_a_gpu_has(run, tmp_path):
    done, log = run(ONE, tmp_path / "rows.jsonl", SMOKE="1")
    assert done.returncode == 0, done.stderr
    small = [line for line in log if "compute_dtype=float32" in line]
    assert len(small) > 5
    # Flash attention computes in half precision only, and is refused.
    assert not any("attention=flash" in line or "attention=cudnn" in line for line in small)
