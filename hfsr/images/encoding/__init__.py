"""Writing images: PNG and TIFF row by row, other formats by Pillow."""
