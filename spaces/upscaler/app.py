"""Entry point of the Space; the code is in `hfsr_space`, which `hfsr demo` runs too."""

from hfsr_space import launch

if __name__ == "__main__":
    launch()
