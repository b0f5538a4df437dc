"""Converts weights and tokenizer between Hugging Face's phi folders and runs of this project.

In:   python launch/convert.py --from_hf=phi-1 --to=runs/phi1_released
Out:  python launch/convert.py --from=runs/mine --to_hf=exported
      python launch/convert.py --from=runs/mine --to_gguf=mine.gguf --type=q8_0

--from_hf reads config.json and safetensors (one file or several; fp32, fp16, bf16; the current
names and the older ones with Wqkv) and tokenizer.json, or vocab.json and merges.txt, with the
tokens that files beside them add. A completion ends at `eos_token_id` of generation_config.json or
config.json. What it writes serves launch/generate.py, launch/evaluate.py and as init_from of
launch/train.py. --to_hf writes a folder for AutoModelForCausalLM and AutoTokenizer, with the chat
template and settings of generation that --from_hf once read; --to_gguf writes a file for llama.cpp.
Neither torch nor transformers is needed.
"""

import os
import time
from pathlib import Path

import _environment
from absl import flags, logging

from phi1_jax.cli import script
from phi1_jax.errors import UserError
from phi1_jax.files import remove

FROM_HF = flags.DEFINE_string("from_hf", None, "Hugging Face folder to read.")
TO = flags.DEFINE_string("to", None, "New run folder to write.")
FROM = flags.DEFINE_string("from", None, "Run folder to read.")
TO_HF = flags.DEFINE_string("to_hf", None, "New Hugging Face folder to write.")
TO_GGUF = flags.DEFINE_string("to_gguf", None, "New GGUF file to write.")
TYPE = flags.DEFINE_enum("type", "f16", ("f32", "f16", "q8_0"), "Of the matrices in --to_gguf.")
STEP = flags.DEFINE_integer("step", None, "Which checkpoint of --from; the newest by default.", 0)
TOKENIZER = flags.DEFINE_string("tokenizer", None, "Folder with the tokenizer's files, if another.")
DTYPE = flags.DEFINE_enum(
    "dtype",
    None,
    ("float32", "float16", "bfloat16"),
    "Of the weights in --to_hf; by default what --from_hf once read, float32 for trained weights.",
)
MAX_FILE_MB = flags.DEFINE_integer("max_file_mb", 2000, "Larger models go into several files.", 1)
UNFINISHED = ".unfinished"


def main() -> None:
    # Weights pass through the main memory, also where there is an accelerator.
    os.environ["JAX_PLATFORMS"] = "cpu"
    pairs = {
        ("from_hf", "to"): from_huggingface,
        ("from", "to_hf"): to_huggingface,
        ("from", "to_gguf"): to_gguf,
    }
    given = [flag for flag in (FROM_HF, FROM, TO, TO_HF, TO_GGUF) if flag.value]
    work = pairs.get(tuple(flag.name for flag in given))
    if work is None:
        raise UserError(
            "give --from_hf=DIR with --to=DIR, or --from=DIR with --to_hf=DIR or --to_gguf=FILE"
        )
    source, target = (Path(flag.value) for flag in given)
    if work is not to_huggingface:
        script.refuse_unread((DTYPE, MAX_FILE_MB), "is for --to_hf; leave it out")
    if work is not to_gguf:
        script.refuse_unread((TYPE,), "is for --to_gguf; leave it out")
    if work is from_huggingface:
        script.refuse_unread((STEP,), "is for --from; leave it out")
    is_folder, is_new = work is not to_gguf, not target.exists()
    # All of it comes to its place once it is whole; what a kill left is made anew.
    unfinished = target / UNFINISHED if is_folder else target.with_name(target.name + UNFINISHED)
    free = is_new or (is_folder and target.is_dir() and not {*target.iterdir()} - {unfinished})
    if not free:
        raise UserError(f"{target} exists already; name a new file or a new or empty folder")
    script.make_folder(target if is_folder else target.parent, given[1].name)
    start = time.perf_counter()
    try:
        remove(unfinished)
        if is_folder:
            unfinished.mkdir()
        n_params = work(source, unfinished)
        for path in unfinished.iterdir() if is_folder else ():
            path.replace(target / path.name)
        if not is_folder:
            unfinished.replace(target)
    finally:
        remove(unfinished)
        if is_folder and is_new and not any(target.iterdir()):
            target.rmdir()
    print(f"{target}: {n_params:,} parameters, {time.perf_counter() - start:.1f} s")


def from_huggingface(source: Path, target: Path) -> int:
    from phi1_jax.interop.huggingface import import_run

    # Orbax warns that there is nothing to merge when it writes without its own archive format.
    logging.set_verbosity(logging.ERROR)
    return import_run(source, target, _tokenizer())


def to_huggingface(source: Path, target: Path) -> int:
    from phi1_jax.interop.huggingface import export_run

    max_bytes = MAX_FILE_MB.value * 10**6
    return export_run(source, target, STEP.value, _tokenizer(), DTYPE.value, max_bytes)


def to_gguf(source: Path, target: Path) -> int:
    from phi1_jax.interop.gguf import export_gguf

    return export_gguf(source, target, STEP.value, _tokenizer(), TYPE.value)


def _tokenizer() -> Path | None:
    return Path(TOKENIZER.value) if TOKENIZER.value else None


if __name__ == "__main__":
    script.run(main)
