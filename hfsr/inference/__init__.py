"""Exact execution in pieces: any network of ours on any size of picture, in bounded memory.

The way of a picture: `upscaler` (pictures in and out) asks `graph` to read the network's fx graph into
stages, `plan` to choose the piece size, and `execute` to run the stages piece by piece with `operators` on
`regions`.
"""

from .upscaler import Progress, Upscaler

__all__ = ["Progress", "Upscaler"]
