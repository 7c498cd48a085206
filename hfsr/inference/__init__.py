"""Exact execution in pieces: any network of ours on any size of picture, in bounded memory.

The way of a picture: `upscaler` takes it, `pictures` sets its opacity apart, and a `runner`, one for each
number format, runs what `pixels` makes of it. The runner asks `graph` to read the network's fx graph into
stages, `plan` to choose how high bands or how large pieces are, and `execute` to run the stages with
`operators` on `regions`: as a stream of `rows`, or in `pieces`. What no graph can cut is `windowed`.
"""

from .upscaler import Progress, Upscaler

__all__ = ["Progress", "Upscaler"]
