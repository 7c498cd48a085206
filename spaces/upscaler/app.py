"""Starts the Space; everything else is in `hfsr_space`, and `hfsr demo` starts the same."""

from hfsr_space import launch

if __name__ == "__main__":
    launch()
