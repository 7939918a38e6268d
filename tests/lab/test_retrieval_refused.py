"""What the page Retrieval refuses, and an index that changes, goes or is damaged."""

from __future__ import annotations

import concurrent.futures
import io
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule.lab import Settings, create_app
from chainrule.lab.indexes import Opened
from chainrule.lab.pictures import LARGEST_FILE, Pictures
from chainrule.lab.searching import MOST, Wanted, heat_maps
from chainrule.retrieval.index import Index
from chainrule.retrieval.making import remove_from_index
from tests.lab.attacks import REFUSED
from tests.lab.html import read
from tests.lab.indexes import (
    CLASSES,
    SECRETS,
    add,
    scan,
    shape,
    write_pictures,
)
from tests.lab.searched import Lab, alert, found, numbers, png, state

ID = "0" * 32


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("index=absent", "there is none of the name 'absent' (any more); here are scans, shapes"),
        ("index=../../etc", "there is none of the name '../../etc'"),
        ("index=<script>", "there is none of the name"),
        ("index=" + "x" * 5000, "at most 4,000 characters"),
        ("index=shapes&k=7", "k: expected one of 5, 10, 20; got '7'"),
        ("index=shapes&k=99999999999999999999", "expected one of 5, 10, 20"),
        ("index=shapes&class=magic", "expected one of soft, hard"),
        ("index=shapes&picture=../../x", "there is none of the name '../../x'"),
        ("index=shapes&picture=" + "0" * 20, "this picture is not here"),
        ("index=shapes&picture=" + ID, "not in"),
        ("index=shapes&picture=%00", "there is none of the name"),
        ("index=shapes&picture=%ff%fe", "there is none of the name"),
        ("index=shapes&like=" + ID, "no image '00000000000000000000000000000000' is in the index"),
        ("index=shapes&like=<b>", "'<b>' is no id of an image"),
        ("index=shapes&like=" + "9" * 6000, "is no id of an image"),
        (
            "index=shapes&" + "&".join(f"like={n:032x}" for n in range(MOST + 1)),
            "at most 20 images",
        ),
        ("index=shapes&region=1,1,2,2", "expected a picture to take the part of"),
        ("index=shapes&at=0", "expected a whole number from 1 to 120; got '0'"),
        ("index=shapes&at=121", "expected a whole number from 1 to 120"),
        ("index=shapes&at=" + "9" * 3000, "expected a whole number from 1 to 120"),
    ],
)
def test_what_cannot_be_is_told_in_place(lab: Lab, query: str, words: str) -> None:
    page = lab.get(f"/retrieval?{query}", 400)
    assert words.lower() in alert(page).lower()
    assert page.one("select", name="index")  # the way on
    assert lab.client.get(f"/retrieval/heat/{ID}.png?{query}").status_code in (400, 404)


@pytest.mark.parametrize(
    "path",
    [
        f"thumb/shapes/{ID}.jpg",
        f"thumb/absent/{ID}.jpg",
        "thumb/shapes/..%2f..%2fkey.jpg",
        "thumb/shapes/key.jpg",
        "thumb/../shapes/key",
        "thumb/..%2fshapes/x.jpg",
        "thumb/shapes/x%00.jpg",
        "thumb/shapes/%ff.jpg",
        "thumb/shapes/" + "a" * 5000 + ".jpg",
        f"heat/{ID}.png",
        "picture",
    ],
)
def test_addresses_of_nothing(lab: Lab, path: str) -> None:
    answer = lab.client.get(f"/retrieval/{path}")
    assert answer.status_code in (400, 404, 405)
    assert "chainrule lab" in answer.text


def refused(lab: Lab, data: bytes, name: str) -> str:
    answer = lab.send(data, name, "index=shapes&k=5")
    address = answer.headers["Location"]
    assert state(address)["k"] == ["5"]
    return alert(lab.get(address))


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_picture_is_refused_without_its_name(lab: Lab, name: str) -> None:
    data, words = REFUSED[name]
    before = sorted((lab.runs / ".lab" / "pictures").glob("*"))
    said = refused(lab, data, f"Doe_Jane_{name}")
    assert words in said
    assert "Doe" not in said
    assert name not in said
    assert "the file" in said.lower()
    assert sorted((lab.runs / ".lab" / "pictures").glob("*")) == before


def broken_scans() -> dict[str, bytes]:
    whole = scan(shape("disc", 3))
    huge = scan(shape("disc", 3))
    at = huge.index(b"\x28\x00\x10\x00US\x02\x00") + 8
    large = huge[:at] + b"\xff\xff" + huge[at + 2 :]
    return {
        "without pixels": scan(None),
        "cut short": whole[:-500],
        "header alone": whole[:132],
        "cut in the header": whole[:300],
        "too many rows": large,
        "noise": whole[:200] + np.random.default_rng(0).bytes(3000),
    }


@pytest.mark.parametrize("kind", broken_scans())
def test_a_scan_that_is_none_is_refused_without_a_word_of_it(lab: Lab, kind: str) -> None:
    said = refused(lab, broken_scans()[kind], "Doe_Jane.dcm")
    assert said.startswith("This did not work. ")
    assert "the file" in said.lower()
    assert not [v for v in (*SECRETS.values(), "Doe", "Secret") if v in said]


def test_no_file_and_too_large_a_file(lab: Lab) -> None:
    answer = lab.client.post("/retrieval/picture?index=shapes")
    assert "choose a file first" in alert(lab.get(answer.headers["Location"]))
    assert "at most 32 MB" in refused(lab, b"x" * (LARGEST_FILE + 1), "a.png")
    assert "at most 32 MB" in refused(lab, b"x" * (LARGEST_FILE + 1_000_000), "a.png")
    answer = lab.client.post(
        "/retrieval/picture?index=absent", data={"picture": (io.BytesIO(b"x"), "a")}
    )
    assert answer.status_code == 303
    assert "there is none of the name" in lab.get(answer.headers["Location"], 400).text


@pytest.mark.parametrize(
    "told", ["_external=1&_scheme=javascript", "_anchor=x", "endpoint=x", "foo=1"]
)
def test_the_way_back_takes_no_orders(lab: Lab, told: str) -> None:
    address = lab.hand_in(png(shape("disc", 1)), state=f"index=shapes&{told}")
    assert address.startswith("/retrieval?index=shapes&picture=")
    assert told.partition("=")[0] not in state(address)
    answer = lab.client.get(f"/retrieval?index=shapes&x=1&{told}")
    assert answer.headers["Location"] == "/retrieval?index=shapes&region=1,,,"


def test_only_our_own_pages_may_hand_in(lab: Lab) -> None:
    headers = {"Sec-Fetch-Site": "cross-site"}
    assert lab.client.post("/retrieval/picture?index=shapes", headers=headers).status_code == 403


def test_new_images_are_found_and_removed_ones_are_not(own: Lab, tmp_path: Path) -> None:
    new = write_pictures(tmp_path / "new", range(90, 92), ("disc",))
    data = (new / "disc" / "disc90.png").read_bytes()
    address = own.hand_in(data) + "&own=1"
    assert own.get("/retrieval").text.count("120 images") == 1
    before = found(own.get(address), "off")
    add(own.shapes.path, new)
    assert "122 images" in own.get("/retrieval").text
    after = found(own.get(address), "off")
    assert after[0] not in before
    assert numbers(own.get(address), "off")[0][0] == 1.0
    src = f"/retrieval/thumb/shapes/{after[0]}.jpg"
    heated = f"/retrieval/heat/{after[0]}.png?index=shapes&picture={state(address)['picture'][0]}"
    assert own.client.get(src).status_code == own.client.get(heated).status_code == 200
    remove_from_index(own.shapes.path, [after[0]])
    assert after[0] not in found(own.get(address), "off")
    assert own.client.get(src).status_code == own.client.get(heated).status_code == 404
    own.get(f"/retrieval?picture={after[0]}", 400)


def test_it_is_asked_while_a_writer_fills_it(own: Lab, tmp_path: Path) -> None:
    new = write_pictures(tmp_path / "new", range(100, 140))
    address = own.hand_in(png(shape("disc", 77))) + "&heat=1"
    counts = []
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        writing = pool.submit(add, own.shapes.path, new)
        while not writing.done():
            text = own.get(address).text
            counts.append(int(text.partition("shapes: ")[2].partition(" images")[0]))
        writing.result()
    assert counts == sorted(counts)
    assert "shapes: 240 images" in own.get(address).text


def test_an_index_that_is_taken_away_and_put_back(own: Lab, tmp_path: Path) -> None:
    address = own.hand_in(png(shape("disc", 77)))
    own.get(address)
    away = own.shapes.path.rename(tmp_path / "away")
    page = own.get(address)
    assert "There is no index here yet" in page.text
    assert own.client.get(f"/retrieval/thumb/shapes/{ID}.jpg").status_code == 404
    assert own.client.get(f"/retrieval/heat/{ID}.png?index=shapes").status_code == 400
    answer = own.send(png(shape("disc", 77)))
    assert "refused" in answer.headers["Location"]
    away.rename(own.shapes.path)
    assert len(found(own.get(address), "off")) == 10


def test_an_index_made_anew_under_the_same_name(own: Lab, lab: Lab, tmp_path: Path) -> None:
    address = own.hand_in(png(shape("disc", 77)))
    own.get(address)
    indexes = own.client.application.extensions["chainrule"].indexes
    before = indexes.get("shapes").index
    assert indexes.get("shapes").index is before
    shutil.rmtree(own.shapes.path)
    shutil.copytree(lab.scans.path, own.shapes.path)
    page = own.get(f"{address}&k=20")
    assert len(found(page, "off")) == 18
    assert "18 images" in page.text
    assert indexes.get("shapes").index is not before  # another network, other classes


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "index.json",
        "index.db",
        "vectors-0.bin",
        "classes-0.bin",
        "rows-0.bin",
        "thumbnails-0.bin",
        "key",
        "model/config.json",
        "model/weights.safetensors",
    ],
)
@pytest.mark.parametrize("harm", ["cut", "gone", "zeros", "noise"])
def test_a_damaged_index_is_told_and_breaks_nothing(
    own: Lab, name: str, harm: str, capfd: pytest.CaptureFixture[str]
) -> None:
    address = own.hand_in(png(shape("disc", 77))) + "&heat=1"
    ids = re.findall(r"thumb/shapes/(\w+)", own.client.get("/retrieval").text)
    path = own.shapes.path / name
    content = path.read_bytes()
    path.unlink()  # a reader holds the old file, whose end must not be cut under it
    if harm == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif harm != "gone":
        other = np.random.default_rng(0).bytes(len(content))
        path.write_bytes(other if harm == "noise" else bytes(len(content)))
    app = create_app(Settings(own.runs))
    for client in (own.client, app.test_client()):
        for ask in ("/retrieval", address, f"/retrieval?picture={ids[0]}&heat=1"):
            answer = client.get(ask)
            assert answer.status_code in (200, 400), answer.text
            if "There is no index here yet" not in answer.text:  # that names where to make one
                assert str(own.folder) not in answer.text
        for ask in (f"thumb/shapes/{ids[0]}.jpg", f"heat/{ids[0]}.png?picture={ids[1]}"):
            assert client.get(f"/retrieval/{ask}").status_code in (200, 400, 404)
        answer = client.post(
            "/retrieval/picture", data={"picture": (io.BytesIO(png(shape("disc", 1))), "a")}
        )
        assert answer.status_code == 303
    assert "Traceback" not in capfd.readouterr().err


def test_numbers_that_cannot_be_are_told(own: Lab) -> None:
    address = own.hand_in(png(shape("disc", 77)))
    path = own.shapes.path / "vectors-0.bin"
    size = path.stat().st_size
    path.unlink()
    path.write_bytes(np.full(size // 4, 1e9, "<f4").tobytes())
    page = read(create_app(Settings(own.runs)).test_client().get(address).text)
    assert "Numbers of the index shapes are damaged" in alert(page)


def test_one_damaged_index_leaves_the_others_alone(own: Lab, lab: Lab) -> None:
    shutil.copytree(lab.scans.path, own.runs / "other")
    (own.runs / "other" / "index.db").write_bytes(b"no database")
    page = own.get("/retrieval?index=other", 400)
    assert "other/index.db" in alert(page)
    assert str(own.folder) not in alert(page)
    assert [o["value"] for o in page.one("select", name="index").all("option")] == [
        "other",
        "shapes",
    ]
    own.get(own.hand_in(png(shape("disc", 77))))


def test_several_requests_at_once(lab: Lab) -> None:
    app = create_app(Settings(lab.runs))
    names = [
        state(lab.hand_in(png(shape(kind, 60 + n))))["picture"][0]
        for kind in CLASSES
        for n in range(4)
    ]
    asked = [f"/retrieval?index=shapes&heat=1&picture={name}" for name in names]
    alone = [app.test_client().get(address).text for address in asked]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda address: app.test_client().get(address).text, asked * 2))
    assert together == alone * 2


def test_heat_maps_do_not_mix_with_other_questions(lab: Lab) -> None:
    kept = Pictures(lab.runs / ".lab" / "pictures")
    names = [state(lab.hand_in(png(shape(kind, 65))))["picture"][0] for kind in CLASSES] * 4
    ids = [entry.id for entry in lab.shapes.snapshot.entries(range(6))]
    alone = [
        heat_maps(Opened("shapes", lab.shapes), Wanted(picture=n), kept, ids) for n in names[:3]
    ]
    opened = Opened("shapes", Index(lab.shapes.path))

    def run(name: str) -> Any:
        opened.kept.clear()
        return heat_maps(opened, Wanted(picture=name), kept, ids)

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        assert list(pool.map(run, names)) == alone * 4


@pytest.mark.slow
def test_flipped_bytes_never_break_a_page(
    own: Lab, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    address = own.hand_in(png(shape("disc", 77))) + "&heat=1"
    ids = re.findall(r"thumb/shapes/(\w+)", own.client.get("/retrieval").text)
    draw = np.random.default_rng(5)
    names = sorted(path for path in own.shapes.path.rglob("*") if path.stat().st_size)
    told = 0
    for _ in range(60):
        path = names[draw.integers(len(names))]
        if path.is_dir():
            continue
        content = bytearray(path.read_bytes())
        for place in draw.integers(0, len(content), draw.integers(1, 30)):
            content[place] ^= draw.integers(1, 256)
        kept = path.rename(tmp_path / "kept")
        path.write_bytes(content)
        client = create_app(Settings(own.runs)).test_client()
        asked = (address, f"/retrieval?picture={ids[0]}&heat=1&at=60", "/retrieval?like=" + ids[3])
        for ask in asked:
            answer = client.get(ask)
            assert answer.status_code in (200, 400), (path.name, answer.text)
            told += answer.status_code == 400
        assert client.get(f"/retrieval/thumb/shapes/{ids[0]}.jpg").status_code in (200, 404)
        kept.replace(path)
    assert told > 20
    assert "Traceback" not in capfd.readouterr().err
