"""A degradation in the words of a sentence, for cards and captions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["in_words"]


def in_words(protocol: Mapping[str, Any]) -> str:
    """What a protocol says of a degradation: "Gaussian noise of sigma 25 (clamped and rounded to 8 bit)".

    Args:
        protocol: of a step, a chain or a seeded one; its seed is left out.
    """
    phrases = []
    for word, value in protocol.items():
        if word == "noise":
            kind, _, rounding = str(value).partition(", ")
            strength = next((f"{w} {protocol[w]}" for w in ("sigma", "strength") if w in protocol), "")
            phrases.append(f"{kind} noise{strength and f' of {strength}'} ({rounding})")
        elif word == "quality":
            phrases.append(f"JPEG of quality {value}")
        elif word == "mosaic":
            phrases.append(f"one color at each px ({value})")
        elif word == "resize":
            phrases.append(f"reduction ({value})")
        elif word not in ("sigma", "strength", "jpeg", "seed"):
            phrases.append(f"{word.replace('_', ' ')} {value}")
    return "; ".join(phrases)
