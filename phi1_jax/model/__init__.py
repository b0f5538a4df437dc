"""The phi-1 transformer (paper section 2.3)."""
