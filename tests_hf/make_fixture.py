"""Writes tests/fixtures/phi: a tiny random `PhiForCausalLM`, and what torch computes with it.

Command: python tests_hf/make_fixture.py   (in the environment of `make test-hf`)
"""

import json
from pathlib import Path

import torch
from conftest import random_model

FOLDER = Path(__file__).parents[1] / "tests" / "fixtures" / "phi"


def main() -> None:
    shape = {"hidden_size": 24, "num_attention_heads": 3, "intermediate_size": 40}
    model = random_model(vocab_size=60, seed=1, max_position_embeddings=32, **shape)
    tokens = torch.randint(1, 60, (2, 16), generator=torch.Generator().manual_seed(0))
    logits = model(tokens[:, :-1]).logits
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    whole = torch.ones_like(tokens[:, :4])
    greedy = model.generate(
        tokens[:, :4], attention_mask=whole, max_new_tokens=24, do_sample=False, pad_token_id=0
    )
    model.save_pretrained(FOLDER / "model")
    with torch.no_grad():
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            parameter.copy_(gradient)
    model.save_pretrained(FOLDER / "gradients")
    expected = {
        "tokens": tokens.tolist(),
        "logits": logits.tolist(),
        "loss": loss.item(),
        "greedy": greedy[:, 4:].tolist(),
    }
    (FOLDER / "expected.json").write_text(json.dumps(expected) + "\n")


if __name__ == "__main__":
    main()
