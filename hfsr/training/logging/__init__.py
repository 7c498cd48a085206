"""Log lines, curves and trackers of a training run."""
