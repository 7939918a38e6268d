"""The network and the picture of a page: what is chosen, and what there is to choose."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image

from chainrule.lab.choosing import choose, remembered
from chainrule.lab.query import Query
from chainrule.lab.settings import Settings
from chainrule.lab.workshop import Workshop
from chainrule.models.registry import MODELS
from chainrule.training.config import TrainConfig
from chainrule.training.task import TrainTask
from tests.lab.attacks import written


def pixels(uri: str) -> np.ndarray:
    kind, _, data = uri.partition(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def test_the_first_of_all_if_nothing_is_told(runs: Path) -> None:
    shop = Workshop(Settings(runs))
    choice = choose(Query({}), shop)
    assert (choice.key, choice.picture, choice.label) == ("run:small", "test-0", "3")
    assert choice.problem == ""
    assert choice.own is None
    assert [group.title for group in choice.groups] == ["Runs", "Not trained"]
    assert choice.groups[0].networks == [("run:small", "small")]
    assert [name for _, name in choice.groups[1].networks] == sorted(MODELS)
    assert choice.subject is not None
    assert choice.x is not None
    for tile, (name, label) in zip(choice.tiles, choice.subject.samples(), strict=True):
        assert (tile.name, tile.label) == (name, label)
    wanted = np.rint(choice.subject.plain(choice.x)[0, 0] * 255)
    assert (pixels(choice.tiles[0].uri) == wanted).all()


def test_large_pictures_are_shown_small(runs: Path) -> None:
    choice = choose(Query({"net": "model:resnet18"}), Workshop(Settings(runs)))
    assert [tile.name for tile in choice.tiles] == ["photo-china", "photo-flower"]
    assert pixels(choice.tiles[0].uri).shape == (64, 64, 3)
    assert choice.x is not None
    assert choice.x.shape == (1, 3, 224, 224)
    assert choice.label == ""


def test_a_picture_beyond_those_that_are_offered_has_a_tile(runs: Path) -> None:
    choice = choose(Query({"picture": "test-100"}), Workshop(Settings(runs)))
    assert choice.own is not None
    assert choice.own.name == "test-100"
    assert choice.own.label == choice.label != ""


def test_a_picture_of_one_s_own(tmp_path: Path, runs: Path) -> None:
    shop = Workshop(Settings(runs))
    shop.pictures.folder = tmp_path
    digit = Image.new("L", (30, 30), 255)
    digit.paste(0, (13, 4, 17, 26))
    name = shop.pictures.add(written(digit, "PNG"), "one.png")
    choice = choose(Query({"picture": name}), shop)
    assert choice.own is not None
    assert (choice.own.name, choice.own.label) == (name, "yours")
    assert pixels(choice.own.uri).max() > 200


def test_what_is_not_there_is_told(runs: Path) -> None:
    shop = Workshop(Settings(runs))
    choice = choose(Query({"net": "run:absent"}), shop)
    assert choice.subject is None
    assert "there is no such run; runs that are here: small" in choice.problem
    choice = choose(Query({"net": "run:small", "picture": "test-x"}), shop)
    assert choice.subject is not None
    assert choice.x is None
    assert "hand it in again" in choice.problem
    assert len(choice.tiles) == 24  # the way on


def test_the_data_may_be_gone_and_own_pictures_can_be_seen(tmp_path: Path) -> None:
    data = tmp_path / "data"
    rng = np.random.default_rng(0)
    for k in range(12):
        file = data / "ab"[k % 2] / f"{k}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(written(Image.fromarray(rng.integers(0, 256, (32, 32, 3), "u1")), "PNG"))
    TrainTask(TrainConfig("resnet20", str(data), epochs=1, batch_size=4), tmp_path / "runs/a").run()
    data.rename(tmp_path / "elsewhere")
    shop = Workshop(Settings(tmp_path / "runs"))
    choice = choose(Query({}), shop)
    assert choice.x is None
    assert "a picture of your own can be looked at all the same" in choice.problem
    name = shop.pictures.add(written(Image.new("RGB", (40, 40), (9, 99, 200)), "PNG"), "a.png")
    choice = choose(Query({"picture": name}), shop)
    assert choice.problem == ""
    assert choice.tiles == []
    assert choice.own is not None
    assert pixels(choice.own.uri)[16, 16].tolist() == [9, 99, 200]


def test_what_is_remembered_is_bounded(runs: Path) -> None:
    subject = Workshop(Settings(runs)).subjects.get("")
    made = []

    def get(key: int) -> int:
        return remembered(subject, "squares", key, lambda: (made.append(key), key * key)[1], 3)

    assert [get(key) for key in (1, 2, 3, 1, 4, 2, 1)] == [1, 4, 9, 1, 16, 4, 1]
    assert made == [1, 2, 3, 4, 1]
    assert list(subject.kept["squares"]) == [3, 4, 1]


def test_prepared_pictures_are_bounded(runs: Path) -> None:
    shop = Workshop(Settings(runs))
    for k in range(7):
        choose(Query({"picture": f"test-{k}"}), shop)
    assert list(shop.subjects.get("").kept["seen"]) == ["test-3", "test-4", "test-5", "test-6"]
