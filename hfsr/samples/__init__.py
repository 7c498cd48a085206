"""Sample image of hfsr, drawn by the script `draw.py`; it has the same license as the code."""

from pathlib import Path

__all__ = ["SAMPLE"]

SAMPLE = Path(__file__).resolve().parent / "sample.png"
"""Path of the sample image, 1056x594 px: fine lines, curved edges, smooth gradients and texture."""
