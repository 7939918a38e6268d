"""Whom a picture shows is told nowhere: not by a page, not by the server, not by what it keeps."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest
from PIL import Image

from tests.lab.attacks import written
from tests.lab.indexes import SECRETS, scan, shape
from tests.lab.process import Served
from tests.lab.searched import Lab

FILE = "Filesecret_Jane_19700101"
"""The beginning of the names of the files that are handed in."""

WORDS = [part for value in SECRETS.values() for part in (value, *value.split("^")) if len(part) > 4]


def secrets_in(data: bytes) -> list[str]:
    """Find what must not be there, as text of several encodings."""
    found = [FILE, "Filesecret", *WORDS]
    return [word for word in found if any(word.encode(e) in data for e in ("utf-8", "utf-16-le"))]


def fetched(address: str, body: bytes | None = None) -> bytes:
    """Ask the server; gives the answer with its headers and the address where it ended."""
    request = urllib.request.Request(address, body)
    if body is not None:
        request.add_header("Content-Type", "multipart/form-data; boundary=edge")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return b"%s\n%s\n" % (answer.url.encode(), str(answer.headers).encode()) + answer.read()
    except urllib.error.HTTPError as error:
        return b"%d\n%s\n" % (error.code, str(error.headers).encode()) + error.read()


def form(data: bytes, name: str) -> bytes:
    head = f'--edge\r\nContent-Disposition: form-data; name="picture"; filename="{name}"\r\n\r\n'
    return head.encode() + data + b"\r\n--edge--\r\n"


@pytest.fixture
def served(lab: Lab, tmp_path: Path) -> Iterator[Served]:
    (tmp_path / "runs").mkdir()
    server = Served(
        tmp_path / "runs", "--index", str(lab.scans.path), "--index", str(lab.shapes.path)
    )
    yield server
    server.end()


@pytest.mark.slow
def test_no_byte_tells_who_it_is(served: Served) -> None:
    picture = written(Image.fromarray(shape("disc", 70)), "PNG")
    handed = {
        f"{FILE}.dcm": scan(shape("disc", 70)),
        f"{FILE}.png": picture,
        f"{FILE}_{SECRETS['PatientName']}.jpg": b"no picture",
        f"{FILE}_cut.dcm": scan(shape("disc", 70))[:-700],
        f"{FILE}_empty.dcm": scan(None),
        f"{FILE}_noise.dcm": scan(shape("rows", 1))[:400] + bytes(range(256)) * 9,
        f"{FILE}_large.png": bytes(33_000_000),
        f"{FILE}_several.dcm": scan(shape("disc", 71).reshape(2, 16, 32)),
    }
    told: list[bytes] = []
    for name, data in handed.items():
        page = fetched(f"{served.address}/retrieval/picture?index=scans&heat=1", form(data, name))
        told.append(page)
        text = unescape(page.decode())
        addresses = re.findall(r'(?:src|href|action)="(/(?:retrieval|pictures)[^"]*)"', text)
        assert addresses
        told += [fetched(served.address + address) for address in sorted(set(addresses))[:60]]
    assert len(told) > 100
    assert any(b"Similarity" in page for page in told)
    assert not [page for page in told if page[:3] in (b"500", b"503")]
    assert not [(secrets_in(page), page[:200]) for page in told if secrets_in(page)]
    kept = [path for path in (served.runs / ".lab").rglob("*") if path.is_file()]
    assert len([path for path in kept if path.suffix == ".png"]) >= 3
    for path in kept:
        assert not secrets_in(path.read_bytes() + str(path).encode()), path
    served.end()
    said = "".join(served.said)
    assert not secrets_in(said.encode())
    assert "Traceback" not in said
    assert said.strip() == "Ctrl-C ends it"


def test_what_is_looked_for_would_be_found() -> None:
    assert secrets_in(scan(shape("disc", 1)))
    assert secrets_in(f"{FILE}.dcm".encode()) == [FILE, "Filesecret"]
    assert not secrets_in(b"the file: not a picture")
