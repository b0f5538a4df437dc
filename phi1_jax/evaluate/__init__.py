"""Benchmarks and pass@k; model-written code runs only in the sandbox."""
