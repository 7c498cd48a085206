"""Parts of the training loop: prefetching, averaging, precision, devices, signals and checks."""
