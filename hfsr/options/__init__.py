"""Option files with BasicSR's keys, checked completely before the training."""

from .comparison import flat_options
from .reading import find_option_file, read_options, written_options
from .sections import DatasetOptions, TrainOptions, Typed

__all__ = [
    "DatasetOptions",
    "TrainOptions",
    "Typed",
    "find_option_file",
    "flat_options",
    "read_options",
    "written_options",
]
