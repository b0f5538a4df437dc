"""Documents as vectors: a language model's last hidden state, mean pooled (section 2.1)."""
