"""Configuration of the documentation: `sphinx-build -W docs build/docs`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import generated  # the tables that come from the code

import hfsr

project = "hfsr"
author = "The hfsr developers"
project_copyright = "The hfsr developers, Apache-2.0"
release = version = hfsr.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
autodoc_typehints = "description"
autodoc_member_order = "bysource"
autodoc_class_signature = "separated"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
# hfsr's docstrings write code in single backticks, as Markdown does.
default_role = "code"
html_theme = "furo"
html_title = "hfsr"
html_show_sphinx = False
html_static_path = ["static"]
html_css_files = ["figures.css"]


def setup(app: object) -> None:
    generated.connect(app)
