"""phi-1 ("Textbooks Are All You Need", arXiv 2306.11644) in JAX, from raw code to pass@1."""

__version__ = "0.1.0"
