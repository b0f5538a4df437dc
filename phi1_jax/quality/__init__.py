"""The quality filter (paper section 2.1): labels, embeddings, a random forest."""
