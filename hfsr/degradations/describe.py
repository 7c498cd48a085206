"""Description of a degradation as a phrase, for cards and captions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["describe_degradation"]


def describe_degradation(protocol: Mapping[str, Any]) -> str:
    """Describes a protocol's degradation: "Gaussian noise of sigma 25 (clamped and rounded to 8 bit)".

    Args:
        protocol: protocol of a step, a chain or a seeded degradation; its seed is left out.
    """
    phrases = []
    for key, value in protocol.items():
        if key == "noise":
            kind, _, rounding = str(value).partition(", ")
            strength = next((f"{w} {protocol[w]}" for w in ("sigma", "strength") if w in protocol), "")
            phrases.append(f"{kind} noise{strength and f' of {strength}'} ({rounding})")
        elif key == "quality":
            phrases.append(f"JPEG of quality {value}")
        elif key == "mosaic":
            phrases.append(f"one color at each px ({value})")
        elif key == "resize":
            phrases.append(f"reduction ({value})")
        elif key not in ("sigma", "strength", "jpeg", "seed"):
            phrases.append(f"{key.replace('_', ' ')} {value}")
    return "; ".join(phrases)
