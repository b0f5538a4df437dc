"""lm-eval asks our server, and reads the likelihoods and texts that we have of the same model.

In an environment of its own: `make test-lm-eval`.
"""

import json
import math
import os
import subprocess
import sys
import threading

import jax
import pytest
from flax import nnx

from phi1_jax.config import ModelConfig
from phi1_jax.corpus.problems import Problem
from phi1_jax.evaluate.benchmarks import humaneval
from phi1_jax.evaluate.bits_per_byte import solution_bits
from phi1_jax.generate.generator import Generator
from phi1_jax.interop.tokenizers import write_tokenizer
from phi1_jax.model.phi import Phi
from phi1_jax.serve.server import CompletionServer, ServeConfig, listen
from phi1_jax.tokens.sentencepiece_bpe import train_tokenizer

# No prompt ends in white space, which lm-eval would count with the solution.
PAIRS = [
    ('def add(a, b):\n    """Returns the sum."""', "\n    return a + b\n"),
    ('def twice(text):\n    """Returns the text twice, é included."""', "\n    return 2 * text\n"),
    ('def last(items):\n    """Returns the last."""', "\n    return items[-1]\n"),
]
TASK = """
task: own_{kind}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: {kind}
doc_to_text: "{{{{prompt}}}}"
doc_to_target: "{{{{solution}}}}"
target_delimiter: ""
"""


@pytest.fixture(scope="module")
def generator():
    # Apart, so that no token spans prompt and solution: lm-eval would leave it out.
    tokenizer = train_tokenizer([text for pair in PAIRS for text in pair] * 20, 330)
    model = ModelConfig(
        vocab_size=330,
        n_layers=2,
        d_model=32,
        d_mlp=64,
        n_heads=4,
        rotary_dim=4,
        max_seq_len=128,
        attention_dropout=0.0,
        residual_dropout=0.0,
        compute_dtype="float32",
    )
    params = nnx.to_pure_dict(nnx.state(Phi(model, nnx.Rngs(1)), nnx.Param))
    params = jax.tree.map(lambda x: x * 5 if x.ndim > 1 else x, params)
    found = Generator(model, params, tokenizer, chunk_tokens=8)
    found.params = params
    return found


@pytest.fixture(scope="module")
def port(generator):
    config = ServeConfig("tiny", port=0, batch_size=4)
    sock = listen(config)
    server = CompletionServer(generator, config, "key")
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
    thread.start()
    yield sock.getsockname()[1]
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def samples(generator, port, tmp_path_factory):
    """By kind of task, what lm-eval noted of each pair, in order."""
    folder = tmp_path_factory.mktemp("lm_eval")
    generator.tokenizer.save(folder / "tokenizer")
    write_tokenizer(folder / "tokenizer", folder / "hf", generator.config.max_seq_len)
    data = folder / "pairs.jsonl"
    data.write_text("".join(json.dumps({"prompt": p, "solution": s}) + "\n" for p, s in PAIRS))
    (folder / "tasks").mkdir()
    for kind in ("loglikelihood", "generate_until"):
        task = TASK.format(kind=kind, data=data)
        if kind == "generate_until":
            task += 'generation_kwargs: {until: ["\\ndef"], max_gen_toks: 24, temperature: 0}\n'
        (folder / "tasks" / f"{kind}.yaml").write_text(task)
    model = f"model=tiny,tokenizer={folder / 'hf'},max_length=128,num_concurrent=3"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "lm_eval", "--model", "local-completions"),
            "--model_args",
            f"base_url=http://127.0.0.1:{port}/v1/completions,{model}",
            *("--tasks", "own_loglikelihood,own_generate_until"),
            *("--include_path", str(folder / "tasks")),
            *("--output_path", str(folder / "out"), "--log_samples"),
        ],
        env={**os.environ, "OPENAI_API_KEY": "key", "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = {}
    for kind in ("loglikelihood", "generate_until"):
        (path,) = folder.glob(f"out/**/samples_own_{kind}_*.jsonl")
        rows = sorted(map(json.loads, path.open()), key=lambda row: row["doc_id"])
        found[kind] = [row["resps"][0][0] for row in rows]
    return found


def test_likelihoods_are_our_solution_bits_per_byte(generator, samples):
    problems = [Problem(f"own/{i}", p, "f", s, "x") for i, (p, s) in enumerate(PAIRS)]
    want = solution_bits(
        humaneval(problems, "own"), generator.config, generator.params, generator.tokenizer
    )
    for bits, (logprob, is_greedy) in zip(want, samples["loglikelihood"], strict=True):
        ours = bits.bits / bits.n_bytes
        assert -float(logprob) / math.log(2) / bits.n_bytes == pytest.approx(ours, abs=1e-3)
        assert str(is_greedy) == "False"


def test_texts_are_those_of_the_generator(generator, samples):
    prompts = [prompt for prompt, _ in PAIRS]
    want = generator.generate(prompts, max_new_tokens=24, stop=["\ndef"])
    assert samples["generate_until"] == [c.text for (c,) in want]
