"""Images that are like a picture: with the class that the network sees, and without it."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import numpy as np
from flask import Blueprint, Response, abort, redirect, render_template, request
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.wrappers import Response as AnyResponse

from chainrule.errors import ChainruleError, DataError
from chainrule.lab.indexes import Opened
from chainrule.lab.pictures import LARGEST_FILE
from chainrule.lab.query import Query, link
from chainrule.lab.refused import refusal
from chainrule.lab.searching import COUNTS, Sought, Wanted, entry_of, heat_maps, read_wanted, seek
from chainrule.lab.uploads import hand_in
from chainrule.lab.workshop import workshop
from chainrule.retrieval.answers import Answer
from chainrule.retrieval.layout import Entry
from chainrule.retrieval.page import unlike
from chainrule.retrieval.thumbnails import opened as pixels_of

blueprint = Blueprint("retrieval", __name__)

_SHELF = 24  # images of the index that are offered at once
_BARS = 6  # classes that are shown
_SIDES = ("x", "y", "width", "height")
_STATE = ("index", "picture", "region", "like", "k", "class", "own", "heat", "at")


@dataclass(frozen=True)
class Shown:
    """The picture that is searched by: its address and size, and what it is called."""

    src: str
    width: int
    height: int
    alt: str


@dataclass
class View:
    """What the address asks for, as far as it can be had; `problem` says what cannot."""

    names: list[str]
    opened: Opened | None = None
    wanted: Wanted = field(default_factory=Wanted)
    state: dict[str, Any] = field(default_factory=dict)
    sought: Sought | None = None
    shown: Shown | None = None
    bars: list[tuple[str, float]] = field(default_factory=list)
    unlike: str = ""
    maps: bool = False
    count: int = 0
    at: int | None = None
    shelf: list[tuple[int, Entry]] = field(default_factory=list)
    problem: str = ""
    note: str = ""


@blueprint.get("/retrieval")
def page() -> tuple[str, int] | AnyResponse:
    """Show an index, and what in it is like the picture and the images that are asked about."""
    args = request.args
    if any(name in args for name in (*_SIDES, "alone")):
        return redirect(link("retrieval.page", _settled(args.to_dict(flat=False))))
    view = _view(Query(), args.getlist("like"))
    shown = render_template(
        "retrieval.html",
        page="retrieval",
        view=view,
        state=view.state,
        problem=view.problem,
        counts=COUNTS,
        sides=dict(zip(_SIDES, _typed(args.get("region", "")), strict=True)),
        first=next(iter(workshop().subjects.runs()), ""),
        folder=workshop().settings.folder,
    )
    return shown, HTTPStatus.BAD_REQUEST if view.problem else HTTPStatus.OK


@blueprint.post("/retrieval/picture")
def add() -> AnyResponse:
    """Keep a picture, or what a DICOM file shows, and go back to the page, which searches by it.

    The file is `picture` of the form; the page's state stands in the form's address.  What is
    refused goes back to what was there, with the words.
    """
    state = {name: values for name in _STATE if (values := request.args.getlist(name))}
    try:
        file = request.files.get("picture")
        if file is None or not file.filename:
            raise DataError("expected a picture; choose a file first")
        shop = workshop()
        opened = shop.indexes.get(Query(request.args).text("index"))
        data, paths = file.read(LARGEST_FILE + 1), shop.indexes.paths().values()
        name = hand_in(data, file.filename, opened.index.settings, paths, shop.pictures)
        changes: dict[str, Any] = {"picture": name, "region": None, "like": None}
    except ChainruleError as error:
        changes = dict(refusal(str(error), workshop().seal))
    except RequestEntityTooLarge:
        words = f"expected a file of at most {LARGEST_FILE // 1_000_000} MB; this one is larger"
        changes = dict(refusal(words, workshop().seal))
    return redirect(link("retrieval.page", state, **changes), HTTPStatus.SEE_OTHER)


@blueprint.get("/retrieval/thumb/<index>/<name>.jpg")
def thumb(index: str, name: str) -> Response:
    """Give the small picture of an image of an index."""
    try:
        entry = entry_of(workshop().indexes.get(index), name)
        if not entry.thumbnail:
            raise DataError("this index keeps no small pictures")
        pixels_of(entry.thumbnail)  # what is damaged is told here and not shown
    except ChainruleError as error:
        abort(HTTPStatus.NOT_FOUND, str(error))
    return _private(Response(entry.thumbnail, mimetype="image/jpeg"))


@blueprint.get("/retrieval/heat/<name>.png")
def heat(name: str) -> Response:
    """Give the map of where the picture is like an image of the index."""
    shop, args = workshop(), request.args
    opened = shop.indexes.get(Query().text("index"))
    wanted = Wanted()
    read_wanted(Query(), args.getlist("like"), wanted, {})
    found = heat_maps(opened, wanted, shop.pictures, [name])
    if name not in found:
        abort(HTTPStatus.NOT_FOUND, f"{name[:40]!r}: this image is not in the index (any more)")
    return _private(Response(found[name], mimetype="image/png"))


def _private(response: Response) -> Response:
    response.cache_control.private = True
    response.cache_control.no_store = True
    return response


def _settled(given: dict[str, list[str]]) -> dict[str, Any]:
    """Bring what a form says in several fields to the state of the page."""
    state: dict[str, Any] = {name: given[name] for name in _STATE if name in given}
    if any(name in given for name in _SIDES):
        sides = [given.get(name, [""])[0].strip()[:20] for name in _SIDES]
        state["region"] = ",".join(sides) if any(sides) else None
    if "alone" in given:
        state["picture"] = state["region"] = None
    return state


def _typed(region: str) -> list[str]:
    """Split a region as it was typed into its four numbers, as far as they are there."""
    parts = [part.strip()[:20] for part in region.split(",")[:4]]
    return parts + [""] * (4 - len(parts))


def _view(query: Query, likes: list[str]) -> View:
    indexes = workshop().indexes
    view = View(list(indexes.paths()))
    if not view.names:
        return view
    try:
        view.opened = opened = indexes.get(query.text("index"))
        view.state["index"] = opened.name
        _browse(view, opened, query)
        try:
            read_wanted(query, likes, view.wanted, view.state)
        finally:  # what is wrong elsewhere is mended beside the picture
            view.shown = _shown(view.wanted, opened)
        if view.wanted.asks:
            _search(view, opened)
    except ChainruleError as error:
        view.problem = str(error)
    return view


def _browse(view: View, opened: Opened, query: Query) -> None:
    """Find the images that are offered: from one on, or some from all over the index."""
    with opened.told():
        snapshot = opened.index.snapshot
        rows = np.flatnonzero(snapshot.alive)
        view.count = len(rows)
        if not view.count:
            return
        view.at = query.integer("at", 1, view.count)
        view.state["at"] = view.at
        if view.at is None:
            numbers = np.unique(np.linspace(0, view.count - 1, min(_SHELF, view.count)).astype(int))
        else:
            numbers = np.arange(view.at - 1, min(view.at - 1 + _SHELF, view.count))
        entries = zip(numbers, snapshot.entries(rows[numbers]), strict=True)
        view.shelf = [(int(number) + 1, entry) for number, entry in entries if entry is not None]


def _search(view: View, opened: Opened) -> None:
    pictures = workshop().pictures
    view.sought = sought = seek(opened, view.wanted, pictures)
    view.bars = _bars_of(sought.by_class, opened.index.settings.task)
    view.unlike = unlike(sought.by_class)
    if not view.wanted.heat:
        return
    hits = [hit.id for answer in (sought.by_class, sought.plain) for hit in answer.hits]
    try:
        heat_maps(opened, view.wanted, pictures, hits)
        view.maps = True
    except ChainruleError as error:
        view.note = str(error)


def _shown(wanted: Wanted, opened: Opened) -> Shown | None:
    if not wanted.picture:
        return None
    if wanted.of_index:
        entry = entry_of(opened, wanted.picture)
        if not entry.thumbnail:
            return None
        high, wide = pixels_of(entry.thumbnail).shape[1:]
        src = link("retrieval.thumb", index=opened.name, name=entry.id)
        return Shown(src, wide, high, "the image of the index that is searched by")
    path = workshop().pictures.path(wanted.picture)
    try:
        with open(path, "rb") as file:
            wide, high = struct.unpack(">II", file.read(24)[16:])
    except (OSError, struct.error) as error:
        raise DataError("the picture is damaged or gone; hand it in again") from error
    src = link("handed.show", name=wanted.picture)
    return Shown(src, wide, high, "the picture that is searched by")


def _bars_of(answer: Answer, task: str) -> list[tuple[str, float]]:
    """Give the likeliest classes, and what all others have together where shares make a whole."""
    first = answer.likeliest(_BARS)
    rest = len(answer.classes) - len(first)
    if rest > 0 and task == "classification":
        share = max(0.0, 1.0 - sum(p for _, p in first))
        first.append((f"the other {rest}" if rest > 1 else "the other one", share))
    return first


@blueprint.app_template_filter("without")
def _without(values: list[str], one: str) -> list[str]:
    """Give a list without one of its values, for a link that takes it away."""
    return [value for value in values if value != one]
