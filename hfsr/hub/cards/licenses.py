"""Licenses of weights: their names on the Hub, and whether weights made by others may be passed on."""

from __future__ import annotations

from hfsr.errors import HubError

__all__ = ["check_license", "license_fields"]

FREE = frozenset(
    {"apache-2.0", "bsd-2-clause", "bsd-3-clause", "cc-by-4.0", "cc-by-sa-4.0", "cc0-1.0", "mit", "openrail"}
    | {"agpl-3.0", "gpl-3.0", "lgpl-3.0", "mpl-2.0", "unlicense"}
)
"""Licenses that let everybody pass the work on, for whatever purpose."""
HUB_LICENSES = FREE | {"cc-by-nc-4.0", "cc-by-nc-sa-4.0", "other", "unknown"}
"""Licenses by their names on the Hub; any other is written as "other" with its own name."""


def license_fields(license: str | None) -> dict[str, str]:
    """How a card's front matter says a license: `license`, and `license_name` where the Hub has none."""
    if license is None:
        return {}
    known = license.lower()
    return {"license": known} if known in HUB_LICENSES else {"license": "other", "license_name": license}


def check_license(license: str | None, *, source: str) -> None:
    """Raises HubError unless a license lets everybody pass on the weights of somebody else.

    Args:
        license: what their author gave them; None when nobody said.
        source: what the weights came from, for the error.
    """
    if license is not None and license.lower() in FREE:
        return
    if license is None or license.lower() == "unknown":
        why = "no license of theirs is known: say --license where their author gave one"
    else:
        why = f"their license '{license}' does not let everybody pass them on"
    raise HubError(
        f"'{source}' holds converted weights, and {why}; if you may publish them, say --i-may-publish "
        "(in Python: may_publish=True)"
    )
