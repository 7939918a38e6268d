"""The network's page without a browser: its numbers are the library's."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from flask.testing import FlaskClient

import chainrule as cr
from chainrule import nn
from chainrule.engine.op import Array
from chainrule.engine.tensor import Tensor
from chainrule.lab import Settings
from chainrule.lab import followed as followed_file
from chainrule.lab.network_numbers import backward, same
from chainrule.lab.network_tiles import Form
from chainrule.lab.subjects import Subjects
from chainrule.models.registry import find, list_models
from chainrule.training.using import Member
from tests.lab.conftest import Ask
from tests.lab.words import NET, cells, on_the_map, plain, row_of


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
    found = re.search(r"Runs in the folder ([^<]+)<", ask("/"))
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
    shown = re.findall(r'id="map-(\d+)".*?">\d+: ([^<]+)</a>', text)
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
