"""What gives benchmark problems away, and is dropped for it (paper section 5)."""
