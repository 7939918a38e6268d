"""The network's page without a browser: its numbers are the library's."""

from __future__ import annotations

import io
import re
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
from chainrule import nn
from chainrule.data.dataset import Task
from chainrule.engine.op import Array
from chainrule.engine.tensor import Tensor
from chainrule.lab import Settings, create_app
from chainrule.lab import followed as followed_file
from chainrule.lab.numbers import backward, same
from chainrule.lab.pictures import Pictures
from chainrule.lab.subjects import Subjects
from chainrule.lab.tiles import Form
from chainrule.models.registry import find, list_models
from chainrule.training.config import TrainConfig
from chainrule.training.folder import RunFolder
from chainrule.training.task import TrainTask
from chainrule.training.using import Member
from tests.lab.conftest import Ask

NET = "/network?net=run:small"


def cells(text: str) -> list[list[str]]:
    """Read every row of the page's tables as plain words."""
    rows = re.findall(r"<tr.*?</tr>", text, re.S)
    return [
        [plain(cell) for cell in re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row, re.S)] for row in rows
    ]


def plain(html: str) -> str:
    return " ".join(unescape(re.sub(r"<.*?>", " ", html)).split())


def row_of(text: str, begins: str) -> list[str]:
    found = [row for row in cells(text) if row and row[0].startswith(begins)]
    assert found, f"no row begins with {begins!r}"
    return found[0]


def on_the_map(text: str) -> float:
    found = re.search(r'id="on-the-map">([^<]+)<', text)
    assert found
    return float(found[1])


@pytest.fixture
def picture() -> bytes:
    """A small PNG: a dark bar on white."""
    pixels = np.full((40, 30), 255, np.uint8)
    pixels[8:32, 12:18] = 0
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def seen(runs: Path) -> tuple[Member, Array]:
    """The run's network, and its first test image as the network gets it."""
    subject = Subjects(Settings(runs)).get("run:small")
    return subject.member, subject.seen("test-0", None)  # type: ignore[arg-type]


def outputs_of(model: Any, x: Tensor) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    handles = [
        module.register_forward_hook(lambda _m, _i, y, path=path: found.__setitem__(path, y))
        for path, module in model.named_modules()
        if path
    ]
    found[""] = model(x)
    for handle in handles:
        handle.remove()
    return found


def values_of(model: Any, x: Array) -> dict[str, Array]:
    with cr.no_grad():
        return {path: y.numpy() for path, y in outputs_of(model, cr.tensor(x)).items()}


def test_all_networks_can_be_chosen(ask: Ask) -> None:
    text = ask("/network")
    assert '<optgroup label="Runs">' in text
    for name in list_models():
        assert f'<option value="model:{name}">' in text
    assert '<option value="run:small" selected>' in text


def test_an_untrained_network_says_so(ask: Ask) -> None:
    assert "drawn at random" in ask("/network?net=model:lenet5")
    assert "drawn at random" not in ask(NET)


def test_the_answer_is_the_networks(ask: Ask, seen: tuple[Member, Array]) -> None:
    member, x = seen
    scores = member.scores(x)
    chances = member.probabilities(scores)[0]
    text = ask(NET)
    best = np.argsort(-chances)[:5]
    rows = [row for row in cells(text) if row and row[-1].endswith(" %")]
    assert [row[0].split()[0] for row in rows] == [str(k) for k in best]
    for row, k in zip(rows, best, strict=True):
        assert float(row[1]) == pytest.approx(scores[0, 0, k], rel=1e-3)
        assert float(row[2].rstrip(" %")) == pytest.approx(100 * chances[k], abs=0.006)
    assert "target" in rows[0][0]
    label = Subjects(Settings(member_runs(ask))).get("run:small").label("test-0")
    assert f"It shows <strong>{label}</strong>" in text
    assert sum("true" in row[0] for row in rows) == (int(label) in best)


def member_runs(ask: Ask) -> Path:
    found = re.search(r"Runs in ([^<]+)<", ask("/"))
    assert found
    return Path(unescape(found[1]))


@pytest.mark.parametrize("name", ["lenet5", "resnet20", "lenet5_1998"])
def test_the_table_is_the_summary(ask: Ask, name: str) -> None:
    entry = find(name)
    summary = cr.summary(cr.create_model(name), (entry.channels, entry.size, entry.size))
    rows = [row for row in cells(ask(f"/network?net=model:{name}")) if len(row) == 6][2:]
    assert len(rows) == len(summary.rows)
    for shown, row in zip(rows, summary.rows, strict=True):
        assert shown[0].startswith(row.layer)
        assert shown[1] == row.kind
        told = [int(cell.replace(",", "").replace("-", "0")) for cell in shown[3:5]]
        assert told == [row.parameters, row.multiply_adds]
    assert f"{summary.parameters:,}" in row_of(ask(f"/network?net=model:{name}"), "Together")


def test_every_layer_opens_both_ways(ask: Ask) -> None:
    keys = re.findall(r'id="layer-([^"]+)"', ask(NET))
    assert len(keys) == 13
    for key in keys:
        for way in ("", "&way=back"):
            text = ask(f"{NET}&layer={key}&channel=0{way}")
            assert f'id="layer-title">{key}' in text
            assert "Please report this" not in text
            assert text.count('aria-current="true"') >= 2


def test_maps_and_their_means(ask: Ask, seen: tuple[Member, Array]) -> None:
    member, x = seen
    values = values_of(member.model, x)["conv2"][0]
    text = ask(f"{NET}&layer=conv2")
    shown = re.findall(r'id="map-(\d+)".*?<br>\d+: ([^<]+)</a>', text)
    assert [int(k) for k, _ in shown] == list(range(16))
    for k, mean in shown:
        assert float(mean) == pytest.approx(values[int(k)].mean(), rel=6e-3)


PLACES = [("conv1", 2, 0, 0), ("conv1", 5, 27, 13), ("conv2", 7, 4, 9), ("conv2", 15, 9, 0)]


@pytest.mark.parametrize(("layer", "channel", "row", "col"), PLACES)
def test_the_sum_ends_in_the_networks_number(
    ask: Ask, seen: tuple[Member, Array], layer: str, channel: int, row: int, col: int
) -> None:
    member, x = seen
    value = values_of(member.model, x)[layer][0, channel, row, col]
    text = ask(f"{NET}&layer={layer}&channel={channel}&row={row}&col={col}")
    assert on_the_map(text) == pytest.approx(value, rel=1e-5)
    total = float(row_of(text, "Sum of ")[1])
    bias = float(row_of(text, "+ bias")[1])
    assert total + bias == pytest.approx(value, rel=2e-5, abs=2e-5)
    parts = [float(cells_[1]) for cells_ in cells(text) if len(cells_) == 2 and cells_[0].isdigit()]
    if layer == "conv2":
        assert len(parts) == 6
        assert sum(parts) == pytest.approx(total, rel=2e-5, abs=2e-5)


def test_the_grids_hold_window_weights_and_products(ask: Ask, seen: tuple[Member, Array]) -> None:
    member, x = seen
    text = ask(f"{NET}&layer=conv1&channel=1&row=3&col=4")
    tables = re.findall(r'<table class="cells">.*?</table>', text, re.S)
    grids = [
        np.array([[float(plain(c)) for c in re.findall(r"<td style.*?>(.*?)</td>", row)]
                  for row in re.findall(r"<tr>(.*?)</tr>", table, re.S)[1:]])
        for table in tables
    ]  # fmt: skip
    weights = dict(member.model.named_parameters())["conv1.weight"].detach().numpy()[1, 0]
    np.testing.assert_allclose(grids[0], x[0, 0, 3:8, 4:9], rtol=6e-3)
    np.testing.assert_allclose(grids[1], weights, rtol=6e-3)
    np.testing.assert_allclose(grids[2], x[0, 0, 3:8, 4:9] * weights, rtol=6e-3)
    columns = re.findall(r'<th scope="col">(\d+)</th>', tables[0])
    assert columns == ["4", "5", "6", "7", "8"]


@pytest.mark.parametrize(
    ("layer", "channel", "row", "col"),
    [*PLACES, ("pool1", 3, 5, 6), ("relu2", 4, 5, 5), ("fc1", 17, 0, 0), ("input", 0, 16, 15)],
)
@pytest.mark.parametrize("target", [0, 7])
def test_what_arrives_is_the_gradient(
    ask: Ask, seen: tuple[Member, Array], layer: str, channel: int, row: int, col: int, target: int
) -> None:
    member, x = seen
    leaf = cr.tensor(x, requires_grad=True)
    found = outputs_of(member.model, leaf)
    wanted = leaf if layer == "input" else found[layer]
    (g,) = cr.grad(found[""][0, target], [wanted])
    maps = wanted.ndim == 4
    value = g.numpy()[0, channel, row, col] if maps else g.numpy()[0, channel]
    where = f"&row={row}&col={col}" if maps else ""
    text = ask(f"{NET}&layer={layer}&channel={channel}{where}&way=back&target={target}")
    assert on_the_map(text) == pytest.approx(value, rel=1e-4, abs=1e-7)
    arrived = sum(float(r[1]) for r in cells(text) if len(r) == 2 and r[0].startswith("from "))
    assert arrived == pytest.approx(value, rel=1e-4, abs=1e-7)
    assert "Please report this" not in text


def test_a_scores_own_gradient_is_one(ask: Ask) -> None:
    for channel, value in ((4, 1.0), (5, 0.0)):
        text = ask(f"{NET}&layer=fc2&channel={channel}&target=4&way=back")
        assert on_the_map(text) == value
        assert f"the gradient is {value:g}" in text
        assert "Please report this" not in text


def test_rounding_is_no_fault_but_a_wrong_sum_is() -> None:
    x = cr.tensor([[0.5, 9.0, -8.0]])

    class Saturated(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return cr.tanh(x) * 3.0

    run = followed_file.follow(Saturated(), x.numpy(), 1)
    gate = run.gates["input"]
    for place in ((0, 0), (0, 1), (0, 2)):
        found = backward(run, gate, place, None)
        assert found.agrees  # 1 - tanh(9)**2 is 0 in float32
    assert not same(1.001, 1.0, 1.0)
    assert not same(0.5, float("nan"), 1.0)
    assert same(float("inf"), float("inf"), 1.0)


def test_dense_layers_show_their_largest_products(ask: Ask, seen: tuple[Member, Array]) -> None:
    member, x = seen
    found = values_of(member.model, x)
    weights = dict(member.model.named_parameters())
    products = found["relu4"][0] * weights["fc2.weight"].detach().numpy()[3]
    text = ask(f"{NET}&layer=fc2&channel=3")
    shown = [row for row in cells(text) if len(row) == 4 and row[0].startswith("[")]
    best = np.argsort(-np.abs(products), kind="stable")
    for row, k in zip(shown, best, strict=False):
        assert row[0] == f"[{k}]"
        assert float(row[3]) == pytest.approx(products[k], rel=1e-4, abs=1e-6)
    assert on_the_map(text) == pytest.approx(found[""][0, 3], rel=1e-5)


@pytest.mark.parametrize("height", [1, 2, 5, 28, 55, 100, 224, 320, 321, 500, 1000])
def test_a_click_finds_its_number(height: int) -> None:
    form = Form(3, height, 7)
    shown = round(height * form.scale)
    assert shown <= 320
    for row in range(height):
        pixel = (row + 0.5) * form.scale
        assert int(pixel / form.scale) == row


def test_a_click_on_the_map_leads_to_its_number(client: FlaskClient) -> None:
    answer = client.get(f"{NET}&layer=conv1&channel=2&row=1&col=1&at.x=150&at.y=305")
    assert answer.status_code == 302
    where = urlsplit(answer.headers["Location"])
    assert where.path == "/network"
    state = parse_qs(where.query)
    assert (state["row"], state["col"]) == (["27"], ["13"])  # 11 pixels a number
    assert (state["channel"], state["layer"]) == (["2"], ["conv1"])


def test_steps_end_at_the_border(ask: Ask) -> None:
    text = ask(f"{NET}&layer=conv1&channel=2&row=0&col=27")
    steps = dict(re.findall(r'<a class="button" id="(left|right|up|down)"[^>]*?(aria-disabled|>)',
                            text))  # fmt: skip
    assert steps == {"left": ">", "up": "aria-disabled", "down": ">", "right": "aria-disabled"}


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
    assert answer.status_code == 302
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
