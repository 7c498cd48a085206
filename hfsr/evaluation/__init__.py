"""Evaluation: every number that is printed, stored or put on a card comes from here.

The protocol is that of the published tables: GT cropped to a multiple of the scale, LQ by MATLAB bicubic
unless it is given, the result clamped and rounded to 8 bit, MATLAB luma, `scale` px cropped on each side.
"""

from hfsr.evaluation.benchmark import eight_bit_luma, evaluate, evaluate_folder, score_image
from hfsr.evaluation.calibration import calibration_samples
from hfsr.evaluation.card_example import device_name, make_example_image, measure_seconds
from hfsr.evaluation.degradation_spec import DegradationSpec
from hfsr.evaluation.pairs import Pair, find_pairs, name_of_set
from hfsr.evaluation.protocol import network_input
from hfsr.evaluation.report import Report, Scores, summarize
from hfsr.evaluation.tiling import TilingReport, compare_tiling

__all__ = [
    "DegradationSpec",
    "Pair",
    "Report",
    "Scores",
    "TilingReport",
    "calibration_samples",
    "compare_tiling",
    "device_name",
    "eight_bit_luma",
    "evaluate",
    "evaluate_folder",
    "find_pairs",
    "make_example_image",
    "measure_seconds",
    "name_of_set",
    "network_input",
    "score_image",
    "summarize",
]
