"""models/phi1_tiny in transformers: the same ids, and the same greedy completion."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from phi1_jax import Generator

FOLDER = Path(__file__).parents[1] / "models" / "phi1_tiny"
PROMPT = 'def keep_small(values):\n    """Return the values below 5, in the same order."""\n'


def test_the_model_in_the_box_answers_the_same_in_transformers():
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    model = AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32)
    generator = Generator.from_checkpoint(FOLDER)
    ids = tokenizer(PROMPT, return_tensors="pt")["input_ids"]
    assert ids[0].tolist() == generator.tokenizer.encode(PROMPT)
    theirs = model.generate(ids, max_new_tokens=60, do_sample=False)[0, ids.shape[1] :].tolist()
    [[ours]] = generator.generate([PROMPT], max_new_tokens=60)
    assert ours.finish_reason == "eos"
    assert theirs[: len(ours.token_ids)] == ours.token_ids
    assert theirs[len(ours.token_ids) :] in ([], [tokenizer.eos_token_id])
