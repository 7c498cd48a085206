"""Network architectures: one file per network, ending with its `ArchSpec`. Importing registers them all.

To add a network, write a module here and its test in `tests/archs/`. Every module of the package is imported;
nothing else lists the networks.
"""

import importlib
import pkgutil

from ._blur import BlurPool
from ._luma import LumaRestorer, has_one_channel, luma, with_luma
from ._padding import pad_to_multiple, padded_indices
from ._positional import PositionalEnlargement, enlarged_length, source_of
from ._quantized import QuantizedConv2d, count_parameters, input_ranges, quantize_layers
from ._readings import ARGUMENT, Evidence, Reading, SavedBy, range_argument, stated_arguments
from ._resize import Bicubic, Enlargement
from ._spec import ArchSpec, records_arguments

__all__ = [
    "ARGUMENT",
    "ArchSpec",
    "Bicubic",
    "BlurPool",
    "Enlargement",
    "Evidence",
    "LumaRestorer",
    "PositionalEnlargement",
    "QuantizedConv2d",
    "Reading",
    "SavedBy",
    "count_parameters",
    "enlarged_length",
    "has_one_channel",
    "input_ranges",
    "luma",
    "pad_to_multiple",
    "padded_indices",
    "quantize_layers",
    "range_argument",
    "records_arguments",
    "source_of",
    "stated_arguments",
    "with_luma",
]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
