"""Training data: lists of images, and patches that depend on (seed, epoch, index) alone.

Importing this package registers the data set types.
"""

from .datasets import PairedImageDataset, SampleImageDataset
from .decoded_images import Imagestore, Progress
from .file_lists import PairedFile, StoredPair, images_below, read_rgb, read_rgb_8bit
from .loader import Batches, PairPool, Stages
from .map_dataset import ForeignSource, MapDataset
from .pairing import pair_folders
from .patches import Batch, PatchCutter, PatchSource
from .unpaired import BatchesBesideUnpaired, SingleImageDataset

__all__ = [
    "Batch",
    "Batches",
    "BatchesBesideUnpaired",
    "ForeignSource",
    "Imagestore",
    "MapDataset",
    "PairPool",
    "PairedFile",
    "PairedImageDataset",
    "PatchCutter",
    "PatchSource",
    "Progress",
    "SampleImageDataset",
    "SingleImageDataset",
    "Stages",
    "StoredPair",
    "images_below",
    "pair_folders",
    "read_rgb",
    "read_rgb_8bit",
]
