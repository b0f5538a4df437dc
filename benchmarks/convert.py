"""Hugging Face -> Orbax -> Hugging Face of a random model: time, peak memory, every bit."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from benchmarks.report import OURS, Row
from benchmarks.timing import Process, launch, run_process
from phi1_jax.config import RunConfig
from phi1_jax.interop.huggingface import write_folder
from phi1_jax.interop.safetensors import find_tensors
from phi1_jax.model.phi import Phi
from phi1_jax.tokens.huggingface import write_tokenizer
from phi1_jax.tokens.load import load_byte_pair
from phi1_jax.tokens.sentencepiece_bpe import train_tokenizer


def measure(config: RunConfig) -> Iterator[Row]:
    """launch/convert.py there and back, each in a process of its own.

    Raises:
      AssertionError: a tensor that came back is not the one that left.
    """
    # On disk, not in a /tmp that may be memory.
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".benchmark-") as name:
        folder = Path(name)
        # Any tokenizer does: its pieces must be fewer than the model's rows.
        text = "def f(x):\n    return x\n" * 50
        train_tokenizer([text], min(280, config.model.vocab_size)).save(folder / "tokenizer")
        n_bytes = write_random_model(config, folder / "before")
        write_tokenizer(
            load_byte_pair(folder / "tokenizer"), folder / "before", config.model.max_seq_len
        )
        before, run, after = (str(folder / name) for name in ("before", "run", "after"))
        done = run_process([launch("convert.py"), f"--from_hf={before}", f"--to={run}"])
        yield _row("Hugging Face to Orbax", done, n_bytes)
        done = run_process([launch("convert.py"), f"--from={run}", f"--to_hf={after}"])
        n_tensors = compare_bits(Path(before), Path(after))
        yield _row("Orbax to Hugging Face", done, n_bytes, bit_identical_tensors=n_tensors)


def write_random_model(config: RunConfig, folder: Path) -> int:
    """A Hugging Face folder of `config.model`'s shape; returns the bytes of its weights."""
    rng = np.random.default_rng(config.seed)
    shapes = nnx.to_pure_dict(Phi.skeleton(config.model)[1])
    params = jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape, np.float32), shapes)
    write_folder(folder, config.model, params, {"eos_token_id": 0})
    return sum(leaf.nbytes for leaf in jax.tree.leaves(params))


def compare_bits(before: Path, after: Path) -> int:
    """Compares every tensor of two folders, one at a time; returns how many there are."""
    left, right = find_tensors(before), find_tensors(after)
    assert left.keys() == right.keys(), f"tensors differ: {left.keys() ^ right.keys()}"
    for name, tensor in left.items():
        a, b = tensor.read(), right[name].read()
        same = a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
        assert same, f"{name} came back otherwise"
    return len(left)


def _row(case: str, done: Process, n_bytes: int, **values: Any) -> Row:
    ratio = done.peak_bytes / n_bytes
    peak = {"peak_bytes": float(done.peak_bytes), "weights_bytes": float(n_bytes)}
    return Row(case, OURS, done.seconds, values={**peak, "peak_by_weights": ratio, **values})
