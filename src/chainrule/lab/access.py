"""Who may speak to the server, and what its pages may load.

A page that only this machine serves is still within reach of every site that its user visits: such
a site can send forms to 127.0.0.1, and by a name that it controls (DNS rebinding) read answers.
So the name by which the server is called is checked, forms must come from our own pages, and
outside of this machine a token is asked for.
"""

from __future__ import annotations

import hmac
from urllib.parse import urlencode, urlsplit

from flask import Flask, Response, abort, redirect, request
from werkzeug.urls import iri_to_uri
from werkzeug.wrappers import Response as AnyResponse

from chainrule.lab.settings import Settings, is_loopback

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",  # colours of cells and plots
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
"""The Content-Security-Policy: nothing from elsewhere, no script within a page."""

_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def guard(app: Flask, settings: Settings) -> None:
    """Let only those requests through that may come."""

    @app.before_request
    def check() -> AnyResponse | None:
        if is_loopback(settings.host) and not _local_name(request.host):
            abort(403, "this page answers to the names localhost and 127.0.0.1 alone")
        if request.method not in ("GET", "HEAD") and not _own_form():
            abort(403, "this form was sent from another site")
        return _token_asked(settings) if settings.token else None

    @app.after_request
    def protect(response: Response) -> Response:
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        kept = response.cache_control
        if request.endpoint != "static" and not kept.public and not kept.no_store:
            response.headers["Cache-Control"] = "no-store"  # pictures may be patients'
        return response


def _local_name(host: str) -> bool:
    name = urlsplit(f"//{host}").hostname or ""
    return is_loopback(name)


def _own_form() -> bool:
    """Say whether a form comes from our own page; programs without a browser send no origin."""
    origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
    if site not in (None, "same-origin", "none"):
        return False
    return origin is None or origin.partition("://")[2] == request.host


def _token_asked(settings: Settings) -> AnyResponse | None:
    """Ask for the token, once in the address and then as a cookie that scripts cannot read."""
    cookie = f"chainrule-lab-{settings.port}"  # cookies of all ports are one jar
    if _same(request.cookies.get(cookie, ""), settings.token):
        return None
    if not _same(request.args.get("token", ""), settings.token):
        abort(401, "open the address that `chainrule lab` printed, with its token")
    rest = {name: value for name, value in request.args.items() if name != "token"}
    response = redirect(_here(rest))
    # Lax, so that a link to a view opens from a mail too; forms from elsewhere are refused anyhow.
    response.set_cookie(cookie, settings.token, httponly=True, samesite="Lax")
    return response


def _here(arguments: dict[str, str]) -> str:
    """Give this request's own path with other arguments: never the address of another site."""
    path = "/" + iri_to_uri(request.path).lstrip("/")
    return f"{path}?{urlencode(arguments)}" if arguments else path


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(), wanted.encode())
