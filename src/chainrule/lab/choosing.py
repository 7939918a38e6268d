"""Which network and which picture a page is about, and what else there is to choose.

For every page that shows a network with a picture.  Its view calls `choose`; its template holds

    {% with endpoint = "look.page", lasting = {"method": state.method} %}
    {% include "parts/choose.html" %}
    {% endwith %}

with `choice`, what `choose` gave, and `state`, the values of the page's address, in reach;
`lasting` are those of the state that another network keeps, too.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from chainrule.engine.op import Array
from chainrule.errors import ChainruleError, DataError
from chainrule.inspection.paint import image_uri
from chainrule.lab.pictures import Pictures
from chainrule.lab.query import Query
from chainrule.lab.subjects import MODEL, RUN, Subject
from chainrule.lab.workshop import Workshop
from chainrule.models.registry import MODELS

_SIDE = 64  # pixels of a small picture's longest side, at most
_PICTURES = 4  # pictures of a network that stay prepared

T = TypeVar("T")


@dataclass(frozen=True)
class Tile:
    """A picture that can be chosen: its name in addresses, what it shows, and itself, small."""

    name: str
    label: str
    uri: str


@dataclass(frozen=True)
class Group:
    """Networks that stand together: a heading, and keys with their names."""

    title: str
    networks: list[tuple[str, str]]


@dataclass
class Choice:
    """What was chosen, as far as it could be had, and what can be.

    `x` (1, C, H, W) is the picture as the network sees it, `label` what it shows, "" if not known.
    Where something is not there, `problem` says so, and `subject` or `x` is None.  `note` says why
    only a picture that was handed in can be had.
    """

    key: str
    groups: list[Group]
    subject: Subject | None = None
    picture: str = ""
    x: Array | None = None
    label: str = ""
    tiles: list[Tile] = field(default_factory=list)
    own: Tile | None = None
    problem: str = ""
    note: str = ""


def choose(query: Query, shop: Workshop) -> Choice:
    """Read `net` and `picture`; the first network and its first sample where they are not told."""
    subjects = shop.subjects
    runs = [(RUN + name, name) for name in subjects.runs()]
    models = [(MODEL + name, name) for name in sorted(MODELS)]
    groups = [Group("Runs", runs), Group("Not trained", models)]
    choice = Choice("", [group for group in groups if group.networks])
    try:
        choice.key = query.text("net") or subjects.first
        choice.picture = query.text("picture")
        choice.subject = subject = subjects.get(choice.key)
        _choose_picture(choice, subject, shop.pictures)
    except ChainruleError as error:
        choice.problem = str(error)
    return choice


def _choose_picture(choice: Choice, subject: Subject, pictures: Pictures) -> None:
    """Find the picture; where the data set is gone, one that was handed in can still be had."""
    try:
        choice.tiles = remembered(subject, "tiles", "", lambda: _tiles(subject, pictures))
    except ChainruleError as error:
        if not choice.picture:
            raise DataError(
                f"{error}; a picture of your own can be looked at all the same"
            ) from error
        choice.note = str(error)
    choice.picture = choice.picture or choice.tiles[0].name
    choice.x = x = seen(subject, choice.picture, pictures)
    choice.label = subject.label(choice.picture)
    if choice.picture not in [tile.name for tile in choice.tiles]:
        says = choice.label or (choice.picture if "-" in choice.picture else "yours")
        choice.own = Tile(choice.picture, says, _small(subject, x))


def seen(subject: Subject, picture: str, pictures: Pictures) -> Array:
    """Give a picture as the network sees it, (1, C, H, W), prepared once; see `Subject.seen`."""
    return remembered(subject, "seen", picture, lambda: subject.seen(picture, pictures), _PICTURES)


def remembered(
    subject: Subject, kind: str, key: Hashable, make: Callable[[], T], most: int = 1
) -> T:
    """Give what was computed of a network before, or compute it; `most` of a kind are kept.

    The oldest goes.  Two who ask at once may both compute.
    """
    shelf: dict[Hashable, Any] = subject.kept.setdefault(kind, {})
    if key in shelf:
        found: T = shelf[key]
        return found
    made = make()
    with subject.lock:
        shelf[key] = made
        for old in list(shelf)[:-most]:
            del shelf[old]
    return made


def _tiles(subject: Subject, pictures: Pictures) -> list[Tile]:
    return [
        Tile(name, label, _small(subject, subject.seen(name, pictures)))
        for name, label in subject.samples()
    ]


def _small(subject: Subject, x: Array) -> str:
    """Write a picture as the network sees it as a small one within the page."""
    return image_uri(subject.plain(x)[0], _SIDE)
