"""A web server on this machine that misbehaves as a test wants it to."""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

Answer = Callable[["Handler", bytes], None]


class Asked(NamedTuple):
    """A request as it came: where the range begins, and on what condition."""

    path: str
    begin: int | None
    condition: str | None


class Handler(BaseHTTPRequestHandler):
    """Hands each request to the next answer of the server's plan; the last one is repeated."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        self.begin = int(wanted[1]) if wanted else None
        self.close_connection = True
        with self.server.turn:
            self.server.asked.append(Asked(self.path, self.begin, self.headers.get("If-Range")))
            plan = self.server.plan
            answer = plan.pop(0) if len(plan) > 1 else plan[0]
        name = self.path.rpartition("/")[2]
        with contextlib.suppress(ConnectionError):  # a client may leave in the middle
            answer(self, self.server.files.get(name, self.server.content))

    def head(self, status: int, length: int | None, **headers: str) -> None:
        """Send the head of an answer."""
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet."""


class Server(ThreadingHTTPServer):
    """Serves `content` under every path, and `files` under their names."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = bytes(range(256)) * 300 + b"the end"  # 76,807 bytes
        self.files: dict[str, bytes] = {}
        self.plan: list[Answer] = [whole()]
        self.asked: list[Asked] = []
        self.turn = threading.Lock()

    @property
    def url(self) -> str:
        """The address of a file."""
        return f"{self.base}file.bin"

    @property
    def base(self) -> str:
        """The address of all files."""
        return f"http://127.0.0.1:{self.server_port}/"

    @property
    def md5(self) -> str:
        """The MD5 of the content."""
        return hashlib.md5(self.content).hexdigest()

    @property
    def begins(self) -> list[int | None]:
        """Where the ranges began that were asked for."""
        return [asked.begin for asked in self.asked]


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """Run a server while the block lasts."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def whole(
    ranges: bool = True,
    cut: int | None = None,
    length: int | None = -1,
    shift: int = 0,
    slow: float = 0.0,
    **headers: str,
) -> Answer:
    """Answer with the content, from where it was asked for if `ranges`.

    `cut` ends it after so many bytes, `length` lies about it (None: says nothing, -1: is true),
    `shift` begins elsewhere than it was asked for, `slow` waits so long between ten pieces.
    """

    def answer(handler: Handler, content: bytes) -> None:
        begin = (handler.begin or 0) if ranges else 0
        if ranges and handler.begin is not None:
            if begin >= len(content):
                handler.head(416, 0, Content_Range=f"bytes */{len(content)}")
                return
            begin = max(0, begin + shift)
            place = f"bytes {begin}-{len(content) - 1}/{len(content)}"
            status, more = 206, {"Content_Range": place, **headers}
        else:
            status, more = 200, headers
        body = content[begin:]
        handler.head(status, len(body) if length == -1 else length, **more)
        body = body if cut is None else body[:cut]
        step = max(1, len(body) // 10) if slow else max(1, len(body))
        for k in range(0, len(body), step):
            handler.wfile.write(body[k : k + step])
            handler.wfile.flush()
            time.sleep(slow)

    return answer


def status(code: int, body: bytes = b"", **headers: str) -> Answer:
    """Answer with a status and a text."""

    def answer(handler: Handler, content: bytes) -> None:
        handler.head(code, len(body), **headers)
        handler.wfile.write(body)

    return answer


def other(content: bytes, **headers: str) -> Answer:
    """Answer as `whole`, with another content."""
    send = whole(**headers)  # type: ignore[arg-type]
    return lambda handler, _: send(handler, content)


def hangs_up(handler: Handler, content: bytes) -> None:
    """Close the connection without a word."""


def chunked(broken: bool = False) -> Answer:
    """Answer in chunks, without a length; `broken` ends it in the middle of one."""

    def answer(handler: Handler, content: bytes) -> None:
        handler.head(200, None, Transfer_Encoding="chunked")
        for k in range(0, len(content), 10_000):
            part = content[k : k + 10_000]
            if broken and k:
                handler.wfile.write(b"%x\r\n" % len(part) + part[:100])
                return
            handler.wfile.write(b"%x\r\n" % len(part) + part + b"\r\n")
        handler.wfile.write(b"0\r\n\r\n")

    return answer
