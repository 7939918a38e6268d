"""Pictures that are handed in, and shown again."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Blueprint, redirect, request, send_file
from werkzeug.wrappers import Response

from chainrule.errors import DataError
from chainrule.lab.query import link
from chainrule.lab.workshop import workshop

blueprint = Blueprint("handed", __name__)

_BACK = ("network.page", "look.page")


@blueprint.post("/pictures")
def add() -> Response:
    """Keep a picture and go back to the page that asked for it, which then shows it.

    The form holds `picture`, the file; `back`, the page; and the page's state.
    """
    file = request.files.get("picture")
    if file is None or not file.filename:
        raise DataError("expected a picture; choose a file first")
    name = workshop().pictures.add(file.read(), urlsplit(file.filename).path)
    back = request.form.get("back", "")
    if back not in _BACK:
        raise DataError("expected the page to go back to")
    state = {key: value for key, value in request.form.items() if key not in ("back", "picture")}
    return redirect(link(back, state, picture=name))


@blueprint.get("/pictures/<name>.png")
def show(name: str) -> Response:
    """Give a picture that was handed in."""
    return send_file(workshop().pictures.path(name).resolve(), mimetype="image/png")
