"""Completes prompts with a trained model, on the terminal or as JSON records.

One prompt:  python launch/generate.py --checkpoint=runs/mine --prompt='def add(a, b):'
Many:        python launch/generate.py --checkpoint=runs/mine --prompt_file=prompts.jsonl --json
By hand:     python launch/generate.py --checkpoint=runs/mine --interactive

A checkpoint is a run's folder, or a Hugging Face folder of a phi model.
A prompt file holds records with a "prompt" (.jsonl, .json or .parquet, also compressed, such as
HumanEval.jsonl.gz; other fields come back with --json), or any other text, which is one prompt.
With several devices the model is spread over them.
"""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import _environment
from absl import flags

from phi1_jax.cli import script
from phi1_jax.cli.dataclass_flags import DataclassFlags
from phi1_jax.corpus.records import is_records, read_records
from phi1_jax.errors import UserError
from phi1_jax.generate.settings import Sampling
from phi1_jax.tokens.tokenizer import check_texts

CHECKPOINT = flags.DEFINE_string("checkpoint", None, "Folder of a run, or of Hugging Face.")
STEP = flags.DEFINE_integer("step", None, "Which of its checkpoints; the newest by default.", 0)
PROMPT = flags.DEFINE_multi_string(
    "prompt",
    [],
    r"Text to go on from, as it is: in bash $'a\nb' has a line break. May be repeated.",
)
PROMPT_FILE = flags.DEFINE_string("prompt_file", None, "Prompts: records, or text that is one.")
INTERACTIVE = flags.DEFINE_bool("interactive", False, "Type prompts; an empty line sends one.")
JSON = flags.DEFINE_bool("json", False, "Print a JSON record for each completion.")
MAX_NEW_TOKENS = flags.DEFINE_integer("max_new_tokens", 256, "Longest completion.", 1)
SAMPLING = DataclassFlags(Sampling)
N_SAMPLES = flags.DEFINE_integer("n_samples", 1, "Completions of each prompt.", 1)
SEED = flags.DEFINE_integer("seed", 0, "The same seed, the same samples.")
STOP = flags.DEFINE_multi_string("stop", [], r"End before this text; \n is a line break.")
BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Completions at once.", 1)
OVERFLOW = flags.DEFINE_enum(
    "on_overflow",
    "error",
    ("error", "left"),
    "left: cut prompts from the left where they and --max_new_tokens exceed the model's context.",
)
TENSOR = flags.DEFINE_integer("tensor", 1, "Devices that share each matrix; rows use the rest.", 1)
TYPE_HERE = '''\
prompt (an empty line sends it, an empty prompt ends), for example:
def add(a, b):
    """Return the sum of a and b."""
'''
# What each JSON record gets beside the fields of its prompt.
WRITTEN = {"prompt_index", "sample", "text", "token_ids", "logprobs", "finish_reason"}


def main() -> None:
    script.require(CHECKPOINT)
    if sum(map(bool, (PROMPT.value, PROMPT_FILE.value, INTERACTIVE.value))) != 1:
        raise UserError("give one of --prompt=TEXT, --prompt_file=FILE and --interactive")
    records = [{"prompt": text} for text in PROMPT.value]
    if PROMPT_FILE.value:
        records = read_prompts(Path(PROMPT_FILE.value))
    check_texts([record["prompt"] for record in records], "prompt")
    sampling = SAMPLING.build()
    script.start_jax()
    from phi1_jax.generate.generator import Generator

    streaming = INTERACTIVE.value or (len(records) * N_SAMPLES.value == 1 and not JSON.value)
    generator = Generator.from_checkpoint(
        Path(CHECKPOINT.value), STEP.value, make_mesh(), chunk_tokens=8 if streaming else 32
    )
    if INTERACTIVE.value:
        # Any end of a line; what is not UTF-8 is refused later.
        sys.stdin.reconfigure(errors="surrogateescape", newline=None)  # type: ignore[union-attr]
        while prompt := read_typed_prompt():
            try:
                complete(generator, [{"prompt": prompt}], sampling)
            except UserError as error:
                print(f"error: {error}", file=sys.stderr)
    else:
        complete(generator, records, sampling)


def complete(generator: Any, records: Sequence[dict[str, Any]], sampling: Any) -> None:
    """Prints the completions: a single one as it grows, several as each ends."""
    alone = len(records) * N_SAMPLES.value == 1
    shown, n_tokens, n_short, start = 0, 0, 0, time.perf_counter()
    stream = generator.stream(
        [record["prompt"] for record in records],
        sampling,
        max_new_tokens=MAX_NEW_TOKENS.value,
        n_samples=N_SAMPLES.value,
        seed=SEED.value,
        stop=[text.replace("\\n", "\n") for text in STOP.value],
        batch_size=BATCH_SIZE.value,
        on_overflow=OVERFLOW.value,
    )
    if alone and not JSON.value:
        print(records[0]["prompt"], end="", flush=True)
    for progress in stream:
        done = progress.completion
        if done:
            n_tokens += len(done.token_ids)
            n_short += done.finish_reason == "length" and len(done.token_ids) < MAX_NEW_TOKENS.value
        if JSON.value:
            if done:
                named = {"prompt_index": progress.prompt, "sample": progress.sample}
                record = {**records[progress.prompt], **named, **asdict(done)}
                print(json.dumps(record, ensure_ascii=False), flush=True)
        elif alone:
            print(progress.text[shown:], end="\n" if done else "", flush=True)
            shown = len(progress.text)
        elif done:
            print(f"--- prompt {progress.prompt}, sample {progress.sample}, {done.finish_reason}")
            print(records[progress.prompt]["prompt"] + done.text, flush=True)
    seconds = time.perf_counter() - start
    rate = f"{n_tokens / seconds:.0f} tokens/s with compilation"
    print(f"[{n_tokens} tokens, {seconds:.1f} s, {rate}]", file=sys.stderr)
    if n_short:
        print(
            f"[{n_short} of {len(records) * N_SAMPLES.value} completions ended before"
            f" --max_new_tokens={MAX_NEW_TOKENS.value}, where the model's context of"
            f" {generator.config.max_seq_len} tokens does; --on_overflow=left, with"
            " --max_new_tokens below that, cuts the prompt instead]",
            file=sys.stderr,
        )


def read_prompts(path: Path) -> list[dict[str, Any]]:
    if not is_records(path):
        try:
            return [{"prompt": path.read_text(encoding="utf-8-sig")}]
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8 text"
            raise UserError(f"--prompt_file={path}: {reason}") from error
    records = list(read_records(path))
    for number, record in enumerate(records, 1):
        if not isinstance(record.get("prompt"), str):
            raise UserError(f'--prompt_file={path}: record {number} has no "prompt" text')
        if JSON.value and (taken := sorted(WRITTEN & record.keys())):
            raise UserError(
                f'--prompt_file={path}: record {number} has a field "{taken[0]}", which the output'
                " needs for its own; rename it"
            )
    if not records:
        raise UserError(f"--prompt_file={path} holds no prompt")
    return records


def read_typed_prompt() -> str:
    """The lines up to an empty one, each with its end; empty at the end of the input."""
    print(TYPE_HERE, file=sys.stderr)
    lines = []
    while (line := sys.stdin.readline()).rstrip("\n"):
        lines.append(line)
    return "".join(lines)


def make_mesh() -> Any:
    import jax

    from phi1_jax.config import MeshConfig
    from phi1_jax.model import sharding

    n_devices = len(jax.devices())
    if n_devices % TENSOR.value:
        raise UserError(f"--tensor={TENSOR.value} must divide the number of devices, {n_devices}")
    if n_devices == 1:
        return None
    return sharding.make_mesh(MeshConfig(tensor=TENSOR.value))


if __name__ == "__main__":
    script.run(main)
