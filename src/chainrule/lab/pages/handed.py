"""Pictures that are handed in, and shown again."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any

from flask import Blueprint, redirect, request, send_file
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.wrappers import Response

from chainrule.errors import DataError
from chainrule.lab.pictures import LARGEST_FILE
from chainrule.lab.query import link
from chainrule.lab.refused import refusal
from chainrule.lab.workshop import workshop

blueprint = Blueprint("handed", __name__)

_BACK = ("network.page", "look.page")


@blueprint.post("/pictures")
def add() -> Response:
    """Keep a picture and go back to the page that asked for it, which then shows it.

    The file is `picture` of the form.  `back`, the page, and the page's state stand in the form's
    address, where they can be read however large the file is, or in its fields.  What is refused
    goes back, too, to the picture that was there, with the words.
    """
    given, words, name = dict[str, Any](request.args.to_dict(flat=False)), "", ""
    try:
        given |= request.form.to_dict(flat=False)
        name = _kept()
    except DataError as error:
        words = str(error)
    except RequestEntityTooLarge:
        words = f"expected a file of at most {LARGEST_FILE // 1_000_000} MB; this one is larger"
    back = given.pop("back", [""])[0]
    if back not in _BACK:
        raise DataError(words or "expected the page to go back to; choose the picture there again")
    changes = refusal(words, workshop().seal) if words else {"picture": name}
    return redirect(link(back, given, **changes), HTTPStatus.SEE_OTHER)


def _kept() -> str:
    """Keep the picture of the form and give its name; DataError if there is none."""
    file = request.files.get("picture")
    if file is None or not file.filename:
        raise DataError("expected a picture; choose a file first")
    name = re.split(r"[/\\]", file.filename)[-1]
    return workshop().pictures.add(file.read(LARGEST_FILE + 1), name)


@blueprint.get("/pictures/<name>.png")
def show(name: str) -> Response:
    """Give a picture that was handed in."""
    return send_file(workshop().pictures.path(name).resolve(), mimetype="image/png")
