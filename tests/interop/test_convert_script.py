"""launch/convert.py and, on what it writes, launch/generate.py, as a user runs them."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import REPOSITORY, run_script
from safetensors.numpy import load_file, save_file

from phi1_jax.tokens.sentencepiece_bpe import train_tokenizer

MODEL = REPOSITORY / "tests" / "fixtures" / "phi" / "model"


def run(script, *flags, typed="", fails=False):
    done = run_script(f"{script}.py", *flags, typed=typed)
    assert (done.returncode != 0) == fails, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr if fails else done.stdout


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """A run folder from a Hugging Face folder with 400 pieces, and its tokenizer."""
    folder = tmp_path_factory.mktemp("convert")
    hf = folder / "hf"
    hf.mkdir()
    source = Path(json.__file__).read_text() * 3
    train_tokenizer([source], 400).save(folder / "tokenizer")
    values = json.loads((MODEL / "config.json").read_text())
    (hf / "config.json").write_text(json.dumps({**values, "vocab_size": 400}))
    tensors = load_file(MODEL / "model.safetensors")
    rng = np.random.default_rng(0)
    for name, shape in (
        ("model.embed_tokens.weight", (400, 24)),
        ("lm_head.weight", (400, 24)),
        ("lm_head.bias", (400,)),
    ):
        tensors[name] = rng.normal(0, 0.3, shape).astype(np.float32)
    save_file(tensors, hf / "model.safetensors")
    from phi1_jax.tokens.huggingface import write_tokenizer
    from phi1_jax.tokens.load import load_byte_pair

    write_tokenizer(load_byte_pair(folder / "tokenizer"), hf, 32)
    output = run("convert", f"--from_hf={hf}", f"--to={folder / 'run'}")
    assert "parameters" in output
    return folder


@pytest.mark.slow
def test_there_and_back(converted):
    back = converted / "back"
    run("convert", f"--from={converted / 'run'}", f"--to_hf={back}")
    first, second = (load_file(converted / x / "model.safetensors") for x in ("hf", "back"))
    assert first.keys() == second.keys()
    assert all(first[name].tobytes() == second[name].tobytes() for name in first)
    names = ("hf/tokenizer.json", "back/tokenizer.json")
    assert (converted / names[0]).read_bytes() == (converted / names[1]).read_bytes()
    assert {p.name for p in back.iterdir()} == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    # What is there is not overwritten, and a failure leaves nothing behind.
    assert "exists already" in run(
        "convert", f"--from={converted / 'run'}", f"--to_hf={back}", fails=True
    )
    bad = converted / "bad"
    error = run("convert", f"--from_hf={MODEL}", f"--to={bad}", fails=True)
    assert error.startswith("error: ") and error.count("\n") == 1 and "tokenizer" in error
    assert not bad.exists()
    # What a kill left is made anew, also in a folder that was there.
    (bad / ".unfinished").mkdir(parents=True)
    (bad / ".unfinished" / "config.json").touch()
    run("convert", f"--from={converted / 'run'}", f"--to_hf={bad}")
    assert {p.name for p in bad.iterdir()} == {p.name for p in back.iterdir()}
    (converted / "m.gguf.unfinished").touch()
    run("convert", f"--from={converted / 'run'}", f"--to_gguf={converted / 'm.gguf'}", "--type=f32")
    assert not (converted / "m.gguf.unfinished").exists()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_there_and_back(converted, tmp_path, dtype):
    half = f"--dtype={dtype}"
    run("convert", f"--from={converted / 'run'}", f"--to_hf={tmp_path / 'hf'}", half)
    run("convert", f"--from_hf={tmp_path / 'hf'}", f"--to={tmp_path / 'run'}")
    run("convert", f"--from={tmp_path / 'run'}", f"--to_hf={tmp_path / 'back'}")
    files = [tmp_path / name / "model.safetensors" for name in ("hf", "back")]
    assert {x.dtype.name for x in load_file(files[1]).values()} == {dtype}
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.slow
def test_convert_refuses_in_one_line(converted, tmp_path):
    hf, of_run = f"--from_hf={converted / 'hf'}", f"--from={converted / 'run'}"
    train_tokenizer([Path(json.__file__).read_text() * 3], 450).save(tmp_path / "larger")
    for flags, message in (
        ([hf, f"--to={tmp_path / 'a'}", "--dtype=float16"], "--dtype: is for --to_hf"),
        ([hf, f"--to={tmp_path / 'a'}", "--step=0"], "--step: is for --from"),
        (
            [hf, "--to=/etc/passwd/x"],
            "--to=/etc/passwd/x: nothing can be written there: Not a directory",
        ),
        ([hf, "--to=/proc/x"], "--to=/proc/x: nothing can be"),
        ([of_run, "--to_gguf=/proc/x"], "--to_gguf=/proc: nothing can be"),
        (["--from_hf=microsoft/phi-1", f"--to={tmp_path / 'a'}"], "no such folder"),
        (
            [of_run, f"--to_hf={tmp_path / 'a'}", f"--tokenizer={tmp_path / 'larger'}"],
            "450 pieces and the model only model.vocab_size=400",
        ),
    ):
        error = run("convert", *flags, fails=True)
        assert message in error and error.count("\n") == 1
        assert not (tmp_path / "a").exists()


@pytest.mark.slow
def test_generate_from_it(converted, tmp_path):
    prompts = [{"prompt": "import json", "id": 7}, {"prompt": "def f(x):\n"}]
    path = tmp_path / "prompts.jsonl.gz"
    path.write_bytes(gzip.compress("".join(json.dumps(p) + "\n" for p in prompts).encode()))
    cache = f"--compile_cache={tmp_path / 'cache'}"
    common = (f"--checkpoint={converted / 'run'}", "--max_new_tokens=8", cache)
    sampled = ("--temperature=0.7", "--n_samples=2", "--json")
    lines = run("generate", *common, f"--prompt_file={path}", *sampled).splitlines()
    records = {(r["prompt_index"], r["sample"]): r for r in map(json.loads, lines)}
    assert sorted(records) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    for (index, _), record in records.items():
        assert record["prompt"] == prompts[index]["prompt"]
        assert len(record["token_ids"]) == len(record["logprobs"]) <= 8
        assert record["finish_reason"] in ("length", "eos")
    assert records[0, 1]["id"] == 7

    greedy = run("generate", *common, "--prompt=import json\n")
    assert greedy.startswith("import json\n") and len(greedy) > len("import json\n\n")
    # A typed prompt keeps the end of its last line; one that cannot be read is not the end.
    typed = f"{'too long ' * 50}\n\nimport json\n\n\n"
    assert run("generate", *common, "--interactive", typed=typed) == greedy
    typed = "import json\r\n\r\n\r\n"  # as Windows ends its lines
    assert run("generate", *common, "--interactive", typed=typed) == greedy
    command = [sys.executable, REPOSITORY / "launch/generate.py", *common, "--prompt=\u00e9"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii:strict"}
    done = subprocess.run(command, capture_output=True, env=environment, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    ascii_only = done.stdout
    assert ascii_only.startswith(r"\xe9") and ascii_only.isascii()


@pytest.mark.slow
def test_generate_refuses_in_one_line(converted, tmp_path):
    for name, line in (
        ("p", '{"text": "x"}'),
        ("half", r'\ufeff{"prompt": "\ud800"}'.replace(r"\ufeff", "\ufeff")),
        ("taken", '{"prompt": "x", "text": "y"}'),
    ):
        (tmp_path / f"{name}.jsonl").write_text(line + "\n", encoding="utf-8")
    run_flag = f"--checkpoint={converted / 'run'}"
    for flags, message in (
        (["--prompt=x"], "--checkpoint is missing"),
        ([run_flag], "give one of --prompt"),
        ([run_flag, f"--prompt_file={tmp_path / 'p.jsonl'}"], 'record 1 has no "prompt"'),
        ([f"--checkpoint={tmp_path}", "--prompt=x"], "not a run's folder"),
        # A mark of the byte order is no part of the first record.
        ([run_flag, f"--prompt_file={tmp_path / 'half.jsonl'}"], "prompt 0 is not text in UTF-8"),
        ([run_flag, f"--prompt_file={tmp_path / 'taken.jsonl'}", "--json"], 'a field "text"'),
        ([run_flag, "--prompt=\udcff\udcfe"], "prompt 0 is not text in UTF-8"),
        ([run_flag, "--prompt=x", "--top_p=0"], "top_p=0.0 must be above 0"),
        ([run_flag, "--prompt=x", "--tensor=3"], "--tensor=3 must divide"),
        (
            [run_flag, f"--prompt={'too long ' * 50}"],
            "--on_overflow=left, with --max_new_tokens below 32",
        ),
    ):
        done = run("generate", *flags, fails=True)
        error = done[done.index("error: ") :]
        assert message in error and error.count("\n") == 1
