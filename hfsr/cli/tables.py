"""Printing of tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["print_pairs", "print_table"]


def print_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Prints columns two spaces apart, with numbers aligned to the right and texts to the left."""
    lines = [[str(cell) for cell in row] for row in rows]
    numeric = [
        bool(lines) and all(line[i][:1].isdigit() or not line[i] for line in lines)
        for i in range(len(header))
    ]
    widths = [max(len(line[i]) for line in [list(header), *lines]) for i in range(len(header))]
    for line in [[title.upper() for title in header], *lines]:
        cells = zip(line, widths, numeric, strict=True)
        aligned = (cell.rjust(width) if right else cell.ljust(width) for cell, width, right in cells)
        print("  ".join(aligned).rstrip())


def print_pairs(pairs: Iterable[tuple[str, object]]) -> None:
    """Prints labels and values, one pair per line; pairs without a value are omitted."""
    shown = [(label, str(value)) for label, value in pairs if value not in (None, "")]
    width = max(len(label) for label, _ in shown)
    for label, value in shown:
        print(f"{label:<{width}}  {value}")
