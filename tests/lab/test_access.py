"""Who may speak to a lab, and what its pages may load."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from chainrule.lab import Settings, create_app

PAGES = ("/", "/circuit", "/network", "/training", "/look", "/retrieval")


@pytest.mark.parametrize("path", PAGES)
def test_pages_load_nothing_from_elsewhere(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "http" not in policy
    assert "unsafe-eval" not in policy
    rules = dict(part.split(" ", 1) for part in policy.split("; "))
    assert rules["script-src"] == "'self'"
    assert rules["frame-ancestors"] == rules["base-uri"] == "'none'"
    assert rules["form-action"] == rules["connect-src"] == "'self'"
    assert answer.headers["Cache-Control"] == "no-store"
    text = re.sub(r"data:image/png;base64,[\w+/=]*", "", answer.text)
    assert "//" not in text.replace("http://www.w3.org/", "").replace("<!--", "")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", "192.168.1.9"])
def test_another_name_is_refused(client: FlaskClient, host: str) -> None:
    assert client.get("/", headers={"Host": host}).status_code == 403


@pytest.mark.parametrize("host", ["localhost:8765", "127.0.0.1:1", "[::1]:8765"])
def test_own_names_are_served(client: FlaskClient, host: str) -> None:
    assert client.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "http://["},
        {"Origin": "localhost"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_forms_from_elsewhere_are_refused(client: FlaskClient, headers: dict[str, str]) -> None:
    assert client.post("/pictures", headers=headers).status_code == 403


def test_own_forms_are_taken(client: FlaskClient) -> None:
    answer = client.post("/pictures", headers={"Origin": "http://localhost"})
    assert answer.status_code == 400  # no picture in it, which is the next question
    assert "choose a file first" in answer.text


def test_a_token_is_asked_for_once(tmp_path: Path) -> None:
    client = create_app(Settings(tmp_path, host="0.0.0.0", token="secret")).test_client()
    assert client.get("/circuit").status_code == 401
    assert client.get("/circuit?token=wrong").status_code == 401
    answer = client.get("/circuit?token=secret&x=1")
    assert answer.status_code == 302
    assert answer.headers["Location"] == "/circuit?x=1"
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie  # a link in a mail opens, a form from there is refused
    assert client.get("/circuit").status_code == 200
    assert client.post("/pictures", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403


def test_the_redirect_stays_here(tmp_path: Path) -> None:
    client = create_app(Settings(tmp_path, host="0.0.0.0", token="secret")).test_client()
    answer = client.get("/%2Fevil.example/?token=secret")
    assert answer.headers["Location"].startswith("/evil.example/")
