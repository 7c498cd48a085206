"""Overlapping tiles for networks that cannot be tiled exactly."""
