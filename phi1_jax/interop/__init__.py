"""Hugging Face's weights, config and tokenizer, both ways, without torch or transformers."""
