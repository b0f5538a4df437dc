import math

import pytest
import torch
from conftest import random_model

from phi1_jax.corpus.problems import Problem
from phi1_jax.evaluate.benchmarks import humaneval
from phi1_jax.evaluate.bits_per_byte import solution_bits, summarize
from phi1_jax.interop.huggingface import read_folder


class ByteTokenizer:
    vocab_size, eot_id = 257, 256

    def encode_batch(self, texts):
        return [list(text.encode()) for text in texts]


def test_bits_per_byte_are_those_of_transformers(tmp_path):
    model = random_model()
    model.save_pretrained(tmp_path)
    problems = [
        Problem(f"own/{i}", "def f(x):\n" + "    # why\n" * i, "f", f"    return x + {i}\n", "")
        for i in range(0, 20, 3)
    ]
    found = solution_bits(humaneval(problems, "own"), *read_folder(tmp_path), ByteTokenizer())
    total = 0.0
    for problem, result in zip(problems, found, strict=True):
        ids = list((problem.prompt + problem.canonical_solution).encode())[-128:]
        labels = torch.tensor([ids])
        labels[:, : -len(problem.canonical_solution)] = -100
        with torch.no_grad():  # the mean over the labels that count, in nats
            mean = model(torch.tensor([ids]), labels=labels).loss.item()
        bits = mean * len(problem.canonical_solution) / math.log(2)
        assert result.bits == pytest.approx(bits, rel=1e-5)
        total += bits
    assert any(result.n_cut for result in found)
    n_bytes = sum(len(problem.canonical_solution) for problem in problems)
    assert summarize(found)["value"] == pytest.approx(total / n_bytes, rel=1e-5)
