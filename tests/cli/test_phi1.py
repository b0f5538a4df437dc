"""The command `phi1`, as a wheel has it: scripts and configs in the package, no checkout around."""

import os
import shutil
import subprocess
import sys

import pytest
from conftest import REPOSITORY

from phi1_jax import UserError, __version__, load_config


@pytest.fixture(scope="session")
def phi1(tmp_path_factory):
    """Runs the command of a package laid out as setup.py lays it, from an empty folder."""
    site = tmp_path_factory.mktemp("site")
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "phi1_jax", site / "phi1_jax", ignore=ignore)
    for name in ("launch", "configs"):
        shutil.copytree(REPOSITORY / name, site / "phi1_jax" / "_repository" / name, ignore=ignore)

    def run(*arguments):
        code = "from phi1_jax.cli.phi1 import main; main()"
        return subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            cwd=tmp_path_factory.mktemp("empty"), capture_output=True, text=True, timeout=60,
            env={**os.environ, "PYTHONPATH": str(site), "COLUMNS": "100"},
        )  # fmt: skip

    return run


@pytest.mark.parametrize("flag", ["--help", None])
def test_help_lists_every_script_with_one_line(phi1, flag):
    done = phi1(*filter(None, [flag]))
    assert done.returncode == 0 and not done.stderr
    usage, empty, *commands = done.stdout.splitlines()
    assert usage.startswith("usage: phi1 COMMAND") and not empty
    scripts = {path.stem for path in (REPOSITORY / "launch").glob("[a-z]*.py")}
    assert {line.split()[0] for line in commands} == scripts
    assert "  train               Pretrains or finetunes a phi model on token shards." in commands
    assert "launch/" not in done.stdout


def test_an_unknown_command_gets_one_line(phi1):
    done = phi1("trian", "--config=phi1_small")
    assert done.returncode == 2 and not done.stdout
    assert (
        done.stderr == "error: no command 'trian'; did you mean train? (phi1 --help lists them)\n"
    )


def test_the_version_is_the_package_s(phi1):
    assert phi1("--version").stdout == f"{__version__}\n"


@pytest.mark.slow
def test_a_command_is_its_script(phi1):
    done = phi1("tokenize-corpus", "--help")
    assert "phi1 tokenize_corpus --train_tokenizer=" in done.stdout
    assert "python launch/" not in done.stdout and "configs/" not in done.stdout
    assert phi1("evaluate", "--help").stdout.count("splits.json of phi1 decontaminate") == 1
    assert phi1("train", "--help").returncode == done.returncode


@pytest.mark.slow
def test_a_config_has_a_name_in_an_empty_folder(phi1):
    """phi1_small builds on two others; the complaint is about what comes after it."""
    done = phi1("train", "--config=phi1_small", "--config.steps=7000")
    assert (
        done.returncode == 2
        and done.stderr
        == "error: --output is missing: The run's folder; holds everything it writes.\n"
    )
    done = phi1("train", "--config=phi1_smal")
    assert done.returncode == 2 and "did you mean phi1_small?" in done.stderr


def test_the_public_sources_come_along(phi1):
    done = phi1("curate", "--source=@python_edu", "--output=x")
    assert done.returncode == 2 and "only the ids of files" in done.stderr


def test_results_are_published_in_a_clone_only(phi1):
    done = phi1("ablate", "--question=data_mix", "--output=x", "--publish")
    assert done.returncode == 2
    assert done.stderr == (
        "error: --publish writes into the repository's docs: run it in a clone\n"
    )


def test_the_python_api_finds_it_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_config("phi1_small", {"steps": 7000}).model.n_layers == 20
    with pytest.raises(UserError, match=r"did you mean phi1_small\?"):
        load_config("phi1_smal")
