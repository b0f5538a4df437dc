"""lm-eval asks our server about HumanEval and MBPP, and reads the numbers and texts that we have.

Nothing is executed. In an environment of its own: `make test-lm-eval`.
"""

import dataclasses
import json
import math
import os
import subprocess
import sys
import threading

import jax
import pytest
from flax import nnx
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from phi1_jax.config import ModelConfig
from phi1_jax.corpus.records import read_records
from phi1_jax.evaluate.benchmarks import read_benchmark
from phi1_jax.evaluate.bits_per_byte import solution_bits, summarize
from phi1_jax.evaluate.problem_files import find_problems
from phi1_jax.generate.generator import Generator
from phi1_jax.model.phi import Phi
from phi1_jax.serve.server import CompletionServer, ServeConfig, listen
from phi1_jax.tokens.huggingface import codegen, write_tokenizer
from phi1_jax.tokens.load import load_byte_pair

NAMES = ("humaneval", "mbpp")
KINDS = {"loglikelihood": "acc", "generate_until": "exact_match"}  # and a metric of it
EVERY = 10  # of the problems, one
MAX_NEW_TOKENS = 24
TASK = """
task: {name}_{kind}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: {kind}
doc_to_text: "{{{{prompt}}}}"
doc_to_target: "{{{{solution}}}}"
target_delimiter: ""
metric_list: [{{metric: {metric}}}]
"""


@pytest.fixture(scope="module")
def benchmarks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("problems")
    found = {name: read_benchmark(name, find_problems(name, None, folder)) for name in NAMES}
    return {
        name: dataclasses.replace(benchmark, tasks=benchmark.tasks[::EVERY])
        for name, benchmark in found.items()
    }


@pytest.fixture(scope="module")
def tokenizer(benchmarks):
    """By GPT-2's rules, as phi-1's own: then no token has letters or marks and a line's end."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=800, initial_alphabet=alphabet, show_progress=False)
    texts = [task.prompt + task.solution for b in benchmarks.values() for task in b.tasks]
    tokenizer.train_from_iterator(texts, trainer)
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    vocab = {**tokenizer.get_vocab(), "<|endoftext|>": 800}
    return codegen(vocab, [tuple(merge) for merge in merges])


@pytest.fixture(scope="module")
def params(tokenizer):
    model = ModelConfig(
        vocab_size=tokenizer.vocab_size,
        n_layers=2,
        d_model=32,
        d_mlp=64,
        n_heads=4,
        rotary_dim=4,
        max_seq_len=1024,
        attention_dropout=0.0,
        residual_dropout=0.0,
        compute_dtype="float32",
    )
    params = nnx.to_pure_dict(nnx.state(Phi(model, nnx.Rngs(1)), nnx.Param))
    return model, jax.tree.map(lambda x: x * 5 if x.ndim > 1 else x, params)


@pytest.fixture(scope="module")
def generator(params, tokenizer):
    return Generator(*params, tokenizer, chunk_tokens=8)


@pytest.fixture(scope="module")
def port(generator):
    config = ServeConfig("tiny", port=0)
    sock = listen(config)
    server = CompletionServer(generator, config, "key")
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
    thread.start()
    yield sock.getsockname()[1]
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def samples(benchmarks, tokenizer, generator, port, tmp_path_factory):
    """By kind of task and benchmark, what lm-eval noted of each problem, in order."""
    folder = tmp_path_factory.mktemp("lm_eval")
    length = generator.config.max_seq_len
    tokenizer.save(folder / "tokenizer")
    write_tokenizer(load_byte_pair(folder / "tokenizer"), folder / "hf", length)
    (folder / "tasks").mkdir()
    for name, benchmark in benchmarks.items():
        data = folder / f"{name}.jsonl"
        rows = ({"prompt": task.prompt, "solution": task.solution} for task in benchmark.tasks)
        data.write_text("".join(json.dumps(row) + "\n" for row in rows))
        for kind, metric in KINDS.items():
            task = TASK.format(name=name, kind=kind, data=data, metric=metric)
            if kind == "generate_until":
                values = {"until": benchmark.stop, "max_gen_toks": MAX_NEW_TOKENS, "temperature": 0}
                task += f"generation_kwargs: {json.dumps(values)}\n"
            (folder / "tasks" / f"{name}_{kind}.yaml").write_text(task)
    model = f"model=tiny,tokenizer={folder / 'hf'},max_length={length},num_concurrent=8"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "lm_eval", "--model", "local-completions"),
            "--model_args",
            f"base_url=http://127.0.0.1:{port}/v1/completions,{model}",
            *("--tasks", ",".join(f"{name}_{kind}" for name in NAMES for kind in KINDS)),
            *("--include_path", str(folder / "tasks")),
            *("--output_path", str(folder / "out"), "--log_samples"),
        ],
        env={**os.environ, "OPENAI_API_KEY": "key", "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = {}
    for name, benchmark in benchmarks.items():
        for kind in KINDS:
            (path,) = folder.glob(f"out/**/samples_{name}_{kind}_*.jsonl")
            rows = sorted(read_records(path), key=lambda row: row["doc_id"])
            assert len(rows) == len(benchmark.tasks)
            found[kind, name] = [row["resps"][0][0] for row in rows]
    return found


def as_lm_eval(benchmark, config):
    """What lm-eval makes of prompts and context.

    It moves white space from a prompt's end to the solution, and keeps a token of the context free.
    """
    tasks = []
    for task in benchmark.tasks:
        prompt = task.prompt.rstrip()
        solution = task.prompt[len(prompt) :] + task.solution
        tasks.append(dataclasses.replace(task, prompt=prompt, solution=solution))
    return (
        dataclasses.replace(benchmark, tasks=tuple(tasks)),
        dataclasses.replace(config, max_seq_len=config.max_seq_len - 1),
    )


@pytest.mark.parametrize("name", NAMES)
def test_likelihoods_are_our_solution_bits_per_byte(name, benchmarks, params, tokenizer, samples):
    benchmark, config = as_lm_eval(benchmarks[name], params[0])
    want = solution_bits(benchmark, config, params[1], tokenizer)
    found = [-float(logprob) / math.log(2) for logprob, _ in samples["loglikelihood", name]]
    for ours, bits in zip(want, found, strict=True):
        assert bits / ours.n_bytes == pytest.approx(ours.bits / ours.n_bytes, abs=1e-3)
    n_bytes = sum(ours.n_bytes for ours in want)
    assert sum(found) / n_bytes == pytest.approx(summarize(want)["value"], abs=1e-3)
    assert {is_greedy for _, is_greedy in samples["loglikelihood", name]} == {"False"}


@pytest.mark.parametrize("name", NAMES)
def test_texts_are_those_of_the_generator(name, benchmarks, params, tokenizer, samples):
    _, config = as_lm_eval(benchmarks[name], params[0])
    want = Generator(config, params[1], tokenizer).generate(
        [task.prompt for task in benchmarks[name].tasks],
        max_new_tokens=MAX_NEW_TOKENS,
        stop=benchmarks[name].stop,
        on_overflow="left",
    )
    assert samples["generate_until", name] == [completion.text for (completion,) in want]
