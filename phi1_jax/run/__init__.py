"""A run's folder on disk: checkpoints, hashes, metrics, and the processes that share it."""
