"""How a script starts, is reused and fails."""
