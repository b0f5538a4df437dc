import json

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from phi1_jax.errors import UserError
from phi1_jax.interop.safetensors import find_tensors, write_tensors

RNG = np.random.default_rng(0)
ARRAYS = {
    "plain": RNG.normal(size=(3, 5)).astype(np.float32),
    # The library would write the bytes of these as they lie in memory.
    "transposed": RNG.normal(size=(4, 6)).astype(np.float32).T,
    "strided": RNG.normal(size=(8, 8)).astype(np.float16)[::2, ::3],
    "half": RNG.normal(size=7).astype(ml_dtypes.bfloat16),
    "scalar": np.float32(3.5).reshape(()),
    "empty": np.zeros((0, 3), np.float32),
}


def write(folder, arrays, max_file_bytes=10**9):
    sizes = {name: array.nbytes for name, array in arrays.items()}
    write_tensors(folder, sizes, arrays.__getitem__, max_file_bytes)
    return sorted(folder.glob("*.safetensors"))


def test_the_library_reads_what_is_written(tmp_path):
    [path] = write(tmp_path, ARRAYS)
    (tmp_path / "other").touch()
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode  # others may read it too
    loaded = load_file(path)
    assert loaded.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert loaded[name].dtype == array.dtype
        np.testing.assert_array_equal(loaded[name], array)


def test_what_the_library_writes_is_read(tmp_path):
    save_file(
        {k: np.ascontiguousarray(v) for k, v in ARRAYS.items()}, tmp_path / "model.safetensors"
    )
    found = find_tensors(tmp_path)
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name].read().reshape(array.shape), array)


def test_several_files(tmp_path):
    arrays = {f"x{i}": RNG.normal(size=(10, i + 1)).astype(np.float32) for i in range(6)}
    files = write(tmp_path, arrays, max_file_bytes=400)
    assert [f.name for f in files][:2] == [
        "model-00001-of-00003.safetensors",
        "model-00002-of-00003.safetensors",
    ]
    assert not (tmp_path / "model.safetensors").exists()
    found = find_tensors(tmp_path)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name].read(), array)
    files[1].unlink()
    with pytest.raises(UserError, match="names this file, which is not there"):
        find_tensors(tmp_path)


@pytest.mark.parametrize("damage", ["cut data", "cut header", "noise", "empty", "type"])
def test_damage_is_found(tmp_path, damage):
    [path] = write(tmp_path, ARRAYS)
    content = path.read_bytes()
    if damage == "type":
        save_file({"a": np.zeros(3, np.int64)}, path)
    else:
        path.write_bytes(
            {
                "cut data": content[:-5],
                "cut header": content[:50],
                "noise": b"x" * 99,
                "empty": b"",
            }[damage]
        )
    with pytest.raises(UserError, match=r"is damaged|is of type I64"):
        find_tensors(tmp_path)


def test_a_clone_without_its_large_files_is_told(tmp_path):
    (tmp_path / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(UserError, match="pointer to a file: get it, git lfs pull"):
        find_tensors(tmp_path)


@pytest.mark.parametrize("names", [None, [], {"a": 3}, {"a": ["b"]}])
def test_damaged_index(names, tmp_path):
    index = {"weight_map": names} if names is not None else {"x": 1}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match=r"index\.json is damaged"):
        find_tensors(tmp_path)
