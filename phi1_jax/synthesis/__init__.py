"""Textbooks and exercises written by a language model (paper sections 2.2 and 2.3)."""
