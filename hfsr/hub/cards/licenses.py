"""Licenses of weights: their names on the Hub, and which ones allow redistribution."""

from __future__ import annotations

from hfsr.errors import HubError

__all__ = ["check_license", "license_fields"]

REDISTRIBUTABLE = frozenset(
    {"apache-2.0", "bsd-2-clause", "bsd-3-clause", "cc-by-4.0", "cc-by-sa-4.0", "cc0-1.0", "mit", "openrail"}
    | {"agpl-3.0", "gpl-3.0", "lgpl-3.0", "mpl-2.0", "unlicense"}
)
"""Licenses that allow anyone to redistribute the work for any purpose."""
HUB_LICENSES = REDISTRIBUTABLE | {"cc-by-nc-4.0", "cc-by-nc-sa-4.0", "other", "unknown"}
"""Names of licenses on the Hub; any other license is written as "other" with its own name."""


def license_fields(license: str | None) -> dict[str, str]:
    """Front matter fields of a license: `license`, and `license_name` if the Hub has no name for it."""
    if license is None:
        return {}
    known = license.lower()
    return {"license": known} if known in HUB_LICENSES else {"license": "other", "license_name": license}


def check_license(license: str | None, *, source: str) -> None:
    """Raises HubError unless a license allows anyone to redistribute the weights.

    Args:
        license: stated by the author of the weights; None if none is stated.
        source: file or folder of the weights, for the error message.
    """
    if license is not None and license.lower() in REDISTRIBUTABLE:
        return
    if license is None or license.lower() == "unknown":
        why = "no license is known: state it with --license if their author gave one"
    else:
        why = f"their license '{license}' does not allow everybody to redistribute them"
    raise HubError(
        f"'{source}' holds converted weights, and {why}; if you may publish them, add --i-may-publish "
        "(in Python: may_publish=True)"
    )
