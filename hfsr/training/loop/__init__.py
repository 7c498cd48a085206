"""Parts of the training loop: prefetched batches, averages, precision, devices, signals and checks."""
