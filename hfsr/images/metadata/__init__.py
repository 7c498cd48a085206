"""Metadata that travels with an image: EXIF, XMP, color profile and color signaling."""
