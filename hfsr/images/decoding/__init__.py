"""Decoders for formats that Pillow does not read, and parsers of image file headers."""
