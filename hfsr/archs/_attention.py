"""Attention between the 3x3 patches of feature maps, in memory that grows linearly with the feature maps.

Every patch of a feature map is compared with every candidate patch. The softmax of their similarities weights
the values of the candidates; overlapping weighted patches are summed. Two optimizations make this affordable:

- Neighboring patches share pixels. The product of two patches is a sum of nine products of px, and a px of
  the result is a sum over nine pasted patches: both sum over shifts that move query and candidate together.
  So px are multiplied once, not once per patch: a ninth of the arithmetic.
- Similarities exist for one block of queries and candidates at a time. A first pass over the blocks computes
  the log-sum-exp of every query with the online softmax; a second pass weights and pastes the values. The
  backward pass recomputes each block. If there are few similarities, as for a training patch, they are
  computed once and kept.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from ._spec import StateDict

__all__ = ["FLOOR", "drop_floor", "embedding", "full_precision", "patch_attention"]

FLOOR = 1e-4
"""Lower bound of the length by which a candidate's key is divided."""

AT_ONCE = 20_000_000
"""Maximum number of similarities of one image held at once: a pyramid over 48x48 px has 17 million."""

_SIDES = {"cpu": 48, "meta": 1 << 16}
"""Side of a block in px, by device type; a block holds side^4 similarities (none on the meta device)."""
_SIDE = 64
"""Side of a block on any other device."""


def embedding(in_channels: int, out_channels: int) -> nn.Sequential:
    """Embedding for queries, keys or values: a 1x1 convolution and a PReLU."""
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1), nn.PReLU())


def drop_floor(state_dict: StateDict) -> StateDict:
    """Removes the buffers `escape_NaN` of released checkpoints if they hold the constant `FLOOR`."""

    def is_floor(key: str) -> bool:
        return key.endswith("escape_NaN") and bool((state_dict[key] - FLOOR).abs().max() < FLOOR * 1e-3)

    return {key: value for key, value in state_dict.items() if not is_floor(key)}


def full_precision(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Disables autocast inside the context: half-precision exponentials would keep only two digits."""
    if torch.amp.is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return contextlib.nullcontext()


def patch_attention(
    query: Tensor, candidates: Sequence[tuple[Tensor, Tensor]], *, sharpness: float
) -> Tensor:
    """Rebuilds a feature map from the candidate patches that are similar to its own 3x3 patches.

    Patches lie around every px, with zeros beyond the border. The keys of a candidate are divided by their
    length.

    Args:
        query: (B, D, H, W).
        candidates: feature maps of keys (B, D, h, w) and of values (B, C, h, w); each pair has its own size.
        sharpness: factor of the similarities before the softmax over all candidates.

    Returns:
        (B, C, H, W), the sums of up to nine patches that overlap at each px.
    """
    dtype = torch.promote_types(query.dtype, torch.float32)
    with full_precision(query.device):
        results = []
        for i in range(len(query)):
            levels = [_Level.of(key[i].to(dtype), value[i].to(dtype)) for key, value in candidates]
            results.append(_attend(query[i].to(dtype) * sharpness, levels))
        return torch.stack(results).to(query.dtype)


class _Level(NamedTuple):
    """Candidate patches of one feature map."""

    keys: Tensor
    """(D, h + 2, w + 2), with a border of zeros."""
    inverse_lengths: Tensor
    """(h, w), of the key patches."""
    values: Tensor
    """(C, h, w)."""

    @classmethod
    def of(cls, keys: Tensor, values: Tensor) -> _Level:
        squares = keys.square().sum(0)[None, None]
        squares = F.avg_pool2d(squares, 3, stride=1, padding=1, divisor_override=1)[0, 0]
        return cls(F.pad(keys, (1,) * 4), squares.clamp(min=FLOOR**2).rsqrt(), values)


_Tile = tuple[slice, slice]
"""Rows and columns of a part of a feature map."""


def _attend(query: Tensor, levels: list[_Level]) -> Tensor:
    """Attention of one feature map (D, H, W)."""
    places = query[0].numel()
    if places * sum(level.inverse_lengths.numel() for level in levels) <= AT_ONCE:
        return _attend_at_once(query, levels)
    return _attend_in_blocks(query, levels)


def _attend_at_once(query: Tensor, levels: list[_Level]) -> Tensor:
    place = _whole(query[0])
    query = F.pad(query, (1,) * 4)
    scores = []
    for level in levels:
        lengths = level.inverse_lengths
        scores.append((_products(query, level, place, _whole(lengths)) * lengths).flatten(2))
    weights = torch.cat(scores, 2).softmax(2).split([score.shape[2] for score in scores], 2)
    parts = (
        _paste(weight.unflatten(2, level.values.shape[1:]), level.values, outside=(1,) * 8)
        for weight, level in zip(weights, levels, strict=True)
    )
    return functools.reduce(torch.add, parts)


def _attend_in_blocks(query: Tensor, levels: list[_Level]) -> Tensor:
    size = query.shape[1:]
    side = _SIDES.get(query.device.type, _SIDE)
    blocks = [(level, part) for level in levels for part in _tiles(level.inverse_lengths.shape, side)]
    query = F.pad(query, (1,) * 4)

    def log_sums_at(place: _Tile) -> Tensor:
        parts = (_run(_log_sums, query, level, place, part) for level, part in blocks)
        return functools.reduce(torch.logaddexp, parts)

    log_sums = _mosaic(size, side, log_sums_at)

    def pasted_at(place: _Tile) -> Tensor:
        parts = (_run(_pasted, query, log_sums, level, place, part) for level, part in blocks)
        return functools.reduce(torch.add, parts)

    return _mosaic(size, side, pasted_at)


def _run(block: Callable[..., Tensor], *arguments: Any) -> Tensor:
    """Computes a block; with gradients enabled, the backward pass recomputes it and nothing is stored."""
    if torch.is_grad_enabled():
        return checkpoint(block, *arguments, use_reentrant=False, preserve_rng_state=False)
    return block(*arguments)


def _log_sums(query: Tensor, level: _Level, place: _Tile, part: _Tile) -> Tensor:
    """Log-sum-exp over a part of the candidates, for each px of a tile of queries."""
    return (_products(query, level, place, part) * level.inverse_lengths[part]).logsumexp((2, 3))


def _pasted(query: Tensor, log_sums: Tensor, level: _Level, place: _Tile, part: _Tile) -> Tensor:
    """Contribution of a part of the candidates' values to a tile of queries, (C, height, width)."""
    # Patches around the tile reach into it; likewise the candidates around the part reach into the part.
    limits = (*log_sums.shape, *level.inverse_lengths.shape)
    spans = list(zip((*place, *part), limits, strict=True))
    rows, columns, *others = (slice(max(s.start - 1, 0), min(s.stop + 1, limit)) for s, limit in spans)
    places, parts = (rows, columns), (others[0], others[1])
    outside = [int(edge) for s, limit in reversed(spans) for edge in (s.start == 0, s.stop == limit)]

    products = _products(query, level, places, parts)
    scores = torch.addcmul(-log_sums[places][..., None, None], products, level.inverse_lengths[parts])
    return _paste(scores.exp_(), level.values[:, part[0], part[1]], outside)


def _paste(weights: Tensor, values: Tensor, outside: Sequence[int]) -> Tensor:
    """Sums of patches of the values (C, y, x), weighted for every query: (C, height, width).

    Args:
        weights: weights of the candidates for each query, (Y, X, y, x).
        values: values at the positions of the candidates, (C, y, x).
        outside: padding of the weights (for `F.pad`) at the borders of a feature map; elsewhere the weights
            reach 1 px beyond the queries and the values.
    """
    by_px = _DiagonalSums.apply(F.pad(weights, outside))
    return (values.flatten(1) @ by_px.flatten(2).flatten(0, 1).T).unflatten(1, by_px.shape[:2])


def _products(query: Tensor, level: _Level, place: _Tile, part: _Tile) -> Tensor:
    """Products of the patches of a tile with those of a part, (height, width, height, width)."""
    q, k = _with_border(query, place), _with_border(level.keys, part)
    px = q.flatten(1).T @ k.flatten(1)
    return _DiagonalSums.apply(px.view(*q.shape[1:], *k.shape[1:]))


class _DiagonalSums(torch.autograd.Function):
    """Sums over the nine shifts by up to one px that move query and candidate together."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Args: x: (Y, X, y, x). Returns: (Y - 2, X - 2, y - 2, x - 2)."""
        beside = x[:, :-2, :, :-2] + x[:, 1:-1, :, 1:-1]
        beside += x[:, 2:, :, 2:]
        total = beside[:-2, :, :-2] + beside[1:-1, :, 1:-1]
        total += beside[2:, :, 2:]
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _DiagonalSums.apply(F.pad(gradient, (2,) * 8))


def _with_border(bordered: Tensor, tile: _Tile) -> Tensor:
    """Returns a tile and one px around it, from a feature map padded by one px."""
    rows, columns = tile
    return bordered[:, rows.start : rows.stop + 2, columns.start : columns.stop + 2]


def _mosaic(size: Sequence[int], side: int, tile: Callable[[_Tile], Tensor]) -> Tensor:
    """Assembles a feature map (..., height, width) from its tiles."""
    rows, columns = (_spans(length, side) for length in size)
    return torch.cat([torch.cat([tile((row, column)) for column in columns], -1) for row in rows], -2)


def _whole(x: Tensor) -> _Tile:
    return slice(0, x.shape[0]), slice(0, x.shape[1])


def _tiles(size: Sequence[int], side: int) -> list[_Tile]:
    rows, columns = (_spans(length, side) for length in size)
    return list(itertools.product(rows, columns))


def _spans(length: int, side: int) -> list[slice]:
    """Cuts a side into near-equal parts of at most `side` px."""
    count = -(-length // side)
    edges = [length * i // count for i in range(count + 1)]
    return [slice(start, stop) for start, stop in itertools.pairwise(edges)]
