"""Decoders of what Pillow does not read, and the headers of image files."""
