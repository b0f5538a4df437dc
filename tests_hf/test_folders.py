"""Folders of finetuned models, and ours, in transformers 5 and 4: ids, ends and texts agree.

transformers 4 has an environment of its own, whose Python TRANSFORMERS_4 names: `make test-hf4`.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import random_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from phi1_jax.generate.generator import Generator
from phi1_jax.interop.huggingface import read_folder, write_folder
from phi1_jax.tokens.huggingface import read_tokenizer, special_ids, write_tokenizer
from phi1_jax.tokens.load import load_byte_pair, load_tokenizer
from phi1_jax.tokens.sentencepiece_bpe import train_tokenizer

BOX = Path(__file__).parents[1] / "models" / "phi1_tiny"
TEXT = Path(json.__file__).read_text(encoding="utf-8")
PROMPTS = ["<|im_start|>user\nhi<|im_end|>", "import  json\n\t\tx", "a<|im_start|> b"]
FOUR = os.environ.get("TRANSFORMERS_4", ".venv-hf4/bin/python")
PYTHONS = [
    pytest.param(sys.executable, id="transformers 5"),
    pytest.param(
        FOUR,
        id="transformers 4",
        marks=pytest.mark.skipif(
            not shutil.which(FOUR),
            reason=f"transformers 4 NOT COMPARED: no Python {FOUR}; make test-hf4, or name one with"
            " torch and transformers below 5 in TRANSFORMERS_4",
        ),
    ),
]


def chat_folder(folder, eos, end_wins):
    """A Phi that was finetuned to end in <|im_end|>, as transformers 5 saves it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|endoftext|>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator([TEXT], trainer)
    tokenizer.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    n = tokenizer.get_vocab_size()
    template = "{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}"
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|endoftext|>",
        eos_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>"],
        chat_template=template,
    ).save_pretrained(folder)
    model = random_model(vocab_size=n, eos_token_id=n - 1)
    with torch.no_grad():
        model.lm_head.bias[n - 1] = 50.0 if end_wins else -50.0
    model.generation_config.eos_token_id = eos or n - 1
    model.save_pretrained(folder)


@pytest.fixture(scope="module", params=["ends at once", "ends in one of two", "ours"])
def exported(request, tmp_path_factory):
    """A folder that we wrote, and what we generate from its model."""
    folder = tmp_path_factory.mktemp("folders")
    if request.param == "ours":
        tokenizer = train_tokenizer([TEXT * 3], 420)
        random_model(vocab_size=420).save_pretrained(folder / "in")
    else:
        several = request.param == "ends in one of two"
        chat_folder(folder / "in", [0, 65] if several else None, not several)
        tokenizer = read_tokenizer(folder / "in")
    tokenizer.save(folder / "run")
    config, params = read_folder(folder / "in")
    written = load_byte_pair(folder / "run")
    write_tokenizer(written, folder / "out", config.max_seq_len)
    write_folder(folder / "out", config, params, special_ids(written))
    tokenizer = load_tokenizer(folder / "run")
    found = Generator(config, params, tokenizer).generate(PROMPTS, max_new_tokens=12)
    return folder, tokenizer, [completion for (completion,) in found]


def use(python, folder):
    done = subprocess.run(
        [python, Path(__file__).parent / "use_folder.py", folder, json.dumps(PROMPTS)],
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("python", PYTHONS)
def test_a_folder_that_we_wrote_gives_our_tokens_and_texts(exported, python):
    folder, tokenizer, ours = exported
    theirs = use(python, folder / "out")
    assert theirs["version"].startswith("5" if python == sys.executable else "4")
    compare(theirs, tokenizer, ours)


@pytest.mark.parametrize("python", PYTHONS)
def test_the_model_in_the_box_gives_our_tokens_and_texts(python):
    generator = Generator.from_checkpoint(BOX)
    ours = [completion for (completion,) in generator.generate(PROMPTS, max_new_tokens=12)]
    compare(use(python, BOX), generator.tokenizer, ours)


def compare(theirs, tokenizer, ours):
    assert theirs["ids"] == [tokenizer.encode(prompt) for prompt in PROMPTS]
    assert theirs["completions"] == [completion.token_ids for completion in ours]
    assert theirs["batched"] == theirs["completions"]
    for text, completion in zip(theirs["texts"], ours, strict=True):
        # Of bytes that are no UTF-8 (random weights give such), tokenizers marks the whole run.
        assert text == completion.text or "\ufffd" in completion.text
    assert theirs["padded"] == [3, max(map(len, theirs["ids"]))]
    assert theirs["special"][2] == "<|endoftext|>"


def test_a_finetuned_folder_gives_what_it_gave_before(exported):
    folder, tokenizer, _ = exported
    if (folder / "in" / "tokenizer.json").exists():
        before, after = (use(sys.executable, folder / name) for name in ("in", "out"))
        # Before, padding was done some other way, or not at all.
        pads, _ = [(found["special"].pop(), found.pop("batched")) for found in (after, before)]
        assert before == after and before["chat"] == "<|im_start|>x<|im_end|>"
        assert pads == ("<|endoftext|>", after["completions"])
        assert tokenizer.encode(PROMPTS[0])[0] == tokenizer.vocab_size - 2
