"""What a user meets first: --help, and the message for a mistake."""

import os
import subprocess
import sys

import pytest
from conftest import REPOSITORY, run_script

SCRIPTS = sorted(path.name for path in (REPOSITORY / "launch").glob("[a-z]*.py"))


def run(script, *arguments, cwd=REPOSITORY):
    return run_script(script, *arguments, cwd=cwd, COLUMNS="100")


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_help_says_what_and_how(script, tmp_path):
    done = run(script, "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"python launch/{script}" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert len(done.stdout.splitlines()) < 120


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_wrong_flag_gets_one_line(script):
    done = run(script, "--no_such_flag=1")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and "no_such_flag" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_interpreter_without_the_packages_gets_one_line(script):
    # Without the site module an interpreter knows the standard library only.
    command = [sys.executable, "-E", "-S", str(REPOSITORY / "launch" / script), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and not done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: absl-py is not installed for {sys.executable}: ")
    assert line.endswith(f"pip install -e {REPOSITORY}")


@pytest.mark.slow
@pytest.mark.parametrize("flag", ["--helpfull", "--checkpoint=tests"])
def test_a_fork_does_what_a_new_process_does(flag):
    """What other tests run by `run_script`."""
    command = [sys.executable, str(REPOSITORY / "launch/generate.py"), flag]
    environment = {**os.environ, "COLUMNS": "100"}
    real = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, env=environment)
    fork = run("generate.py", flag)
    assert (fork.returncode, fork.stdout, fork.stderr) == (
        real.returncode,
        real.stdout,
        real.stderr,
    )


TRAIN = ("train.py", "--config=configs/phi1_tiny.py")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("train.py",), "--config is missing"),
        (("train.py", "--config=configs/nowhere.py"), "configs/nowhere.py"),
        (("train.py", "--config=setup.cfg"), "setup.cfg"),
        (TRAIN, "--output is missing"),
        ((*TRAIN, "--config.model.layers=3"), "--config.model.layers"),
        ((*TRAIN, "--config.steps=many"), "--config.steps=many"),
        ((*TRAIN, "--output=x", "--config.model.n_heads=3"), "model.d_model=128"),
        ((*TRAIN, "--output=x", "--source=code"), "--source=code: give NAME=SHARDS"),
        ((*TRAIN, "--output=x", "--source=code=nowhere"), "nowhere"),
        ((*TRAIN, "stray"), "stray"),
        (("curate.py", "--source=nowhere", "--output={tmp}/x"), "nowhere"),
        (("curate.py", "--source=stdlib", "--output=setup.cfg"), "setup.cfg"),
        (
            ("decontaminate.py", "--corpus=setup.cfg", "--benchmark=setup.cfg", "--output={tmp}/x"),
            "setup.cfg",
        ),
        (("tokenize_corpus.py", "--corpus=Makefile", "--train_tokenizer={tmp}/x"), "Makefile"),
        (
            ("evaluate.py", "--benchmark=setup.cfg", "--samples=x", "--output={tmp}/x"),
            "--allow_code",
        ),
        (("annotate.py", "--output={tmp}/x"), "give --corpus or --source"),
        (("annotate.py", "--corpus=setup.cfg", "--output={tmp}/x"), "setup.cfg"),
        (("annotate.py", "--source=@python_edu", "--output={tmp}/x"), "only the ids of files"),
        (("embed.py", "--corpus=launch", "--checkpoint=tests", "--output={tmp}/x"), "tests is not"),
        (("filter.py", "--corpus=tests", "--embeddings=tests", "--output={tmp}/x"), "--model is"),
        (("annotate.py", "--corpus=x", "--output={tmp}/x", "--dry_run"), "--annotator=api only"),
        (
            ("annotate.py", "--corpus=x", "--output={tmp}/x", "--label_range=a,b"),
            "--label_range: is read with --annotator=labels only",
        ),
        (("synthesize.py", "--output={tmp}/x", "--budget_usd=1"), "--budget_usd: is read with"),
        (("synthesize.py", "--output={tmp}/x", "--topics=nothere.json"), "--topics: is read with"),
        (("synthesize.py", "--output={tmp}/x", "--teacher=public"), "--source is missing"),
        (
            ("synthesize.py", "--output={tmp}/x", "--teacher=public", "--source=@kodkode"),
            "--sources declares only",
        ),
        (("synthesize.py", "--output={tmp}/x", "--source=@kodcode"), "--source: is read with"),
        (
            ("synthesize.py", "--output={tmp}/x", "--teacher=api", "--n_benchmark=5"),
            "--n_benchmark: is read with --teacher=offline only",
        ),
        (
            ("curate.py", "--source=stdlib", "--output={tmp}/x", "--memory_gb=2"),
            "--memory_gb: is read with --executor=slurm only",
        ),
        (
            ("curate.py", "--source=configs", "--output=setup.cfg/x"),
            "setup.cfg/x: no folder",
        ),
        (
            ("tokenize_corpus.py", "--corpus=x", "--tokenizer=y", "--output=z", "--vocab_size=512"),
            "--vocab_size: is read with --train_tokenizer only",
        ),
        (
            (
                *("fit_quality.py", "--annotated=x", "--embeddings=x", "--output={tmp}/x"),
                *("--positive_share=0.5", "--positive_from=0.6"),
            ),
            "--positive_from: is not read beside --positive_share",
        ),
        (("generate.py", "--checkpoint=tests", "--prompt=x"), "tests"),
        (("quickstart.py", "--output=setup.cfg"), "setup.cfg"),
        (  # as `make figure21 ARGS=--smoke` has it
            ("ablate.py", "--question=figure21", "--output={tmp}/x", "--publish", "--smoke"),
            "--publish: the scores of --smoke mean nothing",
        ),
        (
            ("ablate.py", "--question=replay", "--output={tmp}/x", "--smoke", "--n_problems=20"),
            "--n_problems: is not read with --smoke",
        ),
        (  # at the start, not when all has run
            ("ablate.py", "--question=mine.py", "--output={tmp}/x", "--publish"),
            "docs/ablations.md has no lines '<!-- results of mine -->'",
        ),
    ],
)
def test_a_mistake_is_named_in_one_line(arguments, words, tmp_path):
    script, *rest = (argument.replace("{tmp}", str(tmp_path)) for argument in arguments)
    done = run(script, *rest)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr and "Traceback" not in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("error: ")]) == 1
    assert not (REPOSITORY / "x").exists()
