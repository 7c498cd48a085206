"""Pixels in and out: arrays, files, padding, self-ensemble and copies to and from the device."""
