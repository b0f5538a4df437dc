"""Ablations: what data, size and optimizer do to a small model; one question, several variants."""
