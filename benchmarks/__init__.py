"""How fast this project is, beside what one would use instead, in one run."""
