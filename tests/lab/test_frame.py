"""What all pages share: words where something fails, and nothing that comes from elsewhere."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

import chainrule.lab
from chainrule.lab import Settings, create_app
from chainrule.lab.warming import begin_warming
from chainrule.lab.workshop import Workshop
from chainrule.training.folder import WEIGHTS
from tests.lab.conftest import Ask

LAB = Path(chainrule.lab.__file__).parent
SHIPPED = [
    path for folder in ("templates", "static") for path in sorted((LAB / folder).rglob("*.*"))
]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_no_file_names_another_host(path: Path) -> None:
    text = path.read_text("utf-8")
    text = text.replace('"http://www.w3.org/2000/svg"', "")  # a name, which nobody visits
    if path.suffix == ".js":
        text = re.sub(r"^\s*//.*|\s// .*", "", text, flags=re.M)
    assert not re.findall(r"\w+://\S*|[\"'(=]//\S*|@import\b|\burl\(", text)


def test_the_files_are_found() -> None:
    assert {"base.html", "look.html", "choose.html", "lab.js", "lab.css"} <= {
        path.name for path in SHIPPED
    }


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    """An application with a page that fails, and one that is not ready."""
    app = create_app(Settings(tmp_path_factory.mktemp("broken")))

    @app.get("/fails")
    def fails() -> str:
        raise RuntimeError("<b>no</b> such thing")

    return app


@pytest.mark.parametrize(
    ("method", "path", "status", "title", "words"),
    [
        ("GET", "/nowhere", 404, "There is no such page", "the links above lead to those"),
        ("GET", "/%2e%2e/%2e%2e/etc/passwd", 404, "There is no such page", "the links above"),
        ("GET", "/static/../app.py", 404, "There is no such page", "the links above"),
        ("GET", "/pictures", 405, "This address takes a form", "a form that was filled in"),
        ("POST", "/look", 405, "This address takes a form", "a form that was filled in"),
        ("DELETE", "/", 405, "This address takes a form", "a form that was filled in"),
        ("GET", "/fails", 500, "This failed", "(RuntimeError: <b>no</b> such thing)"),
    ],
)
def test_failures_are_pages(
    broken: Flask,
    capsys: pytest.CaptureFixture[str],
    method: str,
    path: str,
    status: int,
    title: str,
    words: str,
) -> None:
    answer = broken.test_client().open(path, method=method)
    assert answer.status_code == status
    assert f"<h1>{title}</h1>" in answer.text
    (said,) = re.findall(r'role="alert">(.*?)</p>', answer.text)
    assert words in unescape(said)
    assert said[0].isupper()
    assert "<b>no" not in answer.text
    assert '<a href="/look">' in answer.text  # the way on
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    traceback = capsys.readouterr().err
    assert ("RuntimeError" in traceback) == (status == 500)


def test_too_large_a_form_is_a_page(client: FlaskClient) -> None:
    answer = client.post("/pictures?back=elsewhere", data=b"x" * 33_000_000)
    assert answer.status_code == 400
    assert "Expected a file of at most 32 MB" in answer.text


def test_the_link_to_the_view_holds_the_state(ask: Ask) -> None:
    page = ask("/look?net=run:small&picture=test-1&method=saliency&method=none&x=%22%3E%3Cb%3E")
    (link,) = re.findall(r'id="permalink" href="([^"]*)"', page)
    wanted = "/look?net=run%3Asmall&picture=test-1&method=saliency&method=none&x=%22%3E%3Cb%3E"
    assert unescape(link) == wanted


def test_runs_are_listed_with_what_they_are(ask: Ask, runs: Path, tmp_path: Path) -> None:
    page = " ".join(ask("/").split())
    assert '<th scope="row">small</th> <td>lenet5</td> <td>digits</td>' in page
    assert 'href="/look?net=run:small"' in page
    assert 'href="/network?net=run:small"' in page
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / WEIGHTS).write_bytes(b"")
    (damaged / "config.json").write_text("{")
    page = create_app(Settings(tmp_path)).test_client().get("/").text
    assert "Cannot be read: " in page
    empty = create_app(Settings(tmp_path / "absent")).test_client().get("/").text
    assert "There is no trained run yet" in empty


def test_what_is_heavy_is_loaded_in_the_background(runs: Path, tmp_path: Path) -> None:
    shop = Workshop(Settings(runs))
    begin_warming(shop).join(60)
    subject = shop.subjects.get("")
    assert subject.key == "run:small"
    assert list(subject.kept["seen"]) == ["test-0"]
    empty = Workshop(Settings(tmp_path / "absent"))
    begin_warming(empty).join(60)
    assert list(empty.subjects.get("model:lenet5").kept["seen"]) == ["test-0"]
