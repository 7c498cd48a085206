"""The networks: one file per system, each ending with its `ArchSpec`. Importing this registers them all."""

from . import (
    a2n,
    dbpn,
    discriminators,
    drcn,
    drn,
    edsr,
    enhancenet,
    espcn,
    fsrcnn,
    lapsrn,
    mdsr,
    metardn,
    mirnet,
    mslapsrn,
    msrresnet,
    rcan,
    rdn,
    rrdbnet,
    srcnn,
    srresnet,
    vdsr,
    zssr,
)
from ._blur import BlurPool
from ._padding import padded_indices
from ._positional import PositionalEnlargement, enlarged_length, source_of
from ._resize import Enlargement
from ._spec import ArchSpec

__all__ = [
    "ArchSpec",
    "BlurPool",
    "Enlargement",
    "PositionalEnlargement",
    "a2n",
    "dbpn",
    "discriminators",
    "drcn",
    "drn",
    "edsr",
    "enhancenet",
    "enlarged_length",
    "espcn",
    "fsrcnn",
    "lapsrn",
    "mdsr",
    "metardn",
    "mirnet",
    "mslapsrn",
    "msrresnet",
    "padded_indices",
    "rcan",
    "rdn",
    "rrdbnet",
    "source_of",
    "srcnn",
    "srresnet",
    "vdsr",
    "zssr",
]
