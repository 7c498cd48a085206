"""A network as stages of operators: tracing, operators and their receptive-field geometry."""
