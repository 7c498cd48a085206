"""`python -m hfsr.options` writes the JSON schema of option files to their folder."""

from hfsr import _resources
from hfsr.options.schema import schema_text

_resources.folder("options").joinpath("schema.json").write_text(schema_text(), encoding="utf-8")
