"""Arguments as people type them, parsed as every script does; no process is started."""

import math
import sys
from types import SimpleNamespace

import pytest
from absl import flags
from conftest import REPOSITORY
from ml_collections import ConfigDict, config_flags

from phi1_jax.cli import corpus_flags, script
from phi1_jax.config_dict import load_config
from phi1_jax.errors import UserError


@pytest.fixture
def parse(monkeypatch, capsys):
    """Parses arguments with a script's kinds of flags; gives the values, or the one line said."""

    def work(*arguments):
        values = flags.FlagValues()
        for name in ("output", "prompt", "base_url"):
            flags.DEFINE_string(name, None, "", flag_values=values)
        flags.DEFINE_multi_string("source", [], "", flag_values=values)
        flags.DEFINE_multi_string("stop", [], "", flag_values=values)
        flags.DEFINE_float("budget_mb", None, "", flag_values=values)
        flags.DEFINE_list("k", "", "", flag_values=values)
        values["k"].value = [""]  # as a default may stand
        config_flags.DEFINE_config_file("config", None, "", flag_values=values)
        monkeypatch.setattr(flags, "FLAGS", values)
        monkeypatch.setattr(sys, "argv", [str(REPOSITORY / "launch" / "train.py"), *arguments])
        try:
            script._parse(["train.py", *arguments])
        except SystemExit as left:
            assert left.code == 2
            said = capsys.readouterr().err
            assert said.startswith("error: ") and said.count("\n") == 1
            return said
        return values

    return work


def test_a_tilde_is_the_home_folder_in_every_flag(parse, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    values = parse("--output=~/runs", "--source=code=~/a:2", "--source=prose:~/b", "--prompt=~/x")
    assert values.output == "/home/me/runs" and values.prompt == "~/x"
    assert values.source == ["code=/home/me/a:2", "prose:/home/me/b"]
    assert parse("--output=a~/b").output == "a~/b"
    values = parse("--output", "~/runs", "--source", "code=~/a", "--prompt", "~/x")
    assert (values.output, values.source, values.prompt) == (
        "/home/me/runs", ["code=/home/me/a"], "~/x",
    )  # fmt: skip


@pytest.mark.parametrize("value", ["mine=", "code:", "prose:", "="])
def test_nothing_behind_a_name_is_not_this_folder(value, parse):
    assert f"--source={value}: nothing stands behind" in parse(f"--source={value}")
    assert parse(f"--stop={value}").stop == [value]


@pytest.mark.parametrize("value", ["gs://bucket/run", "s3://b", "x=hdfs://b", "file:///tmp/x"])
def test_a_url_is_refused_at_once(value, parse, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "runs' folders are on a file system" in parse(f"--output={value}")
    assert not list(tmp_path.iterdir())
    assert "runs' folders are on a file system" in parse("--output", value)
    assert "runs' folders are on a file system" in parse("verify", value)  # positional
    assert parse("--base_url=http://x/v1", "--prompt=http://y").base_url == "http://x/v1"
    assert parse("--base_url", "http://x/v1", "--prompt", "http://y").prompt == "http://y"


@pytest.mark.filterwarnings("ignore:the load_module")  # of ml_collections
@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("--config=configs/phi1_tinny.py", "did you mean phi1_tiny?"),
        ("--config=nowhere/at/all.py", "--config=nowhere/at/all.py: no such file in"),
        ("--learning_rate=1", "did you mean --config.optimizer.peak_learning_rate?"),
        ("--batch_size=1", "did you mean --config.data.global_batch_size?"),
        ("--steps=1", "did you mean --config.steps?"),
        ("--outptu=x", "Did you mean: output"),
        ("--config=phi1_tiny --config.stepz=1", "--config.stepz: no such field in the config; did"),
        ("--config=phi1_tiny --config.optimizer.lr=1", "; optimizer has name, peak_learning_rate,"),
        ("--config=phi1_tiny --config.opt.x=1", "--config.opt.x: no such field in the config; it"),
        ("--config=phi1_tiny --config.mesh=8", "--config.mesh=8: is a group; set one of its"),
        ("--config=phi1_tiny --config.data.sources=x", "or by --source=NAME=SHARDS"),
        ("--config=phi1_tiny --config.steps=1e3", "--config.steps=1e3: give a whole number"),
        ("--budget_mb=9MB", "--budget_mb=9MB: give a number"),
    ],
)
def test_a_near_miss_is_answered(argument, words, parse):
    assert words in parse(*argument.split())


@pytest.mark.filterwarnings("ignore:the load_module")  # of ml_collections
def test_a_source_of_the_config_s_file_and_a_whole_group_can_be_set(parse, tmp_path):
    file = tmp_path / "mine.py"
    values = {"data": {"sources": [{"weight": 1.0}]}, "mesh": {"data": 8}}
    file.write_text(
        f"from ml_collections import ConfigDict\ndef get_config(): return ConfigDict({values})"
    )
    given = ("--config.data.sources[0].weight=2.0", "--config.mesh", "{'data': 4}")
    config = parse(f"--config={file}", *given).config
    assert config.data.sources[0]["weight"] == 2.0 and config.mesh.data == 4


@pytest.mark.filterwarnings("ignore:the load_module")  # of ml_collections
def test_a_field_that_the_config_s_file_lacks_is_named(parse, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from ml_collections import ConfigDict\n"
        "def get_config():\n"
        "    return ConfigDict({'steps': 3})\n"
    )
    said = parse(f"--config={file}", "--config.seed=1")
    assert "names 'seed', which the config's file does not hold" in said


@pytest.mark.filterwarnings("ignore:the load_module")  # of ml_collections
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("def get_config(): return confi", "--config: NameError: name 'confi' is not defined"),
        ("def get_config(): retrn 1", "--config: SyntaxError: invalid syntax (mine.py, line 1)"),
        ("def get_config(): return {}['x']", "--config: KeyError: x"),
        ("def get_config(): return int('few')", "mine.py: ValueError: invalid literal for"),
        ("import re\ndef get_config(): return re.get_config()", "module 're' has no attribute"),
        ('{"steps": 20}', "--config: give a file that has get_config()"),  # RUN/config.json
        ("def get_config(): return 1 + ''", "mine.py: TypeError: unsupported operand"),
    ],
)
def test_what_is_wrong_in_a_config_s_file_is_one_line_that_names_the_flag(
    line, words, parse, tmp_path, monkeypatch
):
    monkeypatch.delitem(sys.modules, "config_config", raising=False)  # an earlier file
    (tmp_path / "mine.py").write_text(line)
    assert words in parse(f"--config={tmp_path / 'mine.py'}")


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e999"])
def test_a_number_that_is_none_is_refused(number, parse):
    assert "give a finite number" in parse(f"--budget_mb={number}")
    if number != "1e999":  # among several; what reads them knows their range
        assert f"--k={number}: give a finite number" in parse(f"--k=1,{number}")


@pytest.mark.filterwarnings("ignore:the load_module")  # of ml_collections
def test_a_field_of_a_config_may_be_infinite(parse):
    values = parse("--config=phi1_tiny", "--config.optimizer.clip_norm=inf")
    assert values.config.optimizer.clip_norm == math.inf


def test_an_empty_value_is_not_this_folder(parse):
    """As `--source=$UNSET` gives it."""
    assert "--source=: is empty" in parse("--source=")
    assert parse("--stop=", "--output=").stop == [""]


@pytest.mark.parametrize("name", ["phi1_tiny", "phi1_tiny.py", "configs/phi1_tiny.py"])
def test_a_config_of_this_project_is_found_from_any_folder(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(REPOSITORY / "launch" / "train.py")])
    shipped = REPOSITORY / "configs" / "phi1_tiny.py"
    assert script._resolve(f"--config={name}", "train.py") == f"--config={shipped}"
    assert script._resolve(name, "--config") == str(shipped)
    (tmp_path / "phi1_tiny").mkdir()  # a run's folder, say
    assert script._resolve(f"--config={name}", "train.py") == f"--config={shipped}"
    (tmp_path / "phi1_tiny").rmdir()
    (tmp_path / "phi1_tiny").touch()  # a file of the user's own comes first
    own = "--config=phi1_tiny" if name == "phi1_tiny" else f"--config={shipped}"
    assert script._resolve(f"--config={name}", "train.py") == own


def test_a_config_of_the_users_own_comes_before_this_projects(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "phi1_tiny.py").write_text("def get_config():\n    return {'steps': 3}\n")
    assert script._resolve("--config=phi1_tiny", "train.py") == "--config=phi1_tiny.py"
    assert load_config("phi1_tiny", {"optimizer.warmup_steps": 1}).steps == 3
    own = "--config=phi1_tiny.py:small"  # with an argument, as ml_collections has it
    assert script._resolve(own, "train.py") == own


@pytest.mark.filterwarnings("ignore:the load_module")  # of ml_collections
@pytest.mark.parametrize(
    ("value", "words"), [("", "is an empty string"), (REPOSITORY, "Is a directory")]
)
def test_a_config_that_is_no_file_is_named(value, words, parse):
    values = parse(f"--config={value}")
    with pytest.raises(UserError, match=f"--config: .*{words}"):
        script.load_config(Holder(values.config))


class Holder:
    """A config flag whose file returned `value`."""

    def __init__(self, value):
        self.name, self.value = "config", value


def test_a_config_may_be_a_plain_dict(monkeypatch):
    monkeypatch.setattr(flags, "FLAGS", {"config": Holder("set")})
    assert script.load_config(Holder({"steps": 3})) == {"steps": 3}
    assert script.load_config(Holder(ConfigDict({"data": {"seq_len": 3}})))["data"]["seq_len"] == 3
    with pytest.raises(UserError, match="ConfigDict, not a list"):
        script.load_config(Holder([1]))


def test_paths_in_a_config_are_local(monkeypatch):
    monkeypatch.setattr(flags, "FLAGS", {"config": Holder("set")})
    monkeypatch.setenv("HOME", "/home/me")
    source = ConfigDict({"name": "~", "path": "~/shards"})
    values = {
        "data": {"tokenizer": "~/tokenizer", "sources": (source,)},
        "init_from": "~/base@12",
    }
    assert script.load_config(Holder(ConfigDict(values))) == {
        "data": {
            "tokenizer": "/home/me/tokenizer",
            "sources": [{"name": "~", "path": "/home/me/shards"}],
        },
        "init_from": "/home/me/base@12",
    }
    values["data"]["sources"][0]["path"] = "gs://bucket/shards"
    with pytest.raises(
        UserError, match=r"data.sources\[0\].path=gs://bucket/shards: this is a URL"
    ):
        script.load_config(Holder(values))


def test_a_corpus_that_is_named_twice_is_refused(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").symlink_to("a")
    for names in (["a", "./a"], ["a", "b"]):
        holder = SimpleNamespace(value=[str(tmp_path / name) for name in names])
        monkeypatch.setattr(corpus_flags, "CORPUS", holder)
        with pytest.raises(UserError, match="is named twice; name it once"):
            corpus_flags.paths()
    (tmp_path / "a" / "c").mkdir()
    for names in (["a", "a/c"], ["b/c", "a"]):
        holder = SimpleNamespace(value=[str(tmp_path / name) for name in names])
        monkeypatch.setattr(corpus_flags, "CORPUS", holder)
        with pytest.raises(UserError, match=r"/c: lies in --corpus=.*/a; name only"):
            corpus_flags.paths()


def test_a_missing_flag_is_named_with_what_it_is_in_one_line():
    values = flags.FlagValues()
    one = flags.DEFINE_string("one_file", None, "File of one.", values)
    many = flags.DEFINE_multi_string("many_files", [], "Files of many.", values)
    values(["script", "--one_file=x"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flags, "FLAGS", values)
        script.require(one)
        with pytest.raises(UserError, match=r"^--many_files is missing: Files of many\.$"):
            script.require(one, many)


def test_a_shard_is_two_numbers():
    assert script.parse_shard("0/1") == (0, 1) and script.parse_shard("3/4") == (3, 4)
    for text in ("", "1", "4/4", "-1/4", "1/2/3", "a/b"):
        with pytest.raises(UserError, match=f"--shard={text}: give I/N with I from 0"):
            script.parse_shard(text)
