"""Images: reading from files and Pillow, writing to files, and conversion to and from network tensors."""

from hfsr.images.alpha_bleed import underlaid
from hfsr.images.encoding.background import BackgroundRows
from hfsr.images.encoding.format_adaptation import fitted
from hfsr.images.encoding.target_file import open_new
from hfsr.images.encoding.writing import (
    check_target,
    image_to_pil,
    open_rows,
    output_format,
    takes_rows,
    write_image,
)
from hfsr.images.formats import SUFFIXES, WRITE_SUFFIXES, result_suffix
from hfsr.images.linear_light import is_linear
from hfsr.images.loaded_image import LoadedImage, eight_bit, from_rgb_float, levels, quantize, to_rgb_float
from hfsr.images.reading import (
    MAX_PIXELS,
    image_bits,
    image_from_pil,
    image_size,
    list_images,
    open_image,
    read_image,
)

__all__ = [
    "MAX_PIXELS",
    "SUFFIXES",
    "WRITE_SUFFIXES",
    "BackgroundRows",
    "LoadedImage",
    "check_target",
    "eight_bit",
    "fitted",
    "from_rgb_float",
    "image_bits",
    "image_from_pil",
    "image_size",
    "image_to_pil",
    "is_linear",
    "levels",
    "list_images",
    "open_image",
    "open_new",
    "open_rows",
    "output_format",
    "quantize",
    "read_image",
    "result_suffix",
    "takes_rows",
    "to_rgb_float",
    "underlaid",
    "write_image",
]
