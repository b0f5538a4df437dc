"""launch/serve.py as a user starts and ends it."""

import dataclasses
import re
import signal
import subprocess
import sys

import jax
import openai
import pytest
from conftest import REPOSITORY
from flax import nnx

from phi1_jax.model.phi import Phi
from phi1_jax.run.checkpoint import write_model
from phi1_jax.tokens.sentencepiece_bpe import train_tokenizer


@pytest.fixture
def run_dir(tmp_path, tiny_model):
    train_tokenizer(["def f(x):\n    return x\n"] * 50, 280).save(tmp_path / "tokenizer")
    model = dataclasses.replace(tiny_model, vocab_size=280)
    params = nnx.to_pure_dict(jax.jit(lambda: nnx.state(Phi(model, nnx.Rngs(0)), nnx.Param))())
    write_model(tmp_path / "phi", model, params, tmp_path / "tokenizer")
    return tmp_path / "phi"


@pytest.mark.slow
def test_it_serves_until_sigterm_and_lets_requests_end(run_dir, tmp_path):
    (tmp_path / "key").write_text("the-key\n")
    command = [sys.executable, REPOSITORY / "launch/serve.py", f"--checkpoint={run_dir}"]
    with subprocess.Popen(
        [*command, "--port=0", f"--api_key_file={tmp_path / 'key'}"],
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        line = server.stderr.readline()
        url = re.fullmatch(r"serving phi at (http://127\.0\.0\.1:\d+/v1)\n", line)[1]
        with openai.OpenAI(base_url=url, api_key="the-key", max_retries=0) as client:
            options = {"model": "phi", "prompt": "def f(", "max_tokens": 50, "temperature": 0}
            stream = client.completions.create(stream=True, n=8, **options)
            next(stream)
            server.send_signal(signal.SIGTERM)
            ended = [c.index for part in stream for c in part.choices if c.finish_reason]
        assert sorted(ended) == list(range(8))
        assert server.wait(60) == -signal.SIGTERM
        assert server.stderr.read() == ""


@pytest.mark.slow
def test_a_key_file_that_is_missing_or_empty_is_named(run_dir, tmp_path):
    (tmp_path / "empty").write_text("\n")
    for name, reason in (("nowhere", "No such file"), ("empty", "is empty")):
        command = [sys.executable, REPOSITORY / "launch/serve.py", f"--checkpoint={run_dir}"]
        done = subprocess.run(
            [*command, f"--api_key_file={tmp_path / name}"], capture_output=True, text=True
        )
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"error: --api_key_file={tmp_path / name}: {reason}")
