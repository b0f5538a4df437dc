"""What the system refuses is never told as missing or damaged."""

import errno
import os
import resource
from contextlib import contextmanager

import numpy as np
import pytest
from safetensors.numpy import save_file

from phi1_jax.corpus.arrays import is_whole, write_arrays
from phi1_jax.files import read_json, read_json_if_whole
from phi1_jax.interop.safetensors import SINGLE, find_tensors
from phi1_jax.run.folder import scores
from phi1_jax.run.hashes import retry_io
from phi1_jax.tokens.shards import TokenShards


@contextmanager
def no_more_files():
    """The lowest free descriptor becomes the first that may not be had."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open(os.devnull, os.O_RDONLY)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, before[1]))
    os.close(free)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


MANIFEST = {
    "n_tokens": 4,
    "vocab_size": 9,
    "eot_id": 0,
    "tokenizer": "",
    "dtype": "uint16",
    "shards": [{"tokens": {"file": "tokens-00000.npy"}}],
}


@pytest.mark.parametrize(
    "read",
    [
        lambda folder: TokenShards(folder, MANIFEST).n_tokens,
        lambda folder: is_whole(folder / "part.npz", ["x"]),
        lambda folder: len(find_tensors(folder)),
        lambda folder: len(read_json(folder / "a.json")),
        lambda folder: len(read_json_if_whole(folder / "a.json")),
        lambda folder: len(scores(folder, "train/loss")),
    ],
    ids=["shards", "arrays", "safetensors", "json", "json if whole", "scores"],
)
def test_too_many_open_files_are_no_damage(read, tmp_path, monkeypatch):
    np.save(tmp_path / "tokens-00000.npy", np.zeros(4, np.uint16))
    write_arrays(tmp_path / "part.npz", {"x": np.zeros(3)})
    save_file({"x": np.zeros(3, np.float32)}, tmp_path / SINGLE)
    (tmp_path / "a.json").write_text('{"a": 1}')
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "train/loss": 2.0}\n')
    monkeypatch.setattr("phi1_jax.run.hashes.RETRY_AFTER_S", ())
    assert read(tmp_path)
    with no_more_files(), pytest.raises(OSError) as caught:
        read(tmp_path)
    assert caught.value.errno == errno.EMFILE
    assert retry_io(lambda: read(tmp_path))


def test_damaged_bytes_of_arrays_are_damage_wherever_they_are(tmp_path, capsys):
    path = tmp_path / "part.npz"
    write_arrays(path, {"x": np.arange(5)})
    data, found = path.read_bytes(), set()
    for place in range(len(data)):
        for flip in (1, 255):
            changed = bytes([data[place] ^ flip])
            path.write_bytes(data[:place] + changed + data[place + 1 :])
            found.add(is_whole(path, ["x"]))
    assert False in found and "is damaged; it is made again" in capsys.readouterr().err
