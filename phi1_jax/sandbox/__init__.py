"""Runs untrusted Python behind operating-system isolation, or refuses."""

from phi1_jax.sandbox.host import Sandbox, open_sandbox
from phi1_jax.sandbox.worker import Job, Limits, Outcome, Verdict

__all__ = ["Job", "Limits", "Outcome", "Sandbox", "Verdict", "open_sandbox"]
