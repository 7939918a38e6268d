"""Files from their addresses: taken up again where they broke off, checked, there whole or not."""

from __future__ import annotations

import errno
import http.client
import os
import re
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from chainrule import __version__
from chainrule.data.partial import Partial, md5_of, partial
from chainrule.errors import DataError, ShapeError, failure

Progress = Callable[[str, int, int | None], None]
"""Told of a download: the file's name, the bytes that are there, and of how many if known."""

_CHUNK = 1 << 16
_LONGEST_PAUSE = 60.0  # seconds between two tries
_AGAIN = {408, 425, 429, 500, 502, 503, 504}  # answers that may be others in a moment
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


class _Unusable(Exception):
    """This address will not give the file."""


class _Broken(Exception):
    """It did not work this time."""

    def __init__(self, reason: str, pause: float | None = None) -> None:
        super().__init__(reason)
        self.pause = pause


@dataclass(frozen=True)
class _Wanted:
    """What is asked for, and how patiently."""

    name: str
    md5: str | None
    size: int | None
    progress: Progress | None
    timeout: float
    attempts: int
    pause: float


def download(
    url: str | Sequence[str],
    path: str | os.PathLike[str],
    md5: str | None = None,
    size: int | None = None,
    *,
    progress: Progress | None = None,
    timeout: float = 30.0,
    attempts: int = 5,
    pause: float = 1.0,
) -> Path:
    """Fetch a file by HTTP or HTTPS from the first of some addresses that gives it right.

    The bytes go to a neighbour, `path` with ".part", and take their name when the length (`size`,
    and what the server says) and the `md5` are right; a wrong one is removed and the next address
    tried.  What a broken connection, Ctrl-C or a killed process left is gone on with, by a range
    of bytes, if the server can; without `md5` only within one call, since nothing proves later
    that both halves belong together.  An address is given up after `attempts` in a row, counted
    from the last that brought anything, with pauses between them from `pause` seconds on, each
    twice as long; `timeout` is how long a silence may last.
    A file that is there already is compared and never replaced.  Processes that want the same
    file wait for the first of them.

    Returns the path.  Raises DataError, with what to put where by hand, when no address gives the
    file, and where another file is in its place; OSError when the disk refuses.

    >>> download("file:///etc/hosts", "hosts")
    Traceback (most recent call last):
    chainrule.errors.ShapeError: download: expected an address that begins with http:// or \
https://; got url 'file:///etc/hosts'
    """
    addresses = [url] if isinstance(url, str) else list(url)
    for address in addresses:
        if urlsplit(address).scheme not in ("http", "https"):
            rule = "an address that begins with http:// or https://"
            raise failure("download", rule, error=ShapeError, url=address)
    if not addresses or attempts < 1:
        rule = "at least one address and one attempt"
        raise failure("download", rule, error=ShapeError, url=addresses, attempts=attempts)
    target = Path(os.path.realpath(path))
    wanted = _Wanted(target.name, md5, size, progress, timeout, attempts, pause)
    if _in_place(target, wanted):
        return Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with partial(target) as part:
        if not _in_place(target, wanted):  # another process may have brought it meanwhile
            _from_any(addresses, part, wanted)
            part.finish()
    return Path(path)


def _in_place(target: Path, wanted: _Wanted) -> bool:
    """Say whether the file is there; raises DataError where another is."""
    if not target.exists():
        return False
    expected = _said(wanted.md5, wanted.size)
    if not target.is_file():
        raise DataError(f"{target}: expected a file, or none yet; it is something else")
    length, md5 = target.stat().st_size, None
    if wanted.md5 is not None and wanted.size in (None, length):
        md5 = md5_of(target)
    if wanted.size not in (None, length) or (md5 is not None and md5 != wanted.md5):
        raise DataError(
            f"{target}: another file is there: expected {expected}, found {_said(md5, length)}; "
            "it is not replaced: move it away, or choose another folder"
        )
    return True


def _said(md5: str | None, size: int | None) -> str:
    parts = [f"MD5 {md5}" if md5 else "", f"{size:,} bytes" if size is not None else ""]
    return ", ".join(part for part in parts if part)


def _from_any(addresses: list[str], part: Partial, wanted: _Wanted) -> None:
    """Fill the part from the first address that can."""
    if wanted.md5 is None:
        part.reset()
    reasons = []
    for address in addresses:
        try:
            _Transfer(address, part, wanted).run()
            return
        except _Unusable as error:
            reasons.append(f"{address}: {error}")
            if wanted.md5 is None:
                part.reset()
    kept = f"; {part.length:,} bytes are kept for the next try" if part.length else ""
    raise DataError(
        f"{wanted.name} could not be downloaded: {'; '.join(reasons)}; "
        f"to bring it by hand, save {addresses[-1]} as {part.target}{kept}"
    )


class _Transfer:
    """One address, tried until the file is whole or it is no use."""

    def __init__(self, address: str, part: Partial, wanted: _Wanted) -> None:
        self.address, self.part, self.wanted = address, part, wanted
        self.validator = ""  # what the server calls this version of the file
        self.ranges = True
        self.opener = _opener()

    def run(self) -> None:
        """Fill the part; raises _Unusable."""
        failures, most = 0, self.part.length
        while True:
            try:
                if not self._all_there():
                    self._receive()
                self._check()
                return
            except _Broken as error:
                if self.part.length > most:
                    most, failures = self.part.length, 0
                failures += 1
                if failures >= self.wanted.attempts:
                    tries = f" ({failures} tries in a row)" if failures > 1 else ""
                    raise _Unusable(f"{error}{tries}") from error
                pause = self.wanted.pause * 2.0 ** (failures - 1)
                time.sleep(min(pause if error.pause is None else error.pause, _LONGEST_PAUSE))

    def _all_there(self) -> bool:
        part, wanted = self.part, self.wanted
        right = bool(part.length) and part.md5 == wanted.md5
        return right or (wanted.size is not None and part.length >= wanted.size)

    def _check(self) -> None:
        """Compare length and MD5; a part that is wrong is given up."""
        part, wanted = self.part, self.wanted
        if not part.length:
            raise _Unusable("an empty file came")
        if wanted.size is not None and part.length < wanted.size:
            raise _Broken(f"the connection ended after {part.length:,} of {wanted.size:,} bytes")
        length_right = wanted.size in (None, part.length)
        if length_right and wanted.md5 in (None, part.md5):
            return
        found = _said(part.md5 if length_right else None, part.length)
        page = "; it begins like a web page" if re.match(r"\s*<[!\w]", part.start()) else ""
        joined = part.joined
        part.reset()
        words = f"expected {_said(wanted.md5, wanted.size)}, found {found}{page}"
        if joined:  # perhaps the halves were of two versions: once more, from the beginning
            raise _Broken(words, 0.0)
        raise _Unusable(words)

    def _receive(self) -> None:
        """Ask for what is missing and add what comes."""
        part = self.part
        if part.length and not (self.ranges and (self.wanted.md5 or self.validator)):
            part.reset()
        with self._answer() as answer:
            total = self._place(answer)
            part.joined |= part.length > 0
            limit = total if self.wanted.size is None else self.wanted.size
            self._tell(limit)
            while chunk := self._chunk(answer):
                part.write(chunk)
                self._tell(limit)
                if limit is not None and part.length > limit:
                    break
        if total is not None and part.length < total:
            raise _Broken(f"the connection ended after {part.length:,} of {total:,} bytes")

    def _tell(self, total: int | None) -> None:
        if self.wanted.progress is not None:
            self.wanted.progress(self.wanted.name, self.part.length, total)

    def _chunk(self, answer: Any) -> bytes:
        try:
            return bytes(answer.read1(_CHUNK))
        except (OSError, http.client.HTTPException) as error:
            raise _Broken(f"the connection broke ({_words(error)})") from error

    def _answer(self) -> Any:
        """Send the request; errors are sorted into those that may pass and those that will not."""
        request = urllib.request.Request(self.address, headers=self._headers())
        try:
            return self.opener.open(request, timeout=self.wanted.timeout)
        except urllib.error.HTTPError as error:
            with error:
                raise self._refusal(error) from error
        except urllib.error.URLError as error:
            raise _sorted_out(error.reason) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise _sorted_out(error) from error

    def _headers(self) -> dict[str, str]:
        agent = f"chainrule/{__version__}"
        headers = {"User-Agent": agent, "Accept": "*/*", "Accept-Encoding": "identity"}
        if self.part.length:
            headers["Range"] = f"bytes={self.part.length}-"
            if self.validator:
                headers["If-Range"] = self.validator
        return headers

    def _refusal(self, error: urllib.error.HTTPError) -> Exception:
        words = f"the server answered {error.code} {' '.join(str(error.reason).split())}"
        if error.code == 416 and self.part.length:  # there is nothing behind what we have
            self.part.reset()
            return _Broken(words, 0.0)
        if error.code in _AGAIN:
            after = error.headers.get("Retry-After", "")
            return _Broken(words, float(after) if after.isdecimal() else None)
        return _Unusable(words)

    def _place(self, answer: Any) -> int | None:
        """Make the part end where the answer begins; give the length of the whole, if known."""
        part, wanted = self.part, self.wanted
        if answer.status not in (200, 206):
            raise _Unusable(f"the server answered {answer.status} {answer.reason}")
        kind = answer.headers.get_content_type() if "Content-Type" in answer.headers else ""
        if kind == "text/html" and not urlsplit(self.address).path.endswith((".htm", ".html")):
            raise _Unusable("a web page came in its place (a log-in page, or the file has moved)")
        total: int | None = answer.length
        begins = 0
        if answer.status == 206:
            found = _RANGE.fullmatch(answer.headers.get("Content-Range", "").strip())
            begins = int(found[1]) if found else -1
            if found and found[2] != "*":
                total = int(found[2])
            elif total is not None:
                total += begins
        if begins != (part.length if answer.status == 206 else 0):
            part.reset()
            self.ranges = False
            raise _Broken("the server answered with another range than was asked for", 0.0)
        if answer.status == 200:
            part.reset()
        if wanted.size is not None and total is not None and total != wanted.size:
            part.reset()
            raise _Unusable(f"expected {wanted.size:,} bytes, found {total:,}")
        tag = answer.headers.get("ETag", "")
        strong = "" if tag.startswith("W/") else tag
        self.validator = strong or answer.headers.get("Last-Modified", "")
        return total


def _sorted_out(error: Any) -> Exception:
    """Say of a failed connection whether it is worth another try."""
    words = _words(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return _Unusable(
            f"its certificate was not accepted ({error.verify_message}): this computer's clock or "
            "certificates may be out of date, or somebody stands between"
        )
    if isinstance(error, socket.gaierror):
        return _Unusable(f"its name was not found ({words}): is there a network?")
    if isinstance(error, OSError) and error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
        return _Unusable(f"it cannot be reached ({words}): is there a network?")
    if isinstance(error, OSError | http.client.HTTPException) and not isinstance(
        error, http.client.InvalidURL
    ):
        return _Broken(f"the connection failed ({words})")
    return _Unusable(f"the address is of no use ({words})")


def _words(error: Any) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return text or type(error).__name__


def _opener() -> urllib.request.OpenerDirector:
    """Build what opens addresses: HTTP and HTTPS alone, whatever a redirection asks for."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.UnknownHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    return opener
