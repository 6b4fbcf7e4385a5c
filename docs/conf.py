"""Sphinx: `make docs` builds the pages of this folder, and the manual pages, into build/docs."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

from sphinx.application import Sphinx

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS), str(DOCS.parent)]

import reference_pages  # noqa: E402  on the path from here on

project = "walt"
author = "the walt authors"
copyright = "the walt authors, BSD-3-Clause"
release = metadata.version("walt-vnodes")

extensions = ["myst_parser"]
html_theme = "furo"
html_title = f"walt {release}"
myst_heading_anchors = 3
root_doc = "index"
man_pages = [
    ("generated/commands", "walt", "virtual nodes for network experiments", author, 1),
    ("settings", "walt-settings", "settings of nodes and links", author, 5),
]


def setup(app: Sphinx) -> None:
    app.connect("builder-inited", _write_reference)


def _write_reference(_: Sphinx) -> None:
    folder = DOCS / "generated"
    folder.mkdir(exist_ok=True)
    for name, text in reference_pages.pages().items():
        path = folder / name
        if not path.exists() or path.read_text() != text:  # what did not change is not built again
            path.write_text(text)
