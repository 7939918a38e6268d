"""The server at work: an address that is free, and an end that leaves nothing running."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Any

from chainrule.errors import DataError
from chainrule.lab.app import create_app
from chainrule.lab.settings import Settings, is_loopback
from chainrule.lab.warming import begin_warming
from chainrule.lab.workshop import EXTENSION, Workshop

PORT = 8765
"""Where a lab is served if nothing is asked for, and if taken, on one of the next ports."""

_TRIES = 20
_EVERYWHERE = ("0.0.0.0", "::")
_PATIENCE = 5.0  # seconds for work under way to end
_THREADS = 16  # some of which wait for what others compute
_ENDS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


def serve(settings: Settings, ready: Callable[[str], None], port: int | None = None) -> None:
    """Serve a lab until Ctrl-C or SIGTERM; `ready` is told the address once it answers.

    `port` 0 takes any that is free.  Raises DataError for one that is taken or not allowed.
    """
    waitress = import_module("waitress.server")
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # requests that wait are no news
    sockets = _bound(settings.host, port)
    number = int(sockets.getsockname()[1])
    settings = replace(settings, port=number)
    app = create_app(settings)
    server: Any = waitress.create_server(
        app, sockets=[sockets], threads=_THREADS, ident="chainrule", max_request_body_size=1 << 26
    )
    shop: Workshop = app.extensions[EXTENSION]
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, _end) for number in _ENDS if main}
    try:
        ready(address(settings))
        warming = begin_warming(shop)
        server.run()  # until KeyboardInterrupt or SystemExit, which it takes for its end
        warming.join(_PATIENCE)
    finally:
        server.close()
        shop.close()
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        if not shop.drawings.close(_PATIENCE):
            # Threads are in the middle of a long computation, and the libraries that they are in
            # would be taken apart under them at the ordinary end.
            sys.stdout.flush()
            os._exit(0)


def _end(number: int, frame: Any) -> None:
    """End as Ctrl-C does: what runs is saved first."""
    raise SystemExit


def address(settings: Settings) -> str:
    """Write where a lab is, with its token if it has one.

    What listens on all addresses of the machine is reached by the machine's name.

    >>> address(Settings(port=8765))
    'http://127.0.0.1:8765/'
    """
    name = socket.gethostname() if settings.host in _EVERYWHERE else settings.host
    host = f"[{name}]" if ":" in name else name
    token = f"?token={settings.token}" if settings.token else ""
    return f"http://{host}:{settings.port}/{token}"


def token_for(host: str) -> str:
    """Draw a token where others can reach the address; none where only this machine can."""
    return "" if is_loopback(host) else secrets.token_urlsafe(16)


def _bound(host: str, port: int | None) -> socket.socket:
    """Give a socket that listens on the port, or on the first free one if none was asked for."""
    wanted = [port] if port is not None else [*range(PORT, PORT + _TRIES), 0]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for number in wanted:
        opened = socket.socket(family, socket.SOCK_STREAM)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            opened.bind((host, number))
            opened.listen(64)
        except OSError as error:
            opened.close()
            if port is not None or number == 0:
                reason = error.strerror or str(error)
                raise DataError(
                    f"lab: cannot serve on {host}, port {number} ({reason}); --port 0 takes any "
                    "that is free"
                ) from error
            continue
        return opened
    raise DataError(f"lab: no port is free on {host}")
