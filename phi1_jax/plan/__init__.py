"""What a run needs and costs, before anyone pays for it: from shapes and the compiled program."""
