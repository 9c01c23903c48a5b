"""The comments above code blocks, which tell the tests what the blocks are (tests/docs/blocks.py), shown to readers.

`<!-- file: tasks.py -->` becomes a line above it; the other comments are left out.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

_COMMENT = re.compile(r"<!-- (?P<text>.*?) -->", re.DOTALL)
_FILE = "file: "


def _caption(app: Sphinx, doctree: nodes.document) -> None:
    for raw in list(doctree.findall(nodes.raw)):
        said = [match["text"] for match in _COMMENT.finditer(raw.astext())]
        if raw.get("format") != "html" or not said:
            continue
        if said[-1].startswith(_FILE):
            raw.replace_self(nodes.paragraph("", said[-1].removeprefix(_FILE), classes=["file-name"]))
        else:
            raw.parent.remove(raw)


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("doctree-read", _caption)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
