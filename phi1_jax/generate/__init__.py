"""Prefill, cached decoding and sampling."""
