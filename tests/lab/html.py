"""A page of the lab as a test reads it: the text of its parts, its tables and links."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser

_EMPTY = frozenset(("meta", "link", "input", "br", "img", "hr", "path", "rect"))


class Part:
    """An element of a page."""

    def __init__(self, tag: str, attributes: dict[str, str]) -> None:
        self.tag, self.attributes = tag, attributes
        self.parts: list[Part | str] = []

    def __getitem__(self, name: str) -> str:
        return self.attributes[name]

    def get(self, name: str, default: str = "") -> str:
        return self.attributes.get(name, default)

    @property
    def text(self) -> str:
        """All text within, blanks joined."""
        return " ".join("".join(self._texts()).split())

    def _texts(self) -> Iterator[str]:
        for part in self.parts:
            if isinstance(part, str):
                yield part
            else:
                yield from part._texts()

    def all(self, tag: str = "", **wanted: str) -> list[Part]:
        """Find elements within, by tag and attributes (`class_` is one of the classes)."""
        kind, found = wanted.pop("class_", ""), []
        for part in self.parts:
            if isinstance(part, str):
                continue
            fits = tag in ("", part.tag) and all(part.get(k) == v for k, v in wanted.items())
            if fits and (not kind or kind in part.get("class").split()):
                found.append(part)
            found += part.all(tag, **wanted, **({"class_": kind} if kind else {}))
        return found

    def one(self, tag: str = "", **wanted: str) -> Part:
        """Find the one element of that kind."""
        found = self.all(tag, **wanted)
        assert len(found) == 1, f"{len(found)} of <{tag} {wanted}>"
        return found[0]

    def rows(self) -> list[list[str]]:
        """Give the texts of a table's cells, row by row."""
        return [
            [c.text for c in row.parts if isinstance(c, Part) and c.tag in ("td", "th")]
            for row in self.all("tr")
        ]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Part("", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        part = Part(tag, {name: value or "" for name, value in attrs})
        self.open[-1].parts.append(part)
        if tag not in _EMPTY:
            self.open.append(part)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].parts.append(Part(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if tag in _EMPTY:
            return
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].parts.append(data)


def read(text: str) -> Part:
    """Read a page; elements that were left open, or closed in another order, are an error."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    assert len(reader.open) == 1, f"left open: {[part.tag for part in reader.open[1:]]}"
    return reader.root
