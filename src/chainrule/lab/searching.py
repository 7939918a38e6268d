"""What the page Retrieval asks an index, read from the address; the answers, and heat maps."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import numpy as np

from chainrule.data.pictures import read_picture
from chainrule.engine.op import Array
from chainrule.errors import DataError
from chainrule.lab.indexes import Opened
from chainrule.lab.pictures import Pictures
from chainrule.lab.query import Query
from chainrule.lab.uploads import Mark, mark_of
from chainrule.retrieval.answers import Answer
from chainrule.retrieval.asking import Question, Region
from chainrule.retrieval.layout import Entry
from chainrule.retrieval.likeness import likeness
from chainrule.retrieval.page import heat_over
from chainrule.retrieval.thumbnails import opened as pixels_of

COUNTS = (5, 10, 20)
"""How many images may be asked for."""

MOST = 20
"""Images of which the middle may be asked for."""

_MAPS = 400  # heat maps of an index that are kept
_ID, _HANDED = re.compile(r"[0-9a-f]{32}"), re.compile(r"[0-9a-f]{20}")
_REGION = re.compile(r"\s*(\d{1,6})\s*" + r",\s*(\d{1,6})\s*" * 3, re.ASCII)
_FAR = 1.1  # beyond any cosine, rounded as it may be


@dataclass
class Wanted:
    """What is asked: a picture or images of the index, or both, and how the answer shall be.

    `picture` is the name of one that was handed in, or the id of an image of the index.
    """

    picture: str = ""
    region: Region | None = None
    like: tuple[str, ...] = ()
    k: int = 10
    mode: str = "soft"
    include_own: bool = False
    heat: bool = False

    @property
    def of_index(self) -> bool:
        """Whether the picture is an image of the index."""
        return bool(_ID.fullmatch(self.picture))

    @property
    def asks(self) -> bool:
        """Whether there is anything to search by."""
        return bool(self.picture or self.like)


@dataclass(frozen=True)
class Sought:
    """A question with its two answers, by the class that the network sees and without it."""

    question: Question
    by_class: Answer
    plain: Answer


def read_wanted(query: Query, likes: Iterable[str], wanted: Wanted, state: dict[str, Any]) -> None:
    """Read what is asked into `wanted` and into the page's state, as far as it is right.

    Raises DataError for the first value that cannot be.
    """
    wanted.include_own, wanted.heat = query.flag("own"), query.flag("heat")
    state["own"] = "1" if wanted.include_own else ""
    state["heat"] = "1" if wanted.heat else ""
    wanted.k = int(query.choice("k", [str(k) for k in COUNTS], "10"))
    state["k"] = wanted.k if wanted.k != 10 else ""
    wanted.mode = query.choice("class", ["soft", "hard"], "soft")
    state["class"] = wanted.mode if wanted.mode != "soft" else ""
    picture = query.text("picture")
    if picture and not _ID.fullmatch(picture) and not _HANDED.fullmatch(picture):
        raise DataError(f"picture: there is none of the name {picture[:40]!r}")
    state["picture"] = wanted.picture = picture
    wanted.like = _likes(likes)
    state["like"] = list(wanted.like)
    wanted.region = read_region(query.text("region"))
    if wanted.region is not None and not wanted.picture:
        raise DataError("region: expected a picture to take the part of; hand one in first")
    state["region"] = region_text(wanted.region)


def _likes(likes: Iterable[str]) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(one.strip() for one in likes if one.strip()))
    wrong = next((one for one in found if not _ID.fullmatch(one)), None)
    if wrong is not None:
        raise DataError(f"like: {wrong[:40]!r} is no id of an image")
    if len(found) > MOST:
        raise DataError(f"like: expected at most {MOST} images, got {len(found):,}")
    return found


def read_region(text: str) -> Region | None:
    """Read a part of a picture; None for "".

    >>> read_region("1, 2,3,4")
    Region(x=1, y=2, width=3, height=4)
    """
    if not text:
        return None
    found = _REGION.fullmatch(text)
    if found is None:
        raise DataError(
            "region: expected x, y, width and height, each a whole number of pixels; got "
            f"{text[:40]!r}"
        )
    return Region(*map(int, found.groups()))


def region_text(region: Region | None) -> str:
    """Write a part of a picture as it stands in the address.

    >>> region_text(Region(1, 2, 3, 4)), region_text(None)
    ('1,2,3,4', '')
    """
    if region is None:
        return ""
    return f"{region.x},{region.y},{region.width},{region.height}"


def entry_of(opened: Opened, name: str) -> Entry:
    """Give what the index keeps of an image; DataError where it is not there (any more)."""
    with opened.told():
        snapshot = opened.index.snapshot
        rows = [int(row) for row in snapshot.rows_of([name]) if row >= 0]
        found = snapshot.entries(rows)
    if not found or found[0] is None:
        raise DataError(f"{name[:40]!r}: this image is not in the index {opened.name} (any more)")
    return found[0]


def ask(opened: Opened, wanted: Wanted, pictures: Pictures) -> Question:
    """Make the question.

    Raises DataError for a picture or an image that is not there, and for a region outside of it.
    """
    with opened.told():
        if wanted.of_index:
            return _of_index(opened, wanted)
        if wanted.picture:
            return _handed(opened, wanted, pictures)
        return opened.index.ask(like=wanted.like)


def _handed(opened: Opened, wanted: Wanted, pictures: Pictures) -> Question:
    path, index = pictures.path(wanted.picture), opened.index
    mark = mark_of(pictures.note(wanted.picture), index.hasher, index.settings.groups)
    pixels = read_picture(path, index.network.member.mode, "the picture")
    asked = index.ask(pixels, region=wanted.region, like=wanted.like)
    return _marked(asked, mark)


def _of_index(opened: Opened, wanted: Wanted) -> Question:
    """Ask about an image of the index: by its features there, a part of it by its small picture."""
    index, entry = opened.index, entry_of(opened, wanted.picture)
    if wanted.region is None:
        asked = index.ask(like=(wanted.picture, *wanted.like))
        return replace(asked, group=entry.group)
    pixels = _small(opened, entry)
    asked = index.ask(pixels, region=wanted.region, like=wanted.like)
    return _marked(asked, Mark(entry.group, (entry.id,)))


def _marked(asked: Question, mark: Mark) -> Question:
    return replace(
        asked, group=mark.group, own=(*mark.own, *asked.own), notes=(*mark.notes, *asked.notes)
    )


def _small(opened: Opened, entry: Entry) -> Array:
    if not entry.thumbnail:
        raise DataError(
            f"the index {opened.name} keeps no small pictures, so there are no parts and no heat "
            "maps of its images; hand the picture in"
        )
    return pixels_of(entry.thumbnail)


def seek(opened: Opened, wanted: Wanted, pictures: Pictures) -> Sought:
    """Ask, and search twice: with the class that the network sees, and without."""
    question = ask(opened, wanted, pictures)
    with opened.told(), np.errstate(all="ignore"):  # damage is told below, in words
        by_class, plain = (
            opened.index.search(question, wanted.k, mode=mode, include_own=wanted.include_own)
            for mode in (wanted.mode, "off")
        )
    hits = (*by_class.hits, *plain.hits)
    values = np.array([(hit.score, hit.similarity) for hit in hits])
    if not (np.abs(values) < _FAR).all():
        raise DataError(
            f"numbers of the index {opened.name} are damaged; chainrule index verify tells which"
        )
    return Sought(question, by_class, plain)


def heat_maps(
    opened: Opened, wanted: Wanted, pictures: Pictures, ids: Sequence[str]
) -> dict[str, bytes]:
    """Map where the picture is like images of the index: PNG files by id, as far as they are there.

    The map lies over the picture as the network sees it.  Each is made once and kept while there
    is room.  Raises DataError without a picture, and for a network without maps.
    """
    if not wanted.picture:
        raise DataError("heat maps need a picture; there are only images of the index here")
    with opened.told(), opened.lock:
        snapshot = opened.index.snapshot
        head = (wanted.picture, region_text(wanted.region), snapshot.generation)
        rows = zip(ids, snapshot.rows_of(ids), strict=True)
        there = {one: int(row) for one, row in rows if row >= 0}
        missing = [one for one in there if (head, one) not in opened.kept]
        if missing:
            vectors = snapshot.matrix[[there[one] for one in missing]].astype(np.float32)
            made = _painted(opened, replace(wanted, like=()), pictures, vectors)
            opened.kept.update({(head, one): png for one, png in zip(missing, made, strict=True)})
        found = {one: opened.kept[head, one] for one in there}
        while len(opened.kept) > _MAPS:
            opened.kept.popitem(last=False)
    return found


def _painted(opened: Opened, wanted: Wanted, pictures: Pictures, vectors: Array) -> list[bytes]:
    """Paint where the picture is like each of some features (n, D) of the index."""
    index = opened.index
    x = ask(opened, wanted, pictures).x
    if x is None:
        x = index.network.prepare(_small(opened, entry_of(opened, wanted.picture)))
    maps = likeness(index.network.embedder, x, index.directions(vectors))
    plain = index.network.plain(x)
    return [painted(plain, found) for found in maps]


def painted(plain: Array, values: Array) -> bytes:
    """Paint a map (H, W), not negative, over an image (C, H, W) from 0 to 1 in grey: a PNG file."""
    mixed = heat_over(plain, np.nan_to_num(values))
    pixels = np.rint(255 * mixed).astype(np.uint8).transpose(1, 2, 0)
    stream = io.BytesIO()
    pillow = import_module("PIL.Image")
    pillow.fromarray(np.ascontiguousarray(pixels)).save(stream, "PNG", compress_level=1)
    return stream.getvalue()
