"""Optimizer, step and loop (paper section 2.3)."""
