"""The server's pages put together, and what is said where something fails."""

from __future__ import annotations

import sys
import traceback
from http import HTTPStatus
from urllib.parse import quote, urlencode

from flask import Flask, render_template, request
from werkzeug.exceptions import HTTPException

from chainrule import __version__
from chainrule.errors import ChainruleError
from chainrule.lab.access import guard
from chainrule.lab.pages import PAGES
from chainrule.lab.pictures import LARGEST_FILE
from chainrule.lab.query import link
from chainrule.lab.refused import SEAL, WORDS, refused
from chainrule.lab.settings import Settings
from chainrule.lab.workshop import EXTENSION, Workshop


def create_app(settings: Settings) -> Flask:
    """Make the application that serves a lab: WSGI, so that any server of that kind can run it.

    >>> import tempfile, pathlib
    >>> app = create_app(Settings(pathlib.Path(tempfile.mkdtemp())))
    >>> app.test_client().get("/circuit").status
    '200 OK'
    """
    app = Flask("chainrule.lab")
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_FILE + 100_000  # a file and the form around it
    shop = app.extensions[EXTENSION] = Workshop(settings)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.globals.update(
        link=link,
        version=__version__,
        largest=LARGEST_FILE,
        refused=lambda: refused(request.args, shop.seal),
        here=_here,
    )
    app.jinja_env.filters["sentence"] = sentence
    guard(app, settings)
    for blueprint in PAGES:
        app.register_blueprint(blueprint)
    app.register_error_handler(Exception, _failed)
    return app


def _here() -> str:
    """Give the address of this view, without the words that another page handed over."""
    if request.method != "GET":
        return "/"
    values = [pair for pair in request.args.items(multi=True) if pair[0] not in (WORDS, SEAL)]
    return f"{quote(request.path)}?{urlencode(values)}" if values else quote(request.path)


def sentence(words: str) -> str:
    """Begin a message as a sentence; names of files and the like stay as they are.

    >>> sentence("expected a picture"), sentence("a.png: too large")
    ('Expected a picture', 'a.png: too large')
    """
    first = words.split(" ", 1)[0].rstrip(",;:")
    return words[:1].upper() + words[1:] if first.isalpha() else words


def _failed(error: Exception) -> tuple[str, int]:
    """Say what went wrong, as a page; what nobody foresaw is written to the terminal too."""
    status, said = told(error)
    title = _TITLES.get(status, "This did not work")
    return render_template("problem.html", title=title, said=said, status=int(status)), status


def told(error: Exception) -> tuple[int, str]:
    """Give the status and the words for an error; its traceback goes to the terminal if need be."""
    if isinstance(error, ChainruleError):
        return HTTPStatus.BAD_REQUEST, str(error)
    if isinstance(error, HTTPException):
        code = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
        return code, _PLAIN.get(code, error.description or str(error))
    traceback.print_exception(error, file=sys.stderr)
    print(f"chainrule lab: {request.method} {request.path} failed", file=sys.stderr)
    return (
        HTTPStatus.INTERNAL_SERVER_ERROR,
        f"this failed here ({type(error).__name__}: {error}); the terminal has the details, and "
        "everything else goes on",
    )


_PLAIN = {
    404: "there is no page at this address; the links above lead to those that there are",
    405: "this address takes a form that was filled in, and no plain visit",
    413: f"expected a file of at most {LARGEST_FILE // 1_000_000} MB; this one is larger",
}
_TITLES = {
    401: "This lab asks for its token",
    403: "This is not allowed",
    404: "There is no such page",
    405: "This address takes a form",
    413: "This is too large",
    500: "This failed",
    503: "This takes longer",
}
