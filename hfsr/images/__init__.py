"""Pictures: from files and Pillow, to files, and to and from what networks take."""

from hfsr.images.alpha_bleed import underlaid
from hfsr.images.encoding.fitting import fitted
from hfsr.images.encoding.target_file import replacing
from hfsr.images.encoding.writing import (
    check_target,
    open_rows,
    output_format,
    picture_to_pil,
    takes_rows,
    write_picture,
)
from hfsr.images.formats import SUFFIXES, WRITE_SUFFIXES, result_suffix
from hfsr.images.loaded_image import Picture, eight_bit, from_rgb_float, levels, quantise, to_rgb_float
from hfsr.images.reading import (
    MAX_PIXELS,
    list_pictures,
    open_picture,
    picture_bits,
    picture_from_pil,
    picture_size,
    read_picture,
)

__all__ = [
    "MAX_PIXELS",
    "SUFFIXES",
    "WRITE_SUFFIXES",
    "Picture",
    "check_target",
    "eight_bit",
    "fitted",
    "from_rgb_float",
    "levels",
    "list_pictures",
    "open_picture",
    "open_rows",
    "output_format",
    "picture_bits",
    "picture_from_pil",
    "picture_size",
    "picture_to_pil",
    "quantise",
    "read_picture",
    "replacing",
    "result_suffix",
    "takes_rows",
    "to_rgb_float",
    "underlaid",
    "write_picture",
]
