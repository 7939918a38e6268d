"""The network's page without a browser: addresses, networks and pictures of every kind."""

from __future__ import annotations

import io
import shutil
import threading
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from flask.testing import FlaskClient
from PIL import Image

import chainrule as cr
from chainrule.data.dataset import Task
from chainrule.lab import Settings, create_app
from chainrule.lab import followed as followed_file
from chainrule.lab.pictures import Pictures
from chainrule.training.config import TrainConfig
from chainrule.training.folder import RunFolder
from chainrule.training.task import TrainTask
from tests.lab.conftest import Ask
from tests.lab.words import NET, cells


@pytest.fixture
def picture() -> bytes:
    """A small PNG: a dark bar on white."""
    pixels = np.full((40, 30), 255, np.uint8)
    pixels[8:32, 12:18] = 0
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


ODD = [
    ("net=run:none", "there is no such run"),
    ("net=run:../../etc", "there is no such run"),
    ("net=model:vgg99", "expected a known model"),
    ("net=<script>alert(1)</script>", "there is no such run"),
    ("net=run:small&picture=test-999999", "the test part has"),
    ("net=run:small&picture=../../etc/passwd", "this picture is not here"),
    ("net=run:small&picture=photo-no", "this picture is not here"),
    ("net=run:small&target=10", "a class from 0 to 9"),
    ("net=run:small&target=1e99", "expected a whole number"),
    ("net=run:small&depth=99", "depth"),
    ("net=run:small&way=up", "expected one of there, back"),
    ("net=run:small&layer=nothing", "expected one of this network"),
    ("net=run:small&layer=conv1&channel=6", "from 0 to 5"),
    ("net=run:small&layer=conv1&channel=-1", "from 0 to 5"),
    ("net=run:small&layer=conv1&channel=0&row=28&col=0", "from 0 to 27"),
    ("net=run:small&layer=conv1&channel=0&row=0&col=x", "from 0 to 27"),
    ("net=run:small&layer=conv1&channel=0&at.x=1&at.y=99999999999999", "at.y"),
    ("net=run:small&layer=conv1&page=2", "page"),
    ("net=run:small&layer=" + "x" * 5000, "at most 4,000 characters"),
]


@pytest.mark.parametrize(("query", "words"), ODD)
def test_odd_addresses_are_refused_in_words(ask: Ask, query: str, words: str) -> None:
    text = ask(f"/network?{query}", 400)
    assert words in unescape(text)
    assert "<script>alert" not in text
    assert '<select id="net"' in text, "the form stays"
    if query.startswith("net=run:small&layer"):
        assert 'id="graph"' in text, "what was right is shown"


@pytest.mark.parametrize(
    "query",
    [
        "layer=conv1&channel=0&part=99999",
        "layer=conv1&channel=0&at.x=5",
        "layer=conv2&slice=77",
        "layer=fc1&channel=3&row=5&col=99999",
        "channel=5&row=1",
        "layer=conv1&channel=0&row=&col=",
    ],
)
def test_what_does_not_matter_is_not_refused(ask: Ask, query: str) -> None:
    ask(f"{NET}&{query}")


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("resnet152", ["layer3.20.conv2", "layer4.2.add", "layer4.2.relu3", "avgpool"]),
        ("googlenet", ["inception4a.cat", "inception3a.branch4.0", "fc"]),
        ("alexnet_slides", ["features.0", "features.norm1", "classifier.1"]),
        ("lenet5_1998", ["pool2", "pool2.mul", "conv3", "conv3.index", "output", "neg", "mul"]),
        ("neocognitron", ["layers.0.div", "layers.2.mean", "layers.1", "layers.0.softplus"]),
        ("resnet20", ["layer2.0.downsample", "layer3.0.add", "bn1"]),
        ("svm", ["fc", "flatten"]),
        ("mlp", ["hidden.0", "fc"]),
    ],
)
def test_networks_of_the_registry(ask: Ask, name: str, layers: list[str]) -> None:
    for layer in layers:
        for way in ("there", "back"):
            text = ask(f"/network?net=model:{name}&layer={layer}&channel=0&way={way}")
            assert f'id="layer-title">{layer}' in text
            assert "Please report this" not in text


def test_deep_networks_are_drawn_in_few_boxes(ask: Ask) -> None:
    def boxes(depth: str) -> int:
        return ask(f"/network?net=model:resnet152{depth}").count('class="gate-link"')

    assert boxes("") <= 30
    assert boxes("&depth=1") < boxes("&depth=2") < boxes("&depth=3")
    table = ask("/network?net=model:resnet152").count('id="layer-')
    assert table == len(cr.summary(cr.create_model("resnet152"), (3, 224, 224)).rows) + 1


def test_filters_in_colour_and_by_input_map(ask: Ask) -> None:
    text = ask("/network?net=model:resnet20&layer=conv1")
    assert "an image of three colours" in text
    assert text.count('alt="Weights ') == 16
    text = ask("/network?net=model:resnet20&layer=layer1.0.conv1&slice=5")
    assert "these are those for input map 5" in text
    text = ask("/network?net=model:resnet20&layer=layer1.0.conv1&channel=3")
    assert "The filter of map 3" in text
    assert "templates" not in text
    text = ask("/network?net=model:svm&layer=fc")
    assert text.count('alt="Weights ') == 10


def test_a_picture_of_ones_own(client: FlaskClient, ask: Ask, picture: bytes) -> None:
    form = {
        "picture": (io.BytesIO(picture), "three.png"),
        "back": "network.page",
        "net": "run:small",
        "layer": "conv2",
        "channel": "3",
        "way": "back",
    }
    answer = client.post("/pictures", data=form)
    assert answer.status_code == 303
    state = parse_qs(urlsplit(answer.headers["Location"]).query)
    assert {k: v[0] for k, v in state.items() if k != "picture"} == {
        "net": "run:small", "layer": "conv2", "channel": "3", "way": "back"
    }  # fmt: skip
    text = ask(answer.headers["Location"])
    assert "Nobody told what it shows" in text
    assert f'name="picture" value="{state["picture"][0]}"' in text  # the forms keep it


def test_few_pictures_stay_followed(runs: Path) -> None:
    app = create_app(Settings(runs))
    client = app.test_client()
    for number in range(5):
        assert client.get(f"{NET}&picture=test-{number}").status_code == 200
    subject = app.extensions["chainrule"].subjects.get("run:small")
    kept = subject.kept["followed"].values()
    assert len({id(each) for each in kept}) == followed_file.KEPT
    assert len(kept) <= 2 * followed_file.KEPT


def test_ten_clicks_at_once_run_the_network_once(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app(Settings(runs))
    ran: list[int] = []
    real = followed_file.follow

    def counted(*arguments: Any) -> Any:
        ran.append(1)
        return real(*arguments)

    monkeypatch.setattr(followed_file, "follow", counted)
    found: list[int] = []

    def click(number: int) -> None:
        way = "back" if number % 2 else "there"
        path = f"{NET}&layer=conv2&channel={number}&way={way}"
        found.append(app.test_client().get(path).status_code)

    threads = [threading.Thread(target=click, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [200] * 10
    assert len(ran) == 1


def test_a_run_whose_images_are_gone(tmp_path: Path, picture: bytes) -> None:
    images = np.random.default_rng(0).integers(0, 255, (40, 8, 8), np.uint8)
    data = tmp_path / "mine.npz"
    np.savez(data, images=images, labels=np.arange(40) % 2)
    folder = tmp_path / "runs" / "gone"
    TrainTask(TrainConfig(data=str(data), epochs=1, batch_size=8, model="mlp"), folder).run()
    assert RunFolder(folder).read_config().train.data == str(data)
    data.unlink()
    client = create_app(Settings(tmp_path / "runs")).test_client()
    answer = client.get("/network?net=run:gone")
    assert answer.status_code == 400
    assert "hand one in" in answer.text
    assert 'type="file"' in answer.text
    name = Pictures(tmp_path / "runs" / ".lab" / "pictures").add(picture, "x.png")
    answer = client.get(f"/network?net=run:gone&picture={name}&layer=fc&channel=1")
    assert answer.status_code == 200
    assert 'id="on-the-map"' in answer.text


def test_names_of_runs_are_only_text(tmp_path: Path, runs: Path) -> None:
    name = "<img src=x onerror=alert(1)>&'"
    shutil.copytree(runs / "small", tmp_path / name)
    client = create_app(Settings(tmp_path)).test_client()
    for path in ("/network", "/network?layer=conv1&channel=1&way=back"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert "<img src=x" not in answer.text
        assert "&lt;img src=x" in answer.text


@pytest.mark.parametrize("value", [float("nan"), 1e30, float("inf")])
def test_a_network_that_diverged_is_shown(runs: Path, value: float) -> None:
    app = create_app(Settings(runs))
    subject = app.extensions["chainrule"].subjects.get("run:small")
    for parameter in subject.member.model.parameters():
        parameter.array[...] = value
    client = app.test_client()
    for layer in ("input", "conv1", "relu1", "pool1", "conv2", "relu2", "fc1", "fc2"):
        for way in ("there", "back"):
            answer = client.get(f"{NET}&layer={layer}&channel=0&way={way}")
            assert answer.status_code == 200
            assert "Please report this" not in answer.text, (layer, way)


@pytest.mark.parametrize("task", ["regression", "multilabel"])
def test_other_tasks_have_other_answers(runs: Path, task: Task) -> None:
    app = create_app(Settings(runs))
    subject = app.extensions["chainrule"].subjects.get("run:small")
    member = subject.member
    subject.member = replace(member, config=replace(member.config, task=task))
    text = app.test_client().get(NET).text
    rows = [row for row in cells(text) if len(row) == (2 if task == "regression" else 3)]
    x = subject.seen("test-0", Pictures(runs))
    scores = member.scores(x)[0, 0]
    if task == "regression":
        assert "Probability" not in text
        shown = [float(row[1]) for row in rows[1:6]]
        np.testing.assert_allclose(shown, scores[:5], rtol=1e-3)
    else:
        chances = np.sort(100 / (1 + np.exp(-scores)))[::-1][:5]
        np.testing.assert_allclose(
            [float(r[2].rstrip(" %")) for r in rows[1:6]], chances, atol=0.01
        )
