"""Uses a folder as people do, and prints what comes out as JSON: with transformers 4 or 5.

Command: python tests_hf/use_folder.py FOLDER PROMPTS_AS_JSON
"""

import json
import sys

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline


def main(folder: str, prompts: list[str]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    special = [tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token]
    if tokenizer.pad_token is None:  # as in a folder that was not written here
        tokenizer.pad_token = tokenizer.eos_token
    model, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values()), info
    model = model.float()  # version 5 keeps a folder's bfloat16, in which near ties fall either way
    completions = []
    for prompt in prompts:
        inputs = tokenizer(prompt, return_tensors="pt")
        out = model.generate(**inputs, max_new_tokens=12, do_sample=False)
        completions.append(out[0, inputs["input_ids"].shape[1] :].tolist())
    batch = tokenizer(prompts, padding=True, return_tensors="pt")
    out = model.generate(**batch, max_new_tokens=12, do_sample=False)
    batched = out[:, batch["input_ids"].shape[1] :].tolist()
    complete = pipeline("text-generation", model=model, tokenizer=tokenizer)
    texts = complete(
        prompts, max_new_tokens=12, do_sample=False, return_full_text=False, batch_size=2
    )
    result = {
        "version": transformers.__version__,
        "ids": tokenizer(prompts)["input_ids"],
        "padded": list(batch["input_ids"].shape),
        "completions": completions,
        "batched": [row[: len(alone)] for row, alone in zip(batched, completions, strict=True)],
        "texts": [row[0]["generated_text"] for row in texts],
        "eos": model.generation_config.eos_token_id,
        "special": special,
        "chat": tokenizer.apply_chat_template([{"role": "user", "content": "x"}], tokenize=False)
        if tokenizer.chat_template
        else None,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1], json.loads(sys.argv[2]))
