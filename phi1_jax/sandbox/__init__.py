"""Runs untrusted Python behind operating-system isolation, or refuses."""
