"""The sample picture that comes with hfsr, and how it was drawn (`draw`): our own, free like the code."""

from pathlib import Path

__all__ = ["SAMPLE"]

SAMPLE = Path(__file__).resolve().parent / "sample.png"
"""An evening at a lake, 1056x594 px: fine lines, round edges, soft gradients and texture."""
