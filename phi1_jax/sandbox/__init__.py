"""Runs untrusted Python behind operating-system isolation, or refuses."""

from phi1_jax.sandbox.host import Job, Limits, Outcome, Sandbox, Verdict, open_sandbox

__all__ = ["Job", "Limits", "Outcome", "Sandbox", "Verdict", "open_sandbox"]
