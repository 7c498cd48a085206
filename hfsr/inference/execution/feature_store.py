"""The memory of one run: what is kept whole between stages, and what the current stage may read."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, fx

from ..program.geometry import Region, Size
from ..program.operator_mapping import pool_keeps_dims
from ..program.operators import Pointwise
from ..program.program import Program, Stage
from ..scheduling.virtual_concat import concat_inputs
from .row_buffer import RowBuffer

__all__ = ["Frame", "Patch", "Read", "Spill", "Write"]

Read = Callable[[Region], Tensor]
"""Gives a region of the image: RGB float32 in [0, 1], (1, 3, height, width), on the program's device."""
Write = Callable[[Region, Tensor], None]
"""Takes a region of the result, in output px: RGB float32, nominally [0, 1], (1, 3, height, width)."""
Spill = Callable[[int], "Path | str | None"]
"""Given the bytes of a live map: a folder for a file to hold it, "host" for the memory beside a GPU's, or
None to hold it on the device."""
Patch = tuple[Tensor, Region]
"""A part of a map, (1, C, height, width), and where it lies."""

_SUMMED = 1 << 18
"""Numbers that are summed at once: what a narrow type is widened to stays in the processor's cache."""


class Frame:
    """One image on its way through a program (see `operators.OperatorInputs` for what operators ask of it).

    Attributes:
        live: maps that a later stage reads, whole.
        values: constants, and vectors made from pooled statistics.
        patches: the parts of this stage's maps that are at hand.
        rows: the rows of this stage's maps that are at hand, when they run as a stream.
    """

    def __init__(self, program: Program, image: Size, read: Read, device: torch.device, spill: Spill) -> None:
        self.program = program
        self.image = image
        self.read = read
        self.device = device
        self.spill = spill
        self.sizes = program.sizes(image)
        self.live: dict[fx.Node, Tensor | RowBuffer] = {}
        self.values: dict[fx.Node, Tensor] = {}
        self.patches: dict[fx.Node, Patch] = {}
        self.rows: dict[fx.Node, RowBuffer] = {}
        self._sums: dict[fx.Node, Tensor] = {}
        self._desk: dict[torch.dtype, Tensor] = {}
        self._modules = dict(program.module.named_modules())

    # What operators ask for

    def size(self, node: fx.Node) -> Size:
        return self.sizes[node]

    def value(self, node: fx.Node) -> Tensor:
        if node not in self.values:
            self.values[node] = self._evaluate(node)
        return self.values[node]

    def feature(self, node: fx.Node, region: Region) -> Tensor:
        if node in self.patches:
            tensor, held = self.patches[node]
            return _part(tensor, region, held)
        if node in self.rows:
            return self.rows[node].read(region)
        if node is self.program.source:
            return self.read(region)
        if node not in self.live:  # a concatenation that is made when it is read
            return self._gathered(node, region)
        part = _region(self.live[node], region)
        return part if part.device == self.device else part.to(self.device)

    # The life of a stage

    def begin(
        self,
        stage: Stage,
        reusable_buffers: Mapping[fx.Node, fx.Node] = MappingProxyType({}),
        strips: Collection[fx.Node] = (),
    ) -> None:
        """Makes room for what the stage keeps.

        Args:
            reusable_buffers: kept maps that take the memory of a map which nobody reads after this stage.
            strips: kept maps that may stay in strips.
        """
        self.patches.clear()
        self.rows.clear()
        self._sums.clear()
        for node in stage.keeps:
            if node in strips and self._place(node) is None:
                self.live[node] = RowBuffer()
            elif node in reusable_buffers:
                self.live[node] = self.live[reusable_buffers[node]]
            elif node not in self.live:
                self.live[node] = self._allocate(node)

    def keep(self, node: fx.Node, region: Region) -> None:
        """Computes a part of a kept map into its place."""
        op, held = self.program.operators[node], self.live[node]
        if isinstance(held, RowBuffer):
            held.append(region.top, op.run(region, self))
            return
        place = _region(held, region)
        if place.device == self.device:
            op.run_into(region, self, place)
        else:
            place.copy_(op.run(region, self))

    def commit(self, stage: Stage, owned: dict[fx.Node, Region], write: Write) -> None:
        """Takes finished parts of the targets out of `patches`: to the live maps, the pools, the result."""
        for node in stage.keeps:
            if node in owned and node in self.patches:  # else it was computed into its place
                _region(self.live[node], owned[node]).copy_(self.feature(node, owned[node]))
        for pool in stage.pools:
            pooled = pool.all_input_nodes[0]
            if pooled in owned:
                total = _sum(self.feature(pooled, owned[pooled]))
                self._sums[pool] = self._sums[pool] + total if pool in self._sums else total
        if self.program.output in owned:
            region = owned[self.program.output]
            write(region, self.feature(self.program.output, region))

    def end(self, stage: Stage) -> None:
        """Turns the stage's sums into vectors, and lets go of what nobody reads any more."""
        for pool in stage.pools:
            size = self.sizes[pool.all_input_nodes[0]]
            mean = (self._sums[pool] / (size.height * size.width)).float()
            self.values[pool] = mean[..., None, None] if pool_keeps_dims(pool) else mean
        for node in stage.vectors:
            self.values[node] = self._evaluate(node)
        for node in stage.frees:
            del self.live[node]
        self.patches.clear()
        self.rows.clear()
        self._desk.clear()

    # Rows of a stream

    def extend(self, node: fx.Node, region: Region, top: int) -> None:
        """Computes rows below those that are held of a map, in one piece with the last of these, from `top`
        on.
        """
        held = self.rows.setdefault(node, RowBuffer())
        above = held.read(region._replace(top=top, bottom=region.top)) if top < region.top else None
        held.append(top, self._computed(node, region, above))

    def parts(self, node: fx.Node, region: Region) -> list[Region]:
        """A region, cut where the strips end that an operator reads px for px: none has to be copied."""
        op = self.program.operators[node]
        sources = op.sources if isinstance(op, Pointwise) else []
        held = [self.rows.get(source, self.live.get(source)) for source in sources]
        strips = [each for each in held if isinstance(each, RowBuffer)]
        edges = {edge for each in strips for edge in each.edges(region.top, region.bottom)}
        bounds = itertools.pairwise([region.top, *sorted(edges), region.bottom])
        return [region._replace(top=top, bottom=bottom) for top, bottom in bounds]

    def _computed(self, node: fx.Node, region: Region, above: Tensor | None = None) -> Tensor:
        """A region of a map, below rows that are there already."""
        op, parts = self.program.operators[node], self.parts(node, region)
        if above is None and len(parts) == 1:
            return op.run(region, self)
        joined = 0 if above is None else above.shape[2]
        rows = self._new(node, joined + region.height, region.width)
        if above is not None:
            rows[..., :joined, :] = above
        below = rows[..., joined:, :]
        for part in parts:
            op.run_into(part, self, below[..., part.top - region.top : part.bottom - region.top, :])
        return rows

    def _gathered(self, node: fx.Node, region: Region) -> Tensor:
        """A region of a concatenation, from the strips of what it is made of."""
        rows = self._lent(node, region.height, region.width)
        channel = 0
        for source in concat_inputs(node):
            held, top = self.rows.get(source), 0
            below = channel + self.program.channels[source]
            for piece in [self.feature(source, region)] if held is None else held.chunks(region):
                rows[:, channel:below, top : top + piece.shape[2]] = piece
                top += piece.shape[2]
            channel = below
        return rows

    def _lent(self, node: fx.Node, height: int, width: int) -> Tensor:
        """As `_new`, for rows that are read once and at once: always the same memory, which the processor's
        cache then holds.
        """
        if self.device.type != "cpu":
            return self._new(node, height, width)
        channels, dtype = self.program.channels[node], self.program.operators[node].dtype
        count = height * width * channels
        desk = self._desk.pop(dtype, None)
        if desk is None or desk.numel() < count:
            del desk  # before there is another one
            desk = torch.empty(count, dtype=dtype)
        self._desk[dtype] = desk
        return desk[:count].view(1, height, width, channels).permute(0, 3, 1, 2)

    def _new(self, node: fx.Node, height: int, width: int) -> Tensor:
        """Memory for rows of a map, laid out px by px."""
        shape, dtype = (1, height, width, self.program.channels[node]), self.program.operators[node].dtype
        return torch.empty(shape, dtype=dtype, device=self.device).permute(0, 3, 1, 2)

    def _allocate(self, node: fx.Node) -> Tensor:
        """Memory for a live map, laid out px by px; in a file where `spill` says so."""
        size, channels = self.sizes[node], self.program.channels[node]
        shape, dtype = (1, size.height, size.width, channels), self.program.operators[node].dtype
        count = size.height * size.width * channels
        folder = self._place(node)
        if folder is None:
            return self._new(node, *size)
        if folder == "host":
            return torch.empty(shape, dtype=dtype, pin_memory=True).permute(0, 3, 1, 2)
        with tempfile.NamedTemporaryFile(dir=folder, prefix="hfsr-") as file:
            # The mapping outlives the name: the file disappears with the map.
            file.truncate(count * dtype.itemsize)
            mapped = torch.from_file(file.name, shared=True, size=count, dtype=dtype)
        return mapped.view(shape).permute(0, 3, 1, 2)

    def _place(self, node: fx.Node) -> Path | str | None:
        """Where a live map goes, as `spill` says it."""
        size, dtype = self.sizes[node], self.program.operators[node].dtype
        return self.spill(size.height * size.width * self.program.channels[node] * dtype.itemsize)

    def _evaluate(self, node: fx.Node) -> Tensor:
        """A constant of the network, or a vector computed from others."""

        def load(argument: fx.Node) -> Any:
            return self.value(argument)

        if node.op == "get_attr":
            owner, _, name = str(node.target).rpartition(".")
            return getattr(self._modules[owner], name).detach()
        args = fx.node.map_arg(node.args, load)
        kwargs = fx.node.map_arg(node.kwargs, load)
        if node.op == "call_module":
            return self._modules[str(node.target)](*args, **kwargs)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        return node.target(*args, **kwargs)  # type: ignore[operator]


def _sum(part: Tensor) -> Tensor:
    """Sum over height and width in float64, (1, C): of float32 sums over a few rows each."""
    rows = max(1, _SUMMED // (part.shape[1] * part.shape[3]))
    sums = [band.sum((2, 3), dtype=torch.float32) for band in part.split(rows, 2)]
    return torch.stack(sums).double().sum(0)


def _region(held: Tensor | RowBuffer, region: Region) -> Tensor:
    """A region of a live map."""
    if isinstance(held, RowBuffer):
        return held.read(region)
    return held[..., region.top : region.bottom, region.left : region.right]


def _part(tensor: Tensor, region: Region, held: Region) -> Tensor:
    if region == held:
        return tensor
    top, left = region.top - held.top, region.left - held.left
    return tensor[..., top : top + region.height, left : left + region.width]
