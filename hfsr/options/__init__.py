"""Option files: BasicSR's words, checked whole before anything is trained."""

from .models import DatasetOptions, TrainOptions, Typed
from .reading import find_option_file, read_options, written_options

__all__ = ["DatasetOptions", "TrainOptions", "Typed", "find_option_file", "read_options", "written_options"]
