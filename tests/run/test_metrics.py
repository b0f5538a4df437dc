import dataclasses
import json
from argparse import Namespace

from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.backend_context import Context

from phi1_jax.config import OptimizerConfig, RunConfig, SourceConfig
from phi1_jax.run.folder import scores
from phi1_jax.run.metrics import MetricsWriter, board_tag
from phi1_jax.train.train_metrics import hyperparameters

PNG = bytes.fromhex("89504e470d0a1a0a0000000d4948445200000002000000030806000000000000000000000000")


def test_tensorboards_own_reader_sees_every_kind(tmp_path):
    writer = MetricsWriter(tmp_path)
    writer.scalars(3, {"train/loss": 1.5})
    writer.scalars(4, {"train/loss": 1.25})
    writer.text(4, "samples", "# Sample\n\n    x = 1")
    writer.image(4, "figure", PNG)
    writer.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss/train")] == [(3, 1.5), (4, 1.25)]
    (text,) = events.Tensors("samples")
    assert b"# Sample" in text.tensor_proto.string_val[0]
    (image,) = events.Images("figure")
    assert (image.width, image.height) == (2, 3)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(row["step"], row["train/loss"]) for row in lines] == [(3, 1.5), (4, 1.25)]


def hparams_page(logdir):
    """Columns of hyperparameters and of metrics, five each at first, and the trials of the page."""
    events = EventMultiplexer().AddRunsFromDirectory(str(logdir)).Reload()
    flags = Namespace(generic_data="true")
    provider = MultiplexerDataProvider(events, str(logdir))
    context = Context(TBContext(data_provider=provider, logdir=str(logdir), flags=flags))
    asked, found = RequestContext(), context.hparams_metadata(RequestContext(), "")
    page = context.experiment_from_metadata(asked, "", True, found, [])
    trials = {
        run: metadata.parse_session_start_info_plugin_data(tags[metadata.SESSION_START_INFO_TAG])
        for run, tags in found.items()
    }
    # As index.html does: those that differ first, both in the order given.
    infos = sorted(page.hparam_infos, key=lambda info: not info.differs)
    columns = [info.name for info in infos][:5]
    return columns, [info.name.tag for info in page.metric_infos][:5], trials


def write_trial(run_dir, **changes):
    config = RunConfig()
    sources = tuple(SourceConfig(name, f"runs/shards_{name}") for name in ("code", "exercises"))
    data = dataclasses.replace(config.data, sources=sources)
    writer = MetricsWriter(run_dir)
    config = dataclasses.replace(config, data=data, **changes)
    writer.hyperparameters(run_dir.name, hyperparameters(config, 1_300_000))
    by_source = {
        f"validation/{of}/{s.name}": 1.0 for of in ("loss", "bits_per_byte") for s in sources
    }
    curves = {"train/loss": 1.0, "validation/loss": 1.0, "humaneval/pass@1": 0.5, **by_source}
    writer.scalars(1, curves | {"train/learning_rate": 0.1, "speed/step_ms": 1.0, "data/tokens": 9})
    writer.close()


def test_hparams_shows_what_differs_then_the_main_ones_beside_loss_and_pass_at_1(tmp_path):
    write_trial(tmp_path / "base")
    columns, curves, trials = hparams_page(tmp_path)
    assert columns == ["Batch size", "Data", "Learning rate", "Parameters", "Seed"]
    assert curves[:3] == ["loss/train", "loss/validation", "pass@1/humaneval"]
    assert trials["base"].hparams["Data"].string_value == (
        "code=shards_code:1 exercises=shards_exercises:1"
    )
    # Fields at their defaults in one of two runs count as different, main ones first.
    write_trial(tmp_path / "long", steps=50_000, optimizer=OptimizerConfig(b2=0.99))
    columns, _, trials = hparams_page(tmp_path)
    assert columns == ["Steps", "optimizer.b2", "Batch size", "Data", "Learning rate"]
    assert {run: trial.group_name for run, trial in trials.items()} == {
        "base": "base",
        "long": "long",
    }


def test_trouble_with_one_file_is_a_warning_and_the_other_goes_on(tmp_path, caplog):
    (tmp_path / "events.out.tfevents.0001").mkdir()  # in the way
    writer = MetricsWriter(tmp_path)
    writer.scalars(1, {"train/loss": 1.0})
    writer.text(1, "samples", "x")
    writer.close()
    assert caplog.text.count("training goes on") == 1
    assert json.loads((tmp_path / "metrics.jsonl").read_text())["train/loss"] == 1.0


def test_a_full_disk_is_a_warning(tmp_path, caplog):
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    writer = MetricsWriter(tmp_path)
    for step in range(3):
        writer.scalars(step, {"train/loss": float("nan")})
    writer.close()
    assert caplog.text.count("metrics.jsonl is not written, training goes on") == 1
    events = EventAccumulator(str(tmp_path)).Reload()
    assert len(events.Scalars("loss/train")) == 3


def test_curves_come_back_with_the_disk(tmp_path, caplog):
    """After a failure in the middle of a record, which must not spoil those after it."""
    writer = MetricsWriter(tmp_path)
    writer.scalars(1, {"train/loss": 1.0})
    real = {}
    for name in ("_events", "_lines"):
        file = real[name] = getattr(writer, name)._file

        class Full:
            def write(self, data, file=file):
                file.write(data[: len(data) // 2])
                file.flush()
                raise OSError(28, "No space left on device")

            tell, close = file.tell, file.close

        getattr(writer, name)._file = Full()
    writer.scalars(2, {"train/loss": 2.0})
    writer.scalars(3, {"train/loss": 3.0})
    writer.close()
    assert caplog.text.count("training goes on") == 2
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in lines] == [1, 3]
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [e.step for e in events.Scalars("loss/train")] == [1, 3]


def test_a_first_record_that_fails_takes_no_other_along(tmp_path, monkeypatch):
    class Torn:
        def __init__(self, file):
            self.file = file

        def write(self, data):
            self.file.write(data[: len(data) // 2])
            raise OSError(28, "No space left on device")

    writer = MetricsWriter(tmp_path)
    monkeypatch.setattr("phi1_jax.run.metrics.RecordWriter", Torn)
    writer.scalars(1, {"train/loss": 1.0})
    monkeypatch.undo()
    writer.scalars(2, {"train/loss": 2.0})
    writer.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [e.step for e in events.Scalars("loss/train")] == [2]


def test_a_torn_line_takes_no_other_along(tmp_path):
    whole = '{"step": 40, "train/loss": 1.0}\n'
    (tmp_path / "metrics.jsonl").write_text(whole + '{"step": 41, "train/lo')
    writer = MetricsWriter(tmp_path)
    writer.scalars(45, {"train/loss": 2.0})
    writer.close()
    first, last = (tmp_path / "metrics.jsonl").read_text().splitlines(keepends=True)
    assert first == whole and json.loads(last)["step"] == 45
    assert scores(tmp_path, "train/loss") == {40: 1.0, 45: 2.0}


def test_no_number_is_null(tmp_path):
    writer = MetricsWriter(tmp_path)
    writer.scalars(1, {"train/loss": float("nan")})
    writer.close()
    assert json.loads((tmp_path / "metrics.jsonl").read_text())["train/loss"] is None


def test_a_process_that_does_not_write_leaves_no_file(tmp_path):
    writer = MetricsWriter(tmp_path, enabled=False)
    writer.scalars(1, {"train/loss": 1.0})
    writer.close()
    assert list(tmp_path.iterdir()) == []


def test_tensorboard_opens_on_what_matters():
    """It sorts groups of curves by name, and curves within a group."""
    curves = (
        *("train/loss", "validation/loss", "humaneval/pass@1", "humaneval/solution_bits_per_byte"),
        *("validation/bits_per_byte/code", "validation/loss/code"),
        *("speed/step_ms", "train/gradient_norm"),
        *("data/skipped_rows/code", "memory/peak_gib", "data/tokens/code", "data/tokens_seen"),
    )
    assert [board_tag(curve) for curve in curves] == [
        *("loss/train", "loss/validation", "pass@1/humaneval", "solution_bits_per_byte/humaneval"),
        *("sources/bits_per_byte/code", "sources/loss/code"),
        *("speed/step_ms", "state/gradient_norm"),
        *("state/skipped_rows/code", "system/peak_gib", "tokens/code", "tokens/seen"),
    ]
    groups = [board_tag(curve).partition("/")[0] for curve in curves]
    assert groups == sorted(groups)
