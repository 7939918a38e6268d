"""What a network looks at in a picture: several methods side by side."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from threading import BoundedSemaphore
from typing import Any

from flask import Blueprint, Response, abort, render_template, request

from chainrule.errors import ChainruleError, DataError
from chainrule.lab.background import Drawing
from chainrule.lab.choosing import Choice, choose, remembered
from chainrule.lab.looks import SIGHTS, Answer, Layer, Question, answer_of, find_unit
from chainrule.lab.query import Query
from chainrule.lab.workshop import workshop

blueprint = Blueprint("look", __name__)

_NONE = "none"  # a form without a tick says so, which an address without a word does not
_LONG = 30.0  # seconds that a file is waited for
_WAITERS = BoundedSemaphore(4)  # who wait: most of the server's threads must stay free
_ANSWERS = 4  # pictures of a network whose answer is kept


@dataclass
class View:
    """What the address asks for, as far as it can be had; `problem` says what cannot."""

    choice: Choice
    methods: list[str] = field(default_factory=list)
    answer: Answer | None = None
    layer: Layer | None = None
    question: Question | None = None
    state: dict[str, Any] = field(default_factory=dict)
    problem: str = ""


@blueprint.get("/look")
def page() -> tuple[str, int]:
    """Show the methods that are ticked; each is begun, and shown where it is ready."""
    view = _view(Query())
    drawings = {} if view.question is None else _asked(view.question, view.methods)
    shown = render_template(
        "look.html",
        page="look",
        view=view,
        choice=view.choice,
        state=view.state,
        sights=SIGHTS,
        drawings=drawings,
        waiting=any(not drawing.done for drawing in drawings.values()),
        problem=view.problem,
        typed=request.args.get("unit", "")[:20],
    )
    return shown, HTTPStatus.BAD_REQUEST if view.problem else HTTPStatus.OK


@blueprint.get("/look/part/<sight>")
def part(sight: str) -> str:
    """Give one method's figure as a part of the page: the picture, words, or how far it is."""
    view = _view(Query())
    drawing = None
    if view.question is not None and sight in SIGHTS:
        drawing = _asked(view.question, [sight], turn=0)[sight]
    problem = view.problem or "there is no such method"
    return render_template(
        "parts/drawing.html",
        drawing=drawing,
        problem=problem,
        state=view.state,
        method=sight,
        sights=SIGHTS,
    )


@blueprint.get("/look/<sight>.png")
def picture(sight: str) -> Response:
    """Give one method's figure as a file; it is waited for."""
    if sight not in SIGHTS:
        abort(HTTPStatus.NOT_FOUND)
    view = _view(Query())
    if view.question is None:
        raise DataError(view.problem)
    drawing = _waited(_asked(view.question, [sight])[sight])
    if not drawing.done:
        abort(HTTPStatus.SERVICE_UNAVAILABLE, f"{sight} is still at work; ask again in a while")
    if drawing.made is None:
        raise DataError(drawing.words)
    name = re.sub(r"[^\w.-]+", "_", "-".join((view.choice.key, view.choice.picture, sight)))
    response = Response(drawing.made.png, mimetype="image/png")
    response.headers.set("Content-Disposition", "inline", filename=f"{name}.png")
    return response


def _waited(drawing: Drawing) -> Drawing:
    """Wait for a figure, unless too many do already."""
    if not drawing.done and _WAITERS.acquire(blocking=False):
        try:
            workshop().drawings.wait(drawing, _LONG)
        finally:
            _WAITERS.release()
    return drawing


def _asked(
    question: Question, methods: Sequence[str], turn: int | None = None
) -> dict[str, Drawing]:
    """Ask for figures; those of a new page come first."""
    drawings = workshop().drawings
    number = drawings.turn() if turn is None else turn
    return {
        method: drawings.ask(
            question.key(method), question.maker(method), number, SIGHTS[method].slow
        )
        for method in methods
    }


def _view(query: Query) -> View:
    choice = choose(query, workshop())
    view = View(choice, problem=choice.problem, methods=list(SIGHTS))
    view.state = {"net": choice.key, "picture": choice.picture}
    if choice.subject is None or choice.x is None:
        return view
    subject, x = choice.subject, choice.x
    try:
        view.answer = remembered(
            subject, "answers", choice.picture, lambda: answer_of(subject, x), _ANSWERS
        )
        _read(query, view, view.answer)
    except ChainruleError as error:
        view.problem = str(error)
    return view


def _read(query: Query, view: View, answer: Answer) -> None:
    """Read what is asked about the picture; DataError for what the network does not have."""
    choice = view.choice
    assert choice.subject is not None
    assert choice.x is not None
    view.methods = _ticked(query)
    if view.methods != list(SIGHTS):
        view.state["method"] = [*view.methods, _NONE]
    layer = query.text("layer")
    if layer and layer not in answer.layers:
        raise DataError(f"layer: this network has no layer {layer[:60]!r}; choose one of the list")
    view.state["layer"], view.layer = layer, answer.layers.get(layer)
    target = view.state["target"] = query.integer("target", 0, len(answer.p) - 1)
    unit = query.integer("unit", 0, 1_000_000) if view.layer else None
    chosen = find_unit(view.layer, unit) if view.layer else None
    view.state["unit"] = unit
    view.question = Question(
        choice.subject,
        choice.picture,
        choice.x,
        answer.best if target is None else target,
        layer or None,
        chosen,
    )


def _ticked(query: Query) -> list[str]:
    """Give the methods that are ticked, in their order; all where the address names none."""
    named = request.args.getlist("method")
    for name in named:
        Query({"method": name}).choice("method", [*SIGHTS, _NONE])
    return [name for name in SIGHTS if name in named] if named else list(SIGHTS)
