"""State of a run on disk: directories, lock, training states and checkpoints."""
