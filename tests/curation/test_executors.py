"""The same pipeline on this machine and through Slurm's commands."""

import os
import random
import stat
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import phi1_jax
from phi1_jax.curation.curate import curate
from phi1_jax.curation.executors import Execution, _environment
from phi1_jax.curation.sources import Source
from phi1_jax.errors import UserError

RESULTS = ("filtered.jsonl.zst", "excluded.jsonl.zst", "pool.jsonl.zst")
# Answers as Slurm does with --wait: prints the job's number, runs the array, returns its status.
# Array elements named in the file `failing` die before they start.
SBATCH = f"""#!{sys.executable}
import os, re, shlex, subprocess, sys
from pathlib import Path

here = Path(__file__).parent
script = Path(sys.argv[-1]).read_text()
options = dict(re.findall(r"#SBATCH --([\\w-]+)=?(.*)", script))
assert options["partition"] == "cpu" and options["account"] == "lab" and "wait" in options
first, last = re.match(r"0()-(\\d+)", options["array"]).groups()
failing = here.joinpath("failing").read_text().split()
running = []
for task in range(int(last) + 1):
    with here.joinpath("log").open("a") as log:
        print(options["job-name"], task, file=log)
    if str(task) not in failing:
        environment = {{
            **os.environ,
            "SLURM_ARRAY_TASK_ID": str(task),
            "SLURM_JOB_ID": "7",
            "SLURM_NODELIST": "node1",
        }}
        names = {{"%%": "%", "%A": "7", "%a": str(task)}}
        (output,) = shlex.split(options["output"])
        output = Path(re.sub("%[%Aa]", lambda found: names[found[0]], output)).open("w")
        running.append(
            subprocess.Popen(["bash", "-c", script], env=environment, stdout=output, stderr=output)
        )
print("Submitted batch job 7")
sys.exit(bool(failing) | any([process.wait() for process in running]))
"""


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    root = tmp_path_factory.mktemp("pool")
    files = sorted((Path(sysconfig.get_path("stdlib")) / "json").glob("*.py"))
    files += random.Random(0).sample(sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")), 20)
    for file in files:
        (root / file.name).write_bytes(file.read_bytes())
    (root / "copy.py").write_bytes(files[1].read_bytes())
    return Source("mine", root)


@pytest.fixture(scope="module")
def local(pool, tmp_path_factory):
    output = tmp_path_factory.mktemp("local")
    return output, curate([pool], output, tasks=2, execution=Execution(workers=1))


def same(report, output, local):
    folder, expected = local
    for name in RESULTS:
        assert (output / name).read_bytes() == (folder / name).read_bytes()
    assert {**report, "speed": 0} == {**expected, "speed": 0}


@pytest.mark.slow
def test_the_result_may_lie_anywhere(pool, local, tmp_path):
    assert local[1]["dropped"]["exact_duplicate"] == 1
    output = tmp_path / "run[1] *? a::b"  # all of it means something to datatrove
    output.mkdir()
    same(curate([pool], output, tasks=2, execution=Execution(workers=1)), output, local)


@pytest.mark.slow
def test_slurm_runs_resumes_and_gives_the_same_bytes(pool, local, tmp_path, monkeypatch):
    # To the shell a pattern, and to sbatch one of names.
    commands, output = tmp_path / "bin", tmp_path / "it's [1] %a"
    commands.mkdir()
    output.mkdir()
    for name, text in {
        "sbatch": SBATCH,
        "scontrol": '#!/bin/sh\n[ "$1 $2" = "show hostnames" ] && echo "$3"\n',
    }.items():
        (commands / name).write_text(text)
        (commands / name).chmod(0o755 | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    execution = Execution("slurm", 2, slurm_partition="cpu", slurm_args={"account": "lab"})
    (commands / "failing").write_text("1")
    with pytest.raises(UserError, match="'heuristics': 1 of 2 tasks did not finish on slurm"):
        curate([pool], output, tasks=2, execution=execution)
    (commands / "failing").write_text("")
    same(curate([pool], output, tasks=2, execution=execution), output, local)
    log = (commands / "log").read_text().splitlines()
    # The task that was done is not run again: the second try has one element.
    assert log[:3] == ["curate-heuristics 0", "curate-heuristics 1", "curate-heuristics 0"]
    assert log[3:] == [
        f"curate-{name} {task}"
        for name, n in {
            "exact-duplicates": 1,
            "signatures": 2,
            "near-duplicates": 2,
            "clusters": 1,
            "score": 2,
        }.items()
        for task in range(n)
    ]


def test_the_folders_of_python_and_of_the_package_may_have_spaces(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/my envs/it's/bin/python")
    monkeypatch.setattr(phi1_jax, "__file__", "/my code/phi1_jax/__init__.py")
    script = f'{_environment()}\necho "$PATH"\necho "$PYTHONPATH"'
    told = {"PATH": "/usr/bin", "PYTHONPATH": "/a b"}
    done = subprocess.run(["/bin/bash", "-c", script], env=told, capture_output=True, text=True)
    assert done.stdout == "/my envs/it's/bin:/usr/bin\n/my code:/a b\n" and not done.stderr


def test_what_slurm_needs_is_asked_for_first(pool, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="--slurm_partition is missing"):
        Execution("slurm")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="no sbatch on PATH"):
        curate([pool], tmp_path, execution=Execution("slurm", slurm_partition="cpu"))
