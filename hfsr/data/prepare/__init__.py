"""Preparation of data sets: sub-images, LR images, containers, and pairs of published sets."""

from .crops import pack_crops, subimages
from .layouts import LAYOUTS, Found, find_layout, link_pairs
from .parallel_files import Outcome, Task, run_tasks
from .reduced import lr_images
from .stores import to_h5, to_lmdb, write_meta_info

__all__ = [
    "LAYOUTS",
    "Found",
    "Outcome",
    "Task",
    "find_layout",
    "link_pairs",
    "lr_images",
    "pack_crops",
    "run_tasks",
    "subimages",
    "to_h5",
    "to_lmdb",
    "write_meta_info",
]
