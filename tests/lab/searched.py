"""A lab with indexes, for tests: asked without a browser, its pages read as words."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

import numpy as np
from flask.testing import FlaskClient
from PIL import Image
from werkzeug.test import TestResponse

from chainrule.lab import Settings, create_app
from chainrule.retrieval.index import Index
from tests.lab.attacks import written
from tests.lab.html import Part, read
from tests.lab.indexes import (
    build,
    train_shapes,
    write_pictures,
    write_scans,
)


class Lab(NamedTuple):
    """A lab with two indexes: `shapes` beside its run, and `scans`, named on the command line."""

    folder: Path
    client: FlaskClient
    shapes: Index
    scans: Index

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    def get(self, address: str, status: int = 200) -> Part:
        answer = self.client.get(address)
        assert answer.status_code == status, answer.text
        return read(answer.text)

    def send(self, data: bytes, name: str = "a.png", state: str = "index=shapes") -> TestResponse:
        head = 'Content-Disposition: form-data; name="picture"; filename="' + name + '"'
        body = f"--edge\r\n{head}\r\n\r\n".encode() + data + b"\r\n--edge--\r\n"
        answer = self.client.post(
            f"/retrieval/picture?{state}",
            data=body,
            content_type="multipart/form-data; boundary=edge",
        )
        assert answer.status_code == 303, answer.text
        return answer

    def hand_in(self, data: bytes, name: str = "a.png", state: str = "index=shapes") -> str:
        """Hand a picture in; gives the address of what was found."""
        address = self.send(data, name, state).headers["Location"]
        assert "refused" not in address, address
        return address


def make_lab(folder: Path) -> Lab:
    """Train a network on small pictures, and make both indexes."""
    images = write_pictures(folder / "images", range(40))
    run = train_shapes(images, folder / "runs" / "net")
    shapes = build(run, images, folder / "runs" / "shapes")
    scans = build(run, write_scans(folder / "files", range(6)), folder / "elsewhere" / "scans")
    client = create_app(Settings(folder / "runs", indexes=(scans,))).test_client()
    return Lab(folder, client, Index(shapes), Index(scans))


def png(pixels: np.ndarray) -> bytes:
    return written(Image.fromarray(pixels), "PNG")


def found(page: Part, row: str) -> list[str]:
    """Give the ids of a row, in order."""
    (section,) = page.all("section", **{"aria-labelledby": f"row-{row}"})
    return [box["value"] for box in section.all("input", name="like")]


def alert(page: Part) -> str:
    return page.one("p", role="alert").text


def state(address: str) -> dict[str, list[str]]:
    return parse_qs(urlsplit(address).query)


def numbers(page: Part, row: str) -> list[list[float]]:
    (section,) = page.all("section", **{"aria-labelledby": f"row-{row}"})
    return [
        [float(number.text) for number in item.all("dd")] for item in section.one("ol").all("li")
    ]
