"""A page of the network read as words and numbers."""

from __future__ import annotations

import re
from html import unescape

NET = "/network?net=run:small"


def cells(text: str) -> list[list[str]]:
    """Read every row of the page's tables as plain words."""
    rows = re.findall(r"<tr.*?</tr>", text, re.S)
    return [
        [plain(cell) for cell in re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row, re.S)] for row in rows
    ]


def plain(html: str) -> str:
    return " ".join(unescape(re.sub(r"<.*?>", " ", html)).split())


def row_of(text: str, begins: str) -> list[str]:
    found = [row for row in cells(text) if row and row[0].startswith(begins)]
    assert found, f"no row begins with {begins!r}"
    return found[0]


def on_the_map(text: str) -> float:
    found = re.search(r'id="on-the-map">([^<]+)<', text)
    assert found
    return float(found[1])
