"""Pipelines of commands: done once, resumed, reused, shared between processes."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from conftest import REPOSITORY

from phi1_jax.cli.pipeline import Pipeline
from phi1_jax.cli.recipe import Data, Recipe
from phi1_jax.curation.sources import local_paths
from phi1_jax.errors import UserError

# Writes its arguments, and what it finds of an earlier start, into its output.
SCRIPT = """
import pathlib, sys, time
given = dict(a.removeprefix("--").partition("=")[::2] for a in sys.argv[1:])
folder = pathlib.Path(given["output"])
folder.mkdir(exist_ok=True)
with (folder / "starts").open("a") as file:
    file.write("started\\n")
time.sleep(float(given.get("sleep_s", 0)) if len((folder / "starts").read_text()) < 10 else 0)
if "fail" in given:
    sys.exit("error: as asked")
"""


@pytest.fixture
def scripts(tmp_path):
    folder = tmp_path / "scripts"
    folder.mkdir()
    (folder / "stage.py").write_text(SCRIPT)
    return folder


def starts(folder) -> int:
    return (folder / "starts").read_text().count("started")


def test_a_stage_is_done_again_only_when_it_or_what_it_reads_changed(tmp_path, scripts):
    for value, expected in (("1", (1, 1, 1)), ("1", (1, 1, 1)), ("2", (1, 1, 1))):
        pipeline = Pipeline(tmp_path / "runs", scripts)
        free = pipeline.add("free", "stage.py")
        first = pipeline.add("first", "stage.py", f"--value={value}")
        second = pipeline.add("second", "stage.py", f"--of={first}/part")
        begun_before = first.exists()
        if begun_before:
            (first / "mark").touch()
        pipeline.run()
        # Of another command, the folder is made anew.
        assert (first / "mark").exists() == (begun_before and value == "1")
        assert (starts(free), starts(first), starts(second)) == expected
    assert pipeline.stages["second"].needs == ("first",)


def test_pipelines_that_share_a_folder_share_the_stages_in_which_they_agree(tmp_path, scripts):
    folders = []
    for value in (1, 2):
        pipeline = Pipeline(tmp_path / "runs", scripts, shared=True)
        base = pipeline.add("base", "stage.py")
        folders.append(pipeline.add("end", "stage.py", f"--of={base}@3", f"--value={value}"))
        pipeline.run(workers=2)
    assert starts(base) == 1
    assert folders[0] != folders[1] and all(map(starts, folders))


@pytest.mark.slow
def test_stages_at_a_time_are_told_of_and_count_once(tmp_path, scripts, monkeypatch, capsys):
    monkeypatch.setattr("phi1_jax.cli.pipeline._PROGRESS_S", 0.2)
    pipeline = Pipeline(tmp_path / "runs", scripts)
    for name in ("one", "two"):
        pipeline.add(name, "stage.py", "--sleep_s=0.7")
    pipeline.run(workers=2)
    command = (tmp_path / "runs" / "stages" / "one.log").read_text().splitlines()[0]
    assert command.endswith(f"--sleep_s=0.7 --output={tmp_path / 'runs' / 'one'}")
    assert capsys.readouterr().out.count(f"one: {command}") >= 2  # the last that it said
    total = sum(pipeline.seconds.values())
    assert max(pipeline.seconds.values()) <= pipeline.wall_seconds + 0.1 < total
    pipeline.run(workers=2)
    assert sum(pipeline.seconds.values()) == total  # nothing was done


def test_a_failure_stops_only_what_needs_it_and_says_where_to_look(tmp_path, scripts):
    pipeline = Pipeline(tmp_path / "runs", scripts)
    bad = pipeline.add("bad", "stage.py", "--fail=1")
    after = pipeline.add("after", "stage.py", f"--of={bad}")
    other = pipeline.add("other", "stage.py", "--sleep_s=0.2")
    last = pipeline.add("last", "stage.py", f"--of={other}")
    with pytest.raises(UserError, match=r"stage bad did not finish.*as asked.*bad\.log"):
        pipeline.run(keep_going=True, quiet=True)
    assert starts(last) == 1 and not after.exists()


def test_a_signal_ends_the_stages_and_the_next_run_goes_on(tmp_path, scripts):
    def pipeline() -> Pipeline:
        made = Pipeline(tmp_path / "runs", scripts)
        made.add("long", "stage.py", "--sleep_s=60")
        return made

    def send_when_started() -> None:
        while not (tmp_path / "runs" / "long" / "starts").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=send_when_started)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        pipeline().run()
    thread.join()
    again = pipeline()
    spent = again.seconds["long"]
    again.run()
    assert starts(tmp_path / "runs" / "long") == 2  # in the same folder
    assert again.seconds["long"] > spent


@pytest.mark.slow
def test_two_processes_do_a_stage_once_also_when_the_first_is_killed(tmp_path, scripts):
    program = f"""
import pathlib, sys
sys.path.insert(0, {str(REPOSITORY)!r})
from phi1_jax.cli.pipeline import Pipeline
pipeline = Pipeline(pathlib.Path({str(tmp_path / "runs")!r}), pathlib.Path({str(scripts)!r}))
pipeline.add("one", "stage.py", "--sleep_s=1.5")
pipeline.run()
"""
    one = tmp_path / "runs" / "one" / "starts"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.DEVNULL) as first:
        while not one.exists():
            time.sleep(0.01)
        first.kill()  # its command goes on, and holds the stage
    pipeline = Pipeline(tmp_path / "runs", scripts)
    pipeline.add("one", "stage.py", "--sleep_s=1.5")
    began = time.monotonic()
    pipeline.run()
    assert time.monotonic() - began > 0.5
    assert starts(tmp_path / "runs" / "one") == 2  # nobody recorded the first's end


def test_a_run_of_fewer_steps_than_the_warm_up_gets_a_shorter_one(tmp_path, caplog):
    recipe = Recipe(REPOSITORY / "configs" / "phi1_tiny.py", {}, {})
    pipeline = Pipeline(tmp_path, REPOSITORY / "launch")
    data = Data(pipeline, tmp_path, tmp_path, {})
    for steps in (10, 20):
        recipe.add_training(data, f"of_{steps}", {"x": (tmp_path, 1.0)}, steps)
    short, whole = (stage.command for stage in pipeline.stages.values())
    assert {"--config.steps=10", "--config.optimizer.warmup_steps=1"} <= set(short)
    assert not any("warmup" in argument for argument in whole)
    assert "of_10: the warm-up is shortened from 20 to 1 steps, for a run of 10" in caplog.text


def test_curation_is_done_again_when_a_file_of_a_source_has_changed(tmp_path):
    code = tmp_path / "code"
    code.mkdir()
    identities = []
    for file in ("a.py", ".git/index", "__pycache__/a.pyc", "b.py"):
        (code / file).parent.mkdir(exist_ok=True)
        (code / file).write_text("x = 1\n")
        pipeline = Pipeline(tmp_path / "runs", REPOSITORY / "launch")
        sources = [f"mine={code}", "stdlib", f"@stack:{code}"]
        config = REPOSITORY / "configs" / "phi1_tiny.py"
        recipe = Recipe(config, {}, {}, sources, local_paths(sources), filter_quality=False)
        recipe.add_data(pipeline)
        identities.append(pipeline.stages["curate"].identity)
    assert identities[0] == identities[1] == identities[2] != identities[3]


def test_training_is_done_again_when_its_config_says_something_else(tmp_path):
    text = (REPOSITORY / "configs" / "phi1_tiny.py").read_text()
    identities = []
    for changed in (text, text, text.replace("weight_decay = 0.1", "weight_decay = 0.2")):
        file = tmp_path / "mine.py"
        file.write_text(changed)
        pipeline = Pipeline(tmp_path / "runs", REPOSITORY / "launch")
        data = Data(pipeline, tmp_path, tmp_path, {})
        Recipe(file, {}, {}).add_training(data, "mine", {"x": (tmp_path, 1.0)}, 20)
        identities.append(pipeline.stages["mine"].identity)
    assert identities[0] == identities[1] != identities[2]
