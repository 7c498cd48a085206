"""Runs the stages of a program on one image, in rows or tiles."""
