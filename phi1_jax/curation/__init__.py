"""From raw sources to clean code (paper section 2.1): heuristics, exact and near duplicates."""
