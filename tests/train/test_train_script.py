"""launch/train.py with a benchmark: pass@1 and completions in TensorBoard."""

import json
import random
from subprocess import CompletedProcess

import pytest
from conftest import REPOSITORY, run_script
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from phi1_jax.corpus.documents import Document
from phi1_jax.corpus.problems import Problem, write_problems
from phi1_jax.tokens.sentencepiece_bpe import train_tokenizer
from phi1_jax.tokens.shards import write_shards

PROBLEMS = [
    Problem(
        f"own/{i}",
        f'def add_{i}(x):\n    """Adds {i}."""\n',
        f"add_{i}",
        f"    return x + {i}\n",
        f"def check(f):\n    assert f(1) == {i + 1} and f(5) == {i + 5}\n",
    )
    for i in range(1, 6)
]
TRAIN = (
    "--config=configs/phi1_tiny.py", "--config.model.vocab_size=320", "--config.model.d_model=64",
    "--config.model.d_mlp=128", "--config.model.n_layers=1", "--config.model.scan_unroll=1",
    "--config.model.n_induction_heads=0",
    "--config.model.max_seq_len=64", "--config.data.seq_len=63", "--config.data.loss_on=all",
    "--config.optimizer.warmup_steps=5", "--config.steps=200", "--config.log_every_steps=100",
    "--config.eval_every_steps=100",
)  # fmt: skip


def train(*arguments: str) -> CompletedProcess:
    return run_script("train.py", *TRAIN, *arguments, cwd=REPOSITORY)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("script")
    write_problems(folder / "own.jsonl", PROBLEMS)
    texts = [p.prompt + p.canonical_solution for p in PROBLEMS]
    tokenizer = train_tokenizer(texts * 20, 320)
    tokenizer.save(folder / "tokenizer")
    # In any order, or the model learns to count on from the document before.
    order = random.Random(0).choices(range(5), k=400)
    documents = [Document(f"{i}", texts[number], "own") for i, number in enumerate(order)]
    write_shards(documents, tokenizer, folder / "shards")
    return folder


def inputs(folder) -> tuple[str, ...]:
    return (
        f"--source=own={folder / 'shards'}",
        f"--tokenizer={folder / 'tokenizer'}",
        f"--output={folder / 'run'}",
    )


@pytest.mark.slow
def test_pass_at_1_becomes_a_curve(folder):
    done = train(
        *inputs(folder),
        f"--eval_benchmark={folder / 'own.jsonl'}",
        "--allow_code_execution",
        "--sample_prompt=def add_3(",
        "--config.data.validation_rows=16",
    )
    assert done.returncode == 0, done.stderr
    assert "sandbox: " in done.stdout and "the test executor on own.jsonl: " in done.stdout
    events = EventAccumulator(str(folder / "run")).Reload()
    points = {event.step: event.value for event in events.Scalars("pass@1/own")}
    assert list(points) == [100, 200]
    assert points[200] == 1.0  # it has seen the solutions
    for step, value in points.items():
        rows = (folder / f"run/evaluate/own.jsonl/{step}/results.jsonl").read_text().splitlines()
        # Half of the context, so that prompts keep the other half.
        plan = json.loads((folder / f"run/evaluate/own.jsonl/{step}/sampling.json").read_text())
        assert plan["max_new_tokens"] == 32
        verdicts = [json.loads(row)["verdict"] for row in rows]
        assert value == pytest.approx(verdicts.count("PASS") / len(PROBLEMS))
    first, last = events.Tensors("own/samples")
    shown = last.tensor_proto.string_val[0].decode()
    assert (first.step, last.step) == (100, 200)
    assert "## own/1: PASS" in shown and "        return x + 1\n" in shown
    (_, drawn) = events.Tensors("samples/completions")
    assert "    def add_3(x):\n" in drawn.tensor_proto.string_val[0].decode()
    bits = [event.value for event in events.Scalars("sources/bits_per_byte/own")]
    assert len(bits) == 2 and 0 < bits[1] < 1
    lines = [json.loads(x) for x in (folder / "run/metrics.jsonl").read_text().splitlines()]
    assert [row["own/pass@1"] for row in lines if "own/pass@1" in row] == list(points.values())
    result = (folder / "run/result.json").read_text()
    assert json.loads(result)["finished"]
    again = train(*inputs(folder), "--config.data.validation_rows=16")
    assert again.returncode == 0, again.stderr
    assert (folder / "run/result.json").read_text() == result  # with its loss and seconds


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--eval_benchmark=own.jsonl",), "agree with --allow_code_execution"),
        (("--eval_benchmark=no.jsonl", "--allow_code_execution"), "no.jsonl"),
        (("--eval_benchmark=mbpp", "--allow_code_execution"), "needs --eval_problems"),
        (("--eval_benchmark=own.jsonl", "--eval_metrics=pass"), "--eval_metrics=pass: unknown"),
        (("--eval_metrics=pass_at_k",), "is read with --eval_benchmark only"),
        (("--profile_start=900", "--profile_steps=2"), "the run ends at 200"),
        (("--profile_start=9",), "needs --profile_steps"),
        (("--sample_prompt=x", "--config.eval_every_steps=0"), "eval_every_steps=0"),
        (("--sample_prompt=x", "--tokenizer="), "--tokenizer is missing"),
        (("--source=b=shards:0x",), "--source=b=shards:0x: gives 0 epochs"),
        (("--source=b=nowhere:.5",), "nowhere: "),
        (("--source=b=nowhere:1e-05",), "nowhere: "),
    ],
)
def test_a_mistake_gets_one_line(folder, arguments, words):
    done = train(*inputs(folder), *arguments)
    assert done.returncode == 2, done.stderr
    (line,) = [x for x in done.stderr.splitlines() if x.startswith("error: ")]
    assert words in line and "Traceback" not in done.stderr
