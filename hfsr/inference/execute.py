"""Runs a program on one image, piece by piece, stage by stage.

The pieces of a stage run one after another. Sums of pooled maps are added up over the pieces; when the stage
ends they become the vectors of the next, so all pieces go on in step and the result is the whole image's.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx

from hfsr.errors import PlanError

from .graph import Program, Stage
from .operators import pool_keeps_dims
from .regions import Region, Size, cut, split

__all__ = ["Read", "Write", "execute"]

Read = Callable[[Region], Tensor]
"""Gives a region of the image: RGB float32 in [0, 1], (1, 3, height, width), on the program's device."""
Write = Callable[[Region, Tensor], None]
"""Takes a region of the result, in output px: RGB float32, nominally [0, 1], (1, 3, height, width)."""

_SMALLEST_PIECE = 16
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


def execute(
    program: Program,
    image: Size,
    read: Read,
    write: Write,
    *,
    tile: int,
    device: torch.device,
    spill: Callable[[int], Path | None] = lambda _: None,
) -> Iterator[tuple[int, Region]]:
    """Runs `program`, yielding (stage, region of the image) after each piece.

    Args:
        program: a traced and prepared network.
        image: size of the input.
        read, write: where regions of the image come from and regions of the result go.
        tile: largest side of the part of the image that one piece owns, in px.
        device: where pieces are computed and live maps are kept.
        spill: given the bytes of a live map, a folder for a file to hold it, or None to hold it in memory.

    Raises:
        PlanError: even the smallest piece does not fit into memory.
    """
    frame = _Frame(program, image, read, device, spill)
    for index, stage in enumerate(program.stages):
        frame.begin(stage)
        for piece in cut(image, tile):
            frame.run(stage, piece, write)
            yield index, piece
        frame.end(stage)


class _Frame:
    """The memory of one run; offers operators their inputs (see `operators.Workspace`)."""

    def __init__(
        self,
        program: Program,
        image: Size,
        read: Read,
        device: torch.device,
        spill: Callable[[int], Path | None],
    ) -> None:
        self.program = program
        self.image = image
        self.read = read
        self.device = device
        self.spill = spill
        self.sizes = program.sizes(image)
        self.live: dict[fx.Node, Tensor] = {}
        self.values: dict[fx.Node, Tensor] = {}
        self.sums: dict[fx.Node, Tensor] = {}
        self.patches: dict[fx.Node, tuple[Tensor, Region]] = {}
        self.modules = dict(program.module.named_modules())

    # What operators ask for

    def size(self, node: fx.Node) -> Size:
        return self.sizes[node]

    def value(self, node: fx.Node) -> Tensor:
        if node not in self.values:
            self.values[node] = self._evaluate(node)
        return self.values[node]

    def patch(self, node: fx.Node, region: Region) -> Tensor:
        if node in self.patches:
            tensor, held = self.patches[node]
            return _part(tensor, region, held)
        if node is self.program.source:
            return self.read(region)
        return self.live[node][..., region.top : region.bottom, region.left : region.right]

    # The life of a stage

    def begin(self, stage: Stage) -> None:
        for node in stage.keeps:
            self.live[node] = self._allocate(node)
        self.sums = {}
        self.last_use = _last_uses(stage, self.program.targets(stage))

    def run(self, stage: Stage, piece: Region, write: Write) -> None:
        """Runs one piece; when memory runs out, its halves, down to the smallest piece."""
        try:
            results = self._compute(stage, piece)
        except (RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error):
                raise
            self.patches.clear()
            results = None
        if results is not None:
            self._commit(stage, results, write)
            return
        if max(piece.height, piece.width) <= _SMALLEST_PIECE:
            raise PlanError(
                f"not enough memory for a piece of {piece.width}x{piece.height} px; free some, or use a CPU"
            )
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        for half in split(piece):
            self.run(stage, half, write)

    def end(self, stage: Stage) -> None:
        for pool in stage.pools:
            size = self.sizes[pool.all_input_nodes[0]]
            mean = (self.sums[pool] / (size.height * size.width)).float()
            self.values[pool] = mean[..., None, None] if pool_keeps_dims(pool) else mean
        for node in stage.vectors:
            self.values[node] = self._evaluate(node)
        for node in stage.frees:
            del self.live[node]

    # One piece

    def _compute(self, stage: Stage, piece: Region) -> dict[fx.Node, tuple[Tensor, Region]]:
        program = self.program
        owned = {node: piece.scaled(self.image, self.sizes[node]) for node in program.targets(stage)}
        owned = {node: region for node, region in owned.items() if region.area > 0}
        needed = program.regions(stage, owned, self.sizes)
        for pool in stage.pools:
            if pool.all_input_nodes[0] is program.source:
                owned[program.source] = piece
        for node in stage.nodes:
            if node in needed:
                self.patches[node] = (program.operators[node].run(needed[node], self), needed[node])
            for done in self.last_use.get(node, ()):
                self.patches.pop(done, None)
        results = {node: (self.patch(node, region), region) for node, region in owned.items()}
        self.patches.clear()
        return results

    def _commit(self, stage: Stage, results: dict[fx.Node, tuple[Tensor, Region]], write: Write) -> None:
        for node in stage.keeps:
            if node in results:
                tensor, region = results[node]
                self.live[node][..., region.top : region.bottom, region.left : region.right] = tensor
        for pool in stage.pools:
            pooled = pool.all_input_nodes[0]
            if pooled in results:
                total = results[pooled][0].sum((2, 3), dtype=torch.float32).double()
                self.sums[pool] = self.sums[pool] + total if pool in self.sums else total
        if self.program.output in results:
            tensor, region = results[self.program.output]
            write(region, tensor)

    def _allocate(self, node: fx.Node) -> Tensor:
        """Memory for a live map, laid out px by px; in a file where `spill` says so."""
        size, channels = self.sizes[node], self.program.channels[node]
        shape, dtype = (1, size.height, size.width, channels), self.program.operators[node].dtype
        count = size.height * size.width * channels
        folder = self.spill(count * dtype.itemsize)
        if folder is None:
            return torch.empty(shape, dtype=dtype, device=self.device).permute(0, 3, 1, 2)
        with tempfile.NamedTemporaryFile(dir=folder, prefix="hfsr-") as file:
            # The mapping outlives the name: the file disappears with the map.
            file.truncate(count * dtype.itemsize)
            mapped = torch.from_file(file.name, shared=True, size=count, dtype=dtype)
        return mapped.view(shape).permute(0, 3, 1, 2)

    def _evaluate(self, node: fx.Node) -> Tensor:
        """A constant of the network, or a vector computed from others."""

        def load(argument: fx.Node) -> Any:
            return self.value(argument)

        if node.op == "get_attr":
            owner, _, name = str(node.target).rpartition(".")
            return getattr(self.modules[owner], name).detach()
        args = fx.node.map_arg(node.args, load)
        kwargs = fx.node.map_arg(node.kwargs, load)
        if node.op == "call_module":
            return self.modules[str(node.target)](*args, **kwargs)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        return node.target(*args, **kwargs)  # type: ignore[operator]


def _part(tensor: Tensor, region: Region, held: Region) -> Tensor:
    if region == held:
        return tensor
    top, left = region.top - held.top, region.left - held.left
    return tensor[..., top : top + region.height, left : left + region.width]


def _last_uses(stage: Stage, targets: list[fx.Node]) -> dict[fx.Node, list[fx.Node]]:
    """For each node of the stage, the maps that nobody needs once it has run."""
    inside = set(stage.nodes) - set(targets)
    last: dict[fx.Node, fx.Node] = {}
    for node in stage.nodes:
        for source in node.all_input_nodes:
            if source in inside:
                last[source] = node
    uses: dict[fx.Node, list[fx.Node]] = {}
    for source, node in last.items():
        uses.setdefault(node, []).append(source)
    return uses


def _is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(
        phrase in str(error).lower() for phrase in _OUT_OF_MEMORY
    )
