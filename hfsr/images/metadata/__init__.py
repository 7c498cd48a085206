"""Metadata of an image: EXIF, XMP, color profile and color signaling."""
