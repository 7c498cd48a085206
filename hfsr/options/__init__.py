"""Option files with BasicSR's keys, checked completely before the training."""

from .comparison import flat_options
from .models import DatasetOptions, TrainOptions, Typed
from .reading import find_option_file, read_options, written_options

__all__ = [
    "DatasetOptions",
    "TrainOptions",
    "Typed",
    "find_option_file",
    "flat_options",
    "read_options",
    "written_options",
]
