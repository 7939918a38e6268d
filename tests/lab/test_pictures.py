"""Pictures that are handed in: right, or refused in words, and the lab goes on as before."""

from __future__ import annotations

import concurrent.futures
import io
import os
import re
from html import unescape
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from flask.testing import FlaskClient
from PIL import Image
from werkzeug.test import TestResponse

from chainrule.data.pictures import read_picture
from chainrule.errors import DataError
from chainrule.lab import Settings, create_app, pictures
from chainrule.lab.pictures import LARGEST_FILE, Pictures
from tests.lab.attacks import REFUSED, rotated, written

STATE = "net=run:small&picture=test-2&layer=conv1&method=saliency&method=none"
FORM = f"/pictures?back=look.page&{STATE}"


@pytest.fixture
def kept(tmp_path: Path) -> Pictures:
    return Pictures(tmp_path / "runs" / ".lab" / "pictures")


def send(client: FlaskClient, data: bytes, name: str, address: str = FORM) -> TestResponse:
    """Send the form as a browser does."""
    safe = name.replace('"', "%22").encode()
    head = b'--edge\r\nContent-Disposition: form-data; name="picture"; filename="%s"\r\n' % safe
    body = head + b"Content-Type: application/octet-stream\r\n\r\n" + data + b"\r\n--edge--\r\n"
    return client.post(address, data=body, content_type="multipart/form-data; boundary=edge")


def alert(client: FlaskClient, answer: TestResponse) -> str:
    """Follow an answer back to the page; gives what is said there."""
    assert answer.status_code == 303, answer.text
    page = client.get(answer.headers["Location"])
    assert page.status_code == 200
    assert '<form class="row" method="post"' in page.text  # the way on
    (found,) = re.findall(r'role="alert">(.*?)</p>', page.text)
    return unescape(found)


def state(answer: TestResponse) -> dict[str, list[str]]:
    return parse_qs(urlsplit(answer.headers["Location"]).query)


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_words_on_the_page_that_it_came_from(
    client: FlaskClient, runs: Path, name: str
) -> None:
    data, words = REFUSED[name]
    before = sorted(Pictures(runs / ".lab" / "pictures").names())
    answer = send(client, data, name)
    said = alert(client, answer)
    assert words in said
    assert name in said
    found = state(answer)
    assert found["picture"] == ["test-2"]  # the picture that was there is still there
    assert (found["layer"], found["method"]) == (["conv1"], ["saliency", "none"])
    assert sorted(Pictures(runs / ".lab" / "pictures").names()) == before


@pytest.mark.parametrize(
    "told",
    ["_external=1&_scheme=javascript", "_scheme=ftp", "_anchor=x", "_method=POST", "endpoint=x"],
)
def test_the_way_back_takes_no_orders_from_the_address(client: FlaskClient, told: str) -> None:
    answer = client.post(f"{FORM}&{told}")
    assert answer.status_code == 303
    assert answer.headers["Location"].startswith("/look?net=run:small&picture=test-2&layer=conv1&")
    assert told.partition("=")[0] not in state(answer)
    assert client.get(answer.headers["Location"]).status_code == 200


def test_no_file_and_too_large_a_file(client: FlaskClient) -> None:
    assert "choose a file first" in alert(client, client.post(FORM))
    assert "choose a file first" in alert(client, send(client, b"", ""))
    answer = send(client, b"x" * (LARGEST_FILE + 1_000_000), "large.png")
    assert "Expected a file of at most 32 MB" in alert(client, answer)
    assert state(answer)["layer"] == ["conv1"]
    said = alert(client, send(client, b"x" * (LARGEST_FILE + 1), "large.png"))
    assert "large.png: expected at most 32 MB" in said


def test_the_page_to_go_back_to_must_be_one_of_ours(client: FlaskClient) -> None:
    data = written(Image.new("L", (8, 8)), "PNG")
    for back in ("", "http://evil.example", "handed.add", "static", "nothing.page"):
        answer = send(client, data, "a.png", f"/pictures?back={back}")
        assert answer.status_code == 400
        assert "Expected the page to go back to" in answer.text
        large = send(client, b"x" * (LARGEST_FILE + 1_000_000), "a.png", f"/pictures?back={back}")
        assert large.status_code == 400
        assert "at most 32 MB" in large.text


def test_the_form_may_hold_the_state_in_fields(client: FlaskClient) -> None:
    data = written(Image.new("L", (8, 8), 9), "PNG")
    fields = {"back": "network.page", "net": "run:small", "layer": "conv1"}
    answer = client.post("/pictures", data={**fields, "picture": (io.BytesIO(data), "a.png")})
    assert answer.headers["Location"].startswith("/network?net=run:small&layer=conv1&picture=")


def test_a_picture_is_shown_by_the_page(client: FlaskClient, runs: Path) -> None:
    picture = Image.new("L", (30, 30), 200)
    picture.paste(10, (12, 4, 18, 26))
    answer = send(client, written(picture, "PNG"), "mine.png")
    assert answer.status_code == 303
    (name,) = state(answer)["picture"]
    page = client.get(answer.headers["Location"]).text
    assert f'id="tile-{name}" aria-current="true"' in page
    with client.get(f"/pictures/{name}.png") as shown:
        assert shown.mimetype == "image/png"
        assert (np.asarray(Image.open(io.BytesIO(shown.data))) == np.asarray(picture)).all()
    assert (runs / ".lab" / "pictures").stat().st_mode & 0o077 == 0
    assert client.get("/pictures/" + "0" * 20 + ".png").status_code == 400
    assert client.get("/pictures/..%2f..%2fsecret.png").status_code in (400, 404)


@pytest.mark.parametrize(
    "name",
    [
        "<img src=x onerror=alert(1)>.png",
        "../../../etc/passwd",
        "C:\\Users\\somebody\\picture.png",
        "http://[broken",
        "//[",
        "a" * 3000 + ".png",
        "na\0me.png",
        "\u202egnp.exe",
    ],
)
def test_names_are_neither_paths_nor_html(client: FlaskClient, runs: Path, name: str) -> None:
    files = {path for path in runs.parent.rglob("*") if ".lab" not in path.parts}
    answer = send(client, b"no picture", name)
    assert answer.status_code == 303
    page = client.get(answer.headers["Location"]).text
    assert "<img src=x" not in page
    assert "etc/passwd" not in page
    said = alert(client, answer)
    assert "not a picture in a format that is known" in said
    assert len(said) < 300
    good = send(client, written(Image.new("L", (8, 8), 5), "PNG"), name)
    assert re.fullmatch(r"[0-9a-f]{20}", state(good)["picture"][0])
    assert {path for path in runs.parent.rglob("*") if ".lab" not in path.parts} == files


def test_words_are_shown_only_if_they_are_ours(client: FlaskClient) -> None:
    for seal in ("", "&seal=", "&seal=0123456789abcdef0123"):
        page = client.get(f"/look?net=run:small&refused=call+this+number{seal}").text
        assert "call this number" not in page
        assert 'role="alert"' not in page
    place = send(client, b"x", "a.png").headers["Location"]
    assert "This did not work" in client.get(place).text
    other = create_app(client.application.extensions["chainrule"].settings).test_client()
    assert "This did not work" not in other.get(place).text  # another server's words
    # the link to the view, and all other links, are without them
    page = client.get(place).text
    assert "refused=" not in page


def test_depth_colour_and_turn_come_through(kept: Pictures) -> None:
    deep = np.arange(0, 65536, 256, dtype=np.uint16).reshape(16, 16)
    name = kept.add(written(Image.fromarray(deep), "PNG"), "deep.png")
    assert (read_picture(kept.path(name))[0] == deep).all()

    palette = Image.new("P", (4, 2))
    palette.putpalette([200, 10, 30] * 256)
    name = kept.add(written(palette, "PNG"), "palette.png")
    assert read_picture(kept.path(name)).shape == (3, 2, 4)
    assert read_picture(kept.path(name))[:, 0, 0].tolist() == [200, 10, 30]

    name = kept.add(written(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"), "ink.jpg")
    red = read_picture(kept.path(name))[:, 4, 4]
    assert red[0] > 200
    assert red[1:].max() < 60

    name = kept.add(rotated(), "turned.jpg")
    pixels = read_picture(kept.path(name))[0]
    assert pixels.shape == (40, 20)
    assert pixels[2:17].min() > 200
    assert pixels[23:].max() < 50

    floats = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    name = kept.add(written(Image.fromarray(floats), "TIFF"), "float.tif")
    np.testing.assert_allclose(read_picture(kept.path(name))[0] / 65535, floats, atol=1e-5)

    clear = Image.new("LA", (2, 2), (0, 0))
    name = kept.add(written(clear, "PNG"), "clear.png")
    assert (read_picture(kept.path(name)) == 255).all()


def test_of_many_frames_the_first_counts(kept: Pictures) -> None:
    frames = [Image.new("L", (64, 64), value % 256) for value in range(7, 1000)]
    data = written(frames[0], "GIF", save_all=True, append_images=frames[1:])
    picture = read_picture(kept.path(kept.add(data, "many.gif")))
    assert picture.shape[1:] == (64, 64)
    assert (picture == 7).all()


def test_what_else_a_file_holds_is_gone(kept: Pictures) -> None:
    exif = Image.Exif()
    exif[0x010E] = "the patient's name"
    data = written(Image.new("RGB", (8, 8), (1, 2, 3)), "JPEG", exif=exif, comment=b"secret")
    content = kept.path(kept.add(data, "a.jpg")).read_bytes()
    assert b"patient" not in content
    assert b"secret" not in content
    assert re.findall(rb"IHDR|IDAT|IEND|tEXt|eXIf|iTXt|zTXt", content) == [
        b"IHDR",
        b"IDAT",
        b"IEND",
    ]


def test_the_oldest_make_room(kept: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (10, 50, 50), np.uint8)

    def add(k: int) -> str:
        name = kept.add(written(Image.fromarray(noise[k]), "PNG"), f"{k}.png")
        times = 1_000_000_000 * (k + 1)
        os.utime(kept.path(name), ns=(times, times))
        return name

    monkeypatch.setattr(pictures, "KEPT", 3)
    names = [add(k) for k in range(5)]
    assert list(kept.names()) == names[:1:-1]
    size = kept.path(names[4]).stat().st_size
    monkeypatch.setattr(pictures, "KEPT_BYTES", int(2.5 * size))
    names.append(add(5))
    assert list(kept.names()) == names[:3:-1]
    monkeypatch.setattr(pictures, "KEPT_BYTES", 10)
    names.append(add(6))
    assert list(kept.names()) == names[-1:]  # the one that was just handed in stays
    with pytest.raises(DataError, match=r"not here \(any more\); hand it in again"):
        kept.path(names[0])


def test_where_nothing_can_be_kept_it_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    blocked = Pictures(tmp_path / "file" / "pictures")
    with pytest.raises(DataError, match=r"a.png: cannot be kept in .*; make room there"):
        blocked.add(written(Image.new("L", (8, 8)), "PNG"), "a.png")


def test_many_at_once_are_all_kept(kept: Pictures) -> None:
    files = [written(Image.new("L", (30, 30), k), "PNG") for k in range(12)]
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        names = list(pool.map(lambda data: kept.add(data, "a.png"), files * 2))
    assert len(set(names)) == 12
    assert sorted(kept.names()) == sorted(set(names))


def _resident() -> int:
    """Bytes of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="asks Linux for the memory")
def test_memory_stays_flat(tmp_path: Path) -> None:
    client = create_app(Settings(tmp_path)).test_client()
    large = written(Image.new("RGB", (5000, 5000), (9, 9, 9)), "PNG")  # 75 MB of pixels
    for _ in range(2):
        assert send(client, large, "large.png").status_code == 303
    before = _resident()
    for _ in range(5):
        assert send(client, large, "large.png").status_code == 303
        for name, (data, _) in REFUSED.items():
            assert send(client, data, name).status_code == 303
    assert _resident() - before < 100_000_000
