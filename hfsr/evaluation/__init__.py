"""The one room that makes numbers: for the evaluate command, validation while training, and cards.

The protocol is that of the classic tables: GT cropped to a multiple of the scale, LR by MATLAB bicubic
where none is given, the result clamped and rounded to 8 bit, MATLAB's luma, `scale` px cropped from each
side.
"""

from hfsr.evaluation.example import before_after, machine, seconds_for
from hfsr.evaluation.pairs import Pair, find_pairs, set_name
from hfsr.evaluation.report import Report, Scores, evaluate, measure, summarize
from hfsr.evaluation.tiling import TilingReport, compare_tiling

__all__ = [
    "Pair",
    "Report",
    "Scores",
    "TilingReport",
    "before_after",
    "compare_tiling",
    "evaluate",
    "find_pairs",
    "machine",
    "measure",
    "seconds_for",
    "set_name",
    "summarize",
]
