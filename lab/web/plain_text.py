"""Plain words: text that a link, a file or a person brought, for places that read Markdown."""

from __future__ import annotations

import re

SIGNS = re.compile(r"([\\\[\]<`*$~])")  # of pictures, links, colours, HTML, code, stress, formulas


def plain(words: object) -> str:
    """The same as read, without a link, a picture or any markup in it."""
    return SIGNS.sub(r"\\\1", str(words))
